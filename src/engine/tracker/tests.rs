//! The tracker's state machine, step by step, without threads.

mod batches;
mod claims;
mod culprits;
mod outbox;
mod retry_after;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::effects::{Effect, Effects, StoreRequests};
use super::machine::Tracker;
use super::*;
use crate::engine::{
    BreakerState, ByClass, Conversion, Delivery, Exposure, FlushReport, FlushRequest, GoalDataKey, GoalValue,
    Jitter, Moment, Outcome, Pending, question,
};
use crate::http::delivery_answer;
use crate::options::{DeliveryConfig, DeliveryConfigBuilder, OverflowPolicy};
use crate::ports::{DeliveryFailure, Receipt, TransportError};

/// A tracker without threads: the test moves time, and ends the deliveries, which are plain values.
struct Bench {
    tracker: Tracker,
    now: Moment,
    effects: Effects,
}

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn settings(
    batch_size: usize,
    auto_flush_interval: Option<Duration>,
    delivery: DeliveryConfig,
) -> TrackerSettings {
    let count = |number| NonZeroUsize::new(number).unwrap();
    TrackerSettings {
        batch_size: count(batch_size),
        auto_flush_interval,
        delivery,
        max_visitors: count(100),
        visitor_ttl: None,
        store: false,
        outbox: false,
        batch_ids: None,
        jitter: Jitter::seeded(7),
        decisions: Arc::<crate::config::SnapshotCell>::default(),
    }
}

impl Bench {
    /// With one lane, so that the test controls the order of deliveries.
    fn new(batch_size: usize, capacity: usize, auto_flush_interval: Option<Duration>) -> Self {
        Self::with(batch_size, auto_flush_interval, |delivery| {
            delivery.lanes(1).max_pending_records(capacity)
        })
    }

    fn with(
        batch_size: usize,
        auto_flush_interval: Option<Duration>,
        delivery: impl FnOnce(DeliveryConfigBuilder) -> DeliveryConfigBuilder,
    ) -> Self {
        let delivery = delivery(DeliveryConfig::builder()).build().unwrap();
        let tracker = Tracker::new(settings(batch_size, auto_flush_interval, delivery));
        Self { tracker, now: Moment::default(), effects: Effects::default() }
    }

    fn expose(&mut self, visitor: u32) {
        assert_eq!(self.record(exposure(&visitor.to_string())), Some(Verdict::Accepted));
    }

    /// Records an event; returns the verdict if it is immediate.
    fn record(&mut self, event: TrackedEvent) -> Option<Verdict> {
        let (reply, verdict) = question();
        self.tracker.record(event, Some(reply), self.now, &mut self.effects);
        self.effects.take_verdicts();
        verdict.try_recv().ok()
    }

    fn convert(&mut self, visitor: u32) -> Verdict {
        self.convert_with(visitor, None)
    }

    fn convert_with(&mut self, visitor: u32, revenue: Option<f64>) -> Verdict {
        self.record(conversion(visitor, revenue, false)).expect("a verdict")
    }

    /// Ends a step; returns the delivery that it begins, if any.
    fn settle(&mut self) -> Option<Delivery> {
        let mut begun = self.settle_all();
        assert!(begun.len() < 2);
        begun.pop()
    }

    /// Ends a step; returns the deliveries that it begins.
    fn settle_all(&mut self) -> Vec<Delivery> {
        self.tracker.settle(self.now, &mut self.effects);
        assert!(self.tracker.stats().is_balanced(), "{:?}", self.tracker.stats());
        assert_eq!(self.effects.take_store_requests(), StoreRequests::default(), "there is no store");
        let mut begun = Vec::new();
        for effect in self.effects.drain() {
            match effect {
                Effect::Deliver(delivery) => begun.push(delivery),
                Effect::Report(reply, report) => reply.send(*report),
                Effect::Judge(reply, verdict) => reply.send(verdict),
                Effect::Notify(_) => {}
            }
        }
        begun
    }

    fn end(&mut self, delivery: Delivery, result: Result<Receipt, DeliveryFailure>) {
        let outcome = Outcome { delivery, result, bytes: 1, left_out: 0 };
        self.tracker.ended(outcome, self.now, SystemTime::UNIX_EPOCH, &mut self.effects);
    }

