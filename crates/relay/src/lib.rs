//! The relay as a library, for its binary and its tests. `docs/relay.md` in the repository describes it.
//!
//! It serves Convert's two SDK routes: configs from a single poller, and events into a Redis Stream, from
//! which any number of relays deliver them to Convert.

mod body;
mod config;
mod configs;
mod consumer;
mod conversions;
mod envelope;
mod keys;
mod link;
mod logger;
mod operations;
mod routes;
mod server;
mod settings;
mod shared;
mod standing;
mod store;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use convert_sdk::InvalidOption;
use hyper::Request;
use hyper::body::Incoming;
use redis::IntoConnectionInfo;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use logger::log_lines;
pub use settings::{Durability, KeySettings, Secret, Settings};

use keys::{Key, read};
use server::{Limits, serve};
use shared::{Alarm, Shared};
use store::{Reader, Store};

/// Config requests passed through to Convert concurrently.
pub(crate) const PASSING: usize = 32;
/// Concurrent connections of operators, and how long the last ones may take when the relay stops.
const ADMIN_CONNECTIONS: usize = 64;
const ADMIN_DRAIN: Duration = Duration::from_secs(1);
/// How long requests of SDKs may take when the relay stops.
const DRAIN: Duration = Duration::from_secs(10);

/// The SDK's message with the relay's names.
fn in_own_words(error: &InvalidOption) -> String {
    let named = error.to_string().replace("transport.", "");
    named.replace("danger_allow_http_on_loopback", "http_on_loopback = true")
}

/// Why a relay did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is invalid.
    #[error("settings: {0}")]
    Settings(String),
    /// A setting of the connection to Convert is invalid.
    #[error("settings: {}", in_own_words(.0))]
    Option(#[from] InvalidOption),
    /// A file cannot be read.
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    /// Listening on an address failed.
    #[error("{0}: {1}")]
    Listen(SocketAddr, io::Error),
}

/// A running relay.
pub struct Relay {
    address: SocketAddr,
    admin_address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    watching: JoinSet<()>,
    stop_operations: watch::Sender<bool>,
    operations: JoinSet<()>,
}

