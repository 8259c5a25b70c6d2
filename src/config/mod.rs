//! The settings of an SDK instance other than [`SdkConfig`](crate::SdkConfig) itself, and the served config that it
//! decides with.

#[cfg(feature = "threads")]
mod cell;
#[cfg(feature = "threads")]
mod numbers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
    Answers, CarriedFeature, CompileOptions, ConfigError, Experience, Feature, SnapshotExt, Variation,
    compile,
};
#[cfg(feature = "threads")]
pub(crate) use numbers::{Goals, Number, Numbers};

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

/// Logs that there is a config.
pub(crate) fn tell_ready(snapshot: &ConfigSnapshot, cached: Option<Duration>) {
    if let Some(age) = cached {
        logged!(info, "starting with the cached config, which was current {} s ago", age.as_secs());
    }
    let EntityCounts { experiences, features, goals, .. } = snapshot.counts();
    logged!(
        info,
        {
            account = snapshot.account_id(),
            project = snapshot.project_id(),
            experiences = experiences,
            features = features,
            goals = goals,
        },
        "the first config is in place"
    );
}

/// What changed, as text.
pub(crate) struct Changed<'a>(pub(crate) &'a ConfigChanges);

impl fmt::Display for Changed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConfigChanges { experiences, audiences, locations, segments, features, goals, .. } = self.0;
        let mut separator = "";
        for (kind, counts) in [
            ("experiences", experiences),
            ("audiences", audiences),
            ("locations", locations),
            ("segments", segments),
            ("features", features),
            ("goals", goals),
        ] {
            let ChangeCounts { added, removed, changed, .. } = counts;
            if (added, removed, changed) != (&0, &0, &0) {
                write!(f, "{separator}{kind}: {added} added, {removed} removed, {changed} changed")?;
                separator = "; ";
            }
        }
        if separator.is_empty() { f.write_str("no entity differs") } else { Ok(()) }
    }
}
