//! What stands behind the ports unless the application puts its own there: one foreign library each.

mod https;
mod memory_store;
#[cfg(feature = "async-redis")]
mod redis;
#[cfg(feature = "async-reqwest")]
mod reqwest;
mod routes;
#[cfg(any(feature = "async-reqwest", feature = "async-redis"))]
mod spawned;

#[cfg(feature = "async-redis")]
pub use self::redis::RedisDataStore;
#[cfg(feature = "async-reqwest")]
pub use self::reqwest::ReqwestTransport;
pub use memory_store::InMemoryDataStore;

pub(crate) use https::HttpTransport;