    /// Ends a delivery; returns the one that follows at once.
    fn answer(&mut self, delivery: Delivery, status: u16) -> Option<Delivery> {
        self.end(delivery, delivery_answer(status, None));
        self.settle()
    }

    fn fail(&mut self, delivery: Delivery) -> Option<Delivery> {
        self.end(delivery, Err(DeliveryFailure::NotSent(TransportError::Connect)));
        self.settle()
    }

    fn close(&mut self) {
        self.tracker.close(self.now, &mut self.effects);
    }

    /// Requests a flush with a deadline in ten seconds.
    fn flush(&mut self) -> Pending<FlushReport> {
        self.flush_within(10 * SECOND, false)
    }

    fn flush_within(&mut self, timeout: Duration, single_attempt: bool) -> Pending<FlushReport> {
        let (reply, report) = question();
        let (reason, deadline) = (ReleaseReason::Explicit, self.now + timeout);
        let request = FlushRequest { reason, deadline, single_attempt, reply };
        self.tracker.flush(request, 0, self.now);
        report
    }

    /// Moves time to when the tracker asked to be called.
    fn wake(&mut self) -> Option<Delivery> {
        self.now = self.tracker.wake_at().expect("the tracker should want to be called");
        self.settle()
    }

    /// Whether the machine wants to be called only because records age.
    fn is_asleep(&self) -> bool {
        self.tracker.wake_at().is_none_or(|at| at - self.now > DeliveryConfig::DEFAULT_MAX_AGE / 2)
    }
}

/// Records that come after the end.
fn late(visitors: u32) -> impl Iterator<Item = TrackedEvent> {
    (0..visitors).map(|visitor| exposure(&format!("late-{visitor}")))
}

fn conversion(visitor: u32, revenue: Option<f64>, force_multiple: bool) -> TrackedEvent {
    let amount = |amount| vec![(GoalDataKey::Amount, GoalValue::Number(amount))].into();
    TrackedEvent::Conversion(Conversion {
        visitor_id: visitor.to_string().into(),
        goal_id: "3".into(),
        goal_key: "buy".into(),
        goal_data: revenue.map(amount),
        bucketing: [].into(),
        segments: Default::default(),
        force_multiple,
        first: true,
    })
}

pub(crate) fn exposure(visitor: &str) -> TrackedEvent {
    TrackedEvent::Exposure(Exposure {
        visitor_id: visitor.into(),
        experience_id: "1".into(),
        variation_id: "2".into(),
        segments: Default::default(),
    })
}

fn sequences(delivery: &Delivery) -> Vec<u64> {
    delivery.records.iter().map(|queued| queued.sequence).collect()
}

#[test]
fn a_full_batch_is_delivered_one_delivery_at_a_time() {
    let mut bench = Bench::new(2, 100, None);
    bench.expose(0);
    assert!(bench.settle().is_none() && bench.is_asleep());
    bench.expose(1);
    let first = bench.settle().unwrap();
    assert_eq!((sequences(&first), first.reason), (vec![0, 1], ReleaseReason::Size));
    for visitor in 2..5 {
        bench.expose(visitor);
        assert!(bench.settle().is_none(), "one is already in flight");
    }
    let second = bench.answer(first, 200).unwrap();
    assert_eq!(sequences(&second), [2, 3]);
    assert!(bench.answer(second, 200).is_none(), "the last one waits for its batch to fill");
    assert_eq!((bench.tracker.stats().delivered, bench.tracker.stats().pending), (4, 1));
}

