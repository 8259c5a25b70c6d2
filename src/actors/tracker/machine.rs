//! The tracker's state machine: records, outcomes and time go in, effects come out.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::flushes::{Fate, Flushes};
use super::{Effect, TrackerCommand, Verdict};
use crate::actors::backoff::{Backoff, Jitter};
use crate::actors::flusher::{Delivery, Outcome};
use crate::actors::reply::Reply;
use crate::events::LifecycleEvent;
use crate::state::{DataStore, MarkKind, Marks, StoreError, Visitors, bucketing_key, goal_key};
use crate::tracking::{Backlog, DeliveryError, Queued, ReleaseReason, Stats, TrackedEvent};
use crate::transport::TransportError;

/// Records in one request at most.
const MAX_REQUEST_RECORDS: usize = 1_000;
/// Deduplication marks kept for each visitor of the visitor bound.
const MARKS_A_VISITOR: usize = 8;

/// What the tracker is made of.
pub(crate) struct TrackerSettings {
    /// Wire events that make a batch.
    pub(crate) batch_size: NonZeroUsize,
    pub(crate) auto_flush_interval: Option<Duration>,
    /// Records in the channel, and as many again in the backlog.
    pub(crate) capacity: NonZeroUsize,
    pub(crate) max_visitors: NonZeroUsize,
    pub(crate) store: Option<Arc<dyn DataStore>>,
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) jitter: Jitter,
}

pub(crate) struct Tracker {
    batch_size: NonZeroUsize,
    auto_flush_interval: Option<Duration>,
    store: Option<Arc<dyn DataStore>>,
    visitors: Arc<Visitors>,
    marks: Marks,
    backlog: Backlog,
    next_sequence: u64,
    /// Records before this one are released for delivery.
    due: u64,
    due_reason: ReleaseReason,
    /// Wire events accepted since the last release.
    open_events: usize,
    /// Records that the flusher has.
    in_flight: usize,
    next_attempt: u64,
    /// Records before this one were carried by a delivery that has ended.
    carried: u64,
    /// Failed attempts since the last success.
    failures: u32,
    /// Halved when the endpoint finds a request too large.
    request_limit: usize,
    backoff: Backoff,
    next_auto_flush: Option<Instant>,
    flushes: Flushes,
    closing: Option<Vec<Reply<Stats>>>,
    stats: Stats,
}

impl Tracker {
    pub(crate) fn new(settings: TrackerSettings) -> Self {
        // Taken apart without `..` so that a new setting cannot be forgotten here.
        let TrackerSettings {
            batch_size,
            auto_flush_interval,
            capacity,
            max_visitors,
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
            marks: Marks::new(marks),
            backlog: Backlog::new(capacity),
            next_sequence: 0,
            due: 0,
            due_reason: ReleaseReason::Size,
            open_events: 0,
            in_flight: 0,
            next_attempt: 0,
            carried: 0,
            failures: 0,
            request_limit: MAX_REQUEST_RECORDS,
            backoff: Backoff::new(jitter),
            next_auto_flush: None,
            flushes: Flushes::default(),
            closing: None,
            stats: Stats::default(),
        }
    }

