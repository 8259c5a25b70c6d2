//! What a server answers, for the tests of those who fetch.

use serde_json::json;

use crate::ports::{ConfigResponse, TransportError};

/// A config of an account, with one experience.
pub(crate) fn served(account: &str, experience: &str) -> Result<ConfigResponse, TransportError> {
    let config = json!({
        "account_id": account, "project": {"id": "2"},
        "experiences": [{"id": experience, "key": "e", "variations": []}],
    });
    Ok(ConfigResponse::Fetched { body: config.to_string(), etag: Some(format!("{account}-{experience}")) })
}
