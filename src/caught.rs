//! The wall around foreign code: transports, stores and handlers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs foreign code that no core is to account for; `None` where it panicked.
pub(crate) fn caught<T>(what: &str, run: impl FnOnce() -> T) -> Option<T> {
    let say = |_: &_| log::error!("{what} panicked; the SDK goes on");
    catch_unwind(AssertUnwindSafe(run)).inspect_err(say).ok()
}

/// Keeps the panics of foreign code from the SDK's threads and from callers, and counts them.
#[derive(Clone, Default)]
pub(crate) struct Wall {
    panics: Arc<AtomicU64>,
}

impl Wall {
    /// Runs foreign code; `None` where it panicked. Foreign code owns its state, so what it leaves
    /// behind is its own concern.
    pub(crate) fn caught<T>(&self, what: &str, run: impl FnOnce() -> T) -> Option<T> {
        let caught = caught(what, run);
        if caught.is_none() {
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
        caught
    }

    /// How many panics were caught.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}
