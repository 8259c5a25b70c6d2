//! The tracker's state machine: records, outcomes and time go in, effects come out.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::at_hand::AtHand;
use super::effects::Effects;
use super::flushes::{Fate, Flushes};
use super::pacer::Pacer;
use super::{TrackerCommand, Verdict};
use crate::actors::Jitter;
use crate::actors::reply::Reply;
use crate::events::LifecycleEvent;
use crate::options::{DeliveryConfig, OverflowPolicy};
use crate::state::{DataStore, MarkKind, Marks, Visitors, bucketing_key, goal_key};
use crate::tracking::{Backlog, CutLimit, Queued, ReleaseReason, Stats, TrackedEvent};

/// Deduplication marks kept for each visitor of the visitor bound.
const MARKS_A_VISITOR: usize = 8;

/// What the tracker is made of.
pub(crate) struct TrackerSettings {
    /// Wire events that make a batch.
    pub(crate) batch_size: NonZeroUsize,
    pub(crate) auto_flush_interval: Option<Duration>,
    pub(crate) delivery: DeliveryConfig,
    pub(crate) max_visitors: NonZeroUsize,
    pub(crate) visitor_ttl: Option<Duration>,
    pub(crate) store: Option<Arc<dyn DataStore>>,
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) jitter: Jitter,
}

pub(crate) struct Tracker {
    batch_size: NonZeroUsize,
    auto_flush_interval: Option<Duration>,
    pub(super) delivery: DeliveryConfig,
    store: Option<Arc<dyn DataStore>>,
    visitors: Arc<Visitors>,
    visitor_ttl: Option<Duration>,
    marks: Marks,
    pub(super) backlog: Backlog,
    next_sequence: u64,
    /// Records before this one are released for delivery.
    pub(super) due: u64,
    pub(super) due_reason: ReleaseReason,
    /// Wire events accepted since the last release.
    open_events: usize,
    pub(super) at_hand: AtHand,
    pub(super) next_attempt: u64,
    /// Halved when the endpoint finds a request too large, doubled by each success.
    pub(super) request: CutLimit,
    pub(super) pacer: Pacer,
    next_auto_flush: Option<Instant>,
    pub(super) flushes: Flushes,
    pub(super) closing: Option<Vec<Reply<Stats>>>,
    pub(super) stats: Stats,
    /// A bug that the simulation must find.
    #[cfg(test)]
    pub(super) bug: Option<super::simulation::Bug>,
}

impl Tracker {
    pub(crate) fn new(settings: TrackerSettings) -> Self {
        // Taken apart without `..` so that a new setting cannot be forgotten here.
        let TrackerSettings {
            batch_size,
            auto_flush_interval,
            delivery,
            max_visitors,
            visitor_ttl,
            store,
            visitors,
            jitter,
        } = settings;
        let marks = max_visitors.saturating_mul(NonZeroUsize::MIN.saturating_add(MARKS_A_VISITOR - 1));
        Self {
            batch_size,
            auto_flush_interval,
            store,
            visitors,
            visitor_ttl,
            marks: Marks::new(marks, visitor_ttl),
            backlog: Backlog::new(delivery.max_pending_records, delivery.max_pending_bytes),
            next_sequence: 0,
            due: 0,
            due_reason: ReleaseReason::Size,
            open_events: 0,
            at_hand: AtHand::default(),
            next_attempt: 0,
            request: CutLimit { events: delivery.max_request_events, bytes: delivery.max_request_bytes },
            pacer: Pacer::new(&delivery, jitter),
            delivery,
            next_auto_flush: None,
            flushes: Flushes::default(),
            closing: None,
            stats: Stats::default(),
            #[cfg(test)]
            bug: None,
        }
    }

