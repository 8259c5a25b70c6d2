//! Data stores on Redis, which let several hosts share visitors.
//!
//! Ten hosts with a [`RedisStore`] on one Redis give a visitor the same variation on every host, and send a conversion
//! once even if all of them record it.
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
//! Values are JSON text under the official Python SDK's keys, with an optional prefix, so that services in both
//! languages can share one Redis. Requires Redis 6.2 or newer or a compatible server: a single server or the primary of
//! a replicated one. Redis Cluster is not supported, because a batch would span shards.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "async")]
mod asynchronous;
mod builder;
mod commands;
mod connections;
#[cfg(feature = "async")]
mod multiplexed;
mod store;

#[cfg(feature = "async")]
pub use self::asynchronous::AsyncRedisStore;
pub use self::builder::{OpenError, RedisStoreBuilder};
pub use self::store::RedisStore;

/// The README's programs compile.
#[cfg(all(doctest, feature = "async"))]
#[doc = include_str!("../README.md")]
struct Readme;
