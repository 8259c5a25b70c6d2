//! How the config CDN and the metrics endpoint are reached.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::proxy::{ChosenProxy, Proxy, has_usable_port};
use super::{InvalidOption, InvalidReason, Secret};

/// Network settings for the built-in client and any other that uses [`http`](crate::http), validated when built. Its
/// `Debug` output contains no secrets or header values.
///
/// ```
/// use std::time::Duration;
/// use convert_sdk::config::TransportConfig;
///
/// let network = TransportConfig::builder().total_timeout(Duration::from_secs(3)).build()?;
/// let refused = TransportConfig::builder().config_base_url("http://cdn.example.com").build();
/// assert_eq!(refused.unwrap_err().field(), "transport.config_base_url");
/// # Ok::<(), convert_sdk::InvalidOption>(())
/// ```
#[derive(Clone)]
pub struct TransportConfig {
    pub(crate) config_base_url: Box<str>,
    pub(crate) track_base_url: Box<str>,
    pub(crate) connect_timeout: Duration,
    pub(crate) total_timeout: Duration,
    pub(crate) auth_secret: Option<AuthSecret>,
    pub(crate) headers: Vec<(HeaderName, Secret)>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) root_certificates: Vec<CertificateDer<'static>>,
    pub(crate) max_response_bytes: u64,
    pub(crate) http_on_loopback: bool,
    pub(crate) batch_ids: bool,
}

/// The bearer secret, or what tells it.
#[derive(Clone)]
pub(crate) enum AuthSecret {
    Fixed(Secret),
    Told(Arc<dyn Fn() -> Option<String> + Send + Sync>),
}

impl AuthSecret {
    /// The secret to send now. What is told cannot be checked before: a client refuses an illegal character.
    pub(crate) fn current(&self) -> Option<Secret> {
        match self {
            Self::Fixed(secret) => Some(secret.clone()),
            Self::Told(tell) => tell().filter(|secret| !secret.trim().is_empty()).map(Secret::new),
        }
    }
}

impl fmt::Debug for AuthSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Builds a [`TransportConfig`].
#[derive(Clone)]
#[must_use]
pub struct TransportConfigBuilder {
    /// The values that need no conversion; the three below are empty in it.
    plain: TransportConfig,
    headers: Vec<(String, Secret)>,
    pub(super) proxy: Option<ChosenProxy>,
    root_certificates: Vec<Vec<u8>>,
}

/// The cap on timeouts: adding a longer one to the current time could overflow.
pub(crate) const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The placeholder in the track base URL that the project's id replaces.
pub(crate) const PROJECT_PLACEHOLDER: &str = "[project_id]";

impl TransportConfig {
    /// The host that serves configs in production.
    pub const DEFAULT_CONFIG_BASE_URL: &str = "https://cdn-4.convertexperiments.com";
    /// The endpoint that takes tracking events in production; `[project_id]` is replaced.
    pub const DEFAULT_TRACK_BASE_URL: &str = "https://[project_id].metrics.convertexperiments.com/v1";
    /// Limit on opening a connection, including TLS.
    pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
    /// Limit on a whole request, from name resolution to the last byte.
    pub const DEFAULT_TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
    /// Limit on a decompressed response body, in bytes.
    pub const DEFAULT_MAX_RESPONSE_BYTES: u64 = 32 * 1024 * 1024;

    /// Starts from the production defaults.
    pub fn builder() -> TransportConfigBuilder {
        TransportConfigBuilder {
            plain: TransportConfig::default(),
            headers: Vec::new(),
            proxy: None,
            root_certificates: Vec::new(),
        }
    }

    /// Whether events go to Convert itself.
    pub(crate) fn delivers_to_convert(&self) -> bool {
        &*self.track_base_url == Self::DEFAULT_TRACK_BASE_URL
    }

    /// See [`connect_timeout`](TransportConfigBuilder::connect_timeout).
    #[must_use]
    pub const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// See [`total_timeout`](TransportConfigBuilder::total_timeout).
    #[must_use]
    pub const fn total_timeout(&self) -> Duration {
        self.total_timeout
    }

    /// See [`max_response_bytes`](TransportConfigBuilder::max_response_bytes).
    #[must_use]
    pub const fn max_response_bytes(&self) -> u64 {
        self.max_response_bytes
    }

    /// See [`proxy`](TransportConfigBuilder::proxy). The URL has a scheme, and may contain a password.
    #[must_use]
    pub fn proxy_url(&self) -> Option<&str> {
        self.proxy.as_ref().map(Proxy::url)
    }

