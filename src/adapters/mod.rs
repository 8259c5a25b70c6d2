//! The built-in implementations of the ports: at most one third-party library each.

mod absent;
#[cfg(feature = "https")]
mod https;
mod memory_store;

#[cfg(feature = "https")]
pub use https::HttpsClient;
pub use memory_store::InMemoryDataStore;

pub(crate) use absent::NoClient;

/// Runs `body` while no other thread forks this process: of what holds a lock in the middle of a fork, the child
/// would have the lock for ever. For adapters over libraries with locks of their own, around each call.
///
/// A fork waits for `body` for up to 100,000 turns of the scheduler, some ten milliseconds, so `body` should be
/// brief. Forks are seen where `pthread_atfork` sees them.
pub fn between_forks<R>(body: impl FnOnce() -> R) -> R {
    crate::threads::watch_forks();
    crate::threads::between_forks(body)
}

#[cfg(not(feature = "https"))]
pub(crate) use absent::NoClient as DefaultClient;
#[cfg(feature = "https")]
pub(crate) use https::HttpsClient as DefaultClient;
