//! For HTTP clients: the official routes, what a request carries, and what a response means.
//! The built-in `HttpsClient` combines this with ureq, and `ReqwestTransport` in the crate `convert-sdk-reqwest`
//! combines it with reqwest. A client must not follow redirects, so that nothing is sent to a host that was not
//! configured.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::options::{AuthSecret, CacheLevel, PROJECT_PLACEHOLDER, TransportConfig};
use crate::ports::{
    ConfigRequest, ConfigResponse, DeliveryFailure, EventBatch, Receipt, Refusal, RefusalReason,
    TransportError,
};

/// The `User-Agent` of every request. Without it the metrics endpoint treats the events as a bot's and drops them.
pub const USER_AGENT: &str = "ConvertAgent/1.0";

/// The header with a [batch's id](EventBatch::id).
pub const BATCH_ID: &str = "convert-batch-id";

/// How much of the metrics endpoint's response is read, in bytes. A connection can be reused only after its response
/// was read to the end; after a longer response it is closed.
pub const MAX_ANSWER_BYTES: u64 = 16 * 1024;

/// The characters that query values may contain unescaped.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The request to make: a `GET` for a config, a `POST` of the batch's body for a delivery. Its `Debug` output omits
/// the URL and headers, which contain keys and secrets.
pub struct HttpRequest<'a> {
    url: String,
    headers: Vec<(&'a str, Cow<'a, str>)>,
    timeout: Duration,
}

impl<'a> HttpRequest<'a> {
    #[cfg(feature = "https")]
    pub(crate) const fn new(url: String, headers: Vec<(&'a str, Cow<'a, str>)>, timeout: Duration) -> Self {
        Self { url, headers, timeout }
    }

    /// The URL, which contains the SDK key and perhaps the debug token.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The headers: lower-case names and values. Those that describe the body or the connection, and
    /// `accept-encoding`, are left to the client.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_ref()))
    }

    /// The time limit for the whole request.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }
}

impl fmt::Debug for HttpRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// The request for a config, or for one experience's. A 304 means
/// [`NotModified`](crate::ports::ConfigResponse::NotModified) if the request has an ETag, a 200 has a config, and any
/// other status is [`TransportError::Status`].
#[must_use]
pub fn config_request<'a>(
    network: &'a TransportConfig,
    request: &ConfigRequest<'a>,
    experience_id: Option<&str>,
) -> HttpRequest<'a> {
    let environment = request.environment.map(|environment| ("environment", environment));
    let token = request.debug_token.map(|token| ("debug_token", token));
    let low_cache = ("_conv_low_cache", "1");
    let query = match experience_id {
        Some(id) => [Some(("exp", id)), Some(low_cache), environment, token],
        None => {
            let low = token.is_some() || request.cache_level == CacheLevel::Low;
            [environment, token, low.then_some(low_cache), None]
        }
    };
    let base = &network.config_base_url;
    let url =
        format!("{base}/api/v1/config/{}{}", request.sdk_key, encode_query(query.into_iter().flatten()));
    let own = network.headers.iter().map(|(name, value)| (name.as_str(), value.expose().into()));
    let conditional = request.etag.map(|etag| ("if-none-match", etag.into()));
    let secret = network.auth_secret.as_ref().filter(|_| base.starts_with("https://"));
    let secret = secret.and_then(AuthSecret::current);
    let bearer = secret.map(|secret| ("authorization", format!("Bearer {}", secret.expose()).into()));
    let fixed = [("user-agent", USER_AGENT.into()), ("accept", "application/json".into())];
    HttpRequest {
        url,
        headers: fixed.into_iter().chain(own).chain(conditional).chain(bearer).collect(),
        timeout: request.timeout.min(network.total_timeout),
    }
}

/// The request that delivers a batch; [`delivery_answer`] says what the status means.
///
/// # Errors
/// [`TransportError::InvalidRequest`]: an id from the config would change the request's destination.
pub fn delivery_request<'a>(
    network: &TransportConfig,
    batch: &EventBatch<'_>,
) -> Result<HttpRequest<'a>, TransportError> {
    let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_path = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '%' | '\\');
    let is_dots = |segment| matches!(segment, "." | "..");
    let route = batch.route_key;
    let account = route.strip_suffix(batch.project_id).and_then(|account| account.strip_suffix('/'));
    if !batch.project_id.chars().all(is_label)
        || !route.chars().all(is_path)
        || route.split('/').any(is_dots)
        || account.is_some_and(|account| account.contains('/'))
    {
        return Err(TransportError::InvalidRequest);
    }
    let base = network.track_base_url.replace(PROJECT_PLACEHOLDER, batch.project_id);
    let fixed = [("user-agent", USER_AGENT.into()), ("content-type", "application/json".into())];
    let id = batch.id.map(|id| (BATCH_ID, id.to_owned().into()));
    Ok(HttpRequest {
        url: format!("{base}/track/{}", batch.route_key),
        headers: fixed.into_iter().chain(id).collect(),
        timeout: batch.timeout.min(network.total_timeout),
    })
}

