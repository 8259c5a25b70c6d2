//! The tracker's state machine: records, outcomes and time go in, effects come out.

use std::collections::HashMap;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::Verdict;
use super::claims::{Ask, Claims};
use super::effects::Effects;
use super::flushes::{Fate, Flushes};
use super::repetitions::{mark_key, repetition};
use crate::engine::delivery::Dispatch;
use crate::engine::{
    Backlog, ByClass, Claim, Dropped, FlushRequest, Jitter, LifecycleEvent, Marks, Moment, Queued,
    ReleaseReason, Reply, Stats, TrackedEvent,
};
use crate::options::{DeliveryConfig, OverflowPolicy};

/// Deduplication marks kept per visitor, up to the bound on visitors.
const MARKS_A_VISITOR: usize = 8;

/// The tracker's settings.
pub(crate) struct TrackerSettings {
    /// Wire events per batch.
    pub(crate) batch_size: NonZeroUsize,
    pub(crate) auto_flush_interval: Option<Duration>,
    pub(crate) delivery: DeliveryConfig,
    pub(crate) max_visitors: NonZeroUsize,
    pub(crate) visitor_ttl: Option<Duration>,
    /// Whether a data store is also asked whether a record is a repetition.
    pub(crate) store: bool,
    pub(crate) jitter: Jitter,
}

pub(crate) struct Tracker {
    batch_size: NonZeroUsize,
    auto_flush_interval: Option<Duration>,
    pub(super) delivery: DeliveryConfig,
    pub(super) store: bool,
    pub(super) marks: Marks,
    pub(super) backlog: Backlog,
    /// Callers waiting for the verdict on a record that the data store has been asked about.
    pub(super) verdicts: HashMap<u64, Reply<Verdict>>,
    pub(super) claims: Claims,
    next_sequence: u64,
    pub(super) due_reason: ReleaseReason,
    /// Wire events accepted since the last release.
    open_events: usize,
    pub(super) dispatch: Dispatch<Queued>,
    next_auto_flush: Option<Moment>,
    pub(super) flushes: Flushes,
    pub(super) closing: bool,
    settled_at: Option<Moment>,
    pub(super) stats: Stats,
}

impl Tracker {
    pub(crate) fn new(settings: TrackerSettings) -> Self {
        // Destructured without `..`, so that a new setting cannot be forgotten here.
        let TrackerSettings {
            batch_size,
            auto_flush_interval,
            delivery,
            max_visitors,
            visitor_ttl,
            store,
            jitter,
        } = settings;
        let marks = max_visitors.saturating_mul(NonZeroUsize::MIN.saturating_add(MARKS_A_VISITOR - 1));
        Self {
            batch_size,
            auto_flush_interval,
            store,
            marks: Marks::new(marks, visitor_ttl),
            backlog: Backlog::new(delivery.max_pending_records, delivery.max_pending_bytes),
            verdicts: HashMap::new(),
            claims: Claims::new(delivery.max_pending_records, delivery.max_pending_bytes),
            next_sequence: 0,
            due_reason: ReleaseReason::Size,
            open_events: 0,
            dispatch: Dispatch::new(&delivery, jitter),
            delivery,
            next_auto_flush: None,
            flushes: Flushes::default(),
            closing: false,
            settled_at: None,
            stats: Stats::default(),
        }
    }

    /// Takes one record: a repetition is counted, anything else joins the backlog. If a data store has to be
    /// asked, the verdict follows its answer.
    pub(crate) fn record(
        &mut self,
        mut event: TrackedEvent,
        verdict: Option<Reply<Verdict>>,
        now: Moment,
        effects: &mut Effects,
    ) {
        self.stats.recorded += 1;
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let mark = self.mark_of(&event);
        let known = self.marks.contains(mark, now);
        let delivered = known && self.marks.is_left_to_store(mark);
        let first = !known || delivered;
        if !first && let Some(found) = repetition(&mut event) {
            return self.repeated(sequence, &event, verdict, found, effects);
        }
        let bytes = bytes_of(&event);
        if let Some(loss) = self.loss_of(bytes) {
            // No mark is set, so that the caller can record it again.
            self.release(ReleaseReason::Size);
            loss.count_in(&mut self.stats.dropped).count(event.class());
            self.flushes.resolve(sequence, Fate::Dropped);
            return effects.judge(verdict, Verdict::BacklogFull);
        }
        let claim = match (first, self.store) {
            (false, _) => Claim::None,
            (true, false) => Claim::Local,
            (true, true) => Claim::Asked { delivered },
        };
        let number = if known { 0 } else { self.marks.set(mark, now) };
        if !self.backlog.has_space(bytes) {
            self.release(ReleaseReason::Size);
        }
        let queued =
            Queued { sequence, event, accepted_at: now, tries: 0, suspicion: 0, claim, mark: number };
        if first && self.store {
            self.marks.take_from_store(mark);
            let key = mark_key(&queued.event);
            let ask = self.claims.ask(sequence, mark, key.len());
            if ask == Ask::New {
                effects.claim(sequence, key);
            }
            self.verdicts.extend(verdict.map(|verdict| (sequence, verdict)));
            self.backlog.push(queued);
            if self.make_room(sequence, effects) && ask == Ask::Never {
                self.give_up_claim(sequence, effects);
            }
            return;
        }
        self.accept(&queued.event, effects);
        self.backlog.push(queued);
        let stays = self.make_room(sequence, effects);
        effects.judge(verdict, if stays { Verdict::Accepted } else { Verdict::BacklogFull });
    }

