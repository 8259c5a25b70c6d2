//! What a core and its contexts have in common: the snapshot, the memory, and the way to the actors.

#[cfg(feature = "async")]
mod tasks;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use smol_str::SmolStr;

use crate::actors::{
    Flusher, Jitter, Notifier, RefresherHandle, RefresherSettings, TrackerHandle, TrackerSettings, Verdict,
};
use crate::caught::Wall;
use crate::config::{ConfigSnapshot, SnapshotCell};
use crate::error::{LoadError, StartError};
use crate::options::{SdkConfig, Source};
use crate::process::{Current, PerProcess, generation};
use crate::state::{DataStore, Guarded, Visitors};
use crate::tracking::{ConfigSource, Envelope, Ledger, Refused, Stats, TrackedEvent};
use crate::transport::Transport;

/// One SDK instance. Its actors end when the last core and context are gone. What a forked child goes
/// on with as it is stands here; the rest is in the [`Runtime`], of which each process has its own.
pub(crate) struct Shared {
    pub(crate) config: SdkConfig,
    pub(crate) cell: Arc<SnapshotCell>,
    /// When the config in place was given, fetched or confirmed.
    confirmed_at: Arc<ArcSwapOption<SystemTime>>,
    wall: Wall,
    store: Option<Arc<dyn DataStore>>,
    transport: Arc<dyn Transport>,
    runtime: PerProcess<Runtime>,
}

/// What lives and dies with one process: all that has a thread, a lock or a channel in it.
pub(crate) struct Runtime {
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) notifier: Arc<Notifier>,
    transport: Arc<dyn Transport>,
    ledger: Arc<Ledger>,
    /// The tracker, from the first record on.
    tracker: OnceLock<Arc<TrackerHandle>>,
    /// Held while a thread is started or stopped; never on the way of an evaluation or a record.
    control: Mutex<Control>,
    closed: AtomicBool,
    /// What only tasks need.
    #[cfg(feature = "async")]
    tasks: tasks::Tasks,
}

#[derive(Default)]
struct Control {
    refresher: Option<Arc<RefresherHandle>>,
}

/// A close that has begun: the actors to wait for.
struct Closing {
    /// Until when the delivery at hand may end by itself.
    soft: Instant,
    tracker: Option<Arc<TrackerHandle>>,
    refresher: Option<Arc<RefresherHandle>>,
}

impl Shared {
    pub(crate) fn new(config: SdkConfig, transport: Arc<dyn Transport>) -> Self {
        let wall = Wall::default();
        let guarded = |store| Arc::new(Guarded { store, wall: wall.clone() }) as Arc<dyn DataStore>;
        let store = config.data_store.clone().map(guarded);
        let tuning = &config.tuning;
        let visitors = Visitors::new(tuning.max_visitors, tuning.visitor_ttl, store.clone())
            .with_max_bytes(tuning.max_visitor_bytes.get());
        let runtime = Runtime::new(visitors, Notifier::new(wall.clone()), Arc::clone(&transport), false);
        Self {
            config,
            cell: Arc::default(),
            confirmed_at: Arc::default(),
            wall,
            store,
            transport,
            runtime: PerProcess::new(runtime),
        }
    }