    /// Takes one record: a repetition is counted, anything else joins the backlog.
    pub(crate) fn record(&mut self, mut event: TrackedEvent, now: Instant, effects: &mut Effects) -> Verdict {
        self.stats.recorded += 1;
        if self.delivery.overflow == OverflowPolicy::DropNewest && !self.backlog.has_room(bytes_of(&event)) {
            // Unmarked, so that a later repetition has its chance.
            self.release(ReleaseReason::Size);
            self.stats.dropped.overflow.count(event.class());
            return Verdict::NoRoom;
        }
        let first = self.mark(&event, now);
        let repeated = match &mut event {
            TrackedEvent::Exposure(_) => !first,
            TrackedEvent::Conversion(conversion) => {
                conversion.first = first;
                !first && !conversion.force_multiple
            }
        };
        let wire_events = event.wire_events();
        let sends_nothing = repeated || wire_events == 0;
        if !sends_nothing || matches!(event, TrackedEvent::Conversion(_)) {
            effects.notify(|| LifecycleEvent::recorded(&event, sends_nothing));
        }
        if sends_nothing {
            self.stats.deduplicated += 1;
            // A forced repetition without goal data counts as taken, as in the official Python SDK.
            return if repeated { Verdict::Repeated } else { Verdict::Accepted };
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.open_events += wire_events;
        let full = !self.backlog.has_room(bytes_of(&event));
        if full || self.open_events >= self.batch_size.get() {
            self.release(ReleaseReason::Size);
        }
        self.backlog.push(Queued { sequence, event, accepted_at: now, tries: 0 });
        if self.make_room(sequence) { Verdict::Accepted } else { Verdict::NoRoom }
    }

    /// Whether more records may be taken: where callers wait for room, a full backlog takes none.
    pub(crate) fn takes_records(&self) -> bool {
        !matches!(self.delivery.overflow, OverflowPolicy::Wait(_)) || self.backlog.has_room(0)
    }

    pub(crate) fn command(&mut self, command: TrackerCommand) {
        match command {
            TrackerCommand::Flush(reason, reply) => {
                self.release(reason);
                let remaining = self.backlog.len() as u64 + self.at_hand.records();
                self.flushes.ask(reply, self.next_sequence, remaining, self.next_attempt);
            }
            TrackerCommand::Close(reply) => self.closing.get_or_insert_default().push(reply),
        }
    }

    /// After each step: releases what is due by time, drops what is too old, writes waiting visitor
    /// state, answers flushes with nothing to wait for, and begins the deliveries that can begin.
    pub(crate) fn settle(&mut self, now: Instant, effects: &mut Effects) {
        if self.next_auto_flush.is_some_and(|due| due <= now) {
            self.release(ReleaseReason::Timeout);
        }
        self.expire(now);
        if self.visitors.has_store() {
            let (written, left) = self.visitors.write_behind();
            if written + left > 0 {
                effects.notify(|| LifecycleEvent::DataStoreQueueReleased { written, left });
            }
        }
        if self.open_events > 0 && self.next_auto_flush.is_none() {
            // An interval that no clock reaches is as good as none.
            self.next_auto_flush = self.auto_flush_interval.and_then(|interval| now.checked_add(interval));
        }
        self.account();
        // First, as another try would hold up the flushes whose own has failed.
        self.flushes.answer(&self.at_hand, &self.stats, effects);
        while let Some(delivery) = self.next_delivery(now) {
            effects.deliver(delivery);
        }
        self.account();
    }

    /// When the machine wants to be called again though nothing happens.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let retry =
            (self.at_hand.deliveries() == 0 && self.closing.is_none() && self.backlog.has_before(self.due))
                .then(|| self.pacer.until())
                .flatten();
        let expiry = self.backlog.oldest_at().and_then(|oldest| oldest.checked_add(self.delivery.max_age));
        [retry, self.next_auto_flush, expiry].into_iter().flatten().min()
    }

    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// When the oldest pending record was accepted.
    pub(crate) fn oldest_pending(&self) -> Option<Instant> {
        [self.backlog.oldest_at(), self.at_hand.oldest_at()].into_iter().flatten().min()
    }

    /// Whether a close was asked for and no delivery is at hand.
    pub(crate) fn is_done(&self) -> bool {
        self.closing.is_some() && self.at_hand.deliveries() == 0
    }

