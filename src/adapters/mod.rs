//! What stands behind the ports unless the application puts its own there: one foreign library each.

mod https;
mod memory_store;
#[cfg(feature = "async-reqwest")]
mod reqwest;
mod routes;
#[cfg(feature = "async-reqwest")]
mod spawned;

#[cfg(feature = "async-reqwest")]
pub use self::reqwest::ReqwestTransport;
pub use memory_store::InMemoryDataStore;

pub(crate) use https::HttpTransport;
