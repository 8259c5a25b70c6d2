//! The settings of an SDK instance other than [`SdkConfig`](crate::SdkConfig) itself, and the served config that it
//! decides with.

#[cfg(feature = "threads")]
mod cell;

use std::sync::Arc;

pub use convert_evaluation::config::{
    BucketOrder, ChangeCounts, ConfigChanges, ConfigSnapshot, ConfigWarning, EntityCounts, EntityKind,
};

pub use crate::engine::{ConfigOrigin, RefreshOutcome};
pub use crate::options::{
    CacheLevel, RefreshConfig, RefreshConfigBuilder, TransportConfig, TransportConfigBuilder,
};

#[cfg(feature = "threads")]
pub(crate) use cell::SnapshotCell;
pub(crate) use convert_evaluation::config::{
    CarriedFeature, CompileOptions, ConfigError, Experience, Feature, SnapshotExt, Variation, compile,
};

/// Compiles a served config, and logs warnings about its parts.
pub(crate) fn load(body: String, options: &CompileOptions) -> Result<Arc<ConfigSnapshot>, ConfigError> {
    let compiled = compile(body, options)?;
    for warning in &compiled.warnings {
        logged!(warn, "config: {warning}");
    }
    if compiled.more_warnings > 0 {
        logged!(warn, "config: {} more warnings", compiled.more_warnings);
    }
    Ok(Arc::new(compiled.snapshot))
}