    /// The end: what is left, and the `unread` records behind it, is dropped and counted.
    pub(crate) fn finish(&mut self, unread: impl Iterator<Item = TrackedEvent>, effects: &mut Effects) {
        let before = self.stats.dropped.closed.total();
        for event in unread {
            self.stats.recorded += 1;
            self.stats.dropped.closed.count(event.class());
        }
        for queued in self.backlog.drain() {
            self.stats.dropped.closed.count(queued.event.class());
        }
        self.at_hand.abandon(&mut self.stats.dropped.closed);
        self.account();
        let left = self.stats.dropped.closed.total() - before;
        if left > 0 {
            log::warn!("closed with {left} records undelivered; they are dropped");
        }
        self.flushes.abandon(&self.at_hand, &self.stats, effects);
    }

    /// Answers whoever asked for the end. Comes last, when everything is counted.
    pub(crate) fn answer_close(&mut self) {
        for reply in self.closing.take().unwrap_or_default() {
            reply.send(self.stats.clone());
        }
    }

    /// Drops what does not fit, and says whether the record with this number stays. Under the other
    /// policies what is kept stays; a flush and failed deliveries can then exceed the bound, by what the
    /// channel and the lanes hold.
    pub(super) fn make_room(&mut self, sequence: u64) -> bool {
        let mut stays = true;
        if self.delivery.overflow != OverflowPolicy::EvictLeastValuable {
            return stays;
        }
        while let Some(evicted) = self.backlog.evict() {
            if self.stats.dropped.overflow.total() == 0 {
                log::warn!("the backlog is full; records are dropped from now on, exposures first");
            }
            self.stats.dropped.overflow.count(evicted.event.class());
            self.flushes.resolve(evicted.sequence, Fate::Dropped);
            stays &= evicted.sequence != sequence;
        }
        stays
    }

    /// Brings the counts up to what the machine holds.
    pub(super) fn account(&mut self) {
        let stats = &mut self.stats;
        let (kept, open) = (self.backlog.len() as u64, self.backlog.len_from(self.due) as u64);
        stats.pending_places.in_batch = open;
        stats.pending_places.waiting = kept - open;
        stats.pending_places.in_flight = self.at_hand.records();
        stats.pending_places.to_retry = self.backlog.to_retry() as u64;
        stats.pending = stats.pending_places.total();
        stats.breaker = self.pacer.state(self.at_hand.deliveries());
        stats.breaker_opened = self.pacer.opened();
        stats.store_failures = self.visitors.store_failures();
        stats.visitors_evicted = self.visitors.evicted();
        stats.marks_evicted = self.marks.evicted();
    }

    fn expire(&mut self, now: Instant) {
        let Some(limit) = now.checked_sub(self.delivery.max_age) else { return };
        let before = self.stats.dropped.expired.total();
        while let Some(expired) = self.backlog.expire(limit) {
            self.stats.dropped.expired.count(expired.event.class());
            self.flushes.resolve(expired.sequence, Fate::Dropped);
        }
        let dropped = self.stats.dropped.expired.total() - before;
        if dropped > 0 {
            log::warn!("{dropped} records were too old to be delivered; they are dropped");
        }
    }

    /// Sets the mark of a record and says whether it is the first.
    fn mark(&mut self, event: &TrackedEvent, now: Instant) -> bool {
        let (kind, visitor_id, entity_id) = match event {
            TrackedEvent::Exposure(it) => (MarkKind::Exposure, &it.visitor_id, &it.experience_id),
            TrackedEvent::Conversion(it) => (MarkKind::Conversion, &it.visitor_id, &it.goal_id),
        };
        let Some(store) = &self.store else { return self.marks.insert(kind, visitor_id, entity_id, now) };
        let key = match kind {
            MarkKind::Exposure => bucketing_key(visitor_id, entity_id),
            MarkKind::Conversion => goal_key(visitor_id, entity_id),
        };
        match store.set_if_absent(&key, true.into(), self.visitor_ttl) {
            Ok(first) => first,
            Err(error) => {
                // A failing store must not lose an event, nor let one go out again and again.
                self.visitors.count_failure(&error);
                self.marks.insert(kind, visitor_id, entity_id, now)
            }
        }
    }

    fn release(&mut self, reason: ReleaseReason) {
        self.due = self.next_sequence;
        self.due_reason = reason;
        self.open_events = 0;
        self.next_auto_flush = None;
    }
}

/// What a record will take in the backlog.
fn bytes_of(event: &TrackedEvent) -> usize {
    size_of::<Queued>() + event.heap_bytes()
}
