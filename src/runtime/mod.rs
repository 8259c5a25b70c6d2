//! A core's state in one process: its actors, started on first use, and the driver that runs them.

mod base;
mod closing;
mod tracking;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use self::base::Drive;
pub(crate) use self::base::{Base, Network};
pub(crate) use self::closing::last_resort;
use crate::config::{ConfigOrigin, ConfigSnapshot};
use crate::engine::{Jitter, Ledger};
use crate::error::StartError;
use crate::ports::DataStore;
#[cfg(feature = "async")]
use crate::threads::Caller;
#[cfg(feature = "async")]
use crate::threads::TimerHandle;
use crate::threads::{
    Fetches, Notifier, OfflineTracker, PreviewerHandle, RefresherHandle, RefresherSettings, StoreHandle,
    StoreSettings, TrackerHandle,
};
use crate::turns::{Begun, Handover};
use crate::visitors::Visitors;

/// Everything tied to one process: whatever contains a thread, a lock or a channel.
pub(crate) struct Runtime {
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) ledger: Arc<Ledger>,
    drives: Drives,
    /// The tracker, started with the first record.
    tracker: OnceLock<Arc<TrackerHandle>>,
    /// Takes the records of an offline core instead.
    offline: OnceLock<OfflineTracker>,
    /// The store actor, started on first use, if there is a data store.
    store: OnceLock<Arc<StoreHandle>>,
    /// Held while an actor is started or stopped; never while evaluating or recording.
    actors: Mutex<Actors>,
    closed: AtomicBool,
    interrupted: AtomicBool,
    /// Enforces the deadlines of tasks; its thread starts with the first one that waits.
    #[cfg(feature = "async")]
    timer: TimerHandle,
}

/// [`Drive`] within one process.
enum Drives {
    Threads(Network),
    Turns(Arc<Handover>),
}

/// The actors that a close has to end, once they have been started.
#[derive(Default)]
struct Actors {
    refresher: Option<Arc<RefresherHandle>>,
    previewer: Option<Arc<PreviewerHandle>>,
}

impl Runtime {
    /// For the first process.
    pub(crate) fn new(base: &Base) -> Self {
        let tuning = &base.config.tuning;
        let ttl = tuning.visitor_ttl.map(|ttl| (ttl, base.clock.clone()));
        let visitors = Visitors::new(tuning.max_visitors, ttl, base.store.is_some())
            .with_max_bytes(tuning.max_visitor_bytes.get());
        let notifier = match &base.drive {
            Drive::Threads(_) => Notifier::new(base.guard.clone()),
            Drive::Turns => Notifier::threadless(base.guard.clone()),
        };
        Self::with(base, visitors, notifier, Ledger::default(), false)
    }

    /// For a forked child: an empty pipeline and the parent's memory. Nothing of the parent's is waited for,
    /// ended or dropped.
    pub(crate) fn inherit(&self, base: &Base) -> Self {
        if let Drive::Threads(network) = &base.drive {
            network.source.after_fork();
            network.sink.after_fork();
        }
        if let Some(store) = &base.store {
            store.after_fork();
        }
        // The fork may have come between a snapshot and its numbers.
        base.cell.renumber();
        let closed = self.is_closed();
        let notifier = self.notifier.inherit(closed);
        Self::with(base, self.visitors.inherit(), notifier, self.ledger.inherit(), closed)
    }

    fn with(base: &Base, visitors: Visitors, notifier: Notifier, ledger: Ledger, closed: bool) -> Self {
        Self {
            visitors: Arc::new(visitors),
            notifier: Arc::new(notifier),
            ledger: Arc::new(ledger),
            drives: match &base.drive {
                Drive::Threads(network) => Drives::Threads(network.clone()),
                Drive::Turns => Drives::Turns(Arc::default()),
            },
            tracker: OnceLock::new(),
            offline: OnceLock::new(),
            store: OnceLock::new(),
            actors: Mutex::default(),
            closed: AtomicBool::new(closed),
            interrupted: AtomicBool::new(false),
            #[cfg(feature = "async")]
            timer: TimerHandle::default(),
        }
    }

    /// Starts what must not wait for first use in a child: the handlers, and the refresher if a policy keeps
    /// the config fresh.
    pub(crate) fn resume(&self, base: &Base) {
        self.notifier.resume();
        let tends = base.config.tuning.refresh.is_some() || base.config.upkeep.max_stale.is_some();
        if tends
            && base.cell.is_set()
            && let Err(error) = self.refresher(base)
        {
            logged!(error, "the config will not be refreshed: {error}");
        }
    }

