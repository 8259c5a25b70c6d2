//! The one place where the current snapshot is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwapOption;

use super::ConfigSnapshot;

/// A number that no other snapshot of this process has, by which handles know one again. It is not 0.
pub(super) fn next_serial() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).max(1)
}

/// Holds the current snapshot: loaded by anyone without a lock, replaced whole by the refresher.
#[derive(Default)]
pub(crate) struct SnapshotCell(ArcSwapOption<ConfigSnapshot>);

impl SnapshotCell {
    /// The snapshot now; `None` until the first is published.
    pub(crate) fn load(&self) -> Option<Arc<ConfigSnapshot>> {
        self.0.load_full()
    }

    /// Whether a snapshot is in place.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load().is_some()
    }

    /// Puts a snapshot in place and returns the one before.
    pub(crate) fn publish(&self, snapshot: Arc<ConfigSnapshot>) -> Option<Arc<ConfigSnapshot>> {
        self.0.swap(Some(snapshot))
    }
}