impl Relay {
    /// Starts on the current tokio runtime. Redis need not be reachable yet.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        settings.check()?;
        let acceptor = match (&settings.tls_certificate, &settings.tls_key) {
            (Some(chain), Some(key)) => {
                server::acceptor(&read(chain)?, &read(key)?).map_err(StartError::Settings)?
            }
            _ => None,
        };
        let alarm = Alarm::new();
        let keys = settings.keys.iter().map(|key| Key::new(&settings, key, alarm.clone()).map(Arc::new));
        let keys: Vec<Arc<Key>> = keys.collect::<Result<_, _>>()?;
        let client = client(&settings)?;
        let refused = |_| StartError::Settings("redis: cannot be used".to_owned());
        let store = Store::new(client.clone(), &settings.prefix).map_err(refused)?;
        let appends = Store::new(client.clone(), &settings.prefix).map_err(refused)?;
        let (listener, address) = listen(settings.listen).await?;
        let (admin_listener, admin_address) = listen(settings.admin_listen).await?;
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let member = Arc::new(consumer::Membership {
            consumer: name(),
            takeover: Duration::from_millis(settings.takeover_ms),
            refusals: settings.refusals,
            held_bytes: settings.held_bytes,
            request_timeout: Duration::from_millis(settings.delivery_ms),
        });
        for key in &keys {
            let reader = Reader::new(client.clone(), &settings.prefix, &member.consumer).map_err(refused)?;
            tasks.spawn(alarm.clone().guard(consumer::run(
                Arc::clone(key),
                store.clone(),
                reader,
                Arc::clone(&member),
                stopping.clone(),
            )));
        }
        let shared = Arc::new(Shared {
            bodies: Semaphore::new(settings.bodies_bytes),
            alarm: alarm.clone(),
            settings,
            keys,
            store,
            appends,
            passing: Arc::new(Semaphore::new(PASSING)),
            is_ready: AtomicBool::new(false),
        });
        for (key, known) in shared.keys.iter().zip(&shared.settings.keys) {
            // The config without an environment also tells whose events the key's are.
            for environment in std::iter::once("").chain(known.environments.iter().map(String::as_str)) {
                shared.variant(key, environment);
            }
        }
        let head = Duration::from_millis(shared.settings.request_ms);
        let limits = Limits { connections: shared.settings.max_connections, head, drain: DRAIN };
        let sdks = Arc::clone(&shared);
        let answer = move |request| routes::answer(Arc::clone(&sdks), request);
        tasks.spawn(alarm.clone().guard(serve(listener, acceptor, limits, stopping.clone(), answer)));
        let limits = Limits { connections: ADMIN_CONNECTIONS, head, drain: ADMIN_DRAIN };
        let operators = Arc::clone(&shared);
        let (stop_operations, stopping) = watch::channel(false);
        let mut operations = JoinSet::new();
        let answer = move |request: Request<Incoming>| {
            let answer = operations::answer(&operators, &request);
            async move { answer }
        };
        operations.spawn(alarm.clone().guard(serve(admin_listener, None, limits, stopping, answer)));
        let mut watching = JoinSet::new();
        watching.spawn(alarm.guard(standing::watch_streams(Arc::clone(&shared))));
        log::info!("serving SDKs at {address}, operators at {admin_address}");
        Ok(Self { address, admin_address, shared, stop, tasks, watching, stop_operations, operations })
    }

    /// The address for SDKs.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for health, metrics and the status page.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Waits until one of the relay's tasks has panicked, which should never happen: time for another relay.
    pub async fn failed(&self) {
        self.shared.alarm.raised().await;
    }

    /// Stops accepting connections, finishes the requests in progress, and leaves undelivered events to other
    /// relays. Takes at most about 10 seconds longer than `delivery_ms`; operators are served meanwhile.
    pub async fn stop(mut self) {
        // First, as it would find the relay ready again.
        self.watching.shutdown().await;
        self.shared.is_ready.store(false, Ordering::Relaxed);
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
        let _ = self.stop_operations.send(true);
        while self.operations.join_next().await.is_some() {}
        log::info!("stopped");
    }
}

/// Dropped without [`Relay::stop`], everything ends at once, except that requests to Convert in progress run on
/// with nobody to take their answers; other relays take over the entries it held once those look abandoned.
impl Drop for Relay {
    fn drop(&mut self) {
        for key in &self.shared.keys {
            if let Ok(mut pollers) = key.pollers.lock() {
                pollers.abort_all();
            }
        }
    }
}

fn client(settings: &Settings) -> Result<redis::Client, StartError> {
    let wrong = |_| StartError::Settings("redis: not the URL of a Redis server".to_owned());
    let server = settings.redis.expose().into_connection_info().map_err(wrong)?;
    let tcp = server.tcp_settings().clone().set_nodelay(true);
    let server = server.set_tcp_settings(tcp);
    let Some(file) = &settings.redis_ca_file else { return redis::Client::open(server).map_err(wrong) };
    let authority = read(file)?;
    #[cfg(feature = "tls")]
    if matches!(server.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        let certificates = redis::TlsCertificates { client_tls: None, root_cert: Some(authority) };
        return redis::Client::build_with_tls(server, certificates).map_err(wrong);
    }
    drop(authority);
    Err(StartError::Settings("redis_ca_file: only for rediss://, and for a build with TLS".to_owned()))
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = TcpListener::bind(address).await.map_err(|error| StartError::Listen(address, error))?;
    let bound = listener.local_addr().map_err(|error| StartError::Listen(address, error))?;
    Ok((listener, bound))
}

/// A name that no other relay has or has had.
fn name() -> String {
    format!("{}-{:016x}", std::process::id(), RandomState::new().hash_one(configs::now_ms()))
}
