//! The SDK's configuration from the process environment.

use std::env;
use std::io;

use convert_sdk::{InvalidOption, SdkConfig, SdkConfigBuilder, config::TransportConfig};
use thiserror::Error;

/// Why the environment does not give a configuration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnvironmentError {
    /// `CONVERT_SDK_KEY` is not set.
    #[error("CONVERT_SDK_KEY is not set")]
    NoKey,
    /// The file that `CONVERT_CA_FILE` names cannot be read.
    #[error("CONVERT_CA_FILE cannot be read ({0})")]
    Authority(io::ErrorKind),
    /// A URL or the CA certificate was rejected.
    #[error(transparent)]
    Invalid(#[from] InvalidOption),
}

impl EnvironmentError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoKey => "environment_no_key",
            Self::Authority(_) => "environment_authority",
            Self::Invalid(_) => "environment_invalid",
        }
    }
}

/// Starts a configuration from `CONVERT_SDK_KEY` and, if set, `CONVERT_CONFIG_ENDPOINT` and `CONVERT_TRACK_ENDPOINT`
/// (default Convert's own) and `CONVERT_CA_FILE` (a PEM certificate authority to trust in addition to the usual
/// ones). These are the variables that `convert-emulator` prints. Reads a file, so call it when the program starts.
///
/// # Errors
/// There is no key, or a value was rejected; values are not shown.
pub fn config_from_env() -> Result<SdkConfigBuilder, EnvironmentError> {
    let key = env::var("CONVERT_SDK_KEY").map_err(|_| EnvironmentError::NoKey)?;
    let mut transport = TransportConfig::builder();
    if let Ok(url) = env::var("CONVERT_CONFIG_ENDPOINT") {
        transport = transport.config_base_url(url);
    }
    if let Ok(url) = env::var("CONVERT_TRACK_ENDPOINT") {
        transport = transport.track_base_url(url);
    }
    if let Ok(path) = env::var("CONVERT_CA_FILE") {
        let pem = std::fs::read(path).map_err(|error| EnvironmentError::Authority(error.kind()))?;
        transport = transport.root_certificate_pem(pem);
    }
    Ok(SdkConfig::builder().sdk_key(key).transport(transport.build()?))
}
