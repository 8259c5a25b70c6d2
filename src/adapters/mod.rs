//! What stands behind the ports unless the application puts its own there: one foreign library each.

#[cfg(not(feature = "https"))]
mod absent;
#[cfg(feature = "https")]
mod https;
mod memory_store;

#[cfg(feature = "https")]
pub use https::HttpsClient;
pub use memory_store::InMemoryDataStore;

#[cfg(not(feature = "https"))]
pub(crate) use absent::NoClient as DefaultClient;
#[cfg(feature = "https")]
pub(crate) use https::HttpsClient as DefaultClient;
