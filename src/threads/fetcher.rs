//! Fetches configs and experiences, and compiles them.

use std::sync::Arc;
use std::time::Duration;

use crate::caught::PanicGuard;
use crate::config::{CompileOptions, ConfigSnapshot, load};
use crate::engine::FetchedConfig;
use crate::error::LoadError;
use crate::options::{Secret, Tuning};
use crate::ports::{ConfigRequest, ConfigResponse, ConfigSource, TransportError};

/// Fetches configs and experiences from the source, on the calling thread.
pub(crate) struct Fetcher {
    pub(crate) source: Arc<dyn ConfigSource>,
    pub(crate) sdk_key: Secret,
    pub(crate) tuning: Tuning,
    pub(crate) timeout: Duration,
    pub(crate) compile: CompileOptions,
    pub(crate) guard: PanicGuard,
}

impl Fetcher {
    /// Fetches the config, and compiles it if it has changed.
    pub(super) fn config(&self, etag: Option<&str>) -> Result<FetchedConfig, LoadError> {
        match self.ask(|| self.source.fetch_config(&self.request(etag)))? {
            ConfigResponse::NotModified => Ok(FetchedConfig::NotModified),
            ConfigResponse::Fetched { body, etag } => {
                Ok(FetchedConfig::Changed { snapshot: load(body, &self.compile)?, etag })
            }
        }
    }

    /// Fetches a config that contains an experience. The ETag is the config's, not the experience's.
    pub(super) fn experience(&self, id: &str) -> Result<Arc<ConfigSnapshot>, LoadError> {
        match self.ask(|| self.source.fetch_experience(&self.request(None), id))? {
            ConfigResponse::NotModified => Err(TransportError::Protocol.into()),
            ConfigResponse::Fetched { body, .. } => Ok(load(body, &self.compile)?),
        }
    }

    fn ask(
        &self,
        request: impl FnOnce() -> Result<ConfigResponse, TransportError>,
    ) -> Result<ConfigResponse, TransportError> {
        self.guard.caught("the transport", request).unwrap_or(Err(TransportError::Panicked))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::served::body;
    use crate::options::SdkConfig;

    struct Answering(fn() -> Result<ConfigResponse, TransportError>);

    impl ConfigSource for Answering {
        fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
            self.0()
        }

        fn fetch_experience(&self, _: &ConfigRequest<'_>, _: &str) -> Result<ConfigResponse, TransportError> {
            self.0()
        }
    }

    fn fetcher(answer: fn() -> Result<ConfigResponse, TransportError>) -> Fetcher {
        Fetcher {
            source: Arc::new(Answering(answer)),
            sdk_key: Secret::new("1/2"),
            tuning: SdkConfig::builder().sdk_key("1/2").build().unwrap().tuning,
            timeout: Duration::from_secs(1),
            compile: CompileOptions::default(),
            guard: PanicGuard::default(),
        }
    }

    #[test]
    fn what_was_fetched_is_compiled() {
        let fetcher =
            fetcher(|| Ok(ConfigResponse::Fetched { body: body("1", "7"), etag: Some("e".into()) }));
        let config = fetcher.config(None);
        assert!(matches!(config, Ok(FetchedConfig::Changed { etag: Some(etag), .. }) if etag == "e"));
        assert!(fetcher.experience("7").is_ok());
    }

    #[test]
    fn an_experience_response_that_is_no_config_is_an_error() {
        let garbage = || Ok(ConfigResponse::Fetched { body: String::new(), etag: None });
        let answers: [fn() -> Result<ConfigResponse, TransportError>; 4] =
            [garbage, || Ok(ConfigResponse::NotModified), || Err(TransportError::Connect), || panic!("bug")];
        for answer in answers {
            assert!(fetcher(answer).experience("7").is_err());
        }
        assert!(fetcher(garbage).config(None).is_err());
    }
}
