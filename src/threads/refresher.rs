//! The refresher: fetches configs, installs the good ones, and waits longer after each failure.

mod place;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use crossbeam_channel::select;

use self::place::Place;
use super::Notifier;
use super::clock::Clock;
use super::config_file::{ConfigFile, Owner};
use super::fetcher::{Fetcher, Fetches};
use super::inbox::{ActorHandle, Inbox};
use super::wait::Limit;
use super::worker::{Running, Worker};
use crate::caught::PanicGuard;
use crate::config::{ConfigChanges, ConfigSnapshot, SnapshotCell, SnapshotExt, compile};
use crate::engine::{
    CachedConfig, FetchedConfig, InPlace, Jitter, Moment, RefreshEffect, RefreshEvent, RefreshKind,
    RefreshOutcome, RefreshSettings, Refreshed, Refresher, Role, Seen,
};
use crate::error::{ConfigCacheError, LoadError, StartError};
use crate::options::{ConfigGate, Upkeep};

/// The handle to the refresher. Dropping it ends the refresher after the fetch in progress.
pub(crate) struct RefresherHandle {
    actor: ActorHandle<RefreshKind, Refreshed>,
    /// A caller has requested a fetch without waiting for it.
    wanted: Arc<AtomicBool>,
    place: Arc<Place>,
}

/// The refresher's settings.
pub(crate) struct RefresherSettings {
    pub(crate) fetches: Fetches,
    pub(crate) cell: Arc<SnapshotCell>,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) upkeep: Upkeep,
    /// The longest text of a config.
    pub(crate) max_bytes: u64,
    pub(crate) jitter: Jitter,
    pub(crate) guard: PanicGuard,
    pub(crate) clock: Clock,
}

/// The machine and its inbox; whoever drives it makes the fetches.
pub(crate) struct RefresherTurns {
    machine: Refresher,
    pub(crate) fetches: Fetches,
    clock: Clock,
    guard: PanicGuard,
    place: Arc<Place>,
    file: Option<ConfigFile>,
    /// The cache is shared with other processes, one of which fetches.
    shares: bool,
    gate: Option<ConfigGate>,
    wanted: Arc<AtomicBool>,
    inbox: Arc<Inbox<RefreshKind, Refreshed>>,
    /// The first turn has been taken.
    has_begun: bool,
    /// What the driver is to fetch.
    fetch: Option<Fetch>,
    /// Lives as long as this, where there is no thread.
    _running: Option<Running>,
}

/// A fetch to be made, unless the config still has this ETag.
pub(crate) struct Fetch(pub(crate) Option<String>);

impl RefresherHandle {
    /// Starts the thread.
    pub(crate) fn start(fetcher: Fetcher, settings: RefresherSettings) -> Result<Self, StartError> {
        let (wanted, place, in_place) = (Arc::default(), settings.place(), settings.in_place());
        let signals = (Arc::clone(&wanted), Arc::clone(&place));
        let actor = ActorHandle::start("convert-refresher", move |inbox| {
            run(RefresherTurns::new(settings, in_place, signals, Arc::clone(inbox), None), &fetcher);
        })?;
        Ok(Self { actor, wanted, place })
    }

    /// A refresher that whoever holds the second value drives.
    pub(crate) fn threadless(settings: RefresherSettings) -> (Self, RefresherTurns) {
        let (wanted, place, in_place) = (Arc::default(), settings.place(), settings.in_place());
        let signals = (Arc::clone(&wanted), Arc::clone(&place));
        let (actor, inbox, running) = ActorHandle::threadless("the refresher");
        let turns = RefresherTurns::new(settings, in_place, signals, inbox, Some(running));
        (Self { actor, wanted, place }, turns)
    }

    /// Requests a fetch without waiting. A fetch in progress satisfies the request.
    pub(crate) fn refresh_soon(&self) {
        self.wanted.store(true, Ordering::Release);
        self.actor.notify();
    }

    /// Requests a fetch and waits for it to end; `None` if the deadline passed first, or after the close. A
    /// fetch in progress satisfies the request.
    pub(crate) async fn refresh(&self, limit: &mut Limit<'_>) -> Option<Refreshed> {
        self.actor.ask(RefreshKind::Current, limit).await
    }