    /// Why a record of this size is refused, if it is.
    fn loss_of(&self, bytes: usize) -> Option<Loss> {
        let takes_newest =
            self.delivery.overflow != OverflowPolicy::DropNewest || self.backlog.has_space(bytes);
        // Nothing is evicted for a record that could never fit.
        let fits = takes_newest && bytes <= self.delivery.max_pending_bytes;
        if self.closing { Some(Loss::Closed) } else { (!fits).then_some(Loss::Overflow) }
    }

    /// A record is not a repetition: its events count toward the batch.
    pub(super) fn accept(&mut self, event: &TrackedEvent, effects: &mut Effects) {
        effects.notify(|| LifecycleEvent::recorded(event, false));
        self.open_events += event.wire_events();
        if self.open_events >= self.batch_size.get() {
            self.release(ReleaseReason::Size);
        }
    }

    /// Whether more records may be taken. Under `OverflowPolicy::Wait` a full backlog takes none, and neither
    /// does a closing tracker, which would only drop them at its end.
    pub(crate) fn takes_records(&self) -> bool {
        let waits = matches!(self.delivery.overflow, OverflowPolicy::Wait(_));
        !waits || (!self.closing && self.backlog.has_space(0))
    }

    /// Releases everything, including the next `outside` records, and answers when all their outcomes are
    /// known or the deadline passes.
    pub(crate) fn flush(&mut self, request: FlushRequest, outside: usize, now: Moment) {
        self.release(request.reason);
        let end = self.next_sequence + outside as u64;
        self.backlog.release(end);
        let waiting = self.backlog.len() + self.dispatch.suspected() + outside;
        let remaining = waiting as u64 + self.dispatch.in_flight().parcels();
        self.flushes.ask(request, now, end, remaining, self.dispatch.next_attempt());
    }

    pub(crate) const fn is_closing(&self) -> bool {
        self.closing
    }

    /// Begins the last deliveries that are due, and drops what can no longer be delivered. From now on no
    /// record waits for the data store.
    pub(crate) fn close(&mut self, now: Moment, effects: &mut Effects) {
        self.give_up_claims(u64::MAX, effects);
        self.settle(now, effects);
        self.closing = true;
        self.settle(now, effects);
    }

    /// After each step: releases what is due by time, drops what has expired, answers flushes that have
    /// nothing left to wait for, and begins the deliveries that can begin.
    pub(crate) fn settle(&mut self, now: Moment, effects: &mut Effects) {
        self.settled_at = Some(now);
        if self.next_auto_flush.is_some_and(|due| due <= now) {
            self.release(ReleaseReason::Timeout);
        }
        if !self.takes_records() {
            // The record that would complete the batch has to wait in the channel.
            self.release(ReleaseReason::Size);
        }
        self.give_up_claims(self.flushes.memory_decides_before(now), effects);
        self.expire(now, effects);
        if self.closing {
            // At once, to leave time for releasing its claims.
            self.drop_waiting(effects);
        }
        if self.open_events > 0 && self.next_auto_flush.is_none() {
            self.next_auto_flush = self.auto_flush_interval.map(|interval| now + interval);
        }
        self.account();
        // First, because another attempt would delay the flushes whose only attempt has failed.
        self.flushes.answer(self.dispatch.in_flight(), &self.stats, now, effects);
        while let Some(delivery) = self.next_delivery(now) {
            effects.deliver(delivery);
        }
        self.account();
    }

