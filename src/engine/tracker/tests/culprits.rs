//! Endpoints that refuse a request: because of one of its records, or whatever it contains.

use super::*;
use crate::engine::LifecycleEvent;

impl Bench {
    /// Lets an endpoint that refuses these visitors answer until nothing is left to send; returns the number
    /// of requests.
    fn answer_all(&mut self, mut delivery: Delivery, refused: &[u32]) -> u64 {
        let before = self.tracker.stats().requests;
        loop {
            let is_refused = |queued: &Queued| {
                refused.iter().any(|visitor| *queued.event.visitor_id() == visitor.to_string())
            };
            let status = if delivery.records.iter().any(is_refused) { 400 } else { 200 };
            self.end(delivery, delivery_answer(status, None));
            match self.settle() {
                Some(next) => delivery = next,
                None if self.tracker.stats().pending == 0 => break self.tracker.stats().requests - before,
                None => delivery = self.wake().expect("a delivery after the pause"),
            }
        }
    }
}

#[test]
fn one_bad_record_costs_itself_and_a_logarithm_of_requests() {
    for records in [2_u32, 3, 50, 64, 1_000] {
        for culprit in [0, records / 3, records - 1] {
            let mut bench = Bench::new(records as usize, 2_000, None);
            (0..records).for_each(|visitor| bench.expose(visitor));
            let report = bench.flush();
            let delivery = bench.settle().unwrap();
            assert_eq!(delivery.records.len(), records as usize);
            let requests = bench.answer_all(delivery, &[culprit]);
            let stats = bench.tracker.stats();
            assert_eq!((stats.dropped.rejected.total(), stats.delivered), (1, u64::from(records) - 1));
            // The one that was refused, the search for the cause, and then the good records that no request
            // of the search carried.
            let search = u64::from(records.next_power_of_two().ilog2()) + 1;
            assert!(requests <= 1 + search + 1, "{requests} requests for one of {records}");
            let report = report.try_recv().unwrap();
            assert_eq!((report.delivered, report.dropped), (u64::from(records) - 1, 1));
        }
    }
}

#[test]
fn several_bad_records_are_found_one_after_the_other() {
    let mut bench = Bench::new(64, 2_000, None);
    (0..64).for_each(|visitor| bench.expose(visitor));
    let delivery = bench.settle().unwrap();
    let requests = bench.answer_all(delivery, &[3, 4, 40]);
    let stats = bench.tracker.stats();
    assert_eq!((stats.dropped.rejected.total(), stats.delivered), (3, 61));
    assert!(requests <= 3 * (1 + 6 + 1) + 3, "{requests}");
}

#[test]
fn a_record_is_dropped_only_if_refused_on_its_own() {
    let mut bench = Bench::new(8, 2_000, None);
    (0..8).for_each(|visitor| bench.expose(visitor));
    let delivery = bench.settle().unwrap();
    // A refusal that was meant for no record.
    let half = bench.answer(delivery, 400).unwrap();
    bench.answer_all(half, &[]);
    let stats = bench.tracker.stats();
    assert_eq!((stats.dropped.total(), stats.delivered), (0, 8));
}

#[test]
fn an_outage_in_the_middle_of_the_search_loses_nothing() {
    let mut bench = Bench::new(8, 100, None);
    (0..8).for_each(|visitor| bench.expose(visitor));
    let delivery = bench.settle().unwrap();
    let half = bench.answer(delivery, 400).unwrap();
    assert_eq!(half.records.len(), 4);
    assert_eq!(bench.tracker.stats().pending_places.to_retry, 4);
    assert!(bench.fail(half).is_none());
    assert_eq!(bench.tracker.stats().pending_places.to_retry, 8);
    let half = bench.wake().unwrap();
    assert_eq!(half.records.len(), 4, "earlier findings are kept");
    bench.answer_all(half, &[7]);
    let stats = bench.tracker.stats();
    assert_eq!((stats.dropped.rejected.total(), stats.delivered), (1, 7));
}

#[test]
fn an_endpoint_that_refuses_everything_is_tried_slowly() {
    let mut bench = Bench::new(1, 100, None);
    (0..3).for_each(|visitor| bench.expose(visitor));
    let delivery = bench.settle().unwrap();
    let mut next = bench.answer(delivery, 400);
    let mut dropped = 0;
    while let Some(delivery) = next {
        next = bench.answer(delivery, 400);
        dropped = bench.tracker.stats().dropped.rejected.total();
    }
    assert!(dropped < 3, "it pauses before it has tried them all");
    assert!(bench.wake().is_some());
}

#[test]
fn a_revoked_key_is_reported_once_and_loses_nothing() {
    for status in [401, 403, 404, 410] {
        let mut bench = Bench::new(1, 1_000, None);
        bench.effects.has_listeners = true;
        (0..100).for_each(|visitor| bench.expose(visitor));
        let mut told = 0;
        let mut delivery = bench.settle().unwrap();
        let start = bench.now;
        while bench.now < start + 3_000 * SECOND {
            bench.end(delivery, delivery_answer(status, None));
            told += bench.effects.count(|effect| {
                matches!(effect, Effect::Notify(LifecycleEvent::DeliveryRefused { status: it }) if *it == Some(status))
            });
            assert!(bench.settle().is_none());
            delivery = bench.wake().expect("a probe");
            assert!(delivery.records.len() <= 50);
        }
        assert_eq!(told, 1);
        assert!(bench.tracker.stats().requests <= 101, "probed slowly");
        let rest = bench.answer(delivery, 200).unwrap();
        bench.answer(rest, 200);
        let stats = bench.tracker.stats();
        assert_eq!((stats.delivered, stats.dropped.total()), (100, 0));
    }
}

#[test]
fn a_record_that_always_fails_holds_up_no_other() {
    let mut bench = Bench::new(10_000, 10_000, None);
    (0..300).for_each(|visitor| bench.expose(visitor));
    bench.flush_within(1_000_000 * SECOND, false);
    let mut delivery = bench.settle().unwrap();
    let mut requests = 0;
    while bench.tracker.stats().delivered < 299 {
        let poisoned = delivery.records.iter().any(|queued| queued.event.visitor_id() == "7");
        let next = bench.answer(delivery, if poisoned { 500 } else { 200 });
        delivery = next.or_else(|| bench.wake()).expect("a delivery after the pause");
        requests += 1;
        assert!(requests < 60, "{} delivered", bench.tracker.stats().delivered);
    }
    assert_eq!(bench.tracker.stats().pending, 1, "it is kept until it expires");
}

#[test]
fn an_endpoint_that_finds_all_requests_too_large_gets_a_pause() {
    let mut bench = Bench::new(10_000, 10_000, None);
    (0..5_000).for_each(|visitor| bench.expose(visitor));
    bench.flush();
    let mut delivery = bench.settle();
    while let Some(in_flight) = delivery {
        delivery = bench.answer(in_flight, 413);
    }
    let stats = bench.tracker.stats();
    assert_eq!((stats.dropped.rejected.total(), stats.pending), (2, 4_998));
    assert!(bench.tracker.wake_at() > Some(bench.now), "it waits");
}