/// What the config endpoint's status means, given what to read of a response that has a config: its body and ETag.
pub(crate) fn config_answer(
    status: u16,
    conditional: bool,
    read: impl FnOnce() -> Result<(Vec<u8>, Option<String>), TransportError>,
) -> Result<ConfigResponse, TransportError> {
    match status {
        304 if conditional => Ok(ConfigResponse::NotModified),
        200 => {
            let (body, etag) = read()?;
            let body = String::from_utf8(body).map_err(|_| TransportError::NotText)?;
            Ok(ConfigResponse::Fetched { body, etag })
        }
        status => Err(TransportError::Status(status)),
    }
}

/// What the metrics endpoint's status means for a batch, given the response's `Retry-After`; see
/// [`retry_after`].
///
/// # Errors
/// Every status except 2xx is a refusal.
pub fn delivery_answer(status: u16, retry_after: Option<Duration>) -> Result<Receipt, DeliveryFailure> {
    let reason = match status {
        200..=299 => return Ok(Receipt::with_status(status)),
        413 => RefusalReason::TooLarge,
        400 | 422 => RefusalReason::Events,
        408 | 425 | 429 => RefusalReason::Busy,
        400..=499 => RefusalReason::Sender,
        _ => RefusalReason::Failing,
    };
    Err(Refusal { reason, retry_after, status: Some(status) }.into())
}

/// The wait that a `Retry-After` asks for, in seconds or as a date. A date is compared with the server's own `Date`
/// if present, so that a wrong local clock does not matter.
#[must_use]
pub fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    retry_after_by(value, date, SystemTime::now)
}

/// [`retry_after`] where the local time of day is known otherwise.
pub(crate) fn retry_after_by(
    value: &str,
    date: Option<&str>,
    now: impl FnOnce() -> SystemTime,
) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let now = date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(now);
    Some(until.duration_since(now).unwrap_or_default())
}

/// The most bytes to read of a compressed body, given the limit on the decompressed one. Incompressible data grows a
/// little; a body that decompresses to nothing is cut off here.
#[must_use]
pub const fn max_compressed_bytes(max_response_bytes: u64) -> u64 {
    max_response_bytes.saturating_add(max_response_bytes / 8).saturating_add(1024)
}

fn encode_query<'a>(query: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in query {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.extend(utf8_percent_encode(value, QUERY));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_servers_clock() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(retry_after(" 120 ", date), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:50:07 GMT", date), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:00:00 GMT", date), Some(Duration::ZERO), "over");
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", None), Some(Duration::ZERO));
        for nonsense in ["", "-1", "soon", "1.5", "Sun, 06 Nov"] {
            assert_eq!(retry_after(nonsense, date), None, "{nonsense}");
        }
    }

    #[test]
    fn an_id_cannot_change_a_deliverys_destination() {
        let network = TransportConfig::default();
        let request = |route, project| {
            delivery_request(&network, &EventBatch::new(route, project, 1, b"{}", Duration::from_secs(1)))
                .map(|request| request.url().to_owned())
        };
        let sent = "https://2.metrics.convertexperiments.com/v1/track/1/2";
        assert_eq!(request("1/2", "2").as_deref(), Ok(sent));
        assert!(request("key", "2").is_ok());
        for (route, project) in
            [("../2", "2"), ("./2", "2"), ("a/b/2", "2"), ("a/../b", "2"), ("1?/2", "2"), ("1/2", "2.evil")]
        {
            assert_eq!(request(route, project), Err(TransportError::InvalidRequest), "{route} {project}");
        }
    }

    #[test]
    fn the_bearer_secret_is_sent_over_https_in_any_case() {
        for base in ["https://cdn.example", "HTTPS://cdn.example/"] {
            let network = TransportConfig::builder().config_base_url(base).auth_secret("s").build().unwrap();
            let asked = ConfigRequest::new("k", Duration::from_secs(1));
            let request = config_request(&network, &asked, None);
            assert!(request.headers().any(|(name, _)| name == "authorization"), "{base}");
            assert_eq!(request.url(), "https://cdn.example/api/v1/config/k");
        }
    }

    #[test]
    fn a_status_says_what_is_at_fault() {
        let wait = Some(Duration::from_secs(1));
        for (reason, statuses) in [
            (RefusalReason::Failing, &[100, 301, 304, 307, 500, 502, 503, 599][..]),
            (RefusalReason::Busy, &[408, 425, 429]),
            (RefusalReason::Sender, &[401, 402, 403, 404, 405, 410, 451, 499]),
            (RefusalReason::Events, &[400, 422]),
            (RefusalReason::TooLarge, &[413]),
        ] {
            for &status in statuses {
                let refusal = Refusal { reason, retry_after: wait, status: Some(status) };
                assert_eq!(delivery_answer(status, wait), Err(DeliveryFailure::Refused(refusal)), "{status}");
            }
        }
        assert_eq!(delivery_answer(204, wait), Ok(Receipt::with_status(204)));
    }
}