    /// Takes one record: a repetition is counted, anything else joins the backlog.
    pub(crate) fn record(&mut self, mut event: TrackedEvent, effects: &mut Vec<Effect>) -> Verdict {
        self.stats.recorded += 1;
        let first = self.mark(&event);
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
            effects.push(Effect::Notify(LifecycleEvent::recorded(&event, sends_nothing)));
        }
        if sends_nothing {
            self.stats.deduplicated += 1;
            // A forced repetition without goal data counts as taken, as in the official Python SDK.
            return if repeated { Verdict::Repeated } else { Verdict::Accepted };
        }
        let queued = Queued { sequence: self.next_sequence, event };
        self.next_sequence += 1;
        if let Some(evicted) = self.backlog.push(queued) {
            self.overflow(&evicted);
        }
        self.open_events += wire_events;
        if self.open_events >= self.batch_size.get() {
            self.release(ReleaseReason::Size);
        }
        Verdict::Accepted
    }

    pub(crate) fn command(&mut self, command: TrackerCommand) {
        match command {
            TrackerCommand::Persist => {}
            TrackerCommand::Flush(reason, reply) => {
                self.release(reason);
                let remaining = (self.backlog.len() + self.in_flight) as u64;
                self.flushes.ask(reply, self.next_sequence, remaining, self.next_attempt);
            }
            TrackerCommand::Close(reply) => self.closing.get_or_insert_default().push(reply),
        }
    }

    /// A delivery has ended.
    pub(crate) fn ended(
        &mut self,
        outcome: Outcome,
        now: Instant,
        wall: SystemTime,
        effects: &mut Vec<Effect>,
    ) {
        let Outcome { delivery, result, bytes } = outcome;
        self.in_flight -= delivery.records.len();
        self.stats.requests += 1;
        // Records leave in order, so the first one is the one that may have been carried before.
        let sequence = |queued: Option<&Queued>| queued.map_or(0, |queued| queued.sequence);
        self.stats.retries += u64::from(sequence(delivery.records.first()) < self.carried);
        self.carried = self.carried.max(sequence(delivery.records.last()) + 1);
        let Delivery { records, reason, retries, .. } = &delivery;
        effects.push(Effect::Notify(LifecycleEvent::released(records, *reason, *retries, &result)));
        let failure = match result {
            Ok(response) if response.is_success() => None,
            Ok(response) => Some((TransportError::Status(response.status), response.retry_after)),
            Err(error) => Some((error, None)),
        };
        let failed_attempt = match failure {
            None => {
                self.succeeded(&delivery, bytes);
                None
            }
            Some((cause, retry_after)) => {
                let attempt = delivery.attempt;
                self.stats.fate_unknown += u64::from(fate_is_unknown(&cause));
                self.stats.last_error = Some(DeliveryError { at: wall, cause: cause.clone() });
                self.failed(delivery, &cause, retry_after, now).then_some(attempt)
            }
        };
        self.publishable();
        self.flushes.answer(failed_attempt, &self.stats, effects);
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.next_auto_flush.is_some_and(|due| due <= now) {
            self.release(ReleaseReason::Timeout);
        }
    }

    /// After each step: writes waiting visitor state, answers flushes with nothing to wait for, and
    /// begins the next delivery if there is one to begin.
    pub(crate) fn settle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.visitors.has_store() {
            let (written, left) = self.visitors.write_behind();
            if written + left > 0 {
                effects.push(Effect::Notify(LifecycleEvent::DataStoreQueueReleased { written, left }));
            }
        }
        if self.open_events > 0 && self.next_auto_flush.is_none() {
            // An interval that no clock reaches is as good as none.
            self.next_auto_flush = self.auto_flush_interval.and_then(|interval| now.checked_add(interval));
        }
        if let Some(delivery) = self.next_delivery(now) {
            self.in_flight = delivery.records.len();
            effects.push(Effect::Deliver(delivery));
        }
        self.publishable();
        self.flushes.answer(None, &self.stats, effects);
    }

    /// When the machine wants to be called again though nothing happens.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let retry = (self.in_flight == 0 && self.closing.is_none() && self.backlog.has_before(self.due))
            .then(|| self.backoff.until())
            .flatten();
        [retry, self.next_auto_flush].into_iter().flatten().min()
    }

    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Whether a close was asked for and no delivery is at hand.
    pub(crate) const fn is_done(&self) -> bool {
        self.closing.is_some() && self.in_flight == 0
    }

    /// The end: what is left, and the `unread` records behind it, is dropped and counted.
    pub(crate) fn finish(&mut self, unread: u64, effects: &mut Vec<Effect>) {
        let left = (self.backlog.len() + self.in_flight) as u64;
        self.backlog.cut(u64::MAX, usize::MAX);
        self.in_flight = 0;
        self.stats.recorded += unread;
        self.stats.dropped.closed += left + unread;
        self.publishable();
        if left + unread > 0 {
            log::warn!("closed with {} records undelivered; they are dropped", left + unread);
        }
        self.flushes.abandon(&self.stats, effects);
    }

    /// Answers whoever asked for the end. Comes last, when everything is counted.
    pub(crate) fn answer_close(&mut self) {
        for reply in self.closing.take().unwrap_or_default() {
            reply.send(self.stats.clone());
        }
    }

    /// Sets the mark of a record and says whether it is the first.
    fn mark(&mut self, event: &TrackedEvent) -> bool {
        let (kind, visitor_id, entity_id) = match event {
            TrackedEvent::Exposure(it) => (MarkKind::Exposure, &it.visitor_id, &it.experience_id),
            TrackedEvent::Conversion(it) => (MarkKind::Conversion, &it.visitor_id, &it.goal_id),
        };
        let Some(store) = &self.store else { return self.marks.insert(kind, visitor_id, entity_id) };
        let key = match kind {
            MarkKind::Exposure => bucketing_key(visitor_id, entity_id),
            MarkKind::Conversion => goal_key(visitor_id, entity_id),
        };
        match store.set_if_absent(&key, true.into(), None) {
            Ok(first) => first,
            Err(error) => self.mark_without_store(&error, kind, visitor_id, entity_id),
        }
    }

    /// A failing store must not lose an event, nor let one go out again and again.
    fn mark_without_store(
        &mut self,
        error: &StoreError,
        kind: MarkKind,
        visitor: &str,
        entity: &str,
    ) -> bool {
        self.visitors.count_failure(error);
        self.marks.insert(kind, visitor, entity)
    }

    fn release(&mut self, reason: ReleaseReason) {
        self.due = self.next_sequence;
        self.due_reason = reason;
        self.open_events = 0;
        self.next_auto_flush = None;
    }

    fn next_delivery(&mut self, now: Instant) -> Option<Delivery> {
        let waiting = self.backoff.until().is_some_and(|until| until > now) && self.flushes.is_empty();
        if self.in_flight > 0 || self.closing.is_some() || waiting {
            return None;
        }
        let records = self.backlog.cut(self.due, self.request_limit);
        if records.is_empty() {
            return None;
        }
        let attempt = self.next_attempt;
        self.next_attempt += 1;
        Some(Delivery { attempt, records, reason: self.due_reason, retries: self.failures })
    }

    fn succeeded(&mut self, delivery: &Delivery, bytes: usize) {
        self.failures = 0;
        self.request_limit = MAX_REQUEST_RECORDS;
        self.backoff.succeeded();
        self.stats.delivered += delivery.records.len() as u64;
        self.stats.delivered_bytes += bytes as u64;
        for queued in &delivery.records {
            self.stats.delivered_events += queued.event.wire_events() as u64;
            self.flushes.resolve(queued.sequence, Fate::Delivered);
        }
    }

    /// Keeps the records for a retry, or drops them where a retry is no use. Says whether they are
    /// kept.
    fn failed(
        &mut self,
        delivery: Delivery,
        cause: &TransportError,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> bool {
        let records = delivery.records;
        match remedy(cause, records.len()) {
            Remedy::Drop => {
                log::warn!("the endpoint refused {} records: {cause}; they are dropped", records.len());
                self.stats.dropped.rejected += records.len() as u64;
                for queued in &records {
                    self.flushes.resolve(queued.sequence, Fate::Dropped);
                }
                return false;
            }
            Remedy::Split => {
                self.request_limit = records.len().div_ceil(2);
                self.put_back(records);
                return false;
            }
            Remedy::Retry => {}
        }
        log::warn!("delivery of {} records failed: {cause}; they are kept", records.len());
        self.failures = self.failures.saturating_add(1);
        self.backoff.failed(now, retry_after);
        self.put_back(records);
        true
    }

    fn put_back(&mut self, records: Vec<Queued>) {
        for evicted in self.backlog.put_back(records) {
            self.overflow(&evicted);
        }
    }

    fn overflow(&mut self, evicted: &Queued) {
        if self.stats.dropped.overflow == 0 {
            log::warn!("the backlog is full; records are dropped from now on, exposures first");
        }
        self.stats.dropped.overflow += 1;
        self.flushes.resolve(evicted.sequence, Fate::Dropped);
    }

    fn publishable(&mut self) {
        self.stats.pending = (self.backlog.len() + self.in_flight) as u64;
        self.stats.store_failures = self.visitors.store_failures();
        self.stats.visitors_evicted = self.visitors.evicted();
        self.stats.marks_evicted = self.marks.evicted();
    }
}

