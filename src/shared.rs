//! What a core and its contexts have in common: the snapshot, the memory, and the way to the actors.

#[cfg(feature = "async")]
mod tasks;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use smol_str::SmolStr;

use crate::actors::{
    Flusher, Jitter, Notifier, RefresherHandle, RefresherSettings, TrackerHandle, TrackerSettings, Verdict,
};
use crate::config::{ConfigSnapshot, SnapshotCell};
use crate::error::{LoadError, StartError};
use crate::options::{SdkConfig, Source};
use crate::state::{DataStore, Guarded, Visitors};
use crate::tracking::{Envelope, Ledger, Refused, Stats, TrackedEvent};
use crate::transport::Transport;

/// One SDK instance. Its actors end when the last core and context are gone.
pub(crate) struct Shared {
    pub(crate) config: SdkConfig,
    pub(crate) cell: Arc<SnapshotCell>,
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) notifier: Arc<Notifier>,
    store: Option<Arc<dyn DataStore>>,
    transport: Arc<dyn Transport>,
    ledger: Arc<Ledger>,
    /// The tracker, from the first record on.
    tracker: ArcSwapOption<TrackerHandle>,
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
        let store = config.data_store.clone().map(|store| Arc::new(Guarded(store)) as Arc<dyn DataStore>);
        let visitors = Arc::new(Visitors::new(config.tuning.max_visitors, store.clone()));
        Self {
            config,
            cell: Arc::default(),
            visitors,
            notifier: Arc::default(),
            store,
            transport,
            ledger: Arc::default(),
            tracker: ArcSwapOption::empty(),
            control: Mutex::default(),
            closed: AtomicBool::new(false),
            #[cfg(feature = "async")]
            tasks: tasks::Tasks::default(),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Hands a record to the tracker without waiting; the first one starts it.
    pub(crate) fn record(&self, snapshot: &ConfigSnapshot, event: TrackedEvent) -> Result<(), Refused> {
        if let Some(tracker) = self.tracker.load().as_ref() {
            return tracker.record(event);
        }
        self.start_tracker(snapshot)?.record(event)
    }

    /// Hands a record to the tracker and waits for its verdict.
    pub(crate) fn confirm(
        &self,
        snapshot: &ConfigSnapshot,
        event: TrackedEvent,
        deadline: Instant,
    ) -> Result<Option<Verdict>, Refused> {
        self.start_tracker(snapshot)?.confirm(event, deadline)
    }

    /// Has the tracker write visitor state to the data store, where there is one.
    pub(crate) fn persist(&self, snapshot: &ConfigSnapshot) {
        if self.visitors.has_store()
            && let Ok(tracker) = self.start_tracker(snapshot)
        {
            tracker.persist();
        }
    }

    /// The tracker, if anything was ever recorded.
    pub(crate) fn tracker(&self) -> Option<Arc<TrackerHandle>> {
        self.tracker.load_full()
    }

    /// The refresher, started by the first need; `None` with direct data, and where it would have to
    /// start on a closed core.
    pub(crate) fn refresher(&self) -> Result<Option<Arc<RefresherHandle>>, StartError> {
        let Source::SdkKey(key) = &self.config.source else { return Ok(None) };
        let mut control = self.control();
        if let Some(refresher) = &control.refresher {
            return Ok(Some(Arc::clone(refresher)));
        }
        if self.is_closed() {
            return Ok(None);
        }
        let settings = RefresherSettings {
            sdk_key: key.clone(),
            tuning: self.config.tuning.clone(),
            timeout: self.config.transport.total_timeout,
            compile: self.config.compile,
            cell: Arc::clone(&self.cell),
            jitter: Jitter::random(),
        };
        let (transport, notifier) = (Arc::clone(&self.transport), Arc::clone(&self.notifier));
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
        let tracker = self.tracker.load();
        let (in_channel, ended) =
            tracker.as_ref().map_or((0, false), |tracker| (tracker.in_channel(), tracker.has_ended()));
        let mut stats = self.ledger.read(in_channel, ended);
        stats.events_missed = self.notifier.missed();
        stats
    }

    /// Ends the actors. The delivery at hand gets most of the time to end by itself, or, without
    /// `patience`, none; then calls are interrupted. Says whether every thread has ended by the
    /// deadline.
    pub(crate) fn close(&self, deadline: Instant, patience: bool) -> bool {
        let Closing { soft, tracker, refresher } = self.begin_close(deadline, patience);
        if let Some(tracker) = &tracker {
            tracker.close(soft);
        }
        self.transport.interrupt();
        let mut ended = refresher.is_none_or(|refresher| refresher.join(deadline));
        if let Some(tracker) = tracker {
            ended &= tracker.join(deadline);
        }
        self.notifier.close(deadline) && ended
    }

    /// The part of [`close`](Self::close) that does not wait.
    fn begin_close(&self, deadline: Instant, patience: bool) -> Closing {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let soft = if patience { deadline - last_resort(left) } else { now };
        let (tracker, refresher) = {
            // Under the lock, so that no thread starts that this does not see.
            let control = self.control();
            self.closed.store(true, Ordering::Release);
            (self.tracker.load_full(), control.refresher.clone())
        };
        // Before the interrupt, which would let it go on with the next request.
        if let Some(refresher) = &refresher {
            refresher.stop();
        }
        #[cfg(feature = "async")]
        self.tasks.stop();
        Closing { soft, tracker, refresher }
    }

    fn start_tracker(&self, snapshot: &ConfigSnapshot) -> Result<Arc<TrackerHandle>, Refused> {
        let _control = self.control();
        if let Some(tracker) = self.tracker.load_full() {
            return Ok(tracker);
        }
        if self.is_closed() {
            self.ledger.count_refused(Refused::Closed);
            return Err(Refused::Closed);
        }
        let tracker = self.spawn_tracker(snapshot).map_err(|error| {
            log::error!("tracking is off: {error}");
            self.ledger.count_refused(Refused::Closed);
            Refused::Closed
        })?;
        let tracker = Arc::new(tracker);
        self.tracker.store(Some(Arc::clone(&tracker)));
        Ok(tracker)
    }

    fn spawn_tracker(&self, snapshot: &ConfigSnapshot) -> Result<TrackerHandle, StartError> {
        let tuning = &self.config.tuning;
        let settings = TrackerSettings {
            batch_size: tuning.batch_size,
            auto_flush_interval: tuning.auto_flush_interval,
            capacity: tuning.queue_capacity,
            max_visitors: tuning.max_visitors,
            store: self.store.clone(),
            visitors: Arc::clone(&self.visitors),
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
        };
        TrackerHandle::start(settings, flusher, Arc::clone(&self.notifier), Arc::clone(&self.ledger))
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
/// that the threads end soon. Nobody waits for them.
impl Drop for Shared {
    fn drop(&mut self) {
        if !self.is_closed() {
            self.transport.interrupt();
        }
    }
}
