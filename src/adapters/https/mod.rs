//! The built-in client: the official routes over ureq.

mod carry;
mod dial;

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use ureq::config::Config;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Connector, DefaultConnector, NextTimeout, TcpConnector};
use ureq::{Agent, Body, RequestBuilder, SendBody};

use self::dial::BlockingCalls;
use crate::http::{
    HttpRequest, MAX_ANSWER_BYTES, USER_AGENT, config_answer, config_request, delivery_answer,
    delivery_request, max_compressed_bytes, retry_after,
};
use crate::options::TransportConfig;
use crate::ports::{
    ConfigRequest, ConfigResponse, ConfigSource, DeliveryFailure, EventBatch, EventSink, Receipt,
    TransportError,
};
use crate::threads::{Current, PerProcess, between_forks};

/// The built-in client: the official routes over HTTPS, by ureq. A [`Core`](crate::Core) builds its own from
/// [`SdkConfigBuilder::transport`](crate::SdkConfigBuilder::transport); create one yourself to wrap it, and have the
/// wrapper forward every method, including [`interrupt`](ConfigSource::interrupt) and
/// [`after_fork`](ConfigSource::after_fork). The example `wrapped_client` counts deliveries. Needs the feature
/// `https`, which is on by default.
///
/// Calls block. An interrupt through either port ends the calls in progress and all later ones, so give each core a
/// client of its own: one that is shared ends with the first core to close.
///
/// ```
/// use convert_sdk::{Core, SdkConfig};
/// use convert_sdk::adapters::HttpsClient;
/// use convert_sdk::config::TransportConfig;
///
/// let client = HttpsClient::new(TransportConfig::builder().build()?);
/// let config = SdkConfig::builder().sdk_key("10035569/10034190").build()?;
/// let core = Core::builder(config).transport(client).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct HttpsClient {
    /// A forked child has its own connections, and no abandoned threads.
    client: PerProcess<Client>,
    config: TransportConfig,
}

struct Client {
    agent: Agent,
    blocking_calls: Arc<BlockingCalls>,
}

impl HttpsClient {
    /// A client with these settings. Opens no connection.
    #[must_use]
    pub fn new(config: TransportConfig) -> Self {
        let client = PerProcess::new(Client::new(&config));
        begin();
        Self { client, config }
    }

    fn client(&self) -> Current<'_, Client> {
        self.client.get(|_| Client::new(&self.config), |_| {})
    }

    fn get_config(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: Option<&str>,
    ) -> Result<ConfigResponse, TransportError> {
        let mut response = self.get(&config_request(&self.config, request, experience_id))?;
        config_answer(response.status().as_u16(), request.etag.is_some(), || {
            let etag = text_header(response.headers(), "etag");
            Ok((read(&mut response, self.config.max_response_bytes)?, etag))
        })
    }

    fn get(&self, asked: &HttpRequest<'_>) -> Result<Response<Body>, TransportError> {
        let get = self.prepared(self.client().agent.get(asked.url()), asked);
        get.call().map_err(|error| match error {
            ureq::Error::Http(_) => TransportError::InvalidRequest,
            error => self.named(unfetched(translate(&error)), asked.url()),
        })
    }

    /// The response's body does not matter, and has been read.
    fn post(&self, asked: &HttpRequest<'_>, body: &[u8]) -> Result<Response<Body>, Failed> {
        if asked.url().parse::<Uri>().is_err() {
            return Err(Failed::NotSent(TransportError::InvalidRequest));
        }
        let mut outgoing = Outgoing { rest: body, is_begun: false };
        let answered = self
            .prepared(self.client().agent.post(asked.url()), asked)
            .config()
            .timeout_recv_body(Some(ANSWER_BODY_TIMEOUT))
            .build()
            .header("content-length", body.len())
            .send(SendBody::from_reader(&mut outgoing));
        let mut response = answered.map_err(|error| match translate(&error) {
            error if outgoing.is_begun => Failed::Lost(error),
            error => Failed::NotSent(self.named(unsent(error), asked.url())),
        })?;
        // A connection is reusable only once its response has been read to the end; the body itself does not matter,
        // nor whether it arrives. What is not at hand is not worth the wait: the status has settled everything.
        let _ = read(&mut response, MAX_ANSWER_BYTES);
        Ok(response)
    }

    /// Adds the headers, the timeout and the proxy.
    fn prepared<B>(&self, mut request: RequestBuilder<B>, asked: &HttpRequest<'_>) -> RequestBuilder<B> {
        for (name, value) in asked.headers() {
            request = request.header(name, value);
        }
        let uri = asked.url().parse::<Uri>().ok();
        let is_direct = uri.as_ref().and_then(Uri::host).is_some_and(|host| self.config.bypasses_proxy(host));
        let proxy = self.config.proxy.as_ref().filter(|_| !is_direct);
        let proxy = proxy.map(|proxy| proxy.parsed.clone());
        request.config().timeout_global(Some(asked.timeout())).proxy(proxy).build()
    }

    /// The error, with the host and the port that could not be connected to.
    fn named(&self, error: TransportError, url: &str) -> TransportError {
        let Ok(uri) = url.parse::<Uri>() else { return error };
        let (TransportError::Connect, Some(host)) = (&error, uri.host()) else { return error };
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let way = if self.config.bypasses_proxy(host) { "" } else { " through the proxy" };
        TransportError::Unreachable(format!("{host}:{port}{way}").into())
    }

    fn cancel(&self) {
        // A client inherited from another process has no calls in progress.
        if let Some(client) = self.client.peek() {
            client.blocking_calls.interrupt();
            Agent::clone(&client.agent).shutdown();
        }
    }
}

