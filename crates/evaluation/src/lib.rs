//! Decisions of Convert Experiences: a served config, a visitor and attributes in, a variation and the
//! reasons out, with the answers of Convert's official JavaScript SDK.
//!
//! Everything here is a pure computation: no threads, clocks, locks, channels, sockets, files or
//! logs. Applications should use `convert-sdk`, which is built on this crate and also fetches
//! configs, remembers visitors and reports exposures. This crate is for decisions elsewhere: in
//! WebAssembly, in a game loop, behind another language's interface.
//!
//! ```
//! use convert_evaluation::config::{CompileOptions, SnapshotExt, compile};
//! use convert_evaluation::decide::{Facts, Decision, decide_experience, explain_experience};
//! use convert_evaluation::attributes;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let served = r#"{"account_id": "1", "project": {"id": "2"}, "experiences": [{
//!     "id": "10", "key": "checkout", "version": 12, "variations": [
//!         {"id": "100", "key": "original", "traffic_allocation": 50},
//!         {"id": "101", "key": "one-page", "traffic_allocation": 50}
//!     ]
//! }]}"#;
//! let config = compile(served.to_owned(), &CompileOptions::default())?.snapshot;
//! let position = config.experience_index("checkout").ok_or("no such experience")?;
//!
//! let attributes = attributes! { "age" => 30 };
//! let facts = Facts::new("visitor-4", &attributes);
//! let Ok(Decision { variation, .. }) = decide_experience(&config, position, &facts) else {
//!     return Err("no variation".into());
//! };
//! assert_eq!(config.experiences()[position].variations[variation].key, "original");
//!
//! let (_, why) = explain_experience(&config, position, &facts);
//! assert_eq!(why.outcome, "hashed");
//! # Ok(())
//! # }
//! ```
//!
//! [`Facts`](decide::Facts) also takes stored decisions, a location, an environment and custom
//! segments. Strings are [`SmolStr`], which dereferences to `str`.

mod attributes;
pub mod config;
pub mod decide;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod js;
mod murmur;
mod preview;
mod short;

pub use attributes::{AttributeValue, Attributes, AttributesExt};
pub use preview::{PreviewParam, parse_preview_param};
#[doc(hidden)]
pub use short::{copied, same};
pub use smol_str::SmolStr;

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