    /// What this process has. A forked child makes its own at its first need: an empty pipeline and the
    /// parent's memory. Nothing of the parent's is waited for, ended or dropped.
    pub(crate) fn runtime(&self) -> Current<'_, Runtime> {
        self.runtime.get(|parents| self.inherit(parents), |runtime| self.resume(runtime))
    }

    /// Whether this process has anything of its own to flush or to end.
    pub(crate) fn has_begun(&self) -> bool {
        self.runtime.peek().is_some()
    }

    fn inherit(&self, parents: &Runtime) -> Runtime {
        self.wall.caught("the transport", || self.transport.after_fork());
        if let Some(store) = &self.store {
            store.after_fork();
        }
        let closed = parents.closed.load(Ordering::Acquire);
        let notifier = parents.notifier.inherit(closed);
        Runtime::new(parents.visitors.inherit(), notifier, Arc::clone(&self.transport), closed)
    }

    /// Starts what a child must not wait for another need with: the handlers, and the refresher where a
    /// policy keeps the config fresh.
    fn resume(&self, runtime: &Runtime) {
        runtime.notifier.resume();
        if self.config.tuning.refresh.is_some()
            && self.cell.is_set()
            && let Err(error) = self.start_refresher(runtime)
        {
            log::error!("the config is not refreshed: {error}");
        }
    }

    /// Puts the application's own config in place and says whether it is the first.
    pub(crate) fn give(&self, snapshot: Arc<ConfigSnapshot>) -> bool {
        let before = self.cell.publish(snapshot, None);
        self.confirmed_at.store(Some(Arc::new(SystemTime::now())));
        before.is_none()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.runtime().is_closed()
    }

    /// Hands a record to the tracker without waiting; the first one starts it.
    #[inline]
    pub(crate) fn record(&self, snapshot: &ConfigSnapshot, event: TrackedEvent) -> Result<(), Refused> {
        let runtime = self.runtime();
        match runtime.tracker.get() {
            Some(tracker) => tracker.record(event),
            None => self.tracker_for(&runtime, snapshot, &event)?.record(event),
        }
    }

    /// Hands a record to the tracker and waits for its verdict.
    pub(crate) fn confirm(
        &self,
        snapshot: &ConfigSnapshot,
        event: TrackedEvent,
        deadline: Instant,
    ) -> Result<Option<Verdict>, Refused> {
        self.tracker_for(&self.runtime(), snapshot, &event)?.confirm(event, deadline)
    }

    /// Has the tracker write visitor state to the data store, where there is one.
    pub(crate) fn persist(&self, snapshot: &ConfigSnapshot) {
        if self.store.is_some()
            && let Ok(tracker) = self.start_tracker(&self.runtime(), snapshot)
        {
            tracker.persist();
        }
    }

    /// The tracker, if anything was ever recorded.
    pub(crate) fn tracker(&self) -> Option<Arc<TrackerHandle>> {
        self.runtime().tracker.get().cloned()
    }

    /// The refresher, started by the first need; `None` with direct data, and where it would have to
    /// start on a closed core.
    pub(crate) fn refresher(&self) -> Result<Option<Arc<RefresherHandle>>, StartError> {
        self.start_refresher(&self.runtime())
    }

    fn start_refresher(&self, runtime: &Runtime) -> Result<Option<Arc<RefresherHandle>>, StartError> {
        let Source::SdkKey(key) = &self.config.source else { return Ok(None) };
        let mut control = runtime.control();
        if let Some(refresher) = &control.refresher {
            return Ok(Some(Arc::clone(refresher)));
        }
        if runtime.is_closed() {
            return Ok(None);
        }
        let settings = RefresherSettings {
            sdk_key: key.clone(),
            tuning: self.config.tuning.clone(),
            timeout: self.config.transport.total_timeout,
            compile: self.config.compile,
            cell: Arc::clone(&self.cell),
            confirmed_at: Arc::clone(&self.confirmed_at),
            wall: self.wall.clone(),
            jitter: Jitter::random(),
        };
        let (transport, notifier) = (Arc::clone(&self.transport), Arc::clone(&runtime.notifier));
        let refresher = Arc::new(RefresherHandle::start(settings, transport, notifier)?);
        control.refresher = Some(Arc::clone(&refresher));
        Ok(Some(refresher))
    }

    /// Fetches one experience for a preview; `None` where the deadline passed, or there is nowhere
    /// to fetch it from.
    pub(crate) fn fetch_experience(
        &self,
        experience_id: &str,
        deadline: Instant,
    ) -> Option<Result<Arc<ConfigSnapshot>, LoadError>> {
        let refresher = self.refresher().ok().flatten()?;
        refresher.fetch_experience(experience_id, deadline)
    }

    pub(crate) fn stats(&self) -> Stats {
        let runtime = self.runtime();
        let tracker = runtime.tracker.get();
        let in_channel = tracker.map_or(0, |tracker| tracker.in_channel());
        let mut stats = runtime.ledger.read(in_channel, Instant::now());
        stats.config_at = self.confirmed_at.load().as_deref().copied();
        stats.config_source = stats.config_at.map(|_| match self.config.source {
            Source::SdkKey(_) => ConfigSource::Fetched,
            Source::Direct(_) => ConfigSource::Direct,
        });
        // Visitors are forgotten without the tracker too.
        stats.visitors_evicted = runtime.visitors.evicted();
        stats.panics = self.wall.panics();
        stats.events_missed = runtime.notifier.missed();
        stats.fork_generation = generation();
        stats
    }

    /// Ends the actors. The delivery at hand gets most of the time to end by itself, or, without
    /// `patience`, none; then calls are interrupted. Says whether every thread has ended by the
    /// deadline.
    pub(crate) fn close(&self, deadline: Instant, patience: bool) -> bool {
        let runtime = self.runtime();
        let Closing { soft, tracker, refresher } = runtime.begin_close(deadline, patience);
        if let Some(tracker) = &tracker {
            tracker.close(soft);
        }
        self.transport.interrupt();
        let mut ended = refresher.is_none_or(|refresher| refresher.join(deadline));
        if let Some(tracker) = tracker {
            ended &= tracker.join(deadline);
        }
        runtime.notifier.close(deadline) && ended
    }

    /// The tracker, started by the first need; a record that it cannot be started for is counted.
    #[cold]
    fn tracker_for(
        &self,
        runtime: &Runtime,
        snapshot: &ConfigSnapshot,
        event: &TrackedEvent,
    ) -> Result<Arc<TrackerHandle>, Refused> {
        let counted = |refused: &Refused| runtime.ledger.count_refused(*refused, event.class());
        self.start_tracker(runtime, snapshot).inspect_err(counted)
    }

    fn start_tracker(
        &self,
        runtime: &Runtime,
        snapshot: &ConfigSnapshot,
    ) -> Result<Arc<TrackerHandle>, Refused> {
        let _control = runtime.control();
        if let Some(tracker) = runtime.tracker.get() {
            return Ok(Arc::clone(tracker));
        }
        if runtime.is_closed() {
            return Err(Refused::Closed);
        }
        let tracker = self.spawn_tracker(runtime, snapshot).map_err(|error| {
            log::error!("tracking is off: {error}");
            Refused::Closed
        })?;
        Ok(Arc::clone(runtime.tracker.get_or_init(|| Arc::new(tracker))))
    }

    fn spawn_tracker(
        &self,
        runtime: &Runtime,
        snapshot: &ConfigSnapshot,
    ) -> Result<TrackerHandle, StartError> {
        let tuning = &self.config.tuning;
        let settings = TrackerSettings {
            batch_size: tuning.batch_size,
            auto_flush_interval: tuning.auto_flush_interval,
            delivery: tuning.delivery.clone(),
            max_visitors: tuning.max_visitors,
            visitor_ttl: tuning.visitor_ttl,
            store: self.store.clone(),
            visitors: Arc::clone(&runtime.visitors),
            jitter: Jitter::random(),
        };
        let flusher = Flusher {
            transport: Arc::clone(&self.transport),
            envelope: Envelope {
                account_id: SmolStr::new(snapshot.account_id()),
                project_id: SmolStr::new(snapshot.project_id()),
                enrich_data: self.store.is_none(),
            },
            sdk_key: match &self.config.source {
                Source::SdkKey(key) => Some(key.clone()),
                Source::Direct(_) => None,
            },
            timeout: self.config.transport.total_timeout,
            wall: self.wall.clone(),
        };
        TrackerHandle::start(settings, flusher, Arc::clone(&runtime.notifier), Arc::clone(&runtime.ledger))
    }
}

