//! The built-in transport: the official routes over ureq. The only file that opens a connection.

use std::io::ErrorKind;

use ureq::http::{HeaderMap, StatusCode, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::typestate::WithoutBody;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, RequestBuilder};

use super::lookup::Lookup;
use super::routes::{MAX_ANSWER_BYTES, USER_AGENT, config_headers, config_url, retry_after, track_url};
use super::{ConfigRequest, ConfigResponse, TrackingRequest, TrackingResponse, Transport, TransportError};
use crate::options::TransportConfig;
use crate::process::{Current, PerProcess};

pub(crate) struct HttpTransport {
    /// A forked child has connections of its own.
    agent: PerProcess<Agent>,
    config: TransportConfig,
}

impl HttpTransport {
    pub(crate) fn new(config: TransportConfig) -> Self {
        Self { agent: PerProcess::new(new_agent(&config)), config }
    }

    fn agent(&self) -> Current<'_, Agent> {
        self.agent.get(|_| new_agent(&self.config), |_| {})
    }

    fn get_config(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: Option<&str>,
    ) -> Result<ConfigResponse, TransportError> {
        let get = self
            .agent()
            .get(config_url(&self.config, request, experience_id))
            .config()
            .timeout_global(Some(request.timeout.min(self.config.total_timeout)))
            .build();
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

    fn track_url(&self, request: &TrackingRequest<'_>) -> Result<String, TransportError> {
        let url = track_url(&self.config, request)?;
        if url.parse::<Uri>().is_ok() { Ok(url) } else { Err(TransportError::InvalidRequest) }
    }

    fn with_headers(
        &self,
        mut get: RequestBuilder<WithoutBody>,
        etag: Option<&str>,
    ) -> RequestBuilder<WithoutBody> {
        for (name, value) in config_headers(&self.config, etag) {
            get = get.header(name, value.as_ref());
        }
        get
    }
}

impl Transport for HttpTransport {
    fn fetch_config(&self, request: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        self.get_config(request, None)
    }

    fn fetch_experience(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: &str,
    ) -> Result<ConfigResponse, TransportError> {
        self.get_config(request, Some(experience_id))
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
        let date = text_header(response.headers(), "date");
        let retry_after = text_header(response.headers(), "retry-after")
            .and_then(|asked| retry_after(&asked, date.as_deref()));
        Ok(TrackingResponse { status: response.status().as_u16(), retry_after })
    }

    fn interrupt(&self) {
        // An agent that this process has not made has no calls at hand.
        if let Some(agent) = self.agent.peek() {
            Agent::clone(&agent).shutdown();
        }
    }
}

fn new_agent(config: &TransportConfig) -> Agent {
    let tls = TlsConfig::builder().root_certs(roots(&config.root_certificates)).build();
    let agent = Agent::config_builder()
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
        .build();
    Agent::with_parts(agent, DefaultConnector::default(), Lookup)
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