/// What to do about a failed delivery.
enum Remedy {
    Retry,
    Split,
    Drop,
}

/// Another try can help after a broken connection, a timeout, and statuses that say so; other 4xx
/// mean that the endpoint will never take these records.
const fn remedy(cause: &TransportError, records: usize) -> Remedy {
    if matches!(cause, TransportError::InvalidRequest) {
        return Remedy::Drop;
    }
    match cause.status() {
        Some(413) if records > 1 => Remedy::Split,
        Some(408 | 425 | 429) | None => Remedy::Retry,
        Some(400..=499) => Remedy::Drop,
        Some(_) => Remedy::Retry,
    }
}

/// Whether the endpoint may have the records although no answer came.
const fn fate_is_unknown(cause: &TransportError) -> bool {
    matches!(
        cause,
        TransportError::Timeout(_)
            | TransportError::Broken(_)
            | TransportError::Protocol
            | TransportError::Interrupted
            | TransportError::Panicked
    )
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::{Receiver, bounded};

    use super::*;
    use crate::flush::FlushReport;
    use crate::tracking::{Conversion, Exposure};
    use crate::transport::TrackingResponse;

    /// A tracker without threads: time is a number that the test moves, deliveries are values that it
    /// ends.
    struct Bench {
        tracker: Tracker,
        now: Instant,
        effects: Vec<Effect>,
    }

    const SECOND: Duration = Duration::from_secs(1);

    impl Bench {
        fn new(batch_size: usize, capacity: usize, auto_flush_interval: Option<Duration>) -> Self {
            let count = |number| NonZeroUsize::new(number).unwrap();
            let tracker = Tracker::new(TrackerSettings {
                batch_size: count(batch_size),
                auto_flush_interval,
                capacity: count(capacity),
                max_visitors: count(100),
                store: None,
                visitors: Arc::new(Visitors::new(count(100), None)),
                jitter: Jitter::seeded(7),
            });
            Self { tracker, now: Instant::now(), effects: Vec::new() }
        }

        fn expose(&mut self, visitor: u32) {
            let event = TrackedEvent::Exposure(Exposure {
                visitor_id: visitor.to_string().into(),
                experience_id: "1".into(),
                variation_id: "2".into(),
                segments: None,
            });
            assert_eq!(self.tracker.record(event, &mut self.effects), Verdict::Accepted);
        }

        fn convert(&mut self, visitor: u32) -> Verdict {
            let event = TrackedEvent::Conversion(Conversion {
                visitor_id: visitor.to_string().into(),
                goal_id: "3".into(),
                goal_key: "buy".into(),
                goal_data: None,
                bucketing: Arc::default(),
                segments: None,
                force_multiple: false,
                first: true,
            });
            self.tracker.record(event, &mut self.effects)
        }

        /// Ends a step; returns the delivery that it begins.
        fn settle(&mut self) -> Option<Delivery> {
            self.tracker.settle(self.now, &mut self.effects);
            assert!(self.tracker.stats().is_balanced(), "{:?}", self.tracker.stats());
            let mut begun = None;
            for effect in self.effects.drain(..) {
                match effect {
                    Effect::Deliver(delivery) => assert!(begun.replace(delivery).is_none()),
                    Effect::Report(reply, report) => reply.send(report),
                    Effect::Judge(reply, verdict) => reply.send(verdict),
                    Effect::Notify(_) => {}
                }
            }
            begun
        }

        fn end(&mut self, delivery: Delivery, result: Result<TrackingResponse, TransportError>) {
            let outcome = Outcome { delivery, result, bytes: 1 };
            self.tracker.ended(outcome, self.now, SystemTime::UNIX_EPOCH, &mut self.effects);
        }

        /// Ends a delivery; returns the one that follows at once.
        fn answer(&mut self, delivery: Delivery, status: u16) -> Option<Delivery> {
            self.end(delivery, Ok(TrackingResponse::new(status)));
            self.settle()
        }

        fn fail(&mut self, delivery: Delivery) -> Option<Delivery> {
            self.end(delivery, Err(TransportError::Connect));
            self.settle()
        }

        fn flush(&mut self) -> Receiver<FlushReport> {
            let (reply, report) = bounded(1);
            self.tracker.command(TrackerCommand::Flush(ReleaseReason::Explicit, reply.into()));
            report
        }

        /// Lets time pass up to the moment that the tracker asked for.
        fn wake(&mut self) -> Option<Delivery> {
            self.now = self.tracker.wake_at().expect("the tracker should want to be called");
            self.tracker.tick(self.now);
            self.settle()
        }

        fn is_asleep(&self) -> bool {
            self.tracker.wake_at().is_none()
        }
    }

    fn sequences(delivery: &Delivery) -> Vec<u64> {
        delivery.records.iter().map(|queued| queued.sequence).collect()
    }

    #[test]
    fn a_batch_goes_out_when_it_is_full_and_one_delivery_is_made_at_a_time() {
        let mut bench = Bench::new(2, 100, None);
        bench.expose(0);
        assert!(bench.settle().is_none() && bench.is_asleep());
        bench.expose(1);
        let first = bench.settle().unwrap();
        assert_eq!((sequences(&first), first.reason), (vec![0, 1], ReleaseReason::Size));
        for visitor in 2..5 {
            bench.expose(visitor);
            assert!(bench.settle().is_none(), "one is at hand");
        }
        let second = bench.answer(first, 200).unwrap();
        assert_eq!(sequences(&second), [2, 3]);
        assert!(bench.answer(second, 200).is_none(), "the last one waits for its batch");
        assert_eq!((bench.tracker.stats().delivered, bench.tracker.stats().pending), (4, 1));
    }

    #[test]
    fn the_auto_flush_is_armed_by_the_first_event_and_disarmed_by_a_release() {
        let mut bench = Bench::new(2, 100, Some(SECOND));
        assert!(bench.settle().is_none() && bench.is_asleep(), "nothing to flush");
        let start = bench.now;
        bench.expose(0);
        bench.settle();
        assert_eq!(bench.tracker.wake_at(), Some(start + SECOND));
        bench.now = start + SECOND / 2;
        bench.tracker.tick(bench.now);
        assert!(bench.settle().is_none(), "not yet");
        assert_eq!(bench.tracker.wake_at(), Some(start + SECOND), "later events do not put it off");
        let delivery = bench.wake().unwrap();
        assert_eq!(delivery.reason, ReleaseReason::Timeout);
        assert!(bench.is_asleep());
        assert!(bench.answer(delivery, 200).is_none());
        bench.expose(1);
        bench.settle();
        bench.expose(2);
        let full = bench.settle().unwrap();
        assert_eq!(full.reason, ReleaseReason::Size);
        assert!(bench.is_asleep(), "a full batch leaves nothing to flush");
        bench.answer(full, 200);
    }

    #[test]
    fn a_failure_is_retried_after_a_wait_that_grows_and_ends_with_a_success() {
        let mut bench = Bench::new(1, 100, None);
        bench.expose(0);
        let mut delivery = bench.settle().unwrap();
        for failures in 1..40_u32 {
            assert!(bench.fail(delivery).is_none(), "not at once");
            let wait = bench.tracker.wake_at().unwrap() - bench.now;
            assert!(wait <= SECOND * (1 << (failures - 1).min(6)) && wait <= Backoff::CEILING);
            delivery = bench.wake().unwrap();
            assert_eq!((delivery.retries, sequences(&delivery)), (failures, vec![0]));
        }
        assert!(bench.answer(delivery, 200).is_none() && bench.is_asleep());
        bench.expose(1);
        let next = bench.settle().unwrap();
        assert_eq!(next.retries, 0);
        assert_eq!((bench.tracker.stats().retries, bench.tracker.stats().requests), (39, 40));
        bench.answer(next, 200);
    }

    #[test]
    fn what_is_recorded_during_a_backoff_waits_too() {
        let mut bench = Bench::new(1, 100, None);
        bench.expose(0);
        let delivery = bench.settle().unwrap();
        let limited = TrackingResponse { status: 429, retry_after: Some(5 * SECOND) };
        bench.end(delivery, Ok(limited));
        assert!(bench.settle().is_none());
        assert_eq!(bench.tracker.wake_at(), Some(bench.now + 5 * SECOND), "as the endpoint asks");
        bench.expose(1);
        assert!(bench.settle().is_none());
        let delivery = bench.wake().unwrap();
        assert_eq!(sequences(&delivery), [0, 1]);
        let for_ever = TrackingResponse { status: 503, retry_after: Some(Duration::MAX) };
        bench.end(delivery, Ok(for_ever));
        assert!(bench.settle().is_none());
        assert_eq!(bench.tracker.wake_at(), Some(bench.now + Backoff::CEILING), "but not for ever");
    }

    #[test]
    fn a_flush_tries_at_once_during_a_backoff_and_is_answered_by_that_attempt() {
        let mut bench = Bench::new(1, 100, None);
        bench.expose(0);
        let delivery = bench.settle().unwrap();
        assert!(bench.fail(delivery).is_none());
        let report = bench.flush();
        let delivery = bench.settle().expect("at once");
        assert!(report.is_empty());
        assert!(bench.fail(delivery).is_none(), "answered, it does not try again and again");
        let report = report.try_recv().unwrap();
        assert_eq!((report.delivered, report.dropped, report.pending), (0, 0, 1));
    }

    #[test]
    fn an_attempt_that_began_before_the_flush_does_not_answer_it_by_failing() {
        let mut bench = Bench::new(1, 100, None);
        bench.expose(0);
        let before = bench.settle().unwrap();
        let report = bench.flush();
        bench.expose(1);
        assert!(bench.settle().is_none());
        let after = bench.fail(before).expect("at once");
        assert!(report.is_empty());
        bench.answer(after, 200);
        let report = report.try_recv().unwrap();
        assert_eq!((report.delivered, report.pending), (1, 0), "what came later is not covered");
    }

    #[test]
    fn a_close_lets_the_delivery_at_hand_end_and_begins_no_other() {
        for works in [true, false] {
            let mut bench = Bench::new(1, 100, Some(SECOND));
            bench.expose(0);
            let delivery = bench.settle().unwrap();
            bench.expose(1);
            let (reply, closed) = bounded(1);
            bench.tracker.command(TrackerCommand::Close(reply.into()));
            let flushed = bench.flush();
            assert!(bench.settle().is_none() && !bench.tracker.is_done());
            let next = if works { bench.answer(delivery, 200) } else { bench.fail(delivery) };
            assert!(next.is_none() && bench.tracker.is_done());
            bench.tracker.finish(3, &mut bench.effects);
            bench.settle();
            assert!(closed.is_empty());
            bench.tracker.answer_close();
            let stats = closed.try_recv().unwrap();
            let delivered = u64::from(works);
            assert_eq!((stats.delivered, stats.dropped.closed, stats.pending), (delivered, 5 - delivered, 0));
            let report = flushed.try_recv().unwrap();
            assert_eq!((report.delivered, report.dropped, report.pending), (delivered, 2 - delivered, 0));
        }
    }

    #[test]
    fn a_close_during_a_backoff_has_nothing_to_wait_for() {
        let mut bench = Bench::new(1, 100, None);
        bench.expose(0);
        let delivery = bench.settle().unwrap();
        bench.fail(delivery);
        bench.tracker.command(TrackerCommand::Close(bounded(1).0.into()));
        assert!(bench.settle().is_none());
        assert!(bench.tracker.is_done() && bench.is_asleep());
    }

    #[test]
    fn overflow_drops_exposures_before_conversions_and_a_flush_says_so() {
        let mut bench = Bench::new(1, 2, None);
        bench.expose(0);
        let delivery = bench.settle().unwrap();
        bench.expose(1);
        assert_eq!(bench.convert(1), Verdict::Accepted);
        let report = bench.flush();
        bench.settle();
        assert_eq!(bench.convert(2), Verdict::Accepted);
        assert_eq!(bench.convert(2), Verdict::Repeated);
        bench.settle();
        assert_eq!((bench.tracker.stats().dropped.overflow, bench.tracker.stats().pending), (1, 3));
        // What a failed delivery hands back finds its place taken.
        let delivery = bench.fail(delivery).unwrap();
        assert_eq!(sequences(&delivery), [2, 3], "the exposure that was at hand is dropped");
        bench.answer(delivery, 200);
        let report = report.try_recv().unwrap();
        assert_eq!((report.delivered, report.dropped, report.pending), (1, 2, 0));
    }

    #[test]
    fn a_request_that_is_too_large_is_halved_until_a_success() {
        let mut bench = Bench::new(5, 100, None);
        (0..5).for_each(|visitor| bench.expose(visitor));
        let mut delivery = bench.settle().unwrap();
        for size in [3, 2, 1] {
            delivery = bench.answer(delivery, 413).unwrap();
            assert_eq!(delivery.records.len(), size);
        }
        let rest = bench.answer(delivery, 413).unwrap();
        assert_eq!(bench.tracker.stats().dropped.rejected, 1, "a single one cannot be split");
        assert_eq!(sequences(&rest), [1]);
        let rest = bench.answer(rest, 200).unwrap();
        assert_eq!(sequences(&rest), [2, 3, 4]);
        assert!(bench.answer(rest, 200).is_none());
        assert_eq!((bench.tracker.stats().delivered, bench.tracker.stats().retries), (4, 5));
    }

    #[test]
    fn statuses_that_say_so_are_retried_and_other_4xx_are_not() {
        for status in [400, 401, 403, 404, 405, 410, 422, 451, 499] {
            assert!(matches!(remedy(&TransportError::Status(status), 2), Remedy::Drop), "{status}");
        }
        for status in [100, 301, 304, 307, 408, 425, 429, 500, 502, 503, 599] {
            assert!(matches!(remedy(&TransportError::Status(status), 2), Remedy::Retry), "{status}");
        }
        assert!(matches!(remedy(&TransportError::Timeout("x"), 2), Remedy::Retry));
    }
}