/// Why a delivery has no response.
enum Failed {
    NotSent(TransportError),
    /// The endpoint may have the records.
    Lost(TransportError),
}

impl From<Failed> for DeliveryFailure {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::NotSent(error) => Self::NotSent(error),
            Failed::Lost(error) => Self::Unknown(error),
        }
    }
}

/// How long a delivery waits for the body once the head of the response has arrived.
const ANSWER_BODY_TIMEOUT: Duration = Duration::from_millis(50);

impl ConfigSource for HttpsClient {
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

    fn interrupt(&self) {
        self.cancel();
    }
}

impl EventSink for HttpsClient {
    fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        let asked = delivery_request(&self.config, batch).map_err(DeliveryFailure::NotSent)?;
        let response = self.post(&asked, batch.body)?;
        let date = text_header(response.headers(), "date");
        let wait = text_header(response.headers(), "retry-after")
            .and_then(|value| retry_after(&value, date.as_deref()));
        delivery_answer(response.status().as_u16(), wait)
    }

    fn interrupt(&self) {
        self.cancel();
    }
}

impl fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsClient").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Client {
    fn new(config: &TransportConfig) -> Self {
        Self::over(config, DefaultResolver::default(), TcpConnector::default())
    }

    fn over(config: &TransportConfig, resolver: impl Resolver, sockets: impl Connector) -> Self {
        let blocking_calls = BlockingCalls::new();
        Self { agent: dial::agent(agent_config(config), &blocking_calls, resolver, sockets), blocking_calls }
    }
}

fn agent_config(config: &TransportConfig) -> Config {
    let tls = TlsConfig::builder().root_certs(roots(&config.root_certificates)).build();
    Agent::config_builder()
        .tls_config(tls)
        .https_only(!config.http_on_loopback)
        .http_status_as_error(false)
        // A redirect is a response like any other (as in the official Python SDK), so nothing is ever sent to a host
        // that was not configured.
        .max_redirects(0)
        .max_redirects_will_error(false)
        // Each request has its own.
        .proxy(None)
        .user_agent(USER_AGENT)
        .timeout_connect(Some(config.connect_timeout))
        .timeout_resolve(Some(config.connect_timeout))
        .timeout_global(Some(config.total_timeout))
        .build()
}

/// This process has prepared a request.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// Prepares a first request, which is not sent. ureq initializes a `LazyLock` for it: a child forked by another
/// thread at that instant would block on it forever, in every request.
fn begin() {
    if BEGUN.load(Ordering::Acquire) {
        return;
    }
    // The host is resolved only after the request is prepared.
    let config = Agent::config_builder().proxy(None).build();
    let nowhere = Agent::with_parts(config, DefaultConnector::default(), Nowhere);
    let ended = between_forks(|| nowhere.get("http://localhost/").call());
    BEGUN.store(matches!(ended, Err(ureq::Error::HostNotFound)), Ordering::Release);
}

/// Resolves no host.
#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Err(ureq::Error::HostNotFound)
    }
}

/// Mozilla's roots, plus the configured ones.
fn roots(extra: &[CertificateDer<'static>]) -> RootCerts {
    if extra.is_empty() {
        return RootCerts::WebPki;
    }
    let mozilla = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
    let all = mozilla.iter().chain(extra);
    all.map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect::<Vec<_>>().into()
}

fn text_header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// The body of a delivery. Records whether any of it was read, which happens once there is a connection and the head
/// is sent: until then the endpoint cannot have the records.
struct Outgoing<'a> {
    rest: &'a [u8],
    is_begun: bool,
}

impl Read for Outgoing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.is_begun = true;
        self.rest.read(buffer)
    }
}