#[test]
fn the_first_event_arms_the_auto_flush_until_a_release() {
    let mut bench = Bench::new(2, 100, Some(SECOND));
    assert!(bench.settle().is_none() && bench.is_asleep(), "nothing to flush");
    let start = bench.now;
    bench.expose(0);
    bench.settle();
    assert_eq!(bench.tracker.wake_at(), Some(start + SECOND));
    bench.now = start + SECOND / 2;
    assert!(bench.settle().is_none(), "not yet");
    assert_eq!(bench.tracker.wake_at(), Some(start + SECOND), "later events do not postpone it");
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
fn a_failure_is_retried_with_growing_waits_until_a_success() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let mut delivery = bench.settle().unwrap();
    for failures in 1..40_u32 {
        assert!(bench.fail(delivery).is_none(), "not at once");
        let wait = bench.tracker.wake_at().unwrap() - bench.now;
        assert!(
            wait <= SECOND * (1 << (failures - 1).min(6)) && wait <= DeliveryConfig::DEFAULT_BACKOFF_CEILING
        );
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
fn an_endpoint_that_asks_for_no_wait_gets_one() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let delivery = bench.settle().unwrap();
    let report = bench.flush();
    let limited = || delivery_answer(429, Some(Duration::ZERO));
    bench.end(delivery, limited());
    let delivery = bench.settle().expect("the flush has not tried yet");
    bench.end(delivery, limited());
    assert!(bench.settle().is_none(), "not at the moment of the failure");
    let delivery = bench.wake().unwrap();
    bench.answer(delivery, 200);
    assert_eq!(report.try_recv().unwrap().delivered, 1);
}

#[test]
fn records_made_during_a_backoff_wait_too() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let delivery = bench.settle().unwrap();
    let limited = delivery_answer(429, Some(5 * SECOND));
    bench.end(delivery, limited);
    assert!(bench.settle().is_none());
    assert_eq!(bench.tracker.wake_at(), Some(bench.now + 5 * SECOND), "as the endpoint asked");
    bench.expose(1);
    assert!(bench.settle().is_none());
    let delivery = bench.wake().unwrap();
    assert_eq!(sequences(&delivery), [0, 1]);
    let for_ever = delivery_answer(503, Some(Duration::MAX));
    bench.end(delivery, for_ever);
    assert!(bench.settle().is_none());
    assert_eq!(
        bench.tracker.wake_at(),
        Some(bench.now + DeliveryConfig::DEFAULT_BACKOFF_CEILING),
        "but not forever"
    );
}

#[test]
fn a_single_attempt_flush_is_answered_by_that_attempt() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let delivery = bench.settle().unwrap();
    assert!(bench.fail(delivery).is_none());
    let report = bench.flush_within(10 * SECOND, true);
    let delivery = bench.settle().expect("at once");
    assert!(report.is_empty());
    assert!(bench.fail(delivery).is_none(), "once answered, it does not keep trying");
    let report = report.try_recv().unwrap();
    assert_eq!((report.delivered, report.dropped, report.pending), (0, 0, 1));
}

#[test]
fn a_single_attempt_does_not_wait_for_a_retry_after() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let delivery = bench.settle().unwrap();
    bench.end(delivery, delivery_answer(429, Some(60 * SECOND)));
    assert!(bench.settle().is_none());
    let report = bench.flush_within(10 * SECOND, true);
    let delivery = bench.settle().expect("at once");
    bench.answer(delivery, 200);
    assert_eq!(report.try_recv().unwrap().delivered, 1);
}

#[test]
fn a_flush_tries_until_the_endpoint_recovers() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let report = bench.flush_within(5 * SECOND, false);
    let mut delivery = bench.settle().unwrap();
    for _ in 0..3 {
        assert!(bench.answer(delivery, 503).is_none() && report.is_empty());
        delivery = bench.wake().unwrap();
    }
    assert!(bench.answer(delivery, 200).is_none());
    let report = report.try_recv().unwrap();
    assert_eq!((report.delivered, report.pending, report.stats.requests), (1, 0, 4));
}

#[test]
fn a_flush_ends_at_its_deadline_and_not_before() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let deadline = bench.now + 5 * SECOND;
    let report = bench.flush_within(5 * SECOND, false);
    let mut delivery = bench.settle();
    let mut attempts = 0;
    while report.is_empty() {
        assert!(bench.now < deadline);
        delivery = match delivery {
            Some(delivery) => {
                attempts += 1;
                bench.answer(delivery, 503)
            }
            None => bench.wake(),
        };
    }
    assert_eq!(bench.now, deadline);
    let report = report.try_recv().unwrap();
    assert_eq!((report.delivered, report.dropped, report.pending), (0, 0, 1));
    assert!((4..40).contains(&attempts), "{attempts} attempts in five seconds");
}

