//! The refresher: fetches configs, puts the good ones in place, and waits longer after each failure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};
use smol_str::SmolStr;

use super::Notifier;
use super::backoff::Jitter;
use super::thread::Worker;
use crate::caught::caught;
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
    inbox: ArcSwapOption<Sender<RefresherCommand>>,
    worker: Worker,
}

/// What the refresher can be asked.
pub(crate) enum RefresherCommand {
    /// Fetch the config now and, where asked, say how it went.
    RefreshNow(Option<Sender<Result<RefreshOutcome, LoadError>>>),
    /// Fetch one experience for a preview.
    FetchExperience(SmolStr, Sender<Result<Arc<ConfigSnapshot>, LoadError>>),
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
    pub(crate) jitter: Jitter,
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
        let (inbox, commands) = bounded(COMMANDS);
        let worker = Worker::start("convert-refresher", move || {
            run(Refresher::new(settings), &commands, transport.as_ref(), &notifier);
        })?;
        Ok(Self { inbox: ArcSwapOption::from_pointee(inbox), worker })
    }

    /// Asks for a fetch without waiting. With no room for the request there are others at hand,
    /// and each of them is one.
    pub(crate) fn refresh_soon(&self) {
        if let Some(inbox) = self.inbox.load().as_ref() {
            let _ = inbox.try_send(RefresherCommand::RefreshNow(None));
        }
    }

    /// Asks for a fetch and waits for its end; `None` where the deadline passed first.
    pub(crate) fn refresh(&self, deadline: Instant) -> Option<Result<RefreshOutcome, LoadError>> {
        let (reply, outcome) = bounded(1);
        self.send(RefresherCommand::RefreshNow(Some(reply)), deadline)?;
        outcome.recv_deadline(deadline).ok()
    }

    /// Asks for one experience and waits for it; `None` where the deadline passed first.
    pub(crate) fn fetch_experience(
        &self,
        experience_id: &str,
        deadline: Instant,
    ) -> Option<Result<Arc<ConfigSnapshot>, LoadError>> {
        let (reply, fetched) = bounded(1);
        self.send(RefresherCommand::FetchExperience(experience_id.into(), reply), deadline)?;
        fetched.recv_deadline(deadline).ok()
    }

    /// Ends the thread and says whether that was in time.
    pub(crate) fn close(&self, deadline: Instant) -> bool {
        self.inbox.store(None);
        self.worker.join(deadline)
    }

    fn send(&self, command: RefresherCommand, deadline: Instant) -> Option<()> {
        // A clone of the sender would keep the thread alive for as long as this waits, so the send
        // happens under the load.
        self.inbox.load().as_ref()?.send_deadline(command, deadline).ok()
    }
}

fn run(
    mut refresher: Refresher,
    commands: &Receiver<RefresherCommand>,
    transport: &dyn Transport,
    notifier: &Notifier,
) {
    loop {
        let tick = refresher.next.map_or_else(never, at);
        let command = select! {
            recv(commands) -> command => match command {
                Ok(command) => command,
                Err(_) => return,
            },
            recv(tick) -> _ => RefresherCommand::RefreshNow(None),
        };
        match command {
            RefresherCommand::RefreshNow(reply) => {
                let answer = caught("the transport", || transport.fetch_config(&refresher.request()))
                    .unwrap_or(Err(TransportError::Panicked));
                let outcome = refresher.answered(answer, Instant::now());
                refresher.announce(&outcome, notifier);
                if let Some(reply) = reply {
                    // Whoever asked may have stopped waiting.
                    let _ = reply.send(outcome.map(|(outcome, _)| outcome));
                }
            }
            RefresherCommand::FetchExperience(id, reply) => {
                let kept = refresher.preview(&id, Instant::now());
                let fetched = kept.map_or_else(
                    || {
                        let request = refresher.request();
                        let answer = caught("the transport", || transport.fetch_experience(&request, &id))
                            .unwrap_or(Err(TransportError::Panicked));
                        refresher.previewed(id, answer, Instant::now())
                    },
                    Ok,
                );
                let _ = reply.send(fetched);
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
        Self { settings, etag: None, failures: 0, next: None, previews: HashMap::new() }
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
        // A core that never had a config is initialized again by its application, not by the clock.
        if let Some(policy) = self.settings.tuning.refresh.clone()
            && self.settings.cell.is_set()
        {
            self.next = Some(now + self.wait(&policy));
        }
        outcome
    }

    fn wait(&mut self, policy: &RefreshConfig) -> Duration {
        policy.wait_after(self.failures) + self.settings.jitter.up_to(policy.jitter())
    }

    fn install(&mut self, response: ConfigResponse) -> Result<Refreshed, LoadError> {
        let ConfigResponse::Fetched { body, etag } = response else {
            return Ok((RefreshOutcome::NotModified, None));
        };
        let snapshot = compile(body, &self.settings.compile)?;
        let cell = &self.settings.cell;
        let changes = match cell.load() {
            Some(now) if !same_project(&now, &snapshot) => return Err(LoadError::OtherProject),
            Some(now) => Some(snapshot.changes_from(&now)),
            None => None,
        };
        cell.publish(Arc::clone(&snapshot));
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
        if self.previews.len() < PREVIEWS {
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
    Ok(Arc::new(compiled.snapshot))
}