/// The decompressed body, if it is no longer than this.
fn read(response: &mut Response<Body>, limit: u64) -> Result<Vec<u8>, TransportError> {
    let reader = response.body_mut().with_config().limit(max_compressed_bytes(limit)).reader();
    let mut body = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut body).map_err(|error| match error.into() {
        ureq::Error::BodyExceedsLimit(_) => TransportError::TooLarge(limit),
        error => translate(&error),
    })?;
    if body.len() as u64 > limit { Err(TransportError::TooLarge(limit)) } else { Ok(body) }
}

/// The error for a delivery of which nothing was sent: there was no connection.
fn unsent(error: TransportError) -> TransportError {
    match error {
        TransportError::Broken(_) | TransportError::Protocol => TransportError::Connect,
        TransportError::Timeout(_) => TransportError::Timeout("connecting"),
        error => error,
    }
}

/// The error for a failed fetch. Errors typical of connecting are reported as such, although losing the route later
/// looks the same: a fetch can be repeated without harm.
fn unfetched(error: TransportError) -> TransportError {
    match error {
        TransportError::Broken(
            ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable,
        ) => TransportError::Connect,
        error => error,
    }
}

/// Keeps the kind of an error and drops any text that could contain a URL.
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
            _ if is_lookup(error) => TransportError::Connect,
            kind => translate_io(kind),
        },
        // The decoder passes on errors of the connection below it.
        ureq::Error::Decompress(_, error) => match error.kind() {
            ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::Other => TransportError::Protocol,
            kind => translate_io(kind),
        },
        _ => TransportError::Protocol,
    }
}

