//! SQLite for `convert-sdk`: a data store that the processes of a host share, and an outbox that keeps events until
//! they are delivered, whatever becomes of the process.
//!
//! With a [`SqliteStore`], decisions survive a restart, and a conversion that any process on the host has sent
//! is not sent again.
//!
//! ```no_run
//! use convert_sdk::{Core, SdkConfig};
//! use convert_sdk_sqlite::SqliteStore;
//!
//! # fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let store = SqliteStore::open("/var/lib/shop/visitors.db")?;
//! let config = SdkConfig::builder().sdk_key("10035569/10034190").data_store(store).build()?;
//! let core = Core::new(config);
//! core.initialize()?;
//! # Ok(())
//! # }
//! ```
//!
//! SQLite is bundled, so nothing has to be installed, and any SQLite tool opens the files. They belong on a local
//! disk: file locks do not work over a network.

mod builder;
mod connections;
mod file;
mod lock;
mod log;
mod look;
mod outbox;
mod queue;
mod rows;
mod schema;
mod store;

pub use self::builder::SqliteStoreBuilder;
pub use self::file::OpenError;
pub use self::look::{EntryState, OutboxEntry};
pub use self::outbox::{SqliteOutbox, SqliteOutboxBuilder};
pub use self::queue::Durability;
pub use self::store::SqliteStore;
