//! The built-in implementations of the ports: one third-party library each.

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
