//! The official routes over reqwest, on the application's tokio runtime.

use std::error::Error;
use std::io::{ErrorKind, Read as _};
use std::sync::{Arc, Weak};

use flate2::read::MultiGzDecoder;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Handle;

use super::routes::{
    MAX_ANSWER_BYTES, USER_AGENT, config_headers, config_url, on_the_wire, retry_after, track_url,
};
use super::spawned::{Lost, Spawned};
use crate::options::TransportConfig;
use crate::ports::{
    AsyncTransport, ConfigRequest, ConfigResponse, TrackingRequest, TrackingResponse, TransportError,
};
use crate::threads::BoxFuture;

/// Bodies of answers that are read at the same time; the connection of a further one is closed.
const MOST_DRAINING: usize = 16;

/// An [`AsyncTransport`] over [reqwest](https://docs.rs/reqwest), for applications that want all their
/// connections on their own tokio runtime. Needs the feature `async-reqwest`.
///
/// It honours a [`TransportConfig`] as the built-in transport does: the same routes and headers, TLS
/// with Mozilla's roots and the configured ones, no redirects, the same bounds. Requests run as tasks of
/// the runtime, which needs its I/O and time drivers. Of the core's own [`TransportConfig`] the total
/// timeout and the bound on a response body count besides. When the runtime is gone they fail, and the records
/// are kept until the core is closed. Neither runtime nor client works in a forked child, which makes its own
/// and a core over them.
///
/// ```
/// use convert_sdk::{Core, SdkConfig, adapters::ReqwestTransport, config::TransportConfig};
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
    /// As many more references as bodies of answers are being read.
    draining: Arc<()>,
}

impl ReqwestTransport {
    /// A client with these settings, whose requests run on this runtime.
    ///
    /// # Errors
    /// The proxy or the certificates cannot be used by this client.
    pub fn new(config: TransportConfig, runtime: Handle) -> Result<Self, TransportError> {
        let mut client = Client::builder()
            .tls_backend_preconfigured(tls(&config)?)
            .https_only(!config.http_on_loopback)
            // A redirect is an answer like any other, so nothing ever leaves for a host that was not
            // configured.
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(USER_AGENT)
            .default_headers([(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))].into_iter().collect())
            .connect_timeout(config.connect_timeout)
            .timeout(config.total_timeout);
        if let Some(proxy) = &config.proxy {
            let proxy = reqwest::Proxy::all(proxy.uri().to_string());
            client = client.proxy(proxy.map_err(|_| TransportError::InvalidRequest)?);
        }
        let client = client.build().map_err(|error| translate(&error))?;
        Ok(Self { client, config: Arc::new(config), runtime, draining: Arc::default() })
    }

    /// Runs a request as a task of the runtime.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, TransportError>> + Send + 'static,
    ) -> Result<T, TransportError> {
        Spawned::on(&self.runtime, work).await.unwrap_or_else(|lost| {
            Err(match lost {
                Lost::Panicked => TransportError::Panicked,
                Lost::RuntimeGone => TransportError::Other("the runtime is gone".into()),
            })
        })
    }

    async fn get_config(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: Option<&str>,
    ) -> Result<ConfigResponse, TransportError> {
        let mut get = self.client.get(url(&config_url(&self.config, request, experience_id))?);
        for (name, value) in config_headers(&self.config, request.etag) {
            get = get.header(name, value.as_ref());
        }
        let get = get.timeout(request.timeout.min(self.config.total_timeout));
        let (conditional, limit) = (request.etag.is_some(), self.config.max_response_bytes);
        // Unpacked here and not in the task, whose thread is the application's.
        match self.run(fetch(get, conditional, limit)).await? {
            None => Ok(ConfigResponse::NotModified),
            Some(Received { body, is_packed, etag }) => {
                let body = if is_packed { unpack(&body, limit)? } else { body };
                let body = String::from_utf8(body).map_err(|_| TransportError::NotText)?;
                Ok(ConfigResponse::Fetched { body, etag })
            }
        }
    }
}

impl AsyncTransport for ReqwestTransport {
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

    fn send_tracking<'a>(
        &'a self,
        request: &'a TrackingRequest<'a>,
    ) -> BoxFuture<'a, Result<TrackingResponse, TransportError>> {
        Box::pin(async move {
            let post = self
                .client
                .post(url(&track_url(&self.config, request)?)?)
                .timeout(request.timeout.min(self.config.total_timeout))
                .header("content-type", "application/json")
                .body(request.body.to_vec());
            self.run(post_batch(post, Arc::downgrade(&self.draining))).await
        })
    }
}

impl std::fmt::Debug for ReqwestTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReqwestTransport").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A config as it came.
struct Received {
    body: Vec<u8>,
    is_packed: bool,
    etag: Option<String>,
}

