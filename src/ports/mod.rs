//! What an application can replace: where configs come from, where events go, what remembers visitors.

#[cfg(feature = "async")]
mod async_store;
#[cfg(feature = "async")]
mod async_transport;
mod guarded;
mod store;

use std::fmt;
use std::time::Duration;

use thiserror::Error;

#[cfg(feature = "async")]
pub use async_store::AsyncDataStore;
#[cfg(feature = "async")]
pub use async_transport::AsyncTransport;
pub use store::{DataStore, StoreError};

#[cfg(feature = "async")]
pub use crate::threads::BoxFuture;

#[cfg(feature = "async")]
pub(crate) use async_store::DrivenStore;
#[cfg(feature = "async")]
pub(crate) use async_transport::DrivenTransport;
pub(crate) use guarded::GuardedTransport;
pub(crate) use store::Guarded;

use crate::options::CacheLevel;

/// Fetches configs and sends tracking. The built-in one speaks HTTPS; put your own in with
/// [`CoreBuilder::transport`](crate::CoreBuilder::transport), for another client, a message bus or
/// a test.
///
/// Calls come from the SDK's own threads, at most one fetch of the config and one of a
/// previewed experience at a time, and deliveries from
/// [as many lanes as configured](crate::delivery::DeliveryConfigBuilder::lanes), and should return within the
/// request's timeout: a call that hangs delays later deliveries, never a caller. A panic is caught and
/// counts as [`TransportError::Panicked`].
pub trait Transport: Send + Sync + 'static {
    /// Fetches the project's config, or says that the one with the request's ETag is still current.
    ///
    /// # Errors
    /// Any failure; the last good config stays in place.
    fn fetch_config(&self, request: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError>;

    /// Fetches the config of a single experience, for previews of what the config does not hold.
    ///
    /// # Errors
    /// Any failure turns the preview off. The default cannot fetch.
    fn fetch_experience(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: &str,
    ) -> Result<ConfigResponse, TransportError> {
        let _ = (request, experience_id);
        Err(TransportError::Unsupported)
    }

    /// Delivers one batch. `Ok` with a 2xx status means that the endpoint has it; any other status
    /// is a refusal.
    ///
    /// # Errors
    /// No answer was received, so that the batch's fate may be unknown.
    fn send_tracking(&self, request: &TrackingRequest<'_>) -> Result<TrackingResponse, TransportError>;

    /// Ends calls in progress on other threads, because the SDK stops; one that is just beginning is to end
    /// soon too. Called at most once for each core and process, on a thread of its own, which nobody waits
    /// for: what blocks or panics here holds no close up.
    fn interrupt(&self) {}

    /// Called in a forked child before any other method, once for each core that uses this transport,
    /// on the thread that used the core first there. What was inherited may be in the middle of a call
    /// of the parent's: locks that nobody will release, connections that are the parent's to use and to
    /// close. Leave those alone, make new ones, wait for nothing and do not call the core. The default
    /// does nothing, which fits a transport that keeps neither locks nor connections.
    fn after_fork(&self) {}
}

/// What a config fetch needs to know. Its `Debug` shows no secret.
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
    /// How long the fetch may take in all.
    pub timeout: Duration,
}

/// The answer to a config fetch.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq)]
pub enum ConfigResponse {
    /// The config with the request's ETag is still current.
    NotModified,
    /// A config, as served.
    Fetched {
        /// The JSON text. One longer than
        /// [`max_response_bytes`](crate::config::TransportConfigBuilder::max_response_bytes) of the core's network
        /// settings is [`TransportError::TooLarge`]; a transport does well to stop reading there.
        body: String,
        /// Its ETag, sent back with the next fetch if it is no longer than 8 KiB.
        etag: Option<String>,
    },
}

/// One batch to deliver. Its `Debug` shows no secret and no visitor.
#[non_exhaustive]
#[derive(Clone, Copy)]
pub struct TrackingRequest<'a> {
    /// What follows `/track/`: the SDK key, or `{account}/{project}` without one.
    pub route_key: &'a str,
    /// The project's id, for the host name.
    pub project_id: &'a str,
    /// The JSON envelope.
    pub body: &'a [u8],
    /// How long the delivery may take in all.
    pub timeout: Duration,
}

/// The endpoint's answer to a batch.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackingResponse {
    /// The HTTP status.
    pub status: u16,
    /// How long the endpoint asks to be left alone (`Retry-After`, as seconds or as a date). The backoff of
    /// [`DeliveryConfig`](crate::delivery::DeliveryConfig) is waited for in any case.
    pub retry_after: Option<Duration>,
}

/// Why no usable answer came. Never shows a URL's query, a key, a secret or a visitor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The host name does not resolve, nothing accepts connections there, or the connection ended, or the
    /// SDK stopped, before any of a delivery was sent.
    #[error("could not connect")]
    Connect,
    /// The server's certificate is not trusted, or the handshake failed.
    #[error("TLS failed: {0}")]
    Tls(Box<str>),
    /// The time for the request was over.
    #[error("timed out ({0})")]
    Timeout(&'static str),
    /// The connection broke before the answer was complete, or a compressed body ended early.
    #[error("the connection broke ({0})")]
    Broken(std::io::ErrorKind),
    /// The config endpoint answered with this status.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// The body, unpacked, is longer than
    /// [`max_response_bytes`](crate::config::TransportConfigBuilder::max_response_bytes).
    #[error("the body is longer than {0} bytes")]
    TooLarge(u64),
    /// The body is not UTF-8 text.
    #[error("the body is not UTF-8")]
    NotText,
    /// The answer is not HTTP, or breaks its rules.
    #[error("the answer is not valid HTTP")]
    Protocol,
    /// The account, project or key cannot stand in a URL; no try can help.
    #[error("the request cannot be made into a URL")]
    InvalidRequest,
    /// The request was ended because the SDK stops.
    #[error("interrupted by close")]
    Interrupted,
    /// This transport cannot do that.
    #[error("not supported by this transport")]
    Unsupported,
    /// A custom transport panicked.
    #[error("the transport panicked")]
    Panicked,
    /// A custom transport's own reason, of which 1 KiB is kept. Counts as nothing sent: where the endpoint
    /// may have the events, return [`Broken`](Self::Broken) instead.
    #[error("{0}")]
    Other(Box<str>),
}

impl TrackingResponse {
    /// An answer with this status and no `Retry-After`.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self { status, retry_after: None }
    }

    /// Whether the endpoint has taken the batch.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.status >= 200 && self.status < 300
    }
}

impl TransportError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout(_) => "timeout",
            Self::Broken(_) => "broken",
            Self::Status(_) => "status",
            Self::TooLarge(_) => "too_large",
            Self::NotText => "not_text",
            Self::Protocol => "protocol",
            Self::InvalidRequest => "invalid_request",
            Self::Interrupted => "interrupted",
            Self::Unsupported => "unsupported",
            Self::Panicked => "panicked",
            Self::Other(_) => "other",
        }
    }

    /// The HTTP status, where one was received.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        if let Self::Status(status) = self { Some(*status) } else { None }
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

impl fmt::Debug for TrackingRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackingRequest")
            .field("project_id", &self.project_id)
            .field("bytes", &self.body.len())
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
