//! Listens, and bounds what a client can use: connections, heads, time.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::routes::Answer;

/// The largest request head, in bytes and in headers.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// The maximum lifetime of a connection, even if its client never reads responses.
const LIFETIME: Duration = Duration::from_secs(300);
/// How long accepting pauses after the system refused a connection, for example for lack of file descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// TLS for accepted connections, if configured.
#[cfg(feature = "tls")]
pub(crate) type Acceptor = Option<tokio_rustls::TlsAcceptor>;
/// TLS for accepted connections, which this build does not have.
#[cfg(not(feature = "tls"))]
pub(crate) type Acceptor = Option<Infallible>;

/// The limits of a listener.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    /// How long a head may take to arrive.
    pub(crate) head: Duration,
    /// How long requests in progress may take when their connection expires or the relay stops.
    pub(crate) drain: Duration,
}

/// Serves until told to stop, then until the requests in progress have finished.
#[cfg_attr(
    not(feature = "tls"),
    expect(clippy::clone_on_copy, reason = "only an acceptor for TLS is no copy")
)]
pub(crate) async fn serve<F, W>(
    listener: TcpListener,
    acceptor: Acceptor,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
    answer: F,
) where
    F: Fn(Request<Incoming>) -> W + Clone + Send + 'static,
    W: Future<Output = Answer> + Send,
{
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&permits).acquire_owned();
        let accepted = async { (permit.await, listener.accept().await) };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stop.changed() => break,
        };
        let (Ok(permit), Ok((stream, _))) = accepted else {
            sleep(ACCEPT_REST).await;
            continue;
        };
        let (acceptor, answer, stop) = (acceptor.clone(), answer.clone(), stop.clone());
        connections.spawn(async move {
            let _permit = permit;
            let _ = secured(stream, acceptor, limits, stop, answer).await;
        });
    }
    drop(listener);
    let _ = timeout(limits.drain, async { while connections.join_next().await.is_some() {} }).await;
}

/// Connection errors are the client's, so they are not logged.
async fn secured<F, W>(
    stream: TcpStream,
    acceptor: Acceptor,
    limits: Limits,
    stop: watch::Receiver<bool>,
    answer: F,
) -> io::Result<()>
where
    F: Fn(Request<Incoming>) -> W + Clone + Send + 'static,
    W: Future<Output = Answer> + Send,
{
    stream.set_nodelay(true)?;
    match acceptor {
        #[cfg(feature = "tls")]
        Some(acceptor) => {
            speak(timeout(limits.head, acceptor.accept(stream)).await??, limits, stop, answer).await;
        }
        #[cfg(not(feature = "tls"))]
        Some(never) => match never {},
        None => speak(stream, limits, stop, answer).await,
    }
    Ok(())
}

async fn speak<S, F, W>(stream: S, limits: Limits, mut stop: watch::Receiver<bool>, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> W + Clone + Send + 'static,
    W: Future<Output = Answer> + Send,
{
    let service = service_fn(move |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = &mut connection => return,
        () = sleep(LIFETIME) => {}
        _ = stop.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(limits.drain, connection).await;
}

/// TLS with this certificate chain and private key, both PEM.
#[cfg(feature = "tls")]
pub(crate) fn acceptor(chain: &[u8], key: &[u8]) -> Result<Acceptor, String> {
    use tokio_rustls::rustls::crypto::ring::default_provider;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::rustls::server::ServerConfig;

    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_| "tls_certificate: not PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "tls_key: no private key in PEM")?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| error.to_string())?;
    Ok(Some(Arc::new(config).into()))
}

#[cfg(not(feature = "tls"))]
pub(crate) fn acceptor(_: &[u8], _: &[u8]) -> Result<Acceptor, String> {
    Err("tls_certificate: this build has no TLS".to_owned())
}
