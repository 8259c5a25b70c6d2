//! The official routes over reqwest.

use std::error::Error;
use std::io::{ErrorKind, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use convert_sdk::config::TransportConfig;
use convert_sdk::http::{
    HttpRequest, MAX_ANSWER_BYTES, USER_AGENT, config_request, delivery_answer, delivery_request,
    max_compressed_bytes, retry_after,
};
use convert_sdk::ports::{
    AsyncConfigSource, AsyncEventSink, BoxFuture, ConfigRequest, ConfigResponse, DeliveryFailure, EventBatch,
    Receipt, TransportError,
};
use flate2::read::MultiGzDecoder;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;

use crate::spawned::{Lost, Spawned};

/// The number of response bodies drained at the same time; beyond it, the connection is closed instead.
const MOST_DRAINING: usize = 16;

/// An [`AsyncConfigSource`] and [`AsyncEventSink`] over [reqwest](https://docs.rs/reqwest).
///
/// It honours a [`TransportConfig`] like the built-in client: the same routes and headers, TLS with Mozilla's roots and
/// the configured ones, no redirects, the same limits. Requests run as tasks of the runtime, which needs its I/O and
/// time drivers enabled. The total timeout and the response body limit of the core's own [`TransportConfig`] apply too.
/// After the runtime has shut down, requests fail, and records are kept until the core is closed. Neither runtime nor
/// client works in a forked child, which must create its own, and a core on top of them.
///
/// ```
/// use convert_sdk::{Core, SdkConfig};
/// use convert_sdk::config::TransportConfig;
/// use convert_sdk_reqwest::ReqwestTransport;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let network = TransportConfig::builder().build()?;
/// let transport = ReqwestTransport::new(network, tokio::runtime::Handle::current())?;
/// let config = SdkConfig::builder().sdk_key("10035569/10034190").build()?;
/// let core = Core::builder(config).async_transport(transport).build()?.to_async();
/// # drop(core);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ReqwestTransport {
    client: Client,
    config: Arc<TransportConfig>,
    runtime: Handle,
    /// Its extra references are the number of response bodies being drained.
    draining: Arc<()>,
}

impl ReqwestTransport {
    /// A client with these settings, whose requests run on this runtime.
    ///
    /// # Errors
    /// This client cannot use the proxy or the certificates.
    pub fn new(config: TransportConfig, runtime: Handle) -> Result<Self, TransportError> {
        let mut client = Client::builder()
            .tls_backend_preconfigured(tls(&config)?)
            .https_only(!config.allows_http_on_loopback())
            // A redirect is a response like any other, so no request ever goes to a host that was not configured.
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(USER_AGENT)
            .default_headers([(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))].into_iter().collect())
            .connect_timeout(config.connect_timeout())
            .timeout(config.total_timeout());
        let config = Arc::new(config);
        if let Some(proxy) = config.proxy_url() {
            let (proxy, settings) = (url(proxy)?, Arc::clone(&config));
            client = client.proxy(reqwest::Proxy::custom(move |url| {
                let is_direct = url.host_str().is_some_and(|host| settings.bypasses_proxy(host));
                (!is_direct).then(|| proxy.clone())
            }));
        }
        let client = client.build().map_err(|error| translate(&error))?;
        Ok(Self { client, config, runtime, draining: Arc::default() })
    }

    async fn get_config(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: Option<&str>,
    ) -> Result<ConfigResponse, TransportError> {
        let asked = config_request(&self.config, request, experience_id);
        let get = prepared(self.client.get(url(asked.url())?), &asked);
        let (conditional, limit) = (request.etag.is_some(), self.config.max_response_bytes());
        // Decompressed here and not in the task, which runs on the application's thread.
        match Spawned::on(&self.runtime, fetch(get, conditional, limit)).await.map_err(reason)?? {
            None => Ok(ConfigResponse::NotModified),
            Some(Received { body, is_packed, etag }) => {
                let body = if is_packed { unpack(&body, limit)? } else { body };
                let body = String::from_utf8(body).map_err(|_| TransportError::NotText)?;
                Ok(ConfigResponse::Fetched { body, etag })
            }
        }
    }
}

impl AsyncConfigSource for ReqwestTransport {
    fn fetch_config<'a>(
        &'a self,
        request: &'a ConfigRequest<'a>,
    ) -> BoxFuture<'a, Result<ConfigResponse, TransportError>> {
        Box::pin(self.get_config(request, None))
    }

    fn fetch_experience<'a>(
        &'a self,
        request: &'a ConfigRequest<'a>,
        experience_id: &'a str,
    ) -> BoxFuture<'a, Result<ConfigResponse, TransportError>> {
        Box::pin(self.get_config(request, Some(experience_id)))
    }
}

