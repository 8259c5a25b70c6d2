//! From a served config to the snapshot, and the one place where the current snapshot is kept.

#[cfg(feature = "threads")]
mod cell;

use std::sync::Arc;

#[cfg(feature = "threads")]
pub(crate) use cell::SnapshotCell;
pub(crate) use convert_evaluation::config::{
    BucketOrder, CarriedFeature, CompileOptions, ConfigChanges, ConfigError, ConfigSnapshot, EntityKind,
    Experience, Feature, SnapshotExt, Variation, compile,
};

/// Compiles a served config, and logs what is wrong with its parts.
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
