//! What every test needs: a served project, cores that talk to it, and a transport driven by hand.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use convert_emulator::{Emulator, Project, Received, RouteKind};
use convert_sdk::config::{TransportConfig, TransportConfigBuilder};
use convert_sdk::delivery::{DeliveryConfig, FlushOptions};
use convert_sdk::events::{LifecycleEvent, Subscription};
use convert_sdk::ports::{
    ConfigRequest, ConfigResponse, ConfigSource, DeliveryFailure, EventBatch, EventSink, Receipt,
    TransportError,
};
use convert_sdk::{Context, Core, SdkConfig, SdkConfigBuilder, Stats, attributes, http};
use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use serde_json::Value;

/// An SDK key with a slash that is not account and project id.
pub(crate) const KEY: &str = "shop/key-of-7";
/// Long enough that only a hang exceeds it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// A flush that the first failure ends.
pub(crate) const ONCE: FlushOptions = FlushOptions::within(PATIENCE).single_attempt(true);

pub(crate) fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// The config that most tests use.
pub(crate) fn shop() -> Value {
    serde_json::from_str(include_str!("shop.json")).unwrap()
}

pub(crate) fn serve() -> Emulator {
    serve_project(Project::from_json(shop()))
}

pub(crate) fn serve_project(project: Project) -> Emulator {
    Emulator::builder().project(project.sdk_key(KEY)).start().unwrap()
}

/// The built-in transport, pointed at an emulator over HTTPS.
pub(crate) fn network(emulator: &Emulator) -> TransportConfigBuilder {
    TransportConfig::builder()
        .config_base_url(emulator.config_url())
        .track_base_url(emulator.track_url())
        .root_certificate_pem(emulator.ca_pem())
}

pub(crate) fn keyed(emulator: &Emulator) -> SdkConfigBuilder {
    keyed_over(network(emulator))
}

pub(crate) fn keyed_over(network: TransportConfigBuilder) -> SdkConfigBuilder {
    SdkConfig::builder().sdk_key(KEY).transport(network.build().unwrap())
}

pub(crate) fn direct() -> SdkConfigBuilder {
    SdkConfig::builder().data(&shop())
}

/// Direct data whose events go to an emulator.
pub(crate) fn direct_to(emulator: &Emulator) -> SdkConfigBuilder {
    direct().transport(network(emulator).build().unwrap())
}

/// Capacity for this many records on the way to the tracker, and as many behind it; one delivery at a time.
pub(crate) fn capacity(records: usize) -> DeliveryConfig {
    let delivery = DeliveryConfig::builder().queue_capacity(records).max_pending_records(records);
    delivery.lanes(1).build().unwrap()
}

/// Leaves retries to flushes.
pub(crate) fn patient() -> DeliveryConfig {
    let never = Duration::from_secs(365 * 24 * 60 * 60);
    DeliveryConfig::builder().backoff(never).backoff_ceiling(never).build().unwrap()
}

/// The ledger without the config's fields.
pub(crate) fn counts(core: &Core) -> Stats {
    let mut stats = core.stats();
    (stats.config_origin, stats.config_at) = (None, None);
    stats
}

pub(crate) fn unready(config: SdkConfigBuilder) -> Core {
    Core::new(config.build().unwrap())
}

pub(crate) fn start(config: SdkConfigBuilder) -> Core {
    let core = unready(config);
    core.initialize().unwrap();
    core
}

/// A core whose deliveries the test answers by hand.
pub(crate) fn start_scripted(config: SdkConfigBuilder) -> (Core, Script) {
    let script = Script::new();
    let core = Core::builder(config.build().unwrap()).transport(script.transport()).build().unwrap();
    core.initialize().unwrap();
    (core, script)
}

pub(crate) fn visitor(core: &Core, id: &str) -> Context {
    core.create_context(id, ()).unwrap()
}

/// A visitor in the audience of `price`.
pub(crate) fn pro(core: &Core, id: &str) -> Context {
    core.create_context(id, attributes! { "plan" => "pro" }).unwrap()
}

/// Records one conversion for each of these visitors.
pub(crate) fn convert(core: &Core, ids: std::ops::Range<u32>) {
    for id in ids {
        let sent = visitor(core, &format!("visitor-{id}")).track_conversion("purchase");
        assert!(sent.tracked(), "{sent:?}");
    }
}

/// The first event that `wanted` accepts, which must come before the deadline.
pub(crate) fn next<T>(events: &Subscription, mut wanted: impl FnMut(&LifecycleEvent) -> Option<T>) -> T {
    let deadline = deadline();
    loop {
        let event = events.next_before(deadline).expect("the event should come before the deadline");
        if let Some(found) = wanted(&event) {
            return found;
        }
    }
}

/// Waits for the end of a delivery and returns its event.
pub(crate) fn released(events: &Subscription) -> LifecycleEvent {
    next(events, |event| matches!(event, LifecycleEvent::ApiQueueReleased { .. }).then(|| event.clone()))
}

/// Polls the ledger until it is as wanted, as there is no way to wait for it.
pub(crate) fn until(core: &Core, wanted: impl Fn(&Stats) -> bool) -> Stats {
    let deadline = deadline();
    loop {
        let stats = core.stats();
        assert!(stats.is_balanced(), "{stats:?}");
        if wanted(&stats) {
            return stats;
        }
        assert!(Instant::now() < deadline, "the ledger stays at {stats:?}");
        std::thread::yield_now();
    }
}

