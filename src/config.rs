//! The settings of an SDK instance besides [`SdkConfig`](crate::SdkConfig) itself, and the served config by
//! which it decides.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

pub use convert_evaluation::config::{
    BucketOrder, ChangeCounts, ConfigChanges, ConfigSnapshot, ConfigWarning, EntityCounts, EntityKind,
};

pub use crate::engine::{ConfigSource, RefreshOutcome};
pub use crate::options::{
    CacheLevel, RefreshConfig, RefreshConfigBuilder, TransportConfig, TransportConfigBuilder,
};

pub(crate) use convert_evaluation::config::{
    CarriedFeature, CompileOptions, Experience, Feature, SnapshotExt, Variation, compile,
};

/// Holds the current snapshot: loaded by anyone without a lock, replaced whole by the refresher.
#[derive(Default)]
pub(crate) struct SnapshotCell {
    snapshot: ArcSwapOption<ConfigSnapshot>,
    /// The snapshot's ETag, for the refresher of a forked child; none while the snapshot is replaced.
    etag: ArcSwapOption<String>,
}

impl SnapshotCell {
    /// The snapshot now; `None` until the first is published.
    pub(crate) fn load(&self) -> Option<Arc<ConfigSnapshot>> {
        self.snapshot.load_full()
    }

    /// Whether a snapshot is in place.
    pub(crate) fn is_set(&self) -> bool {
        self.snapshot.load().is_some()
    }

    /// The ETag of the snapshot, where it has one.
    pub(crate) fn etag(&self) -> Option<String> {
        self.etag.load().as_deref().cloned()
    }

    /// Puts a snapshot in place and returns the one before.
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
