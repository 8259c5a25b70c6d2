//! The refresher: fetches configs, puts the good ones in place, and waits longer after each failure.

#[cfg(feature = "async")]
mod tasks;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use crossbeam_channel::{Receiver, Sender, TryRecvError, at, bounded, never, select};
use smol_str::SmolStr;

use super::Notifier;
use super::jitter::Jitter;
use super::reply::Reply;
use super::thread::Worker;
use super::wait::Wakers;
use crate::caught::Wall;
use crate::config::{CompileOptions, ConfigChanges, ConfigSnapshot, SnapshotCell};
use crate::error::{LoadError, StartError};
use crate::events::LifecycleEvent;
use crate::options::{RefreshConfig, Tuning};
use crate::secret::Secret;
use crate::transport::{ConfigRequest, ConfigResponse, Transport, TransportError};

/// How long a previewed experience is kept after its fetch, as in the official SDKs.
const PREVIEW_LIFE: Duration = Duration::from_secs(60);
/// Previewed experiences kept at most; ids come from links that anyone can write.
const PREVIEWS: usize = 64;
/// Requests that may wait.
const COMMANDS: usize = 64;

/// The way to the refresher. Dropping it ends the thread after the fetch at hand.
pub(crate) struct RefresherHandle {
    /// Taken by close, which disconnects the thread.
    inbox: ArcSwapOption<RefresherInbox>,
    /// Tasks that wait for room in the inbox.
    #[cfg_attr(not(feature = "async"), expect(dead_code, reason = "no task waits without the feature"))]
    room: Arc<Wakers>,
    worker: Worker,
}

struct RefresherInbox {
    commands: Sender<RefresherCommand>,
    /// Nothing is sent here: its end tells the thread to leave the commands that wait.
    _open: Sender<()>,
}

/// What the refresher can be asked.
pub(crate) enum RefresherCommand {
    /// Fetch the config now and, where asked, say how it went.
    RefreshNow(Option<Reply<Result<RefreshOutcome, LoadError>>>),
    /// Fetch one experience for a preview.
    FetchExperience(SmolStr, Reply<Result<Arc<ConfigSnapshot>, LoadError>>),
}

/// What a successful refresh found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshOutcome {
    /// The config in place is still current.
    NotModified,
    /// Another config is in place now.
    Updated(ConfigChanges),
}

/// What the refresher is made of.
pub(crate) struct RefresherSettings {
    pub(crate) sdk_key: Secret,
    pub(crate) tuning: Tuning,
    pub(crate) timeout: Duration,
    pub(crate) compile: CompileOptions,
    pub(crate) cell: Arc<SnapshotCell>,
    /// When the config in place was fetched or confirmed.
    pub(crate) confirmed_at: Arc<ArcSwapOption<SystemTime>>,
    pub(crate) jitter: Jitter,
    pub(crate) wall: Wall,
}

/// The state machine: answers of the transport and time go in, snapshots and waits come out.
pub(crate) struct Refresher {
    settings: RefresherSettings,
    etag: Option<String>,
    failures: u32,
    next: Option<Instant>,
    previews: HashMap<SmolStr, (Instant, Arc<ConfigSnapshot>)>,
}

impl RefresherHandle {
    /// Starts the thread.
    pub(crate) fn start(
        settings: RefresherSettings,
        transport: Arc<dyn Transport>,
        notifier: Arc<Notifier>,
    ) -> Result<Self, StartError> {
        let (commands, inbox) = bounded(COMMANDS);
        let (open, closing) = bounded(0);
        let room = Arc::<Wakers>::default();
        let taken = Arc::clone(&room);
        let worker = Worker::start("convert-refresher", move || {
            run(Refresher::new(settings), &inbox, &taken, &closing, transport.as_ref(), &notifier);
        })?;
        let inbox = ArcSwapOption::from_pointee(RefresherInbox { commands, _open: open });
        Ok(Self { inbox, room, worker })
    }

    /// Asks for a fetch without waiting. With no room for the request there are others at hand,
    /// and each of them is one.
    pub(crate) fn refresh_soon(&self) {
        if let Some(inbox) = self.inbox.load().as_ref() {
            let _ = inbox.commands.try_send(RefresherCommand::RefreshNow(None));
        }
    }

