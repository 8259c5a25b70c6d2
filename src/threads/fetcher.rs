//! Fetches configs and experiences, and compiles them.

use std::sync::Arc;
use std::time::Duration;

use crate::caught::PanicGuard;
use crate::config::{CompileOptions, ConfigError, ConfigSnapshot, load};
use crate::engine::FetchedConfig;
use crate::error::LoadError;
use crate::options::{Secret, Tuning};
use crate::ports::{ConfigRequest, ConfigResponse, ConfigSource, TransportError};
use crate::telemetry::{Timer, fetch_span};

/// Fetches configs and experiences from the source, on the calling thread.
pub(crate) struct Fetcher {
    pub(crate) source: Arc<dyn ConfigSource>,
    pub(crate) fetches: Fetches,
    pub(crate) guard: PanicGuard,
}

/// What all of a core's fetches have in common, whoever makes them.
#[derive(Clone)]
pub(crate) struct Fetches {
    pub(crate) sdk_key: Secret,
    pub(crate) tuning: Tuning,
    pub(crate) timeout: Duration,
    pub(crate) compile: CompileOptions,
}

/// The longest ETag that is kept, in bytes; servers send fewer than 100.
const LONGEST_ETAG: usize = 1_024;

impl Fetcher {
    /// Fetches the config, and compiles it if it has changed.
    pub(super) fn config(&self, etag: Option<&str>) -> Result<FetchedConfig, LoadError> {
        let _span = fetch_span("config", etag.is_some());
        let timer = Fetches::timer();
        self.fetches.config(self.ask(|| self.source.fetch_config(&self.fetches.request(etag))), timer)
    }

    /// Fetches a config that contains an experience. The ETag is the config's, not the experience's.
    pub(super) fn experience(&self, id: &str) -> Result<Arc<ConfigSnapshot>, LoadError> {
        let _span = fetch_span("experience", false);
        self.fetches.experience(self.ask(|| self.source.fetch_experience(&self.fetches.request(None), id)))
    }

    fn ask(
        &self,
        request: impl FnOnce() -> Result<ConfigResponse, TransportError>,
    ) -> Result<ConfigResponse, TransportError> {
        self.guard.caught("the transport", request).unwrap_or(Err(TransportError::Panicked))
    }
}

impl Fetches {
    /// Measures a fetch of the config, from its request on.
    pub(crate) fn timer() -> Timer {
        Timer::start("convert_fetch_seconds", "outcome", "failed")
    }

    /// A config from the response, compiled if it has changed.
    pub(crate) fn config(
        &self,
        response: Result<ConfigResponse, TransportError>,
        mut timer: Timer,
    ) -> Result<FetchedConfig, LoadError> {
        match response? {
            ConfigResponse::NotModified => {
                logged!(debug, { seconds = timer.seconds() }, "the config has not changed");
                timer.set("not_modified");
                Ok(FetchedConfig::NotModified)
            }
            ConfigResponse::Fetched { body, etag } => {
                logged!(debug, { bytes = body.len(), seconds = timer.seconds() }, "a config was fetched");
                let snapshot = self.compiled(body)?;
                timer.set("fetched");
                let etag = etag.filter(|etag| is_sound(etag));
                Ok(FetchedConfig::Changed { snapshot, etag })
            }
        }
    }

    /// The config that contains an experience, from the response.
    pub(crate) fn experience(
        &self,
        response: Result<ConfigResponse, TransportError>,
    ) -> Result<Arc<ConfigSnapshot>, LoadError> {
        match response? {
            ConfigResponse::NotModified => Err(TransportError::Protocol.into()),
            ConfigResponse::Fetched { body, .. } => Ok(self.compiled(body)?),
        }
    }

    pub(super) fn compiled(&self, text: String) -> Result<Arc<ConfigSnapshot>, ConfigError> {
        load(text, &self.compile)
    }

    /// The request for what is served now, unless it has this ETag.
    pub(crate) fn request<'a>(&'a self, etag: Option<&'a str>) -> ConfigRequest<'a> {
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

/// Whether an ETag may be sent back. One with a line break would add headers to a request of a host that writes them
/// itself; without one the next fetch gets the whole config.
fn is_sound(etag: &str) -> bool {
    etag.len() <= LONGEST_ETAG && etag.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
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
            fetches: Fetches {
                sdk_key: Secret::new("1/2"),
                tuning: SdkConfig::builder().sdk_key("1/2").build().unwrap().tuning,
                timeout: Duration::from_secs(1),
                compile: CompileOptions::default(),
            },
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
