//! Contains panics of foreign code: of sources, sinks, stores and handlers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs foreign code whose panics are ignored.
pub(crate) fn quietly(run: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        std::mem::forget(payload);
    }
}

/// Keeps panics of foreign code away from the SDK's threads and from callers, and counts them.
#[derive(Clone, Default)]
pub(crate) struct PanicGuard {
    panics: Arc<AtomicU64>,
}

impl PanicGuard {
    /// Runs foreign code; `None` if it panicked. Foreign code owns its state, so what a panic leaves behind
    /// is its own concern.
    pub(crate) fn caught<T>(&self, what: &str, run: impl FnOnce() -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(value) => Some(value),
            Err(payload) => {
                // Dropping it runs foreign code again, which may panic again.
                std::mem::forget(payload);
                self.panics.fetch_add(1, Ordering::Relaxed);
                logged!(error, "{what} panicked; the SDK continues");
                None
            }
        }
    }

    /// Keeps a foreign value, whose drop can panic too.
    #[cfg(feature = "async")]
    pub(crate) const fn keep<'g, T>(&'g self, what: &'static str, value: T) -> Walled<'g, T> {
        Walled { value: Some(value), what, guard: self }
    }

    /// How many panics were caught.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }
}

/// A foreign value, used and dropped with its panics caught.
#[cfg(feature = "async")]
pub(crate) struct Walled<'g, T> {
    value: Option<T>,
    what: &'static str,
    guard: &'g PanicGuard,
}

#[cfg(feature = "async")]
impl<T> Walled<'_, T> {
    /// Uses the value; `None` if that panicked.
    pub(crate) fn caught<R>(&mut self, run: impl FnOnce(&mut T) -> R) -> Option<R> {
        let value = self.value.as_mut()?;
        self.guard.caught(self.what, || run(value))
    }
}

#[cfg(feature = "async")]
impl<T> Drop for Walled<'_, T> {
    fn drop(&mut self) {
        let value = self.value.take();
        self.guard.caught(self.what, || drop(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panic payload that panics when dropped.
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
        #[cfg(feature = "async")]
        {
            drop(guard.keep("a test", Spiteful));
            assert_eq!(guard.panics(), 2);
        }
    }
}