    /// Asks for a fetch and waits for its end; `None` where the deadline passed first.
    pub(crate) fn refresh(&self, deadline: Instant) -> Option<Result<RefreshOutcome, LoadError>> {
        let (reply, outcome) = bounded(1);
        self.send(RefresherCommand::RefreshNow(Some(reply.into())), deadline)?;
        outcome.recv_deadline(deadline).ok()
    }

    /// Asks for one experience and waits for it; `None` where the deadline passed first.
    pub(crate) fn fetch_experience(
        &self,
        experience_id: &str,
        deadline: Instant,
    ) -> Option<Result<Arc<ConfigSnapshot>, LoadError>> {
        let (reply, fetched) = bounded(1);
        self.send(RefresherCommand::FetchExperience(experience_id.into(), reply.into()), deadline)?;
        fetched.recv_deadline(deadline).ok()
    }

    /// Tells the thread to end after the fetch at hand.
    pub(crate) fn stop(&self) {
        self.inbox.store(None);
    }

    /// Waits for the thread to end and says whether that was in time.
    pub(crate) fn join(&self, deadline: Instant) -> bool {
        self.worker.join(deadline)
    }

    fn send(&self, command: RefresherCommand, deadline: Instant) -> Option<()> {
        // A clone of the sender would keep the thread alive for as long as this waits, so the send
        // happens under the load.
        self.inbox.load().as_ref()?.commands.send_deadline(command, deadline).ok()
    }
}

fn run(
    mut refresher: Refresher,
    commands: &Receiver<RefresherCommand>,
    room: &Wakers,
    closing: &Receiver<()>,
    transport: &dyn Transport,
    notifier: &Notifier,
) {
    // In a forked child there is a config already.
    refresher.plan(Instant::now());
    loop {
        let tick = refresher.next.map_or_else(never, at);
        // Before any command that waits; the choice below is a fair one.
        if closing.try_recv() == Err(TryRecvError::Disconnected) {
            return;
        }
        let command = select! {
            recv(closing) -> _ => return,
            recv(commands) -> command => match command {
                Ok(command) => command,
                Err(_) => return,
            },
            recv(tick) -> _ => RefresherCommand::RefreshNow(None),
        };
        room.wake_all();
        match command {
            RefresherCommand::RefreshNow(reply) => {
                let answer = refresher
                    .settings
                    .wall
                    .caught("the transport", || transport.fetch_config(&refresher.request()))
                    .unwrap_or(Err(TransportError::Panicked));
                let outcome = refresher.answered(answer, Instant::now());
                if outcome.is_ok() {
                    refresher.settings.confirmed_at.store(Some(Arc::new(SystemTime::now())));
                }
                refresher.announce(&outcome, notifier);
                if let Some(reply) = reply {
                    reply.send(outcome.map(|(outcome, _)| outcome));
                }
            }
            RefresherCommand::FetchExperience(id, reply) => {
                let kept = refresher.preview(&id, Instant::now());
                let fetched = kept.map_or_else(
                    || {
                        // The ETag is the config's, not the experience's.
                        let request = ConfigRequest { etag: None, ..refresher.request() };
                        let answer = refresher
                            .settings
                            .wall
                            .caught("the transport", || transport.fetch_experience(&request, &id))
                            .unwrap_or(Err(TransportError::Panicked));
                        refresher.previewed(id, answer, Instant::now())
                    },
                    Ok,
                );
                reply.send(fetched);
            }
        }
    }
}

/// A refresh that went well, and whether its snapshot is the first.
type Refreshed = (RefreshOutcome, Option<Published>);

/// A snapshot that was just put in place.
struct Published {
    snapshot: Arc<ConfigSnapshot>,
    first: bool,
}

impl Refresher {
    pub(crate) fn new(settings: RefresherSettings) -> Self {
        let etag = settings.cell.etag();
        Self { settings, etag, failures: 0, next: None, previews: HashMap::new() }
    }