    /// When the machine needs a turn if nothing else happens.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        let settled_at = self.settled_at?;
        let waits = self.dispatch.has_groups() || self.backlog.can_cut(settled_at);
        let idle = self.dispatch.in_flight().attempts() == 0 && !self.closing;
        let retry = (idle && waits).then(|| self.next_try()).flatten();
        let expiry = self.oldest_waiting().map(|oldest| oldest + self.delivery.max_age);
        let decision = self.backlog.first_asked().and_then(|first| self.flushes.next_decision(first));
        let flushes = self.flushes.next_deadline();
        let order = self.backlog.in_order_until(settled_at);
        [retry, self.next_auto_flush, expiry, decision, flushes, order].into_iter().flatten().min()
    }

    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// When the oldest pending record was accepted.
    pub(crate) fn oldest_pending(&self) -> Option<Moment> {
        [self.oldest_waiting(), self.dispatch.in_flight().oldest_at()].into_iter().flatten().min()
    }

    fn oldest_waiting(&self) -> Option<Moment> {
        [self.backlog.oldest_at(), self.dispatch.oldest_suspected()].into_iter().flatten().min()
    }

    /// The numbers of the claims whose records were not dropped.
    pub(crate) fn held_claims(&self) -> HashSet<u64> {
        self.claims.held()
    }

    /// Whether a close was requested and no delivery is in flight.
    pub(crate) const fn is_done(&self) -> bool {
        self.closing && self.dispatch.in_flight().attempts() == 0
    }

    /// The end: drops and counts what is left, including the `unread` records behind it.
    pub(crate) fn finish(&mut self, unread: impl Iterator<Item = TrackedEvent>, effects: &mut Effects) {
        for event in unread {
            self.stats.recorded += 1;
            self.stats.dropped.closed.count(event.class());
        }
        self.drop_waiting(effects);
        // These may have arrived, so their claims stay.
        self.stats.dropped.closed.add_all(self.dispatch.abandon());
        self.account();
        let left = self.stats.dropped.closed.total();
        if left > 0 {
            logged!(warn, "closed; undelivered records dropped: {left}");
        }
        self.flushes.abandon(&self.stats, effects);
    }

    /// Drops everything that is not in flight.
    fn drop_waiting(&mut self, effects: &mut Effects) {
        for queued in self.backlog.drain().chain(self.dispatch.drain()) {
            self.drop_one(queued, Loss::Closed, effects);
        }
    }

    /// Drops what does not fit, and returns whether the record with this number stays. Under the other
    /// policies nothing is dropped; a flush and failed deliveries can then exceed the bound by what the
    /// channel and the lanes hold.
    pub(super) fn make_room(&mut self, sequence: u64, effects: &mut Effects) -> bool {
        let mut stays = true;
        if self.delivery.overflow != OverflowPolicy::EvictLeastValuable {
            return stays;
        }
        while let Some(evicted) = self.backlog.evict() {
            if self.stats.dropped.overflow.total() == 0 {
                logged!(warn, "the backlog is full; records will be dropped, exposures first");
            }
            stays &= evicted.sequence != sequence;
            self.drop_one(evicted, Loss::Overflow, effects);
        }
        stays
    }

    /// A record is lost: it is counted and can be recorded again.
    pub(super) fn drop_one(&mut self, queued: Queued, loss: Loss, effects: &mut Effects) {
        let Queued { sequence, event, claim, mark: number, .. } = queued;
        let mark = self.mark_of(&event);
        loss.count_in(&mut self.stats.dropped).count(event.class());
        self.flushes.resolve(sequence, Fate::Dropped);
        match claim {
            Claim::None => {}
            Claim::Asked { delivered: true } => self.marks.leave_to_store(mark),
            Claim::Asked { delivered: false } | Claim::Local | Claim::Leased => {
                self.marks.release(mark, number);
            }
        }
        match claim {
            Claim::Asked { .. } | Claim::Local => self.claims.dropped(sequence, mark),
            Claim::Leased => effects.release(mark_key(&event)),
            Claim::None => {}
        }
        effects.judge(self.verdicts.remove(&sequence), Verdict::BacklogFull);
    }

    /// Updates the counts to match what the machine holds.
    pub(super) fn account(&mut self) {
        let stats = &mut self.stats;
        let (kept, open) = (self.backlog.len() as u64, self.backlog.open() as u64);
        let suspected = self.dispatch.suspected() as u64;
        stats.pending_places.in_batch = open;
        stats.pending_places.waiting = kept - open + suspected;
        stats.pending_places.in_flight = self.dispatch.in_flight().parcels();
        stats.pending_places.to_retry = self.backlog.to_retry() as u64 + suspected;
        stats.pending = stats.pending_places.total();
        stats.breaker = self.dispatch.breaker();
        stats.breaker_opened = self.dispatch.pacer().opened();
        stats.marks_evicted = self.marks.evicted();
    }

    fn expire(&mut self, now: Moment, effects: &mut Effects) {
        let Some(limit) = now.checked_sub(self.delivery.max_age) else { return };
        if self.dispatch.oldest_suspected().is_some_and(|oldest| oldest <= limit) {
            self.dispatch.take_older(limit).into_iter().for_each(|queued| self.backlog.push(queued));
        }
        let before = self.stats.dropped.expired.total();
        while let Some(expired) = self.backlog.expire(limit) {
            self.drop_one(expired, Loss::Expired, effects);
        }
        let dropped = self.stats.dropped.expired.total() - before;
        if dropped > 0 {
            logged!(warn, "expired records dropped: {dropped}");
        }
    }

    fn release(&mut self, reason: ReleaseReason) {
        self.backlog.release(self.next_sequence);
        self.due_reason = reason;
        self.open_events = 0;
        self.next_auto_flush = None;
    }
}

/// Why a record is lost after having been accepted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loss {
    Overflow,
    Rejected,
    Expired,
    Closed,
}

impl Loss {
    const fn count_in(self, dropped: &mut Dropped) -> &mut ByClass {
        match self {
            Self::Overflow => &mut dropped.overflow,
            Self::Rejected => &mut dropped.rejected,
            Self::Expired => &mut dropped.expired,
            Self::Closed => &mut dropped.closed,
        }
    }
}

/// The bytes that a record will occupy in the backlog.
fn bytes_of(event: &TrackedEvent) -> usize {
    size_of::<Queued>() + event.heap_bytes()
}