/// The bodies of the tracking requests.
pub(crate) fn bodies(received: &Received) -> Vec<Value> {
    received.requests_on(RouteKind::Track).map(|it| serde_json::from_str(&it.body).unwrap()).collect()
}

/// A tracking request as a scripted transport saw it.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) route_key: String,
    pub(crate) project_id: String,
    pub(crate) timeout: Duration,
    pub(crate) id: Option<String>,
    pub(crate) body: Value,
}

impl Posted {
    pub(crate) fn visitors(&self) -> Vec<&str> {
        let visitors = self.body["visitors"].as_array().unwrap();
        visitors.iter().map(|visitor| visitor["visitorId"].as_str().unwrap()).collect()
    }
}

/// A config request as a scripted transport saw it.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) etag: Option<String>,
    pub(crate) experience: Option<String>,
}

pub(crate) type Answer = Result<Receipt, DeliveryFailure>;
pub(crate) type ConfigAnswer = Result<ConfigResponse, TransportError>;

/// The test's end of a scripted transport: each call is passed to the test, and ends when it is answered here or
/// interrupted.
pub(crate) struct Script {
    pub(crate) posts: Receiver<Posted>,
    pub(crate) answers: Sender<Answer>,
    pub(crate) fetches: Receiver<Fetched>,
    pub(crate) configs: Sender<ConfigAnswer>,
    transport: Arc<ScriptedTransport>,
}

pub(crate) struct ScriptedTransport {
    posts: Sender<Posted>,
    answers: Receiver<Answer>,
    fetches: Sender<Fetched>,
    configs: Receiver<ConfigAnswer>,
    /// Taken by an interrupt, which disconnects `interrupted`.
    running: Mutex<Option<Sender<()>>>,
    interrupted: Receiver<()>,
}

impl Script {
    pub(crate) fn new() -> Self {
        let (posts, shown_posts) = unbounded();
        let (answers, given_answers) = unbounded();
        let (fetches, shown_fetches) = unbounded();
        let (configs, given_configs) = unbounded();
        let (running, interrupted) = bounded(0);
        let transport = Arc::new(ScriptedTransport {
            posts,
            answers: given_answers,
            fetches,
            configs: given_configs,
            running: Mutex::new(Some(running)),
            interrupted,
        });
        Self { posts: shown_posts, answers, fetches: shown_fetches, configs, transport }
    }

    pub(crate) fn transport(&self) -> Arc<ScriptedTransport> {
        Arc::clone(&self.transport)
    }

    /// The next delivery that begins.
    pub(crate) fn posted(&self) -> Posted {
        self.posts.recv_timeout(PATIENCE).expect("a delivery should start")
    }

    pub(crate) fn answer(&self, status: u16) {
        self.answers.send(http::delivery_answer(status, None)).unwrap();
    }

    /// Fails the next delivery as if nobody were reachable.
    pub(crate) fn fail(&self, error: TransportError) {
        self.answers.send(Err(DeliveryFailure::NotSent(error))).unwrap();
    }

    /// The next config fetch that begins.
    pub(crate) fn fetched(&self) -> Fetched {
        self.fetches.recv_timeout(PATIENCE).expect("a fetch should start")
    }

    pub(crate) fn give_config(&self, config: &Value, etag: &str) {
        let answer = ConfigResponse::Fetched { body: config.to_string(), etag: Some(etag.to_owned()) };
        self.configs.send(Ok(answer)).unwrap();
    }
}

impl ScriptedTransport {
    fn fetch(&self, etag: Option<&str>, experience: Option<&str>) -> ConfigAnswer {
        let fetched = Fetched { etag: etag.map(str::to_owned), experience: experience.map(str::to_owned) };
        // A test may have stopped looking.
        let _ = self.fetches.send(fetched);
        select! {
            recv(self.configs) -> answer => answer.unwrap_or(Err(TransportError::Connect)),
            recv(self.interrupted) -> _ => Err(TransportError::Interrupted),
        }
    }
}

impl ConfigSource for ScriptedTransport {
    fn fetch_config(&self, request: &ConfigRequest<'_>) -> ConfigAnswer {
        self.fetch(request.etag, None)
    }

    fn fetch_experience(&self, request: &ConfigRequest<'_>, experience_id: &str) -> ConfigAnswer {
        self.fetch(request.etag, Some(experience_id))
    }

    fn interrupt(&self) {
        self.running.lock().unwrap().take();
    }
}

impl EventSink for ScriptedTransport {
    fn deliver(&self, batch: &EventBatch<'_>) -> Answer {
        let posted = Posted {
            route_key: batch.route_key.to_owned(),
            project_id: batch.project_id.to_owned(),
            timeout: batch.timeout,
            id: batch.id.map(str::to_owned),
            body: serde_json::from_slice(batch.body).unwrap(),
        };
        let _ = self.posts.send(posted);
        select! {
            recv(self.answers) -> answer => answer.unwrap_or(Err(DeliveryFailure::NotSent(TransportError::Connect))),
            recv(self.interrupted) -> _ => Err(DeliveryFailure::Unknown(TransportError::Interrupted)),
        }
    }

    fn interrupt(&self) {
        self.running.lock().unwrap().take();
    }
}
