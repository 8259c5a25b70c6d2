//! The one place that holds the current snapshot.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::ConfigSnapshot;

/// Holds the current snapshot: anyone can load it without a lock; the refresher replaces it as a whole.
#[derive(Default)]
pub(crate) struct SnapshotCell {
    snapshot: ArcSwapOption<ConfigSnapshot>,
    /// The snapshot's ETag, for the refresher of a forked child; none while the snapshot is being replaced.
    etag: ArcSwapOption<String>,
}

impl SnapshotCell {
    /// The current snapshot; `None` until the first is published.
    pub(crate) fn load(&self) -> Option<Arc<ConfigSnapshot>> {
        self.snapshot.load_full()
    }

    /// Whether there is a snapshot.
    pub(crate) fn is_set(&self) -> bool {
        self.snapshot.load().is_some()
    }

    /// The snapshot's ETag, if it has one.
    pub(crate) fn etag(&self) -> Option<String> {
        self.etag.load().as_deref().cloned()
    }

    /// Publishes a snapshot and returns the previous one.
    pub(crate) fn publish(
        &self,
        snapshot: Arc<ConfigSnapshot>,
        etag: Option<String>,
    ) -> Option<Arc<ConfigSnapshot>> {
        self.etag.store(None);
        let before = self.snapshot.swap(Some(snapshot));
        self.etag.store(etag.map(Arc::new));
        before
    }
}