#[test]
fn a_flush_obeys_a_retry_after_that_fits() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let start = bench.now;
    let _report = bench.flush_within(5 * SECOND, false);
    let delivery = bench.settle().unwrap();
    bench.end(delivery, delivery_answer(503, Some(4 * SECOND)));
    assert!(bench.settle().is_none());
    assert!(bench.wake().is_some());
    assert_eq!(bench.now, start + 4 * SECOND);
}

#[test]
fn a_flush_tries_once_before_a_retry_after_past_its_deadline() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let start = bench.now;
    let report = bench.flush_within(5 * SECOND, false);
    let mut delivery = bench.settle().unwrap();
    for again in [true, false] {
        bench.end(delivery, delivery_answer(429, Some(50 * SECOND)));
        assert!(bench.settle().is_none() && report.is_empty());
        let Some(next) = bench.wake() else {
            assert!(!again && bench.now == start + 5 * SECOND);
            assert_eq!(report.try_recv().unwrap().pending, 1);
            return;
        };
        assert!(again, "once more and no further");
        assert!(bench.now >= start + 4 * SECOND && bench.now < start + 5 * SECOND);
        delivery = next;
    }
}

#[test]
fn an_open_breaker_probes_for_a_flush_too() {
    let mut bench = Bench::with(1, None, |delivery| delivery.lanes(1).breaker_threshold(1));
    (0..400).for_each(|visitor| bench.expose(visitor));
    let delivery = bench.settle().unwrap();
    assert!(bench.fail(delivery).is_none());
    let report = bench.flush();
    let probe = bench.settle().expect("at once");
    assert_eq!(probe.records.len(), 50);
    let rest = bench.answer(probe, 200).expect("the endpoint works again");
    assert_eq!(rest.records.len(), 350);
    bench.answer(rest, 200);
    assert_eq!(report.try_recv().unwrap().delivered, 400);
}

#[test]
fn an_attempt_from_before_a_flush_does_not_fail_it() {
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
    assert_eq!((report.delivered, report.pending), (1, 0), "later records are not covered");
}

#[test]
fn a_close_lets_deliveries_in_flight_end_and_begins_no_other() {
    for works in [true, false] {
        let mut bench = Bench::new(1, 100, Some(SECOND));
        bench.expose(0);
        let delivery = bench.settle().unwrap();
        bench.expose(1);
        let flushed = bench.flush();
        bench.close();
        assert_eq!(bench.tracker.stats().dropped.closed.total(), 1, "what is not in flight, immediately");
        assert!(bench.settle().is_none() && !bench.tracker.is_done());
        let next = if works { bench.answer(delivery, 200) } else { bench.fail(delivery) };
        assert!(next.is_none() && bench.tracker.is_done());
        bench.tracker.finish(late(3), &mut bench.effects);
        bench.settle();
        let stats = bench.tracker.stats().clone();
        let delivered = u64::from(works);
        assert_eq!(
            (stats.delivered, stats.dropped.closed.total(), stats.pending),
            (delivered, 5 - delivered, 0)
        );
        let report = flushed.try_recv().unwrap();
        assert_eq!((report.delivered, report.dropped, report.pending), (delivered, 2 - delivered, 0));
    }
}

#[test]
fn a_close_during_a_backoff_does_not_wait() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let delivery = bench.settle().unwrap();
    bench.fail(delivery);
    bench.close();
    assert!(bench.settle().is_none());
    assert!(bench.tracker.is_done() && bench.is_asleep());
}

#[test]
fn overflow_drops_exposures_first_and_a_flush_reports_it() {
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
    assert_eq!((bench.tracker.stats().dropped.overflow.total(), bench.tracker.stats().pending), (1, 3));
    // Records handed back by a failed delivery find their places taken.
    let delivery = bench.fail(delivery).unwrap();
    assert_eq!(sequences(&delivery), [2, 3], "the exposure that was in flight is dropped");
    bench.answer(delivery, 200);
    let report = report.try_recv().unwrap();
    assert_eq!((report.delivered, report.dropped, report.pending), (1, 2, 0));
}