    /// Whether a host of one of the endpoints is to be reached without the proxy; see
    /// [`proxy_from_env`](TransportConfigBuilder::proxy_from_env).
    #[must_use]
    pub fn bypasses_proxy(&self, host: &str) -> bool {
        self.proxy.as_ref().is_none_or(|proxy| proxy.is_bypassed_by(host))
    }

    /// The certificates to trust in addition to Mozilla's roots, as DER.
    pub fn root_certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.root_certificates.iter().map(|certificate| certificate.as_ref())
    }

    /// See [`danger_allow_http_on_loopback`](TransportConfigBuilder::danger_allow_http_on_loopback). If `false`, a
    /// client should refuse plain HTTP.
    #[must_use]
    pub const fn allows_http_on_loopback(&self) -> bool {
        self.http_on_loopback
    }
}

impl fmt::Debug for TransportConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportConfig")
            .field("config_base_url", &self.config_base_url)
            .field("track_base_url", &self.track_base_url)
            .field("connect_timeout", &self.connect_timeout)
            .field("total_timeout", &self.total_timeout)
            .field("auth_secret", &self.auth_secret)
            .field("headers", &self.headers)
            .field("proxy", &self.proxy)
            .field("root_certificates", &self.root_certificates.len())
            .field("max_response_bytes", &self.max_response_bytes)
            .field("http_on_loopback", &self.http_on_loopback)
            .field("batch_ids", &self.batch_ids)
            .finish()
    }
}

impl fmt::Debug for TransportConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportConfigBuilder").field("plain", &self.plain).finish_non_exhaustive()
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            config_base_url: Self::DEFAULT_CONFIG_BASE_URL.into(),
            track_base_url: Self::DEFAULT_TRACK_BASE_URL.into(),
            connect_timeout: Self::DEFAULT_CONNECT_TIMEOUT,
            total_timeout: Self::DEFAULT_TOTAL_TIMEOUT,
            auth_secret: None,
            headers: Vec::new(),
            proxy: None,
            root_certificates: Vec::new(),
            max_response_bytes: Self::DEFAULT_MAX_RESPONSE_BYTES,
            http_on_loopback: false,
            batch_ids: false,
        }
    }
}

impl TransportConfigBuilder {
    /// Where configs are fetched: a base URL that `/api/v1/config/{sdkKey}` is appended to.
    /// Default [`TransportConfig::DEFAULT_CONFIG_BASE_URL`].
    pub fn config_base_url(mut self, url: impl AsRef<str>) -> Self {
        self.plain.config_base_url = url.as_ref().into();
        self
    }

    /// Where events are delivered: a base URL that `/track/{sdkKey}` is appended to, with
    /// `[project_id]` wherever the project's id belongs.
    /// Default [`TransportConfig::DEFAULT_TRACK_BASE_URL`].
    pub fn track_base_url(mut self, url: impl AsRef<str>) -> Self {
        self.plain.track_base_url = url.as_ref().into();
        self
    }

