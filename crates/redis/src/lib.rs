//! Data stores on Redis: what several hosts share about visitors.
//!
//! Ten hosts with a [`RedisStore`] on one Redis give a visitor the same variation wherever the visitor comes
//! by, and of ten times the same conversion one is sent.
//!
//! ```no_run
//! use convert_sdk::{Core, SdkConfig};
//! use convert_sdk_redis::RedisStore;
//!
//! # fn start() -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::builder("rediss://user:password@redis.internal:6379/0").prefix("convert:").build()?;
//! let config = SdkConfig::builder().sdk_key("10035569/10034190").data_store(store).build()?;
//! let core = Core::new(config);
//! core.initialize()?;
//! # Ok(())
//! # }
//! ```
//!
//! Values are JSON text under the keys of the official Python SDK, after a prefix of the application's if it
//! gives one, so that services in both languages can share one Redis. Redis 6.2 or newer, or what speaks its
//! protocol: one server, or the primary of several. Not Redis Cluster, where a batch would span shards.

#[cfg(feature = "async")]
mod asynchronous;
mod builder;
mod commands;
mod connections;
mod store;

/// The client, whose [`ConnectionManager`](redis::aio::ConnectionManager) an [`AsyncRedisStore`] is made of.
#[cfg(feature = "async")]
pub use redis;

#[cfg(feature = "async")]
pub use self::asynchronous::AsyncRedisStore;
pub use self::builder::{OpenError, RedisStoreBuilder};
pub use self::store::RedisStore;