    /// Like [`refresh`](Self::refresh), but satisfied by a config already in place.
    pub(crate) async fn initialize(&self, limit: &mut Limit<'_>) -> Option<Refreshed> {
        let mut asked = pin!(self.actor.ask(RefreshKind::Ready, limit));
        poll_fn(|context| match asked.as_mut().poll(context) {
            // Put in place before the question was, and followed by a fetch that may take long.
            Poll::Pending if self.place.cell.is_set() => Poll::Ready(Some(Ok(RefreshOutcome::NotModified))),
            polled => polled,
        })
        .await
    }

    /// Puts the cached config in place, if there is one, as soon as the refresher has read it and while it is still
    /// waiting for a first config.
    pub(crate) fn adopt_standby(&self) {
        self.place.adopt();
    }

    /// Ends the refresher after the fetch in progress.
    pub(crate) fn stop(&self) {
        self.actor.close();
    }

    /// The thread, if it has one.
    pub(crate) const fn worker(&self) -> &Worker {
        self.actor.worker()
    }
}

impl RefresherSettings {
    fn place(&self) -> Arc<Place> {
        Arc::new(Place::new(Arc::clone(&self.cell), Arc::clone(&self.notifier)))
    }

    /// The config of a forked child, or one given by the application.
    fn in_place(&self) -> Option<InPlace> {
        let (config, (origin, at)) = (self.cell.load()?, self.cell.provenance()?);
        let withdrawn = config.is_withdrawn();
        let config = if withdrawn {
            // Compiled once without a fault, and changed in nothing but what it decides.
            Arc::new(compile(config.served_text().to_owned(), &self.fetches.compile).ok()?.snapshot)
        } else {
            config
        };
        let age = age(at, self.clock.wall());
        Some(InPlace { config, etag: self.cell.etag(), origin, age, withdrawn })
    }
}

/// None for a time in the future: somebody has set the clock back.
fn age(at: SystemTime, wall: SystemTime) -> Duration {
    wall.duration_since(at).unwrap_or_default()
}

impl RefresherTurns {
    fn new(
        settings: RefresherSettings,
        in_place: Option<InPlace>,
        (wanted, place): (Arc<AtomicBool>, Arc<Place>),
        inbox: Arc<Inbox<RefreshKind, Refreshed>>,
        running: Option<Running>,
    ) -> Self {
        let RefresherSettings { fetches, upkeep, max_bytes, jitter, guard, clock, .. } = settings;
        let machine = RefreshSettings {
            policy: fetches.tuning.refresh.clone(),
            cached: upkeep.cache.is_some(),
            at_once: upkeep.patience.is_zero(),
            max_stale: upkeep.max_stale,
            withdraws: !upkeep.decide_when_stale,
            judged: upkeep.gate.is_some(),
        };
        let shares = machine.shares();
        let tuning = &fetches.tuning;
        let owner = Owner::new(&fetches.sdk_key, tuning.environment.as_deref(), tuning.debug_token.as_ref());
        let file = upkeep.cache.as_deref().map(|path| ConfigFile::new(path, owner, max_bytes));
        Self {
            machine: Refresher::new(machine, jitter, in_place, clock.now()),
            fetches,
            clock,
            guard,
            place,
            file,
            shares,
            gate: upkeep.gate,
            wanted,
            inbox,
            has_begun: false,
            fetch: None,
            _running: running,
        }
    }

    /// Whether the handle has been dropped, or has asked for the end.
    pub(crate) fn is_closed(&self) -> bool {
        self.inbox.is_closed()
    }

