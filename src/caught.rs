//! What keeps panics of foreign code from the SDK: of sources, sinks, stores and handlers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Logs with a level of the `log` crate. A logger is foreign code like any other: one that prints to a pipe which
/// is gone panics.
macro_rules! logged {
    ($level:ident, $($message:tt)+) => {
        $crate::caught::quietly(|| log::$level!($($message)+))
    };
}

/// Runs foreign code of which nobody needs to know whether it panicked.
pub(crate) fn quietly(run: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        std::mem::forget(payload);
    }
}

/// Keeps the panics of foreign code from the SDK's threads and from callers, and counts them.
#[derive(Clone, Default)]
pub(crate) struct PanicGuard {
    panics: Arc<AtomicU64>,
}

impl PanicGuard {
    /// Runs foreign code; `None` where it panicked. Foreign code owns its state, so what it leaves
    /// behind is its own concern.
    pub(crate) fn caught<T>(&self, what: &str, run: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(value) => Some(value),
            Err(payload) => {
                // Dropping it is foreign code once more, and can panic once more.
                std::mem::forget(payload);
                self.panics.fetch_add(1, Ordering::Relaxed);
                logged!(error, "{what} panicked; the SDK goes on");
                None
            }
        }
    }

    /// How many panics were caught.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a panic can carry.
    struct Spiteful;

    impl Drop for Spiteful {
        fn drop(&mut self) {
            panic!("once more");
        }
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_caught_too() {
        let guard = PanicGuard::default();
        assert!(guard.caught("a test", || std::panic::panic_any(Spiteful)).is_none());
        assert_eq!(guard.panics(), 1);
        quietly(|| std::panic::panic_any(Spiteful));
    }
}