    /// Limit on opening a connection, including TLS; more than zero. Default 10 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.plain.connect_timeout = timeout;
        self
    }

    /// Limit on a whole request, from name resolution to the last byte; more than zero. Default 10 s.
    ///
    /// A request that hangs can use up a flush or a [`shutdown`](crate::Core::shutdown) with a shorter timeout, unless
    /// [`first_timeout`](crate::delivery::DeliveryConfigBuilder::first_timeout) ends it sooner.
    pub const fn total_timeout(mut self, timeout: Duration) -> Self {
        self.plain.total_timeout = timeout;
        self
    }

    /// Sent as `Authorization: Bearer …` with config fetches only, never with tracking.
    /// Default none.
    pub fn auth_secret(mut self, secret: impl Into<Box<str>>) -> Self {
        self.plain.auth_secret = Some(AuthSecret::Fixed(Secret::new(secret)));
        self
    }

    /// Like [`auth_secret`](Self::auth_secret), with a secret that changes while the program runs: `tell` is called for
    /// each config fetch, by the thread that fetches, and so can read a file. With `None` or an empty secret the header
    /// is left out; one that no header can hold fails the fetch
    /// ([`InvalidRequest`](crate::ports::TransportError::InvalidRequest)). The last of the two calls counts.
    ///
    /// ```
    /// use convert_sdk::config::TransportConfig;
    ///
    /// let read = || Some(std::fs::read_to_string("/run/secrets/convert").ok()?.trim().to_owned());
    /// let network = TransportConfig::builder().auth_secret_with(read).build()?;
    /// # Ok::<(), convert_sdk::InvalidOption>(())
    /// ```
    pub fn auth_secret_with(mut self, tell: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        self.plain.auth_secret = Some(AuthSecret::Told(Arc::new(tell)));
        self
    }

    /// Adds a header to config fetches only (as in the official Python SDK). `Authorization`, `User-Agent`, `Accept`,
    /// `If-None-Match`, `Host` and connection headers are rejected.
    ///
    /// Deliveries have none: the metrics endpoint reads no other header, and a secret meant for the config's host would
    /// go to another one. A relay of your own that needs one takes an [`EventSink`](crate::ports::EventSink) of your
    /// own, for which [`http::delivery_request`](crate::http::delivery_request) has the rest.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Box<str>>) -> Self {
        self.headers.push((name.into(), Secret::new(value)));
        self
    }

    /// An HTTP proxy (`http://[user:password@]host:port`) for both endpoints. Default none: the
    /// environment's proxy variables are read only by [`proxy_from_env`](Self::proxy_from_env).
    pub fn proxy(mut self, url: impl Into<Box<str>>) -> Self {
        self.proxy = Some(ChosenProxy::new(Secret::new(url)));
        self
    }

    /// Certificates (PEM, one or more) to trust in addition to Mozilla's roots.
    pub fn root_certificate_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates.push(pem.into());
        self
    }

    /// Limit on a response body after decompression; a longer one is
    /// [`TransportError::TooLarge`](crate::ports::TransportError::TooLarge), and is neither read nor decompressed to
    /// its end. It also applies to what a custom source returns, which is then not parsed. At least 1 KiB. Default 32
    /// MiB.
    pub const fn max_response_bytes(mut self, bytes: u64) -> Self {
        self.plain.max_response_bytes = bytes;
        self
    }

    /// Accepts `http://` base URLs whose host is a loopback address (`localhost`, `127.0.0.0/8`,
    /// `[::1]`), for tests and local development. Plain HTTP to any other host is still rejected, and a bearer secret
    /// is never sent over it.
    pub const fn danger_allow_http_on_loopback(mut self, allow: bool) -> Self {
        self.plain.http_on_loopback = allow;
        self
    }

    /// Gives each batch of events an id, the header `convert-batch-id` over HTTP, for an endpoint that takes a batch once
    /// for each id: `convert-relay`, or a sink of your own ([`EventBatch::id`](crate::ports::EventBatch::id)). Default
    /// off: Convert's own servers do not know the header, and a browser would ask them first whether it may send it.
    ///
    /// A batch that the endpoint may have taken, because no response came or the status was 5xx, is then sent again
    /// as it was until the endpoint has taken it or refused what is in it. It is not made smaller to find the events that
    /// make the endpoint fail, counts towards the limits on waiting records but is not evicted, and expires together with
    /// its newest event: leave room for more than [`lanes`](crate::delivery::DeliveryConfigBuilder::lanes) full requests.
    ///
    /// With an [outbox](crate::ports::Outbox), an id is on disk before its batch is sent, so that a process that takes over
    /// the whole batch from one that was killed sends it again as it was too. An outbox that is late or fails is not waited
    /// for.
    ///
    /// Ids begin with 128 random bits of the process, which a forked child draws anew; **two copies of one snapshot** of a
    /// machine or process that has already recorded would use the same ids. Under WebAssembly the bits must come from
    /// [`HostClock::entropy`](crate::pump::HostClock::entropy), without which there are no ids.
    pub const fn batch_ids(mut self, send: bool) -> Self {
        self.plain.batch_ids = send;
        self
    }

    /// Validates every value.
    ///
    /// # Errors
    /// Names the first field that was rejected; the value itself is not shown.
    pub fn build(self) -> Result<TransportConfig, InvalidOption> {
        // Destructured without `..` so that a new field cannot be forgotten here.
        let Self { plain, headers, proxy, root_certificates } = self;
        let TransportConfig {
            config_base_url,
            track_base_url,
            connect_timeout,
            total_timeout,
            auth_secret,
            headers: _,
            proxy: _,
            root_certificates: _,
            max_response_bytes,
            http_on_loopback,
            batch_ids,
        } = plain;
        check_base_url("transport.config_base_url", &config_base_url, http_on_loopback)?;
        let resolved = track_base_url.replace(PROJECT_PLACEHOLDER, "0");
        check_base_url("transport.track_base_url", &resolved, http_on_loopback)?;
        check_positive("transport.connect_timeout", connect_timeout)?;
        check_positive("transport.total_timeout", total_timeout)?;
        if let Some(AuthSecret::Fixed(secret)) = &auth_secret {
            check_header_value("transport.auth_secret", secret)?;
        }
        if max_response_bytes < 1024 {
            return Err(out_of_range("transport.max_response_bytes", "at least 1024"));
        }
        let refused = || InvalidOption::new("transport.proxy", InvalidReason::NotAUrl);
        let proxy = proxy.map(|chosen| Proxy::new(chosen).ok_or_else(refused)).transpose()?;
        Ok(TransportConfig {
            config_base_url: normalized(&config_base_url),
            track_base_url: normalized(&track_base_url),
            connect_timeout: connect_timeout.min(LONGEST_TIMEOUT),
            total_timeout: total_timeout.min(LONGEST_TIMEOUT),
            auth_secret,
            headers: check_headers(headers)?,
            proxy,
            root_certificates: read_certificates(&root_certificates)?,
            max_response_bytes,
            http_on_loopback,
            batch_ids,
        })
    }
}

