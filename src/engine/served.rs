//! What a server sends, for tests of the actors that fetch.

use std::sync::Arc;

use serde_json::json;

use super::FetchedConfig;
use crate::config::{CompileOptions, ConfigSnapshot, load};
use crate::error::LoadError;

/// A config of an account, with one experience.
pub(crate) fn body(account: &str, experience: &str) -> String {
    let config = json!({
        "account_id": account, "project": {"id": "2"},
        "experiences": [{"id": experience, "key": "e", "variations": []}],
    });
    config.to_string()
}

/// The same, compiled.
pub(crate) fn snapshot(account: &str, experience: &str) -> Result<Arc<ConfigSnapshot>, LoadError> {
    Ok(load(body(account, experience), &CompileOptions::default())?)
}

/// The same, fetched with an ETag.
pub(crate) fn served(account: &str, experience: &str) -> Result<FetchedConfig, LoadError> {
    let etag = Some(format!("{account}-{experience}"));
    Ok(FetchedConfig::Changed { snapshot: snapshot(account, experience)?, etag })
}
