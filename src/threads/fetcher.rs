//! What every request for a config has in common.

use std::sync::Arc;
use std::time::Duration;

use crate::caught::Wall;
use crate::config::CompileOptions;
use crate::options::{Secret, Tuning};
use crate::ports::{ConfigRequest, ConfigResponse, ConfigSource, TransportError};

/// Asks the source for configs and experiences, on the thread that calls.
pub(crate) struct Fetcher {
    pub(crate) source: Arc<dyn ConfigSource>,
    pub(crate) sdk_key: Secret,
    pub(crate) tuning: Tuning,
    pub(crate) timeout: Duration,
    pub(crate) compile: CompileOptions,
    pub(crate) wall: Wall,
}

impl Fetcher {
    pub(super) fn config(&self, etag: Option<&str>) -> Result<ConfigResponse, TransportError> {
        self.ask(|| self.source.fetch_config(&self.request(etag)))
    }

    /// The ETag is the config's, not the experience's.
    pub(super) fn experience(&self, id: &str) -> Result<ConfigResponse, TransportError> {
        self.ask(|| self.source.fetch_experience(&self.request(None), id))
    }

    fn ask(
        &self,
        request: impl FnOnce() -> Result<ConfigResponse, TransportError>,
    ) -> Result<ConfigResponse, TransportError> {
        self.wall.caught("the transport", request).unwrap_or(Err(TransportError::Panicked))
    }

    fn request<'a>(&'a self, etag: Option<&'a str>) -> ConfigRequest<'a> {
        let Self { sdk_key, tuning, timeout, .. } = self;
        ConfigRequest {
            sdk_key: sdk_key.expose(),
            environment: tuning.environment.as_deref(),
            cache_level: tuning.cache_level,
            debug_token: tuning.debug_token.as_ref().map(Secret::expose),
            etag,
            timeout: *timeout,
        }
    }
}