impl Runtime {
    fn new(visitors: Visitors, notifier: Notifier, transport: Arc<dyn Transport>, closed: bool) -> Self {
        Self {
            visitors: Arc::new(visitors),
            notifier: Arc::new(notifier),
            transport,
            ledger: Arc::default(),
            tracker: OnceLock::new(),
            control: Mutex::default(),
            closed: AtomicBool::new(closed),
            #[cfg(feature = "async")]
            tasks: tasks::Tasks::default(),
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The part of a close that does not wait.
    fn begin_close(&self, deadline: Instant, patience: bool) -> Closing {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let soft = if patience { deadline - last_resort(left) } else { now };
        let (tracker, refresher) = {
            // Under the lock, so that no thread starts that this does not see.
            let control = self.control();
            self.closed.store(true, Ordering::Release);
            (self.tracker.get().cloned(), control.refresher.clone())
        };
        // Before the interrupt, which would let it go on with the next request.
        if let Some(refresher) = &refresher {
            refresher.stop();
        }
        #[cfg(feature = "async")]
        self.tasks.stop();
        Closing { soft, tracker, refresher }
    }

    /// A panic elsewhere cannot leave a handle half-made, so a poisoned lock is still good.
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a close that may take this long keeps for joining threads whose calls it has interrupted.
pub(crate) fn last_resort(time: Duration) -> Duration {
    const MOST: Duration = Duration::from_millis(500);
    (time / 4).min(MOST)
}

/// The last core and context are gone: the inboxes disconnect, and calls at hand are interrupted so
/// that the threads end soon. Nobody waits for them. A child that never used the core does not come here.
impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.is_closed() {
            self.transport.interrupt();
        }
    }
}