    /// Installs the application's own config unless there is one, and returns whether it did.
    pub(crate) fn give(&self, base: &Base, snapshot: Arc<ConfigSnapshot>) -> bool {
        // So that no refresher starts before all of it is visible.
        let _actors = self.actors();
        let is_first = base.cell.publish_first(snapshot);
        if is_first {
            base.cell.confirm(ConfigOrigin::Direct, base.clock.wall());
        }
        is_first
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// What a pump shares with the calls in its process.
    pub(crate) const fn handover(&self) -> Option<&Arc<Handover>> {
        match &self.drives {
            Drives::Threads(_) => None,
            Drives::Turns(handover) => Some(handover),
        }
    }

    /// A caller that waits as a task.
    #[cfg(feature = "async")]
    pub(crate) fn task(&self) -> Caller {
        match &self.drives {
            Drives::Threads(_) => Caller::Task(self.timer.clone()),
            Drives::Turns(handover) => handover.caller(),
        }
    }

    #[cfg(all(test, feature = "async"))]
    pub(crate) fn has_timer(&self) -> bool {
        self.timer.has_started()
    }

    /// The store actor, if it has started.
    pub(crate) fn started_store(&self) -> Option<&Arc<StoreHandle>> {
        self.store.get()
    }

    /// The store actor, started on first use; `None` without a data store, if the core was closed before, or
    /// if no thread can be started.
    pub(crate) fn store(&self, base: &Base) -> Option<Arc<StoreHandle>> {
        let store = base.store.as_ref()?;
        if let Some(handle) = self.store.get() {
            return Some(Arc::clone(handle));
        }
        let _actors = self.actors();
        if self.is_closed() {
            return None;
        }
        self.start_store(base, store)
    }

    /// Called with the lock held.
    fn start_store(&self, base: &Base, store: &Arc<dyn DataStore>) -> Option<Arc<StoreHandle>> {
        if let Some(handle) = self.store.get() {
            return Some(Arc::clone(handle));
        }
        let tuning = &base.config.tuning;
        let settings = StoreSettings {
            store: Arc::clone(store),
            visitors: Arc::clone(&self.visitors),
            notifier: Arc::clone(&self.notifier),
            timeout: tuning.store_timeout,
            lease: tuning.delivery.lease(),
            ttl: tuning.visitor_ttl,
            clock: base.clock.clone(),
        };
        match StoreHandle::start(settings) {
            Ok(handle) => Some(Arc::clone(self.store.get_or_init(|| Arc::new(handle)))),
            Err(error) => {
                logged!(error, "the data store is not used: {error}");
                None
            }
        }
    }

    /// The refresher, started on first use; `None` without an SDK key, or if it would have to start on a
    /// closed core.
    pub(crate) fn refresher(&self, base: &Base) -> Result<Option<Arc<RefresherHandle>>, StartError> {
        self.started(
            base,
            |actors| &mut actors.refresher,
            |fetches| {
                let settings = RefresherSettings {
                    fetches: fetches.clone(),
                    cell: Arc::clone(&base.cell),
                    notifier: Arc::clone(&self.notifier),
                    upkeep: base.config.upkeep.clone(),
                    max_bytes: base.config.transport.max_response_bytes,
                    jitter: Jitter::seeded(base.clock.seed()),
                    guard: base.guard.clone(),
                    clock: base.clock.clone(),
                };
                match &self.drives {
                    Drives::Threads(network) => {
                        RefresherHandle::start(network.fetcher(fetches, &base.guard), settings)
                    }
                    Drives::Turns(handover) => {
                        let (handle, turns) = RefresherHandle::threadless(settings);
                        handover.add(Begun::Refresher(Box::new(turns)));
                        Ok(handle)
                    }
                }
            },
        )
    }

    /// The previewer, started on first use.
    pub(crate) fn previewer(&self, base: &Base) -> Option<Arc<PreviewerHandle>> {
        let start = |fetches| match &self.drives {
            Drives::Threads(network) => {
                PreviewerHandle::start(network.fetcher(fetches, &base.guard), base.clock.clone())
            }
            Drives::Turns(handover) => {
                let (handle, turns) = PreviewerHandle::threadless(base.clock.clone());
                handover.add(Begun::Previewer(turns, Box::new(fetches)));
                Ok(handle)
            }
        };
        let started = self.started(base, |actors| &mut actors.previewer, start);
        started.inspect_err(|error| logged!(error, "no preview: {error}")).ok().flatten()
    }

    /// An actor that fetches, started on first use; `None` without an SDK key, or if it would have to start
    /// on a closed core.
    fn started<H>(
        &self,
        base: &Base,
        place: impl FnOnce(&mut Actors) -> &mut Option<Arc<H>>,
        start: impl FnOnce(Fetches) -> Result<H, StartError>,
    ) -> Result<Option<Arc<H>>, StartError> {
        let Some(key) = base.config.origin.key() else { return Ok(None) };
        let mut actors = self.actors();
        let place = place(&mut actors);
        if let Some(handle) = place {
            return Ok(Some(Arc::clone(handle)));
        }
        if self.is_closed() {
            return Ok(None);
        }
        let fetches = Fetches {
            sdk_key: key.clone(),
            tuning: base.config.tuning.clone(),
            timeout: base.config.transport.total_timeout,
            compile: base.config.compile,
        };
        let handle = Arc::new(start(fetches)?);
        *place = Some(Arc::clone(&handle));
        Ok(Some(handle))
    }

    /// A panic elsewhere cannot leave a handle half-built, so a poisoned lock is still valid.
    fn actors(&self) -> MutexGuard<'_, Actors> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