    /// When something is due without being asked for.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.machine.next()
    }

    /// Whether a turn has anything to do now.
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        !self.has_begun
            || self.inbox.has_questions()
            || self.wanted.load(Ordering::Acquire)
            || self.next().is_some_and(|next| next <= now)
    }

    /// Handles one request, if there is one; returns the fetch to be made, if one begins, and whether there
    /// was anything to handle.
    pub(crate) fn turn(&mut self, now: Moment) -> (Option<Fetch>, bool) {
        let event = if !std::mem::replace(&mut self.has_begun, true) {
            RefreshEvent::Tick
        } else if let Some((kind, reply)) = self.inbox.pop() {
            RefreshEvent::Asked(kind, reply)
        } else if self.wanted.swap(false, Ordering::Acquire) {
            RefreshEvent::Wanted
        } else if self.next().is_some_and(|next| next <= now) {
            RefreshEvent::Tick
        } else {
            return (None, false);
        };
        self.handle(event);
        (self.fetch.take(), true)
    }

    /// The fetch has ended. It answers everyone who has asked in the meantime.
    pub(crate) fn answered(&mut self, answer: Result<FetchedConfig, LoadError>) -> Option<Fetch> {
        self.wanted.store(false, Ordering::Release);
        self.hear();
        self.handle(RefreshEvent::Answered(answer));
        self.fetch.take()
    }

    fn handle(&mut self, event: RefreshEvent) {
        // An offer ends before anything else can be put in place.
        if self.place.end_offer() {
            self.step(RefreshEvent::Adopted);
        }
        self.step(event);
    }

    /// Carries out the machine's effects, apart from the fetch.
    fn step(&mut self, event: RefreshEvent) {
        for effect in self.machine.turn(event, self.clock.now()) {
            match effect {
                RefreshEffect::Fetch(etag) => {
                    // Whoever waits for a first config may have one by now.
                    self.hear();
                    self.fetch = Some(Fetch(etag));
                }
                RefreshEffect::Look(in_place) => {
                    let seen = self.look(in_place.as_deref());
                    self.handle(RefreshEvent::Looked(seen));
                }
                RefreshEffect::Judge(config, changes) => {
                    let accepted = self.accepts(&config, &changes);
                    self.handle(RefreshEvent::Judged(accepted));
                }
                RefreshEffect::StandBy(standby) => {
                    if self.place.make_offer(standby) {
                        self.step(RefreshEvent::Adopted);
                    }
                }
                RefreshEffect::Publish(config, etag) => self.place.cell.publish(config, etag),
                RefreshEffect::Withdraw(config) => self.withdraw(&config),
                RefreshEffect::Confirm(origin, at) => {
                    self.place.cell.confirm(origin, at.unwrap_or_else(|| self.clock.wall()));
                }
                RefreshEffect::Keep(config, etag) => self.keep(&config, etag.as_deref()),
                RefreshEffect::Announce(event) => self.place.notifier.notify(event),
                RefreshEffect::Answer(reply, outcome) => reply.send(outcome),
            }
        }
    }

    /// Takes the questions that wait.
    fn hear(&mut self) {
        while let Some((kind, reply)) = self.inbox.pop() {
            self.step(RefreshEvent::Asked(kind, reply));
        }
    }

    fn look(&mut self, in_place: Option<&ConfigSnapshot>) -> Seen {
        let Some(file) = &mut self.file else { return Seen { role: Ok(Role::Fetches), found: Ok(None) } };
        let role = match self.shares.then(|| file.hold()) {
            Some(Ok(false)) => Ok(Role::Follows),
            Some(Ok(true)) | None => Ok(Role::Fetches),
            Some(Err(error)) => Err(error),
        };
        let found = file.read().and_then(|found| {
            let Some(found) = found else { return Ok(None) };
            let is_same = in_place.is_some_and(|config| config.served_text() == found.text);
            let snapshot = match is_same {
                true => None,
                false => Some(self.fetches.compiled(found.text).map_err(|_| ConfigCacheError::Damaged)?),
            };
            let age = age(found.at, self.clock.wall());
            Ok(Some(CachedConfig { snapshot, etag: found.etag, at: found.at, age }))
        });
        Seen { role, found }
    }

    fn keep(&mut self, config: &ConfigSnapshot, etag: Option<&str>) {
        if let Some(file) = &mut self.file {
            let kept = file.keep(config, etag, self.clock.wall());
            self.handle(RefreshEvent::Kept(kept));
        }
    }

    /// Foreign code: one that panics has not accepted.
    fn accepts(&self, config: &ConfigSnapshot, changes: &ConfigChanges) -> bool {
        let Some(gate) = &self.gate else { return true };
        self.guard.caught("the check of the config", || gate(config, changes)).unwrap_or(false)
    }

    /// Without an ETag: a forked child needs the whole config again.
    fn withdraw(&self, config: &ConfigSnapshot) {
        if let Ok(compiled) = compile(config.served_text().to_owned(), &self.fetches.compile) {
            self.place.cell.publish(Arc::new(compiled.snapshot.withdrawn()), None);
        }
    }
}

/// The thread: waits, and makes the fetches.
fn run(mut turns: RefresherTurns, fetcher: &Fetcher) {
    while !turns.is_closed() {
        let (mut fetch, handled) = turns.turn(turns.clock.now());
        while let Some(Fetch(etag)) = fetch {
            fetch = turns.answered(fetcher.config(etag.as_deref()));
        }
        if !handled {
            let tick = turns.clock.alarm(turns.next());
            select! {
                recv(turns.inbox.signal()) -> _ => {}
                recv(tick) -> _ => {}
            }
        }
    }
}