    fn request(&self) -> ConfigRequest<'_> {
        let RefresherSettings { sdk_key, tuning, timeout, .. } = &self.settings;
        ConfigRequest {
            sdk_key: sdk_key.expose(),
            environment: tuning.environment.as_deref(),
            cache_level: tuning.cache_level,
            debug_token: tuning.debug_token.as_ref().map(Secret::expose),
            etag: self.etag.as_deref(),
            timeout: *timeout,
        }
    }

    /// The transport has answered a config fetch: puts a good config in place, leaves the one in
    /// place otherwise, and plans the next fetch.
    fn answered(
        &mut self,
        answer: Result<ConfigResponse, TransportError>,
        now: Instant,
    ) -> Result<Refreshed, LoadError> {
        let outcome = answer.map_err(LoadError::from).and_then(|response| self.install(response));
        self.failures = if outcome.is_ok() { 0 } else { self.failures.saturating_add(1) };
        self.plan(now);
        outcome
    }

    /// Plans the next fetch, where there is a policy.
    fn plan(&mut self, now: Instant) {
        // A core that never had a config is initialized again by its application, not by the clock.
        if let Some(policy) = self.settings.tuning.refresh.clone()
            && self.settings.cell.is_set()
        {
            // A wait that no clock reaches is as good as none.
            self.next = now.checked_add(self.wait(&policy));
        }
    }

    fn wait(&mut self, policy: &RefreshConfig) -> Duration {
        policy.wait_after(self.failures).saturating_add(self.settings.jitter.up_to(policy.jitter()))
    }

    fn install(&mut self, response: ConfigResponse) -> Result<Refreshed, LoadError> {
        let ConfigResponse::Fetched { body, etag } = response else {
            // Not to have changed is no answer to a request without an ETag.
            let known = self.settings.cell.is_set();
            return if known {
                Ok((RefreshOutcome::NotModified, None))
            } else {
                Err(TransportError::Protocol.into())
            };
        };
        let snapshot = compile(body, &self.settings.compile)?;
        let cell = &self.settings.cell;
        let changes = match cell.load() {
            Some(now) if !same_project(&now, &snapshot) => return Err(LoadError::OtherProject),
            Some(now) => Some(snapshot.changes_from(&now)),
            None => None,
        };
        cell.publish(Arc::clone(&snapshot), etag.clone());
        self.etag = etag;
        let first = changes.is_none();
        Ok((RefreshOutcome::Updated(changes.unwrap_or_default()), Some(Published { snapshot, first })))
    }

    fn announce(&self, outcome: &Result<Refreshed, LoadError>, notifier: &Notifier) {
        match outcome {
            Err(error) => log::warn!("config refresh failed: {error}"),
            Ok((RefreshOutcome::Updated(changes), Some(published))) => {
                let Published { snapshot, first } = published;
                notifier.notify(if *first {
                    LifecycleEvent::ready(snapshot)
                } else {
                    LifecycleEvent::config_updated(snapshot, *changes)
                });
            }
            Ok(_) => {}
        }
    }

    fn preview(&self, experience_id: &str, now: Instant) -> Option<Arc<ConfigSnapshot>> {
        let (fetched, snapshot) = self.previews.get(experience_id)?;
        (now.duration_since(*fetched) < PREVIEW_LIFE).then(|| Arc::clone(snapshot))
    }

    /// The transport has answered a preview fetch. Failures are not kept.
    fn previewed(
        &mut self,
        experience_id: SmolStr,
        answer: Result<ConfigResponse, TransportError>,
        now: Instant,
    ) -> Result<Arc<ConfigSnapshot>, LoadError> {
        let ConfigResponse::Fetched { body, .. } = answer? else {
            return Err(LoadError::Fetch(TransportError::Protocol));
        };
        let snapshot = compile(body, &self.settings.compile)?;
        self.previews.retain(|_, (fetched, _)| now.duration_since(*fetched) < PREVIEW_LIFE);
        // An answer without the experience is a failure too: it may be saved a moment later.
        let found = snapshot.experience_index_by_id(&experience_id).is_some();
        if found && self.previews.len() < PREVIEWS {
            self.previews.insert(experience_id, (now, Arc::clone(&snapshot)));
        }
        Ok(snapshot)
    }
}

fn same_project(one: &ConfigSnapshot, other: &ConfigSnapshot) -> bool {
    one.account_id() == other.account_id() && one.project_id() == other.project_id()
}

