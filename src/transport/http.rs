//! The built-in transport: the official routes over ureq. The only file that opens a connection.

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::{HeaderMap, StatusCode, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::WithoutBody;
use ureq::{Agent, RequestBuilder};

use super::{ConfigRequest, ConfigResponse, TrackingRequest, TrackingResponse, Transport, TransportError};
use crate::options::PROJECT_PLACEHOLDER;
use crate::options::{CacheLevel, TransportConfig};
use crate::process::{Current, PerProcess};

/// Without it the metrics endpoint takes the events for a bot's and drops them.
const USER_AGENT: &str = "ConvertAgent/1.0";

/// How much of the metrics endpoint's answer is read before its connection is given up instead.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;

/// What a query value may hold as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(crate) struct HttpTransport {
    /// A forked child has connections of its own.
    agent: PerProcess<Agent>,
    config: TransportConfig,
}

impl HttpTransport {
    pub(crate) fn new(config: TransportConfig) -> Self {
        Self { agent: PerProcess::new(new_agent(&config)), config }
    }

    fn agent(&self) -> Current<Agent> {
        self.agent.get(|_| new_agent(&self.config), |_| {})
    }

    fn get_config(
        &self,
        request: &ConfigRequest<'_>,
        query: &[(&str, &str)],
    ) -> Result<ConfigResponse, TransportError> {
        let base = &self.config.config_base_url;
        let url = format!("{base}/api/v1/config/{}{}", request.sdk_key, encode_query(query));
        let get = self
            .agent()
            .get(url)
            .config()
            .timeout_global(Some(request.timeout.min(self.config.total_timeout)))
            .build()
            .header("accept", "application/json");
        let mut response = self.with_headers(get, request.etag).call().map_err(|e| translate(&e))?;
        match response.status() {
            StatusCode::NOT_MODIFIED if request.etag.is_some() => Ok(ConfigResponse::NotModified),
            StatusCode::OK => {
                let etag = text_header(response.headers(), "etag");
                let limit = self.config.max_response_bytes;
                // ureq refuses to look past its limit, also for the end of a body of exactly that length.
                let body = response.body_mut().with_config().limit(limit.saturating_add(1)).read_to_vec();
                let body = body.map_err(|error| translate_body(&error, limit))?;
                if body.len() as u64 > limit {
                    return Err(TransportError::TooLarge(limit));
                }
                let body = String::from_utf8(body).map_err(|_| TransportError::NotText)?;
                Ok(ConfigResponse::Fetched { body, etag })
            }
            status => Err(TransportError::Status(status.as_u16())),
        }
    }

    /// Ids come from a config: they must not change where a request goes.
    fn track_url(&self, request: &TrackingRequest<'_>) -> Result<String, TransportError> {
        let is_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let is_path = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '%' | '\\');
        if !request.project_id.chars().all(is_label) || !request.route_key.chars().all(is_path) {
            return Err(TransportError::InvalidRequest);
        }
        let base = self.config.track_base_url.replace(PROJECT_PLACEHOLDER, request.project_id);
        let url = format!("{base}/track/{}", request.route_key);
        if url.parse::<Uri>().is_ok() { Ok(url) } else { Err(TransportError::InvalidRequest) }
    }

    fn with_headers(
        &self,
        mut get: RequestBuilder<WithoutBody>,
        etag: Option<&str>,
    ) -> RequestBuilder<WithoutBody> {
        for (name, value) in &self.config.headers {
            get = get.header(name, value.expose());
        }
        if let Some(etag) = etag {
            get = get.header("if-none-match", etag);
        }
        match &self.config.auth_secret {
            Some(secret) if self.config.config_base_url.starts_with("https://") => {
                get.header("authorization", format!("Bearer {}", secret.expose()))
            }
            _ => get,
        }
    }
}

impl Transport for HttpTransport {
    fn fetch_config(&self, request: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        let mut query = Vec::with_capacity(3);
        if let Some(environment) = request.environment {
            query.push(("environment", environment));
        }
        if let Some(token) = request.debug_token {
            query.push(("debug_token", token));
        }
        if request.debug_token.is_some() || request.cache_level == CacheLevel::Low {
            query.push(("_conv_low_cache", "1"));
        }
        self.get_config(request, &query)
    }

    fn fetch_experience(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: &str,
    ) -> Result<ConfigResponse, TransportError> {
        let mut query = vec![("exp", experience_id), ("_conv_low_cache", "1")];
        if let Some(environment) = request.environment {
            query.push(("environment", environment));
        }
        if let Some(token) = request.debug_token {
            query.push(("debug_token", token));
        }
        self.get_config(request, &query)
    }