#[test]
fn a_request_that_is_too_large_is_halved_until_a_success() {
    let mut bench = Bench::new(5, 100, None);
    (0..5).for_each(|visitor| bench.expose(visitor));
    let mut delivery = bench.settle().unwrap();
    // Half, and half again, down to a single record, which cannot be split.
    for size in [3, 2, 1] {
        delivery = bench.answer(delivery, 413).unwrap();
        assert_eq!(delivery.records.len(), size);
    }
    let rest = bench.answer(delivery, 413).unwrap();
    assert_eq!(bench.tracker.stats().dropped.rejected.total(), 1, "a single record cannot be split");
    assert_eq!(sequences(&rest), [1]);
    let rest = bench.answer(rest, 200).unwrap();
    assert_eq!(sequences(&rest), [2, 3], "a success doubles the request size");
    let rest = bench.answer(rest, 200).unwrap();
    assert!(bench.answer(rest, 200).is_none());
    assert_eq!((bench.tracker.stats().delivered, bench.tracker.stats().retries), (4, 6));
}

#[test]
fn a_delivery_that_hangs_does_not_hold_up_the_next() {
    let mut bench = Bench::with(1, None, |delivery| delivery.lanes(2));
    bench.expose(0);
    let hanging = bench.settle().unwrap();
    bench.expose(1);
    let second = bench.settle().expect("on the other lane");
    bench.expose(2);
    assert!(bench.settle().is_none(), "there are two lanes");
    let third = bench.answer(second, 200).unwrap();
    let report = bench.flush();
    assert!(bench.settle().is_none());
    bench.answer(third, 200);
    assert!(report.is_empty(), "the flush covers the one that hangs");
    // It began before the flush, so it gets another try for the flush.
    let again = bench.fail(hanging).unwrap();
    bench.answer(again, 200);
    assert_eq!(report.try_recv().unwrap().pending, 0);
}

#[test]
fn a_failed_flush_is_answered_once_the_other_lane_has_ended() {
    for works in [true, false] {
        let mut bench = Bench::with(1, None, |delivery| delivery.lanes(2).max_request_events(1));
        (0..2).for_each(|visitor| bench.expose(visitor));
        let report = bench.flush_within(10 * SECOND, true);
        let mut begun = bench.settle_all().into_iter();
        let (first, second) = (begun.next().unwrap(), begun.next().unwrap());
        assert!(bench.fail(first).is_none());
        assert!(report.is_empty());
        if works {
            let again = bench.answer(second, 200).expect("the endpoint does work");
            assert!(report.is_empty());
            bench.answer(again, 200);
        } else {
            assert!(bench.fail(second).is_none());
        }
        let report = report.try_recv().unwrap();
        assert_eq!((report.delivered, report.pending), if works { (2, 0) } else { (0, 2) });
    }
}

#[test]
fn a_failing_endpoint_gets_one_small_probe_at_a_time() {
    let mut bench = Bench::with(1, None, |delivery| delivery.lanes(4).max_request_events(100));
    (0..400).for_each(|visitor| bench.expose(visitor));
    let begun = bench.settle_all();
    assert_eq!(begun.len(), 4);
    begun.into_iter().for_each(|delivery| drop(bench.fail(delivery)));
    for _ in 1..5 {
        let alone = bench.wake().unwrap();
        assert_eq!(alone.records.len(), 100);
        bench.fail(alone);
    }
    assert_eq!(
        (bench.tracker.stats().breaker, bench.tracker.stats().breaker_opened),
        (BreakerState::Open, 1)
    );
    let probe = bench.wake().unwrap();
    assert_eq!((probe.records.len(), bench.tracker.stats().breaker), (50, BreakerState::HalfOpen));
    bench.end(probe, delivery_answer(200, None));
    assert_eq!(bench.settle_all().len(), 4, "everything resumes");
    assert_eq!(bench.tracker.stats().breaker, BreakerState::Closed);
}

#[test]
fn expired_records_are_dropped_counted_and_reported() {
    let day = DeliveryConfig::DEFAULT_MAX_AGE;
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let delivery = bench.settle().unwrap();
    bench.convert_with(1, Some(9.5));
    bench.settle();
    let report = bench.flush_within(2 * day, false);
    bench.now += day;
    assert!(bench.settle().is_none());
    assert_eq!(bench.tracker.stats().dropped.expired, ByClass { revenue: 1, ..ByClass::default() });
    assert!(bench.fail(delivery).is_none(), "the one in flight had expired too");
    assert_eq!(bench.tracker.stats().dropped.expired.total(), 2);
    let report = report.try_recv().unwrap();
    assert_eq!((report.delivered, report.dropped, report.pending), (0, 2, 0));
    assert!(bench.tracker.wake_at().is_none() && bench.tracker.oldest_pending().is_none());
}

