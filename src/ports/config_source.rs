//! Where configs come from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::TransportError;
use crate::options::CacheLevel;

/// Fetches configs. The built-in one, `HttpsClient`, uses HTTPS; to use another client, or for tests, install your
/// own with [`CoreBuilder::config_source`](crate::CoreBuilder::config_source).
///
/// Calls come from the SDK's own threads, at most one at a time for the config and one for a previewed experience,
/// and should return within the request's timeout: a call that hangs delays later fetches, never a caller. A panic is
/// caught and reported as [`TransportError::Panicked`]. The trait is also implemented for [`Arc`], so the application
/// can keep a handle.
pub trait ConfigSource: Send + Sync + 'static {
    /// Fetches the project's config, or reports that the one with the request's ETag is still current.
    ///
    /// # Errors
    /// Any failure; the last good config stays in place.
    fn fetch_config(&self, request: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError>;

    /// Fetches the config of a single experience, to preview one that the config does not contain.
    ///
    /// # Errors
    /// Any failure turns the preview off. Unsupported by default.
    fn fetch_experience(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: &str,
    ) -> Result<ConfigResponse, TransportError> {
        let _ = (request, experience_id);
        Err(TransportError::Unsupported)
    }

    /// Cancels fetches in progress on other threads because the SDK is closing; one that is just starting should end
    /// soon too. Called at most once per core and process, on a dedicated thread that nothing waits for: blocking or
    /// panicking here does not delay a close.
    fn interrupt(&self) {}

    /// Called in a forked child before any other method, once per core that uses this source, on the thread that
    /// first uses the core there. Inherited state may have been copied in the middle of one of the parent's calls:
    /// locks that will never be released, connections that belong to the parent. Leave those alone, create new ones,
    /// do not block and do not call the core. The default does nothing, which suits a source without locks or
    /// connections.
    fn after_fork(&self) {}
}

/// The parameters of a config fetch. Its `Debug` output contains no secrets.
#[non_exhaustive]
#[derive(Clone, Copy)]
pub struct ConfigRequest<'a> {
    /// The SDK key, as configured.
    pub sdk_key: &'a str,
    /// The environment to ask for.
    pub environment: Option<&'a str>,
    /// How much the CDN may cache.
    pub cache_level: CacheLevel,
    /// The debug token; a request with one always asks for the low cache.
    pub debug_token: Option<&'a str>,
    /// The ETag of the config in place.
    pub etag: Option<&'a str>,
    /// The time limit for the whole fetch.
    pub timeout: Duration,
}

/// The answer to a config fetch.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub enum ConfigResponse {
    /// The config with the request's ETag is still current. Without one in the request, it counts as
    /// [`TransportError::Protocol`].
    NotModified,
    /// A config, as served.
    Fetched {
        /// The JSON text. One longer than
        /// [`max_response_bytes`](crate::config::TransportConfigBuilder::max_response_bytes) in the core's network
        /// settings is [`TransportError::TooLarge`]; a source should stop reading there.
        body: String,
        /// Its ETag, sent with the next fetch unless it is longer than 8 KiB.
        etag: Option<String>,
    },
}

impl<'a> ConfigRequest<'a> {
    /// A request without any optional field, for testing a source.
    #[must_use]
    pub const fn new(sdk_key: &'a str, timeout: Duration) -> Self {
        Self {
            sdk_key,
            environment: None,
            cache_level: CacheLevel::Default,
            debug_token: None,
            etag: None,
            timeout,
        }
    }
}

impl<S: ConfigSource + ?Sized> ConfigSource for Arc<S> {
    fn fetch_config(&self, request: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        (**self).fetch_config(request)
    }

    fn fetch_experience(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: &str,
    ) -> Result<ConfigResponse, TransportError> {
        (**self).fetch_experience(request, experience_id)
    }

    fn interrupt(&self) {
        (**self).interrupt();
    }

    fn after_fork(&self) {
        (**self).after_fork();
    }
}

impl fmt::Debug for ConfigRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigRequest")
            .field("environment", &self.environment)
            .field("cache_level", &self.cache_level)
            .field("conditional", &self.etag.is_some())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ConfigResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotModified => f.write_str("NotModified"),
            Self::Fetched { body, etag } => {
                f.debug_struct("Fetched").field("bytes", &body.len()).field("etag", &etag.is_some()).finish()
            }
        }
    }
}