    fn send_tracking(&self, request: &TrackingRequest<'_>) -> Result<TrackingResponse, TransportError> {
        let mut response = self
            .agent()
            .post(self.track_url(request)?)
            .config()
            .timeout_global(Some(request.timeout.min(self.config.total_timeout)))
            .build()
            .content_type("application/json")
            .send(request.body)
            .map_err(|error| translate(&error))?;
        // A connection can be used again only when its answer is read to the end; what the body says,
        // or whether it comes at all, changes nothing.
        let _ = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let retry_after = text_header(response.headers(), "retry-after")
            .and_then(|asked| wait_asked_for(&asked, text_header(response.headers(), "date").as_deref()));
        Ok(TrackingResponse { status: response.status().as_u16(), retry_after })
    }

    fn interrupt(&self) {
        // An agent that this process has not made has no calls at hand.
        if let Some(agent) = self.agent.peek() {
            Agent::clone(&agent).shutdown();
        }
    }
}

/// A `Retry-After`: seconds, or a date, which is seen from the server's own `date` where it gives
/// one, so that a clock that is wrong here does not matter.
fn wait_asked_for(asked: &str, date: Option<&str>) -> Option<Duration> {
    let asked = asked.trim();
    if let Ok(seconds) = asked.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(asked).ok()?;
    let now = date.and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or_else(SystemTime::now);
    Some(until.duration_since(now).unwrap_or_default())
}

fn new_agent(config: &TransportConfig) -> Agent {
    let tls = TlsConfig::builder().root_certs(roots(&config.root_certificates)).build();
    Agent::config_builder()
        .tls_config(tls)
        .https_only(!config.http_on_loopback)
        .http_status_as_error(false)
        // A redirect is an answer like any other (as in the official Python SDK), so nothing
        // ever leaves for a host that was not configured.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(config.proxy.clone())
        .user_agent(USER_AGENT)
        .timeout_connect(Some(config.connect_timeout))
        .timeout_resolve(Some(config.connect_timeout))
        .timeout_global(Some(config.total_timeout))
        .build()
        .new_agent()
}

/// Mozilla's roots, and the configured ones besides them.
fn roots(extra: &[Certificate<'static>]) -> RootCerts {
    if extra.is_empty() {
        return RootCerts::WebPki;
    }
    let mozilla = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
    let mozilla = mozilla.iter().map(|der| Certificate::from_der(der.as_ref()));
    mozilla.chain(extra.iter().cloned()).collect::<Vec<_>>().into()
}

fn encode_query(query: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in query {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.extend(utf8_percent_encode(value, QUERY));
    }
    text
}

fn text_header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn translate_body(error: &ureq::Error, limit: u64) -> TransportError {
    match error {
        ureq::Error::BodyExceedsLimit(_) => TransportError::TooLarge(limit),
        other => translate(other),
    }
}

/// Keeps the kind of a failure and drops every text that could hold a URL.
fn translate(error: &ureq::Error) -> TransportError {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
            TransportError::Timeout("connecting")
        }
        ureq::Error::Timeout(_) => TransportError::Timeout("waiting for the answer"),
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::ConnectProxyFailed(_) => {
            TransportError::Connect
        }
        ureq::Error::Rustls(error) => TransportError::Tls(error.to_string().into()),
        ureq::Error::Tls(reason) => TransportError::Tls((*reason).into()),
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::InvalidData => TransportError::Tls(error.to_string().into()),
            kind => translate_io(kind),
        },
        // The decoder passes on what happened to the connection below it.
        ureq::Error::Decompress(_, error) => match error.kind() {
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other => TransportError::Protocol,
            kind => translate_io(kind),
        },
        _ => TransportError::Protocol,
    }
}

fn translate_io(kind: ErrorKind) -> TransportError {
    match kind {
        ErrorKind::ConnectionRefused => TransportError::Connect,
        ErrorKind::NotConnected => TransportError::Interrupted,
        ErrorKind::TimedOut => TransportError::Timeout("waiting for the answer"),
        kind => TransportError::Broken(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_seen_from_the_servers_clock() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wait_asked_for(" 120 ", date), Some(Duration::from_secs(120)));
        assert_eq!(wait_asked_for("Sun, 06 Nov 1994 08:50:07 GMT", date), Some(Duration::from_secs(30)));
        assert_eq!(wait_asked_for("Sun, 06 Nov 1994 08:00:00 GMT", date), Some(Duration::ZERO), "over");
        assert_eq!(wait_asked_for("Sun, 06 Nov 1994 08:49:37 GMT", None), Some(Duration::ZERO));
        for nonsense in ["", "-1", "soon", "1.5", "Sun, 06 Nov"] {
            assert_eq!(wait_asked_for(nonsense, date), None, "{nonsense}");
        }
    }
}