#[test]
fn the_tracker_wakes_when_its_oldest_record_expires() {
    let mut bench = Bench::new(2, 100, None);
    bench.expose(0);
    bench.settle();
    assert_eq!(bench.tracker.oldest_pending(), Some(bench.now));
    assert!(bench.wake().is_none());
    assert_eq!((bench.tracker.stats().dropped.expired.exposures, bench.tracker.stats().pending), (1, 0));
}

#[test]
fn drop_newest_keeps_old_records_and_forgets_dropped_ones() {
    let mut bench = Bench::with(10, None, |delivery| {
        delivery.max_pending_records(1).overflow(OverflowPolicy::DropNewest)
    });
    bench.expose(0);
    assert_eq!(bench.convert_with(1, Some(9.5)), Verdict::BacklogFull);
    let delivery = bench.settle().expect("what is kept is sent, since no batch can fill up");
    assert_eq!(bench.tracker.stats().dropped.overflow, ByClass { revenue: 1, ..ByClass::default() });
    assert_eq!(bench.convert_with(1, Some(9.5)), Verdict::Accepted);
    assert_eq!(bench.convert_with(1, Some(9.5)), Verdict::Repeated, "even though the backlog is full");
    assert_eq!(bench.tracker.stats().deduplicated, 1);
    bench.answer(delivery, 200);
}

#[test]
fn a_record_that_never_fits_displaces_nothing() {
    let mut bench = Bench::with(10, None, |delivery| delivery.max_pending_bytes(2_000));
    assert_eq!(bench.convert_with(1, Some(9.5)), Verdict::Accepted);
    assert_eq!(bench.record(exposure(&"x".repeat(3_000))), Some(Verdict::BacklogFull));
    bench.settle();
    assert_eq!((bench.tracker.stats().pending, bench.tracker.stats().dropped.overflow.exposures), (1, 1));
}

#[test]
fn a_full_backlog_below_the_batch_size_is_sent() {
    for policy in [OverflowPolicy::EvictLeastValuable, OverflowPolicy::Wait(SECOND)] {
        let mut bench = Bench::with(10, None, |delivery| delivery.max_pending_records(2).overflow(policy));
        bench.expose(0);
        bench.expose(1);
        if policy == OverflowPolicy::EvictLeastValuable {
            bench.expose(2);
        }
        assert!(bench.settle().is_some());
    }
}

#[test]
fn a_full_backlog_takes_nothing_while_callers_wait() {
    let mut bench = Bench::with(1, None, |delivery| {
        delivery.lanes(1).max_pending_records(1).overflow(OverflowPolicy::Wait(SECOND))
    });
    bench.expose(0);
    assert!(!bench.tracker.takes_records());
    let delivery = bench.settle().unwrap();
    assert!(bench.tracker.takes_records());
    bench.expose(1);
    assert!(bench.settle().is_none() && !bench.tracker.takes_records());
    bench.answer(delivery, 200);
    assert!(bench.tracker.takes_records());
    // A flush still takes what is waiting in the channel, and nothing has to be dropped.
    (2..5).for_each(|visitor| bench.expose(visitor));
    bench.settle();
    assert_eq!(bench.tracker.stats().dropped.total(), 0);
}

#[test]
fn pending_records_are_counted_by_place() {
    let mut bench = Bench::with(2, None, |delivery| delivery.lanes(1).max_request_events(1));
    (0..3).for_each(|visitor| bench.expose(visitor));
    let delivery = bench.settle().unwrap();
    let places = bench.tracker.stats().pending_places;
    assert_eq!((places.in_flight, places.waiting, places.in_batch, places.to_retry), (1, 1, 1, 0));
    bench.fail(delivery);
    let places = bench.tracker.stats().pending_places;
    assert_eq!((places.in_flight, places.waiting, places.in_batch, places.to_retry), (0, 2, 1, 1));
}

#[test]
#[cfg(target_pointer_width = "64")]
fn a_record_is_as_long_as_the_message_in_the_benches() {
    assert_eq!(size_of::<Record>(), 17 * size_of::<u64>());
}
