//! From a served config to the snapshot, for whoever fetched it.

use std::sync::Arc;

use crate::config::{self, CompileOptions, ConfigSnapshot};
use crate::error::LoadError;

/// Compiles a config and logs what is wrong with its parts.
pub(crate) fn compile(body: String, options: &CompileOptions) -> Result<Arc<ConfigSnapshot>, LoadError> {
    let compiled = config::compile(body, options)?;
    for warning in &compiled.warnings {
        logged!(warn, "config: {warning}");
    }
    if compiled.more_warnings > 0 {
        logged!(warn, "config: {} more warnings", compiled.more_warnings);
    }
    Ok(Arc::new(compiled.snapshot))
}