/// Compiles a config and logs what is wrong with its parts.
pub(crate) fn compile(body: String, options: &CompileOptions) -> Result<Arc<ConfigSnapshot>, LoadError> {
    let compiled = ConfigSnapshot::compile(body, options)?;
    for warning in &compiled.warnings {
        log::warn!("config: {warning}");
    }
    if compiled.more_warnings > 0 {
        log::warn!("config: {} more warnings", compiled.more_warnings);
    }
    Ok(Arc::new(compiled.snapshot))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::options::SdkConfig;

    const SECOND: Duration = Duration::from_secs(1);

    fn refresher(policy: Option<RefreshConfig>) -> Refresher {
        let config = SdkConfig::builder().sdk_key("key").build().unwrap();
        Refresher::new(RefresherSettings {
            sdk_key: Secret::new("key"),
            tuning: Tuning { refresh: policy, ..config.tuning },
            timeout: SECOND,
            compile: config.compile,
            cell: Arc::default(),
            confirmed_at: Arc::default(),
            jitter: Jitter::seeded(7),
            wall: Wall::default(),
        })
    }

    fn policy(jitter: Duration) -> Option<RefreshConfig> {
        let policy = RefreshConfig::builder().interval(10 * SECOND).jitter(jitter);
        Some(policy.backoff_factor(2.0).backoff_ceiling(35 * SECOND).build().unwrap())
    }

    /// A config of an account, with one experience.
    fn served(account: &str, experience: &str) -> Result<ConfigResponse, TransportError> {
        let config = json!({
            "account_id": account, "project": {"id": "2"},
            "experiences": [{"id": experience, "key": "e", "variations": []}],
        });
        Ok(ConfigResponse::Fetched {
            body: config.to_string(),
            etag: Some(format!("{account}-{experience}")),
        })
    }

    #[test]
    fn the_wait_grows_with_each_failure_to_the_ceiling_and_a_success_ends_it() {
        let mut refresher = refresher(policy(Duration::ZERO));
        let mut now = Instant::now();
        assert!(refresher.answered(served("1", "1"), now).is_ok());
        for wait in [20, 35, 35, 35] {
            now = refresher.next.unwrap();
            assert!(refresher.answered(Err(TransportError::Connect), now).is_err());
            assert_eq!(refresher.next, Some(now + wait * SECOND));
        }
        now = refresher.next.unwrap();
        assert!(refresher.answered(Ok(ConfigResponse::NotModified), now).is_ok());
        assert_eq!(refresher.next, Some(now + 10 * SECOND));
    }

    #[test]
    fn jitter_is_added_up_to_its_bound() {
        let mut refresher = refresher(policy(4 * SECOND));
        let now = Instant::now();
        let mut longest = Duration::ZERO;
        for _ in 0..200 {
            assert!(refresher.answered(served("1", "1"), now).is_ok());
            let wait = refresher.next.unwrap() - now;
            assert!((10 * SECOND..=14 * SECOND).contains(&wait));
            longest = longest.max(wait);
        }
        assert!(longest > 13 * SECOND);
    }

    #[test]
    fn nothing_is_planned_without_a_policy_or_before_the_first_config() {
        let now = Instant::now();
        let mut without = refresher(None);
        assert!(without.answered(served("1", "1"), now).is_ok());
        assert_eq!(without.next, None);
        let mut unready = refresher(policy(Duration::ZERO));
        assert!(unready.answered(Err(TransportError::Connect), now).is_err());
        assert_eq!(unready.next, None, "initialize is the application's to call again");
        assert!(unready.answered(Ok(ConfigResponse::NotModified), now).is_err());
        assert!(unready.answered(served("1", "1"), now).is_ok());
        assert_eq!(unready.next, Some(now + 10 * SECOND));
    }

    #[test]
    fn the_refresher_of_a_forked_child_goes_on_with_the_config_and_the_etag_that_are_in_place() {
        let now = Instant::now();
        let mut before = refresher(policy(Duration::ZERO));
        assert!(before.answered(served("1", "1"), now).is_ok());
        let mut child = Refresher::new(before.settings);
        child.plan(now);
        assert_eq!((child.request().etag, child.next), (Some("1-1"), Some(now + 10 * SECOND)));
        assert!(child.answered(Ok(ConfigResponse::NotModified), now).is_ok());
    }

    #[test]
    fn the_etag_is_that_of_the_config_in_place() {
        let now = Instant::now();
        let mut refresher = refresher(None);
        assert_eq!(refresher.request().etag, None);
        let _ = refresher.answered(served("1", "1"), now);
        assert_eq!(refresher.request().etag, Some("1-1"));
        for bad in [served("9", "1"), Ok(ConfigResponse::Fetched { body: String::new(), etag: None })] {
            assert!(refresher.answered(bad, now).is_err());
            assert_eq!(refresher.request().etag, Some("1-1"));
        }
        let (outcome, published) = refresher.answered(served("1", "2"), now).unwrap();
        let RefreshOutcome::Updated(changes) = outcome else { panic!("another config") };
        assert_eq!((changes.experiences.added, changes.experiences.removed), (1, 1));
        assert!(published.is_some_and(|published| !published.first));
        assert_eq!(refresher.request().etag, Some("1-2"));
    }

    /// Random answers in any order. `SIMULATION_SEEDS` says how many runs.
    #[test]
    fn a_bad_answer_never_replaces_a_good_config_in_random_runs() {
        let seeds =
            std::env::var("SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(500_u64);
        for seed in 0..seeds {
            let mut random = Jitter::seeded(seed);
            let mut below = |ways: u32| random.up_to(ways * SECOND).as_secs();
            let mut refresher = refresher(policy(4 * SECOND));
            let (mut now, mut good, mut failures) = (Instant::now(), "1-0".to_owned(), 0_u32);
            assert!(refresher.answered(served("1", "0"), now).is_ok());
            for _ in 0..30 {
                let text = |body: &str| Ok(ConfigResponse::Fetched { body: body.to_owned(), etag: None });
                let (answer, installs) = match below(9) {
                    0 | 1 => {
                        let experience = below(1_000).to_string();
                        (served("1", &experience), Some(format!("1-{experience}")))
                    }
                    2 => (served("9", "1"), None),
                    3 => (Ok(ConfigResponse::NotModified), None),
                    4 => (text(""), None),
                    5 => (text("[1, 2"), None),
                    6 => (text("{\"error\": \"no such project\"}"), None),
                    7 => (Err(TransportError::Status(500)), None),
                    _ => (Err(TransportError::Panicked), None),
                };
                let fine = installs.is_some() || matches!(answer, Ok(ConfigResponse::NotModified));
                assert_eq!(refresher.answered(answer, now).is_ok(), fine, "seed {seed}");
                good = installs.unwrap_or(good);
                failures = if fine { 0 } else { failures + 1 };
                assert_eq!(refresher.request().etag, Some(good.as_str()), "seed {seed}");
                let in_place = refresher.settings.cell.load().unwrap();
                assert!(in_place.experience_index_by_id(&good[2..]).is_some(), "seed {seed}");
                let next = refresher.next.expect("the next fetch");
                let least = (10 * SECOND * 2_u32.pow(failures.min(2))).min(35 * SECOND);
                assert!((least..=least + 4 * SECOND).contains(&(next - now)), "seed {seed}");
                now = next;
            }
        }
    }

    #[test]
    fn a_previewed_experience_is_kept_for_60_seconds() {
        let mut refresher = refresher(None);
        let now = Instant::now();
        assert!(refresher.previewed("7".into(), served("1", "7"), now).is_ok());
        assert!(refresher.preview("7", now + 59 * SECOND).is_some());
        assert!(refresher.preview("7", now + 60 * SECOND).is_none());
        assert!(refresher.preview("8", now).is_none());
        for failure in [Err(TransportError::Connect), Ok(ConfigResponse::NotModified)] {
            assert!(refresher.previewed("8".into(), failure, now).is_err());
        }
        assert!(refresher.previewed("8".into(), served("1", "7"), now).is_ok(), "without the experience");
        assert!(refresher.preview("8", now).is_none());
    }

    #[test]
    fn links_that_anyone_can_write_do_not_fill_memory() {
        let mut refresher = refresher(None);
        let now = Instant::now();
        for id in 0..1_000 {
            let id = id.to_string();
            assert!(refresher.previewed(id.as_str().into(), served("1", &id), now).is_ok());
        }
        assert_eq!(refresher.previews.len(), PREVIEWS);
        assert!(refresher.previewed("x".into(), served("1", "x"), now + PREVIEW_LIFE).is_ok());
        assert_eq!(refresher.previews.len(), 1, "what is over makes room");
    }
}
