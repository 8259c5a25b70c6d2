//! The tracker's state machine: records, outcomes and time go in, effects come out.

use std::collections::HashMap;
use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::Verdict;
use super::claims::{Ask, Claims, mark_key, repetition};
use super::disk::Disk;
use super::effects::Effects;
use super::flushes::{Fate, Flushes};
use crate::engine::delivery::Dispatch;
use crate::engine::{
    Backlog, ByClass, Claim, Dropped, FlushRequest, Jitter, LifecycleEvent, Marks, Moment, NumberedDecisions,
    Queued, ReleaseReason, Reply, Stats, TrackedEvent,
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
    /// Whether an outbox keeps records until they are delivered.
    pub(crate) outbox: bool,
    /// How this process's batch ids begin, if requests have any.
    pub(crate) batch_ids: Option<u128>,
    pub(crate) jitter: Jitter,
    /// Has the ids of what records give by number.
    pub(crate) decisions: Arc<dyn NumberedDecisions>,
}

pub(crate) struct Tracker {
    batch_size: NonZeroUsize,
    decisions: Arc<dyn NumberedDecisions>,
    auto_flush_interval: Option<Duration>,
    pub(super) delivery: DeliveryConfig,
    pub(super) store: bool,
    pub(super) marks: Marks,
    pub(super) backlog: Backlog,
    /// Callers waiting for the verdict on a record that the data store has been asked about, or that is not on disk
    /// yet.
    pub(super) verdicts: HashMap<u64, Reply<Verdict>>,
    pub(super) claims: Claims,
    pub(super) disk: Disk,
    pub(super) next_sequence: u64,
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
            outbox,
            batch_ids,
            jitter,
            decisions,
        } = settings;
        let dispatch = Dispatch::new(&delivery, jitter);
        let marks = max_visitors.saturating_mul(NonZeroUsize::MIN.saturating_add(MARKS_A_VISITOR - 1));
        Self {
            batch_size,
            decisions,
            auto_flush_interval,
            store,
            marks: Marks::new(marks, visitor_ttl),
            backlog: Backlog::new(delivery.max_pending_records, delivery.max_pending_bytes),
            verdicts: HashMap::new(),
            claims: Claims::new(delivery.max_pending_records, delivery.max_pending_bytes),
            disk: Disk::new(outbox, batch_ids.is_some(), delivery.max_pending_records),
            next_sequence: 0,
            due_reason: ReleaseReason::Size,
            open_events: 0,
            dispatch: match batch_ids {
                Some(origin) => dispatch.numbered(origin),
                None => dispatch,
            },
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
        if let TrackedEvent::Conversion(conversion) = &mut event {
            conversion.bucketing.resolve(&*self.decisions);
        }
        let queued = Queued::new(sequence, event, now);
        let bytes = queued.bytes();
        if let Some(loss) = self.loss_of(bytes) {
            // No mark is set, so that the caller can record it again.
            self.release(ReleaseReason::Size);
            loss.count_in(&mut self.stats.dropped).count(queued.event.class());
            self.flushes.resolve(sequence, Fate::Dropped);
            return effects.judge(verdict, Verdict::BacklogFull);
        }
        let claim = match (first, self.store) {
            (false, _) => Claim::None,
            (true, false) => Claim::Local,
            (true, true) => Claim::Asked { delivered },
        };
        let queued = queued.with(claim, if known { 0 } else { self.marks.set(mark, now) });
        if !self.backlog.has_space(bytes) {
            self.release(ReleaseReason::Size);
        }
        self.disk.save(sequence, &queued.event, now, effects);
        self.verdicts.extend(verdict.map(|verdict| (sequence, verdict)));
        if first && self.store {
            self.marks.take_from_store(mark);
            let key = mark_key(&queued.event);
            let ask = self.claims.ask(sequence, mark, key.len());
            if ask == Ask::New {
                effects.claim(sequence, key);
            }
            self.backlog.push(queued);
            if self.make_room(sequence, effects) && ask == Ask::Never {
                self.give_up_claim(sequence, effects);
            }
            return;
        }
        self.accept(&queued.event, effects);
        self.backlog.push(queued);
        self.make_room(sequence, effects);
        if !self.disk.is_unsaved(sequence) {
            effects.judge(self.verdicts.remove(&sequence), Verdict::Accepted);
        }
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

    /// Whether about this many more records complete a batch.
    pub(crate) const fn completes_batch_with(&self, records: usize) -> bool {
        self.open_events + records >= self.batch_size.get()
    }

    /// Releases everything, including the next `outside` records, and answers when all their outcomes are
    /// known or the deadline passes.
    pub(crate) fn flush(&mut self, request: FlushRequest, outside: usize, now: Moment) {
        self.release(request.reason);
        let end = self.next_sequence + outside as u64;
        self.backlog.release(end);
        let waiting = self.backlog.len() + self.dispatch.kept() + outside;
        let remaining = waiting as u64 + self.dispatch.in_flight().parcels();
        self.flushes.ask(request, now, end, remaining, self.dispatch.next_attempt());
    }

    /// The last flush covers records that were delivered before it was taken.
    pub(crate) fn credit_flush(&mut self, delivered: u64) {
        self.flushes.credit(delivered);
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
        if self.store {
            self.give_up_claims(self.flushes.memory_decides_before(now), effects);
        }
        self.give_up_disk(now, effects);
        self.count_missed(effects);
        self.take_recovered(now);
        self.expire(now, effects);
        if self.closing {
            // At once, to leave time for releasing its claims.
            self.drop_waiting(effects);
        }
        if self.open_events > 0 && self.next_auto_flush.is_none() {
            self.next_auto_flush = self.auto_flush_interval.map(|interval| now + interval);
        }
        self.look_for_left(now, effects);
        self.backlog.hold_from(self.disk.unsaved_from());
        self.account();
        // First, because another attempt would delay the flushes whose only attempt has failed.
        self.flushes.answer(self.dispatch.in_flight(), &self.stats, now, effects);
        while let Some(delivery) = self.next_delivery(now) {
            self.begin(delivery, now, effects);
        }
        self.account();
    }

    /// When the machine needs a turn if nothing else happens.
    pub(crate) fn wake_at(&self) -> Option<Moment> {
        let Some(settled_at) = self.settled_at else { return self.next_look() };
        let waits = self.dispatch.has_groups() || self.backlog.can_cut(settled_at);
        let idle = self.dispatch.in_flight().attempts() + self.disk.removing() == 0 && !self.closing;
        let retry = (idle && waits).then(|| self.next_try()).flatten();
        let ages_from = [self.backlog.oldest_at(), self.dispatch.first_to_age()].into_iter().flatten().min();
        let expiry = ages_from.map(|from| from + self.delivery.max_age);
        let unsaved = Some(self.disk.unsaved_from()).filter(|first| *first < u64::MAX);
        let undecided =
            [self.backlog.first_asked(), unsaved, self.disk.first_noting()].into_iter().flatten().min();
        let decision = undecided.and_then(|first| self.flushes.next_decision(first));
        let (late, look) = (self.disk.late_at(), self.next_look());
        let flushes = self.flushes.next_deadline();
        let order = self.backlog.in_order_until(settled_at);
        [retry, self.next_auto_flush, expiry, decision, flushes, order, late, look]
            .into_iter()
            .flatten()
            .min()
    }

    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The number of the next attempt.
    #[cfg(test)]
    pub(crate) const fn next_attempt(&self) -> u64 {
        self.dispatch.next_attempt()
    }

    /// When the oldest pending record was accepted.
    pub(crate) fn oldest_pending(&self) -> Option<Moment> {
        let in_flight = self.dispatch.in_flight().oldest_at();
        [self.backlog.oldest_at(), self.dispatch.oldest_kept(), in_flight].into_iter().flatten().min()
    }

    /// The numbers of the claims whose records were not dropped.
    pub(crate) fn held_claims(&self) -> HashSet<u64> {
        self.claims.held()
    }

    /// Whether a close was requested, no delivery is in flight, and the outbox has answered.
    pub(crate) fn is_done(&self) -> bool {
        let is_delivering = self.dispatch.in_flight().attempts() + self.disk.removing() > 0;
        self.closing && !is_delivering && !self.disk.is_writing() && !self.disk.is_looking()
    }

    /// The end: drops and counts what is left, including the `unread` records behind it.
    pub(crate) fn finish(&mut self, unread: impl Iterator<Item = TrackedEvent>, effects: &mut Effects) {
        for event in unread {
            self.stats.recorded += 1;
            self.stats.dropped.closed.count(event.class());
        }
        self.take_recovered(Moment::default());
        self.disk.end();
        self.take_unsent();
        self.drop_waiting(effects);
        // These may have arrived, so their claims stay.
        let requests = self.dispatch.in_flight().attempts();
        let in_flight = self.dispatch.abandon();
        let lost = self.leave_in_flight(requests, in_flight);
        self.stats.dropped.closed.add_all(lost);
        self.account();
        let left = self.stats.dropped.closed.total();
        if left > 0 {
            logged!(warn, "closed; undelivered records dropped: {left}");
        }
        self.flushes.abandon(self.next_sequence, lost.total(), &self.stats, effects);
    }

    /// Drops everything that is not in flight, except for what is on disk, or is on its way there.
    fn drop_waiting(&mut self, effects: &mut Effects) {
        for queued in self.backlog.drain().chain(self.dispatch.drain()) {
            if self.disk.is_unsaved(queued.sequence) {
                self.backlog.push(queued);
            } else if let Some(queued) = self.leave_on_disk(queued) {
                self.drop_one(queued, Loss::Closed, effects);
            }
        }
        self.reserve();
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
        self.disk.forget(sequence, effects);
        match claim {
            Claim::None | Claim::Inherited => {}
            Claim::Asked { delivered: true } => self.marks.leave_to_store(mark),
            Claim::Asked { delivered: false } | Claim::Local | Claim::Leased => {
                self.marks.release(mark, number);
            }
        }
        match claim {
            Claim::Asked { .. } | Claim::Local => self.claims.dropped(sequence, mark),
            // The record that has set the mark goes on, or was delivered.
            Claim::Inherited if self.marks.is_set(mark) => {}
            Claim::Leased | Claim::Inherited => effects.release(mark_key(&event)),
            Claim::None => {}
        }
        effects.judge(self.verdicts.remove(&sequence), Verdict::BacklogFull);
    }

    /// Updates the counts to match what the machine holds.
    pub(super) fn account(&mut self) {
        let stats = &mut self.stats;
        let (kept, open) = (self.backlog.len() as u64, self.backlog.open() as u64);
        let set_aside = self.dispatch.kept() as u64;
        stats.pending_places.in_batch = open;
        stats.pending_places.waiting = kept - open + set_aside;
        stats.pending_places.in_flight = self.dispatch.in_flight().parcels();
        stats.pending_places.on_disk = self.disk.count();
        stats.pending_places.to_retry = self.backlog.to_retry() as u64 + set_aside;
        stats.pending = stats.pending_places.total();
        stats.breaker = self.dispatch.breaker();
        stats.breaker_opened = self.dispatch.pacer().opened();
        stats.marks_evicted = self.marks.evicted();
    }

    /// Keeps room in the backlog for the records that have to be sent again unchanged.
    pub(super) fn reserve(&mut self) {
        let add = |(records, bytes), queued: &Queued| (records + 1, bytes + queued.bytes());
        let (records, bytes) = self.dispatch.held().fold((0, 0), add);
        self.backlog.reserve(records, bytes);
    }

    fn expire(&mut self, now: Moment, effects: &mut Effects) {
        let Some(limit) = now.checked_sub(self.delivery.max_age) else { return };
        if self.dispatch.first_to_age().is_some_and(|from| from <= limit) {
            self.dispatch.take_older(limit).into_iter().for_each(|queued| self.backlog.push(queued));
            self.reserve();
        }
        let before = self.stats.dropped.expired.total();
        while let Some(expired) = self.backlog.expire(limit) {
            self.drop_one(expired, Loss::Expired, effects);
        }
        let dropped = self.stats.dropped.expired.total() - before;
        if dropped > 0 {
            logged!(warn, limited, "expired records dropped: {dropped}");
        }
    }

    pub(super) fn release(&mut self, reason: ReleaseReason) {
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