impl AsyncEventSink for ReqwestTransport {
    fn deliver<'a>(&'a self, batch: &'a EventBatch<'a>) -> BoxFuture<'a, Result<Receipt, DeliveryFailure>> {
        Box::pin(async move {
            let asked = delivery_request(&self.config, batch).map_err(DeliveryFailure::NotSent)?;
            let url = url(asked.url()).map_err(DeliveryFailure::NotSent)?;
            let post = prepared(self.client.post(url), &asked).body(batch.body.to_vec());
            let draining = Arc::downgrade(&self.draining);
            let begun = Arc::new(AtomicBool::new(false));
            let task = Arc::clone(&begun);
            let posted = Spawned::on(&self.runtime, async move {
                task.store(true, Ordering::Relaxed);
                post_batch(post, draining).await
            });
            // Whether a lost task that had begun has sent anything is unknown.
            posted.await.map_err(|lost| match begun.load(Ordering::Relaxed) {
                true => DeliveryFailure::Unknown(reason(lost)),
                false => DeliveryFailure::NotSent(reason(lost)),
            })?
        })
    }
}

/// Adds the headers and the timeout.
fn prepared(mut request: RequestBuilder, asked: &HttpRequest<'_>) -> RequestBuilder {
    for (name, value) in asked.headers() {
        request = request.header(name, value);
    }
    request.timeout(asked.timeout())
}

fn reason(lost: Lost) -> TransportError {
    match lost {
        Lost::Panicked => TransportError::Panicked,
        Lost::RuntimeGone => TransportError::Other("the runtime has shut down".into()),
    }
}

impl std::fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReqwestTransport").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A config as received.
struct Received {
    body: Vec<u8>,
    is_packed: bool,
    etag: Option<String>,
}

/// `None` if the config has not changed.
async fn fetch(
    get: RequestBuilder,
    conditional: bool,
    limit: u64,
) -> Result<Option<Received>, TransportError> {
    let response = get.send().await.map_err(|error| match error.is_builder() {
        true => TransportError::InvalidRequest,
        false => translate(&error),
    })?;
    match response.status() {
        StatusCode::NOT_MODIFIED if conditional => Ok(None),
        StatusCode::OK => {
            let etag = text_header(response.headers(), "etag").map(str::to_owned);
            let is_packed = response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
            let most = if is_packed { max_compressed_bytes(limit) } else { limit };
            let body = read(response, most).await?.ok_or(TransportError::TooLarge(limit))?;
            Ok(Some(Received { body, is_packed, etag }))
        }
        status => Err(TransportError::Status(status.as_u16())),
    }
}

async fn post_batch(post: RequestBuilder, draining: Weak<()>) -> Result<Receipt, DeliveryFailure> {
    let response = post.send().await.map_err(|error| {
        // Without a connection nothing was sent.
        if error.is_connect() {
            DeliveryFailure::NotSent(translate(&error))
        } else {
            DeliveryFailure::Unknown(translate(&error))
        }
    })?;
    let status = response.status().as_u16();
    let date = text_header(response.headers(), "date");
    let wait = text_header(response.headers(), "retry-after").and_then(|value| retry_after(value, date));
    // A connection can only be reused once its response has been read to the end; what the body says, or whether it
    // arrives at all, changes nothing. So no caller waits for it, as a cancelled one would lose the status. The
    // request's timeout ends this too.
    if draining.strong_count() <= MOST_DRAINING
        && let Some(place) = draining.upgrade()
    {
        tokio::spawn(async move {
            let _ = read(response, MAX_ANSWER_BYTES).await;
            drop(place);
        });
    }
    delivery_answer(status, wait)
}

/// A body as received; `None` if it exceeds the limit.
async fn read(mut response: Response, most: u64) -> Result<Option<Vec<u8>>, TransportError> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| translate(&error))? {
        if (body.len() + piece.len()) as u64 > most {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body))
}

/// A decompressed body of at most this length.
fn unpack(packed: &[u8], limit: u64) -> Result<Vec<u8>, TransportError> {
    let mut body = Vec::new();
    let unpacked = MultiGzDecoder::new(packed).take(limit.saturating_add(1)).read_to_end(&mut body);
    match unpacked {
        Ok(length) if length as u64 > limit => Err(TransportError::TooLarge(limit)),
        Ok(_) => Ok(body),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(TransportError::Broken(error.kind())),
        Err(_) => Err(TransportError::Protocol),
    }
}

