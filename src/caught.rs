//! The wall around foreign code: transports, stores and handlers.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs foreign code; `None` where it panicked. Foreign code owns its state, so what it leaves
/// behind is its own concern.
pub(crate) fn caught<T>(what: &str, run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).inspect_err(|_| log::error!("{what} panicked; the SDK goes on")).ok()
}