/// Whether name resolution failed. The standard library has no stable kind for that: it is the one uncategorized
/// error without an OS error code. Windows has codes for it.
fn is_lookup(error: &io::Error) -> bool {
    let unnamed = io::Error::from_raw_os_error(i32::MAX).kind();
    match error.raw_os_error() {
        None => error.kind() == unnamed,
        Some(code) => matches!(code, 11001..=11004),
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
    use allocation_counter::measure;
    use convert_emulator::{Emulator, Fault, FaultKind, Project, RetryAfter};
    use crossbeam_channel::{Receiver, Sender, unbounded};
    use ureq::Error;
    use ureq::unversioned::transport::ConnectionDetails;

    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn transport(emulator: &Emulator) -> HttpsClient {
        let network = TransportConfig::builder()
            .config_base_url(emulator.config_url())
            .track_base_url(emulator.track_url())
            .root_certificate_pem(emulator.ca_pem())
            .max_response_bytes(LIMIT);
        HttpsClient::new(network.build().unwrap())
    }

    const TIMEOUT: Duration = Duration::from_secs(30);

    const FETCH: ConfigRequest<'static> = ConfigRequest::new(Project::DEMO_SDK_KEY, TIMEOUT);

    const TRACK: EventBatch<'static> = EventBatch {
        route_key: Project::DEMO_SDK_KEY,
        project_id: "10034190",
        events: 1,
        body:
            br#"{"accountId":"10035569","projectId":"10034190","enrichData":false,"source":"test","visitors":
            [{"visitorId":"v","events":[{"eventType":"conversion","data":{"goalId":"100370101"}}]}]}"#,
        timeout: TIMEOUT,
        id: None,
    };

    #[test]
    fn a_new_client_prepares_the_first_request() {
        let _client = HttpsClient::new(TransportConfig::builder().build().unwrap());
        assert!(BEGUN.load(Ordering::Acquire), "a fork could hit the next one");
    }

    #[test]
    fn a_retry_after_date_is_passed_on() {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
        let transport = transport(&emulator);
        let limited = |date: &str| {
            let retry_after = Some(RetryAfter::Date(date.to_owned()));
            emulator.inject(Fault::track(FaultKind::Status { status: 429, retry_after }).times(1));
            let DeliveryFailure::Refused(refusal) = transport.deliver(&TRACK).unwrap_err() else { panic!() };
            assert_eq!(refusal.status, Some(429));
            refusal.retry_after
        };
        assert!(limited("Wed, 21 Oct 2099 07:28:00 GMT").is_some_and(|asked| asked > YEAR));
        assert_eq!(limited("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO), "it has passed");
        assert_eq!(limited("soon"), None);
    }

    const DELIVERY: EventBatch<'static> = EventBatch::new("1/2", "2", 0, b"{}", TIMEOUT);

    /// A system whose lookups or connects fail when the test says so.
    #[derive(Debug)]
    struct Hanging {
        begun: Sender<()>,
        end: Receiver<()>,
    }

    impl Hanging {
        fn new() -> (Self, Receiver<()>, Sender<()>) {
            let ((begun, is_begun), (ends, end)) = (unbounded(), unbounded());
            (Self { begun, end }, is_begun, ends)
        }

        fn hang(&self) -> Error {
            self.begun.send(()).unwrap();
            let _ = self.end.recv();
            Error::HostNotFound
        }
    }

    impl Resolver for Hanging {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
            Err(self.hang())
        }
    }

    impl Connector for Hanging {
        type Out = ();

        fn connect(&self, _: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<()>, Error> {
            Err(self.hang())
        }
    }

    fn over(connect_timeout: Duration, client: impl FnOnce(&TransportConfig) -> Client) -> HttpsClient {
        let network = TransportConfig::builder()
            .config_base_url("https://127.0.0.1:9")
            .track_base_url("https://127.0.0.1:9")
            .connect_timeout(connect_timeout);
        let config = network.build().unwrap();
        HttpsClient { client: PerProcess::new(client(&config)), config }
    }

    #[test]
    fn an_interrupt_ends_a_hanging_lookup_or_connect() {
        let ends = |call: &(dyn Fn(&HttpsClient) -> DeliveryFailure + Sync)| {
            let expected = DeliveryFailure::NotSent(TransportError::Interrupted);
            for in_lookup in [true, false] {
                let (hanging, is_begun, _ends) = Hanging::new();
                let transport = over(TIMEOUT, |config| {
                    if in_lookup {
                        Client::over(config, hanging, TcpConnector::default())
                    } else {
                        Client::over(config, DefaultResolver::default(), hanging)
                    }
                });
                std::thread::scope(|scope| {
                    let called = scope.spawn(|| call(&transport));
                    is_begun.recv().unwrap();
                    transport.cancel();
                    assert_eq!(called.join().unwrap(), expected, "in a lookup: {in_lookup}");
                });
                assert_eq!(call(&transport), expected);
                assert!(is_begun.is_empty(), "nothing starts after it");
            }
        };
        ends(&|transport| DeliveryFailure::NotSent(transport.fetch_config(&FETCH).unwrap_err()));
        ends(&|transport| transport.deliver(&DELIVERY).unwrap_err());
    }

    #[test]
    fn no_fifth_lookup_starts_while_four_hang() {
        let (hanging, is_begun, ends) = Hanging::new();
        let transport =
            over(Duration::from_millis(1), |config| Client::over(config, hanging, TcpConnector::default()));
        let late = || transport.fetch_config(&FETCH) == Err(TransportError::Timeout("connecting"));
        for _ in 0..4 {
            assert!(late());
            is_begun.recv().unwrap();
        }
        assert!(late() && late());
        assert!(is_begun.is_empty(), "no lookup starts while four hang");
        ends.send(()).unwrap();
        // The slot is free once that thread has ended.
        while is_begun.is_empty() {
            assert!(late());
        }
        is_begun.recv().unwrap();
        assert!(late());
        assert!(is_begun.is_empty(), "only one slot was free");
    }

    /// Half a gigabyte compresses to a few hundred kilobytes.
    #[test]
    fn a_gzip_bomb_costs_no_more_than_the_limit() {
        let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
        emulator.inject(Fault::both(FaultKind::GzipBomb { bytes: 1 << 29 }));
        let transport = transport(&emulator);
        let mut fetched = Ok(ConfigResponse::NotModified);
        let cost = measure(|| fetched = transport.fetch_config(&FETCH));
        assert_eq!(fetched, Err(TransportError::TooLarge(LIMIT)));
        assert!(cost.bytes_max < 4 * LIMIT, "{cost:?}");

        emulator.clear_faults();
        emulator.inject(Fault::track(FaultKind::GzipBomb { bytes: 1 << 29 }));
        let mut sent = Ok(Receipt::default());
        let cost = measure(|| sent = transport.deliver(&TRACK));
        assert_eq!(sent, Ok(Receipt::with_status(200)), "the response body does not matter");
        assert!(cost.bytes_max < LIMIT, "{cost:?}");
        let received = emulator.received();
        assert_eq!(received.totals.events, 1);
        let length = received.requests.back().unwrap().header("content-length").map(str::to_owned);
        assert_eq!(length, Some(TRACK.body.len().to_string()), "a delivery is not chunked");
    }

    #[test]
    fn a_compressed_body_at_the_limit_is_accepted() {
        let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
        for (bytes, taken) in [(LIMIT, true), (LIMIT + 1, false)] {
            emulator.inject(Fault::config(FaultKind::GzipBomb { bytes }).times(1));
            match transport(&emulator).fetch_config(&FETCH) {
                Ok(ConfigResponse::Fetched { body, .. }) => assert!(taken && body.len() as u64 == LIMIT),
                refused => assert!(!taken && refused == Err(TransportError::TooLarge(LIMIT))),
            }
        }
    }
}