fn out_of_range(field: &'static str, range: &'static str) -> InvalidOption {
    InvalidOption::new(field, InvalidReason::OutOfRange(range))
}

fn check_positive(field: &'static str, duration: Duration) -> Result<(), InvalidOption> {
    if duration.is_zero() { Err(out_of_range(field, "more than zero")) } else { Ok(()) }
}

fn check_base_url(field: &'static str, url: &str, http_on_loopback: bool) -> Result<(), InvalidOption> {
    let refuse = |reason| Err(InvalidOption::new(field, reason));
    let Ok(uri) = url.parse::<Uri>() else { return refuse(InvalidReason::NotAUrl) };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return refuse(InvalidReason::NotAUrl);
    };
    if authority.host().is_empty() || !has_usable_port(authority) {
        return refuse(InvalidReason::NotAUrl);
    }
    if uri.query().is_some() || url.contains('#') || authority.as_str().contains('@') {
        return refuse(InvalidReason::ExtraUrlParts);
    }
    match scheme {
        "https" => Ok(()),
        "http" if http_on_loopback && is_loopback(authority.host()) => Ok(()),
        _ => refuse(InvalidReason::NotHttps),
    }
}

/// With the scheme in lower case, and without a slash at the end.
fn normalized(url: &str) -> Box<str> {
    let url = url.trim_end_matches('/');
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()).into(),
        None => url.into(),
    }
}

/// Whether a URL's host is a loopback address.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn check_header_value(field: &'static str, secret: &Secret) -> Result<(), InvalidOption> {
    if secret.expose().trim().is_empty() {
        return Err(InvalidOption::new(field, InvalidReason::Empty));
    }
    match HeaderValue::from_str(secret.expose()) {
        Ok(_) => Ok(()),
        Err(_) => Err(InvalidOption::new(field, InvalidReason::IllegalCharacter)),
    }
}

fn check_headers(headers: Vec<(String, Secret)>) -> Result<Vec<(HeaderName, Secret)>, InvalidOption> {
    const FIELD: &str = "transport.header";
    const RESERVED: [&str; 10] = [
        "authorization",
        "user-agent",
        "accept",
        "accept-encoding",
        "if-none-match",
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "content-type",
    ];
    let mut checked = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| InvalidOption::new(FIELD, InvalidReason::IllegalCharacter))?;
        if RESERVED.contains(&name.as_str()) {
            return Err(InvalidOption::new(FIELD, InvalidReason::ReservedHeader));
        }
        check_header_value(FIELD, &value)?;
        checked.push((name, value));
    }
    Ok(checked)
}

fn read_certificates(pems: &[Vec<u8>]) -> Result<Vec<CertificateDer<'static>>, InvalidOption> {
    let refused = || InvalidOption::new("transport.root_certificate_pem", InvalidReason::NotACertificate);
    let mut certificates = Vec::new();
    for pem in pems {
        let before = certificates.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            certificates.push(certificate.map_err(|_| refused())?);
        }
        if certificates.len() == before {
            return Err(refused());
        }
    }
    Ok(certificates)
}
