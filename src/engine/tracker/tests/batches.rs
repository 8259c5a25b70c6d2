//! Batch ids: a request that the endpoint may have taken goes again as it was, under the same id.

use super::*;

impl Bench {
    /// With batch ids.
    fn numbered(
        batch_size: usize,
        delivery: impl FnOnce(DeliveryConfigBuilder) -> DeliveryConfigBuilder,
    ) -> Self {
        let delivery = delivery(DeliveryConfig::builder().lanes(1)).build().unwrap();
        let settings = TrackerSettings { batch_ids: Some(7), ..settings(batch_size, None, delivery) };
        Self { tracker: Tracker::new(settings), now: Moment::default(), effects: Effects::default() }
    }

    /// Ends a delivery without an answer.
    fn unheard(&mut self, delivery: Delivery) {
        self.end(delivery, Err(DeliveryFailure::Unknown(TransportError::Timeout("waiting for the answer"))));
        assert!(self.settle().is_none(), "it backs off");
    }
}

/// The id of a delivery, and the numbers of its records.
fn request(delivery: &Delivery) -> (String, Vec<u64>) {
    (delivery.id.expect("an id").to_string(), sequences(delivery))
}

#[test]
fn a_request_without_an_answer_goes_again_as_it_was() {
    let mut bench = Bench::numbered(2, |it| it);
    (0..2).for_each(|visitor| bench.expose(visitor));
    let delivery = bench.settle().unwrap();
    let first = request(&delivery);
    (2..6).for_each(|visitor| bench.expose(visitor));
    let mut delivery = Some(delivery);
    for status in [None, Some(503), Some(429), Some(401), Some(408), None] {
        let again = delivery.take().unwrap();
        assert_eq!(request(&again), first, "until there is an answer to it");
        match status {
            None => bench.unheard(again),
            Some(status) => assert!(bench.answer(again, status).is_none()),
        }
        // Others go first after a second failure, and nobody can be reached by those.
        delivery = bench.wake();
        while delivery.as_ref().is_some_and(|it| request(it).0 != first.0) {
            let other = delivery.take().unwrap();
            assert!(sequences(&other).iter().all(|sequence| *sequence > 1));
            delivery = bench.fail(other).or_else(|| bench.wake());
        }
    }
    let stats = bench.tracker.stats();
    assert_eq!((stats.pending_places.in_flight, stats.pending, stats.fate_unknown), (2, 6, 2));
    let next = bench.answer(delivery.unwrap(), 200).unwrap();
    assert_eq!(sequences(&next), [2, 3, 4, 5]);
    assert_ne!(request(&next).0, first.0);
    bench.answer(next, 200);
    assert_eq!((bench.tracker.stats().delivered, bench.tracker.stats().pending), (6, 0));
}

#[test]
fn a_request_that_has_not_arrived_is_cut_anew() {
    for status in [Some(429), Some(401), None] {
        let mut bench = Bench::numbered(1, |it| it);
        bench.expose(0);
        let delivery = bench.settle().unwrap();
        let first = request(&delivery);
        bench.expose(1);
        match status {
            Some(status) => assert!(bench.answer(delivery, status).is_none()),
            None => assert!(bench.fail(delivery).is_none()),
        }
        let (id, records) = request(&bench.wake().unwrap());
        assert_eq!(records, [0, 1], "{status:?}");
        assert_ne!(id, first.0, "it names other records");
    }
}

#[test]
fn half_of_a_refused_request_goes_again_as_it_was() {
    let mut bench = Bench::numbered(5, |it| it);
    (0..5).for_each(|visitor| bench.expose(visitor));
    let whole = bench.settle().unwrap();
    let first = request(&whole);
    bench.unheard(whole);
    let whole = bench.wake().unwrap();
    let half = bench.answer(whole, 400).unwrap();
    let halved = request(&half);
    assert_eq!(halved.1, [0, 1, 2]);
    assert_ne!(halved.0, first.0);
    bench.unheard(half);
    let half = bench.wake().unwrap();
    assert_eq!(request(&half), halved);
    let rest = bench.answer(half, 200).unwrap();
    let (id, records) = request(&rest);
    assert_eq!(records, [3], "the culprit is in the other half");
    assert!(id != halved.0 && id != first.0);
}