/// Dot segments would be resolved, and change the request's path.
fn url(text: &str) -> Result<Url, TransportError> {
    let dots = text.split('/').any(|segment| matches!(segment, "." | ".."));
    if dots { None } else { text.parse().ok() }.ok_or(TransportError::InvalidRequest)
}

fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Mozilla's roots and the configured ones, with the built-in client's provider.
fn tls(config: &TransportConfig) -> Result<ClientConfig, TransportError> {
    let refused = |error: rustls::Error| TransportError::Tls(error.to_string().into());
    let mut roots = RootCertStore::empty();
    let mozilla = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned();
    let own = config.root_certificates().map(|der| CertificateDer::from(der.to_vec()));
    for root in mozilla.chain(own) {
        roots.add(root).map_err(refused)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(versions.map_err(refused)?.with_root_certificates(roots).with_no_client_auth())
}

/// Keeps the kind of failure and drops any text that could contain a URL.
fn translate(error: &reqwest::Error) -> TransportError {
    if error.is_timeout() {
        return TransportError::Timeout(if error.is_connect() {
            "connecting"
        } else {
            "waiting for the answer"
        });
    }
    let causes =
        std::iter::successors(error.source(), |&cause| match cause.downcast_ref::<std::io::Error>() {
            // An I/O error does not return what it wraps as its source.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => cause.source(),
        });
    for cause in causes {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return TransportError::Tls(tls.to_string().into());
        }
        let Some(io) = cause.downcast_ref::<std::io::Error>() else { continue };
        if !error.is_connect() && !matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::Other) {
            return TransportError::Broken(io.kind());
        }
    }
    if error.is_connect() { unreachable(error) } else { TransportError::Protocol }
}

/// Names the host and the port alone: the rest of the URL has the SDK key.
fn unreachable(error: &reqwest::Error) -> TransportError {
    let place =
        error.url().and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
    place.map_or(TransportError::Connect, |place| TransportError::Unreachable(place.into()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use allocation_counter::measure;
    use convert_emulator::{Emulator, Fault, FaultKind, Project};

    use super::*;

    #[test]
    fn a_gzip_bomb_costs_no_more_than_the_limit() {
        const LIMIT: u64 = 1 << 20;
        let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
        emulator.inject(Fault::config(FaultKind::GzipBomb { bytes: 1 << 29 }));
        let network = TransportConfig::builder()
            .config_base_url(emulator.config_url())
            .root_certificate_pem(emulator.ca_pem())
            .max_response_bytes(LIMIT);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let transport = ReqwestTransport::new(network.build().unwrap(), runtime.handle().clone()).unwrap();
        let request = ConfigRequest::new(Project::DEMO_SDK_KEY, Duration::from_secs(30));
        let mut fetched = Ok(ConfigResponse::NotModified);
        let cost = measure(|| fetched = runtime.block_on(transport.fetch_config(&request)));
        assert_eq!(fetched, Err(TransportError::TooLarge(LIMIT)));
        assert!(cost.bytes_max < 4 * LIMIT, "{cost:?}");
    }

    #[test]
    fn the_number_of_endless_bodies_being_read_is_bounded() {
        const NEVER: Duration = Duration::from_secs(3_600);
        let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
        emulator.inject(Fault::track(FaultKind::SlowDrip { bytes: 1, interval_ms: 3_600_000 }));
        let network = TransportConfig::builder()
            .track_base_url(emulator.track_url())
            .root_certificate_pem(emulator.ca_pem())
            .total_timeout(NEVER);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let transport = ReqwestTransport::new(network.build().unwrap(), runtime.handle().clone()).unwrap();
        let body = r#"{"accountId":"10035569","projectId":"10034190","enrichData":false,"source":"test","visitors":
            [{"visitorId":"v","events":[{"eventType":"conversion","data":{"goalId":"100370101"}}]}]}"#;
        let batch = EventBatch::new(Project::DEMO_SDK_KEY, "10034190", 1, body.as_bytes(), NEVER);
        for _ in 0..MOST_DRAINING + 4 {
            let sent = runtime.block_on(transport.deliver(&batch));
            assert_eq!(sent, Ok(Receipt::with_status(200)));
        }
        assert_eq!(Arc::strong_count(&transport.draining), 1 + MOST_DRAINING);
        drop(runtime);
        assert_eq!(Arc::strong_count(&transport.draining), 1, "they end with the runtime");
    }
}
