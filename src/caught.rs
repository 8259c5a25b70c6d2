//! The wall around foreign code: transports, stores and handlers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Keeps the panics of foreign code from the SDK's threads and from callers, and counts them.
#[derive(Clone, Default)]
pub(crate) struct Wall {
    panics: Arc<AtomicU64>,
}

impl Wall {
    /// Runs foreign code; `None` where it panicked. Foreign code owns its state, so what it leaves
    /// behind is its own concern.
    pub(crate) fn caught<T>(&self, what: &str, run: impl FnOnce() -> T) -> Option<T> {
        let count = |_: &_| {
            self.panics.fetch_add(1, Ordering::Relaxed);
            log::error!("{what} panicked; the SDK goes on");
        };
        catch_unwind(AssertUnwindSafe(run)).inspect_err(count).ok()
    }

    /// How many panics were caught.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}