#[test]
fn a_request_that_keeps_failing_lets_others_go_first() {
    let mut bench = Bench::numbered(1, |it| it.max_request_events(1));
    (0..3).for_each(|visitor| bench.expose(visitor));
    let stuck = bench.settle().unwrap();
    bench.unheard(stuck);
    let stuck = bench.wake().unwrap();
    assert_eq!(sequences(&stuck), [0], "at first it goes before them");
    bench.unheard(stuck);
    let other = bench.wake().unwrap();
    assert_eq!(sequences(&other), [1]);
    let stuck = bench.answer(other, 200).unwrap();
    assert_eq!(sequences(&stuck), [0], "after a success it is tried again");
    bench.unheard(stuck);
    let other = bench.wake().unwrap();
    assert_eq!(sequences(&other), [2]);
    bench.answer(other, 200);
    assert_eq!((bench.tracker.stats().delivered, bench.tracker.stats().pending), (2, 1));
}

#[test]
fn requests_that_go_again_count_towards_the_bounds() {
    let mut bench = Bench::numbered(2, |it| it.max_pending_records(3));
    (0..2).for_each(|visitor| bench.expose(visitor));
    let delivery = bench.settle().unwrap();
    bench.unheard(delivery);
    assert_eq!(bench.convert(2), Verdict::Accepted);
    bench.convert(3);
    assert_eq!(bench.tracker.stats().dropped.overflow.conversions, 1, "what may have arrived is not evicted");
    let delivery = bench.wake().unwrap();
    assert_eq!(sequences(&delivery), [0, 1]);
    (4..6).for_each(|visitor| assert_eq!(bench.convert(visitor), Verdict::Accepted));
    assert_eq!(bench.tracker.stats().dropped.total(), 1, "in flight it leaves room");
    bench.unheard(delivery);
    assert_eq!(bench.tracker.stats().dropped.total(), 3, "and needs it again");
    assert_eq!(bench.tracker.stats().pending, 3);
}

#[test]
fn requests_that_go_again_take_half_of_the_room() {
    let mut bench = Bench::numbered(1, |it| it.max_request_events(1).max_pending_records(10));
    (0..10).for_each(|visitor| bench.expose(visitor));
    let mut seen = std::collections::BTreeSet::new();
    let mut delivery = bench.settle();
    for _ in 0..40 {
        let failing = delivery.take().expect("it goes on");
        seen.insert(sequences(&failing));
        bench.unheard(failing);
        delivery = bench.wake();
    }
    assert_eq!(seen.len(), 6, "then nothing new is sent");
    assert_eq!(
        (10..20).map(|visitor| bench.convert(visitor)).filter(|it| *it == Verdict::Accepted).count(),
        10
    );
    assert_eq!(bench.tracker.stats().dropped.overflow.conversions, 5);
}

#[test]
fn a_request_that_goes_again_expires_with_its_newest_record() {
    let age = 60 * SECOND;
    let mut bench = Bench::numbered(2, |it| it.max_age(age));
    bench.expose(0);
    bench.now += 20 * SECOND;
    bench.expose(1);
    let recorded_at = bench.now;
    let mut delivery = bench.settle();
    while let Some(again) = delivery.take() {
        assert_eq!(sequences(&again), [0, 1], "as long as it is sent at all");
        bench.unheard(again);
        delivery = bench.wake();
    }
    assert_eq!(bench.now, recorded_at + age);
    let stats = bench.tracker.stats();
    assert_eq!((stats.dropped.expired.exposures, stats.pending), (2, 0));
}

#[test]
fn a_close_keeps_no_request_that_would_go_again() {
    let mut bench = Bench::numbered(2, |it| it);
    (0..2).for_each(|visitor| bench.expose(visitor));
    let delivery = bench.settle().unwrap();
    bench.unheard(delivery);
    let report = bench.flush();
    let again = bench.settle().expect("a flush does not wait");
    assert_eq!(sequences(&again), [0, 1]);
    bench.unheard(again);
    bench.close();
    bench.settle();
    let stats = bench.tracker.stats();
    assert_eq!((stats.dropped.closed.exposures, stats.pending), (2, 0));
    assert_eq!(report.try_recv().unwrap().dropped, 2);
}

#[test]
fn a_slow_endpoint_is_given_time_for_other_records_too() {
    let mut bench = Bench::with(1, None, |delivery| delivery.lanes(1).max_request_events(1));
    (0..3).for_each(|visitor| bench.expose(visitor));
    let mut begun = bench.settle();
    let mut tried = Vec::new();
    for _ in 0..4 {
        let delivery = begun.take().or_else(|| bench.wake()).expect("an attempt");
        tried.push((delivery.records[0].tries, delivery.patience));
        bench.end(delivery, Err(DeliveryFailure::Unknown(TransportError::Timeout("read"))));
        begun = bench.settle();
    }
    assert!(tried.iter().skip(1).any(|(tries, _)| *tries == 0), "others are tried: {tried:?}");
    assert_eq!(tried.iter().map(|(_, patience)| *patience).collect::<Vec<_>>(), [0, 1, 2, 3]);
}