/// `None` where the config has not changed.
async fn fetch(
    get: RequestBuilder,
    conditional: bool,
    limit: u64,
) -> Result<Option<Received>, TransportError> {
    let response = get.send().await.map_err(|error| translate(&error))?;
    match response.status() {
        StatusCode::NOT_MODIFIED if conditional => Ok(None),
        StatusCode::OK => {
            let etag = text_header(response.headers(), "etag").map(str::to_owned);
            let is_packed = response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
            let most = if is_packed { on_the_wire(limit) } else { limit };
            let body = read(response, most).await?.ok_or(TransportError::TooLarge(limit))?;
            Ok(Some(Received { body, is_packed, etag }))
        }
        status => Err(TransportError::Status(status.as_u16())),
    }
}

async fn post_batch(post: RequestBuilder, draining: Weak<()>) -> Result<TrackingResponse, TransportError> {
    let response = post.send().await.map_err(|error| translate(&error))?;
    let status = response.status().as_u16();
    let date = text_header(response.headers(), "date");
    let retry_after =
        text_header(response.headers(), "retry-after").and_then(|asked| retry_after(asked, date));
    // A connection can be used again only when its answer is read to the end; what the body says, or
    // whether it comes at all, changes nothing. So nobody waits for it, who might be told to give up
    // and forget the status. The request's timeout ends this too.
    if draining.strong_count() <= MOST_DRAINING
        && let Some(place) = draining.upgrade()
    {
        tokio::spawn(async move {
            let _ = read(response, MAX_ANSWER_BYTES).await;
            drop(place);
        });
    }
    Ok(TrackingResponse { status, retry_after })
}

/// A body as it comes; `None` where it is longer than this.
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

/// A body of at most this length, unpacked.
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

/// Segments of dots would be resolved, and change where a request goes.
fn url(text: &str) -> Result<Url, TransportError> {
    let dots = text.split('/').any(|segment| matches!(segment, "." | ".."));
    if dots { None } else { text.parse().ok() }.ok_or(TransportError::InvalidRequest)
}

fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Mozilla's roots and the configured ones, with the provider of the built-in transport.
fn tls(config: &TransportConfig) -> Result<ClientConfig, TransportError> {
    let refused = |error: rustls::Error| TransportError::Tls(error.to_string().into());
    let mut roots = RootCertStore::empty();
    let mozilla = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned();
    let own = config.root_certificates.iter().map(|own| CertificateDer::from(own.der().to_vec()));
    for root in mozilla.chain(own) {
        roots.add(root).map_err(refused)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(versions.map_err(refused)?.with_root_certificates(roots).with_no_client_auth())
}

/// Keeps the kind of a failure and drops every text that could hold a URL.
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
            // What an I/O error wraps is not its source.
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
    if error.is_connect() { TransportError::Connect } else { TransportError::Protocol }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use allocation_counter::measure;
    use convert_emulator::{Emulator, Fault, FaultKind, Project};

    use super::*;
    use crate::options::CacheLevel;

    #[test]
    fn a_gzip_bomb_costs_no_more_than_the_bound() {
        const LIMIT: u64 = 1 << 20;
        let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
        emulator.inject(Fault::config(FaultKind::GzipBomb { bytes: 1 << 29 }));
        let network = TransportConfig::builder()
            .config_base_url(emulator.config_url())
            .root_certificate_pem(emulator.ca_pem())
            .max_response_bytes(LIMIT);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let transport = ReqwestTransport::new(network.build().unwrap(), runtime.handle().clone()).unwrap();
        let request = ConfigRequest {
            sdk_key: Project::DEMO_SDK_KEY,
            environment: None,
            cache_level: CacheLevel::Default,
            debug_token: None,
            etag: None,
            timeout: Duration::from_secs(30),
        };
        let mut fetched = Ok(ConfigResponse::NotModified);
        let cost = measure(|| fetched = runtime.block_on(transport.fetch_config(&request)));
        assert_eq!(fetched, Err(TransportError::TooLarge(LIMIT)));
        assert!(cost.bytes_max < 4 * LIMIT, "{cost:?}");
    }

    #[test]
    fn bodies_that_never_end_are_read_up_to_a_number() {
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
        let request = TrackingRequest {
            route_key: Project::DEMO_SDK_KEY,
            project_id: "10034190",
            body: body.as_bytes(),
            timeout: NEVER,
        };
        for _ in 0..MOST_DRAINING + 4 {
            let sent = runtime.block_on(transport.send_tracking(&request));
            assert_eq!(sent, Ok(TrackingResponse::new(200)));
        }
        assert_eq!(Arc::strong_count(&transport.draining), 1 + MOST_DRAINING);
        drop(runtime);
        assert_eq!(Arc::strong_count(&transport.draining), 1, "they end with the runtime");
    }
}
