//! Takes a core's records in one process; started by the first one.

use std::sync::Arc;

use smol_str::SmolStr;

use super::{Base, Drives, Network, Runtime};
use crate::config::ConfigSnapshot;
use crate::engine::{Envelope, Jitter, Refused, TrackedEvent, TrackerSettings};
use crate::error::StartError;
use crate::threads::{Deliveries, Flusher, OfflineTracker, OutboxSettings, TrackerHandle, generation};
use crate::turns::Begun;

impl Runtime {
    /// The tracker, if anything was ever recorded.
    #[inline]
    pub(crate) fn tracker(&self) -> Option<&Arc<TrackerHandle>> {
        self.tracker.get()
    }

    /// A number that changes whenever the tracker has lost a record or forgotten a mark, so that it may accept an
    /// exposure or a conversion again: the count of these, with the generation in the upper 16 bits, as a forked child
    /// has no marks.
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        generation() << 48 | self.ledger.marks_lost()
    }

    /// Counts a conversion whose mark is set instead of handing it over. Returns whether it could: nobody listens, and
    /// a tracker takes records.
    pub(crate) fn repeat(&self) -> bool {
        let takes = self.tracker().is_some_and(|tracker| !tracker.is_closed());
        let is_unseen = takes && !self.notifier.has_listeners();
        if is_unseen {
            self.ledger.count_repeated();
        }
        is_unseen
    }

    /// A number that changes when exposures were lost that a context should hand over again.
    #[inline]
    pub(crate) fn exposures_unsent(&self) -> u64 {
        self.ledger.exposures_unsent()
    }

    /// Hands a record to the tracker without waiting; the first one starts it.
    #[inline(always)]
    pub(crate) fn record(
        &self,
        base: &Base,
        snapshot: &ConfigSnapshot,
        event: TrackedEvent,
    ) -> Result<(), Refused> {
        match self.tracker() {
            Some(tracker) => tracker.record(event),
            None => self.record_first(base, snapshot, event),
        }
    }

    /// Takes the first record, or any record of an offline core.
    #[cold]
    fn record_first(
        &self,
        base: &Base,
        snapshot: &ConfigSnapshot,
        event: TrackedEvent,
    ) -> Result<(), Refused> {
        match self.offline(base) {
            Some(tracker) => tracker.record(snapshot, event, self.is_closed()).map(drop),
            None => self.tracker_for(base, snapshot, &event)?.record(event),
        }
    }

    /// Takes the records of an offline core.
    pub(crate) fn offline(&self, base: &Base) -> Option<&OfflineTracker> {
        let make = || {
            let (notifier, ledger) = (Arc::clone(&self.notifier), Arc::clone(&self.ledger));
            let (witness, clock) = (base.witness.clone(), base.clock.clone());
            OfflineTracker::new(settings(base), notifier, ledger, witness, clock)
        };
        base.config.tuning.offline.then(|| self.offline.get_or_init(make))
    }

    /// The tracker, started on first use; if that fails, the record is counted as refused.
    pub(crate) fn tracker_for(
        &self,
        base: &Base,
        snapshot: &ConfigSnapshot,
        event: &TrackedEvent,
    ) -> Result<Arc<TrackerHandle>, Refused> {
        let counted = |refused: &Refused| {
            self.ledger.count_offered();
            self.ledger.count_refused(*refused, event.class());
        };
        self.start_tracker(base, snapshot).inspect_err(counted)
    }

    /// With an outbox, starts the tracker with the first config.
    pub(crate) fn recover(&self, base: &Base) {
        if base.config.outbox.is_some()
            && base.config.tuning.tracking
            && !base.config.tuning.offline
            && self.tracker().is_none()
            && let Some(snapshot) = base.cell.load()
        {
            // A failure is logged, and the next record tries again.
            let _ = self.start_tracker(base, &snapshot);
        }
    }

    fn start_tracker(&self, base: &Base, snapshot: &ConfigSnapshot) -> Result<Arc<TrackerHandle>, Refused> {
        let actors = self.actors();
        if let Some(tracker) = self.tracker.get() {
            return Ok(Arc::clone(tracker));
        }
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        let started = self
            .spawn_tracker(base, snapshot)
            .map(|it| Arc::clone(self.tracker.get_or_init(|| Arc::new(it))));
        // Not under the lock: a logger is foreign code, which may be slow or use this core.
        drop(actors);
        if base.is_real() && base.config.is_direct_config() {
            logged!(
                warn,
                "the config was given directly, but events are sent to the real project: `offline()` keeps them here"
            );
        }
        started.map_err(|error| {
            logged!(error, "tracking is disabled: {error}");
            Refused::Closed
        })
    }

    fn spawn_tracker(&self, base: &Base, snapshot: &ConfigSnapshot) -> Result<TrackerHandle, StartError> {
        let store = base.store.as_ref().and_then(|store| self.start_store(base, store));
        let settings = TrackerSettings {
            store: store.is_some(),
            outbox: base.config.outbox.is_some(),
            batch_ids: base.batch_ids(),
            ..settings(base)
        };
        let timeout = base.config.transport.total_timeout;
        let deliveries = Deliveries {
            envelope: Envelope {
                account_id: SmolStr::new(snapshot.account_id()),
                project_id: SmolStr::new(snapshot.project_id()),
                enrich_data: base.store.is_none(),
            },
            sdk_key: base.config.origin.key().cloned(),
            first_timeout: base.config.tuning.delivery.first_timeout.unwrap_or(timeout),
            timeout,
        };
        let (notifier, ledger) = (Arc::clone(&self.notifier), Arc::clone(&self.ledger));
        let clock = base.clock.clone();
        match &self.drives {
            Drives::Threads(Network { sink, .. }) => {
                let flusher = Flusher { sink: Arc::clone(sink), deliveries, guard: base.guard.clone() };
                let outbox = base.config.outbox.clone().map(|outbox| OutboxSettings {
                    outbox,
                    project: format!("{}/{}", snapshot.account_id(), snapshot.project_id()),
                    guard: base.guard.clone(),
                });
                TrackerHandle::start(settings, flusher, store, outbox, notifier, ledger, clock)
            }
            Drives::Turns(handover) => {
                let (handle, turns) = TrackerHandle::threadless(settings, notifier, ledger, clock);
                handover.add(Begun::Tracker(Box::new(turns), deliveries));
                Ok(handle)
            }
        }
    }
}

fn settings(base: &Base) -> TrackerSettings {
    let tuning = &base.config.tuning;
    TrackerSettings {
        batch_size: tuning.batch_size,
        auto_flush_interval: tuning.auto_flush_interval,
        delivery: tuning.delivery.clone(),
        max_visitors: tuning.max_visitors,
        visitor_ttl: tuning.visitor_ttl,
        store: false,
        outbox: false,
        batch_ids: None,
        jitter: Jitter::seeded(base.clock.seed()),
        decisions: Arc::clone(&base.cell) as _,
    }
}
