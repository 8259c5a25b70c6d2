//! Records and their deduplication marks, with and without a data store.

use super::*;
use crate::engine::{ClaimAnswer, Claimed, Recovered, Saved, TrackedEvent};
use crate::ports::RecordId;

/// What a step wants from the data store.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    claims: Vec<u64>,
    keeps: Vec<String>,
    releases: Vec<String>,
}

impl Bench {
    fn with_store() -> Self {
        let mut bench = Self::new(1, 100, None);
        bench.tracker.store = true;
        bench
    }

    /// Ends a step; returns the delivery that it begins, and what it wants from the store.
    fn settle_with_store(&mut self) -> (Option<Delivery>, Wanted) {
        self.tracker.settle(self.now, &mut self.effects);
        assert!(self.tracker.stats().is_balanced(), "{:?}", self.tracker.stats());
        let mut begun = None;
        for effect in self.effects.drain() {
            match effect {
                Effect::Deliver(delivery) => begun = Some(delivery),
                Effect::Report(reply, report) => reply.send(*report),
                Effect::Judge(reply, verdict) => reply.send(verdict),
                Effect::Notify(_) => {}
            }
        }
        let StoreRequests { releases, claims, keeps } = self.effects.take_store_requests();
        let claims = claims.into_iter().map(|claim| claim.sequence).collect();
        (begun, Wanted { claims, keeps, releases })
    }

    fn claimed(&mut self, sequence: u64, answer: ClaimAnswer) -> (Option<Delivery>, Wanted) {
        let claimed = Claimed { sequence, key: "key".into(), answer };
        self.tracker.claimed(claimed, &mut self.effects);
        self.settle_with_store()
    }
}

const KEY: &str = r#"dedup:["1", "3"]"#;

#[test]
fn a_dropped_record_can_be_recorded_again() {
    type Loss = fn(&mut Bench, Delivery);
    let losses: [Loss; 3] = [
        |bench, delivery| drop(bench.answer(delivery, 400)),
        |bench, delivery| {
            bench.fail(delivery);
            bench.now += DeliveryConfig::DEFAULT_MAX_AGE;
            bench.settle();
        },
        |bench, delivery| {
            // A returning record finds its place taken by revenue.
            bench.convert_with(2, Some(1.0));
            bench.convert_with(3, Some(1.0));
            bench.fail(delivery);
        },
    ];
    for loss in losses {
        let mut bench = Bench::new(1, 2, None);
        assert_eq!(bench.convert(1), Verdict::Accepted);
        let delivery = bench.settle().unwrap();
        assert_eq!(bench.convert(1), Verdict::Repeated);
        loss(&mut bench, delivery);
        assert_eq!(bench.tracker.stats().dropped.total(), 1);
        assert_ne!(bench.convert(1), Verdict::Repeated);
    }
}

#[test]
fn a_record_waits_for_its_claim_and_keeps_it_once_delivered() {
    let mut bench = Bench::with_store();
    assert_eq!(bench.record(conversion(1, None, false)), None, "the store is asked first");
    let flushed = bench.flush();
    let (begun, wanted) = bench.settle_with_store();
    assert!(begun.is_none());
    assert_eq!(wanted, Wanted { claims: vec![0], ..Wanted::default() });
    assert_eq!(
        (bench.tracker.stats().pending, bench.tracker.wake_at()),
        (1, Some(bench.now + 5 * SECOND)),
        "then memory decides"
    );
    assert_eq!(bench.convert(1), Verdict::Repeated, "from this process's memory");
    let (begun, wanted) = bench.claimed(0, ClaimAnswer::First);
    assert_eq!(wanted, Wanted::default());
    bench.end(begun.unwrap(), delivery_answer(200, None));
    let (_, wanted) = bench.settle_with_store();
    assert_eq!(wanted, Wanted { keeps: vec![KEY.into()], ..Wanted::default() });
    let report = flushed.try_recv().unwrap();
    assert_eq!((report.delivered, report.dropped, report.pending), (1, 0, 0));
}

#[test]
fn after_the_delivery_the_store_detects_repetitions() {
    let mut bench = Bench::with_store();
    bench.record(conversion(1, None, false));
    bench.settle_with_store();
    let (begun, _) = bench.claimed(0, ClaimAnswer::First);
    bench.end(begun.unwrap(), delivery_answer(200, None));
    bench.settle_with_store();
    assert_eq!(bench.record(conversion(1, None, false)), None, "asked again: the store may have erased it");
}

#[test]
fn marks_in_the_store_are_repetitions_and_asked_about_again() {
    let mut bench = Bench::with_store();
    for sequence in 0..2 {
        let (reply, verdict) = question();
        bench.tracker.record(conversion(1, None, false), Some(reply), bench.now, &mut bench.effects);
        let flushed = bench.flush();
        bench.settle_with_store();
        let (begun, wanted) = bench.claimed(sequence, ClaimAnswer::Repeated);
        assert!(begun.is_none() && wanted == Wanted::default());
        assert_eq!(verdict.try_recv(), Ok(Verdict::Repeated));
        let report = flushed.try_recv().unwrap();
        assert_eq!((report.delivered, report.dropped, report.pending), (0, 0, 0));
        assert_eq!((bench.tracker.stats().deduplicated, bench.tracker.stats().pending), (sequence + 1, 0));
    }
}

#[test]
fn a_forced_repetition_sends_its_goal_data_alone() {
    let mut bench = Bench::with_store();
    bench.record(conversion(1, Some(9.5), true));
    bench.record(conversion(2, None, true));
    bench.settle_with_store();
    let (begun, _) = bench.claimed(0, ClaimAnswer::Repeated);
    let begun = begun.unwrap();
    assert_eq!(begun.records[0].event.wire_events(), 1);
    let (_, wanted) = bench.claimed(1, ClaimAnswer::Repeated);
    bench.end(begun, delivery_answer(200, None));
    assert_eq!((bench.settle_with_store().1, wanted), (Wanted::default(), Wanted::default()));
    assert_eq!((bench.tracker.stats().delivered, bench.tracker.stats().deduplicated), (1, 1));
}

#[test]
fn a_record_goes_out_if_the_store_does_not_answer() {
    let mut bench = Bench::with_store();
    bench.record(conversion(1, None, false));
    bench.settle_with_store();
    let (begun, _) = bench.claimed(0, ClaimAnswer::Failed);
    assert!(bench.answer_with_store(begun.unwrap(), 400).releases.is_empty(), "it may be another's claim");
    assert_eq!(bench.record(conversion(1, None, false)), None, "asked again");
}

#[test]
fn a_dropped_record_releases_its_lease() {
    let mut bench = Bench::with_store();
    bench.record(conversion(1, None, false));
    bench.settle_with_store();
    let (begun, _) = bench.claimed(0, ClaimAnswer::First);
    assert_eq!(bench.answer_with_store(begun.unwrap(), 400).releases, [KEY]);
    // One whose answer arrives after its record is gone.
    bench.record(conversion(1, None, false));
    bench.settle_with_store();
    bench.now += DeliveryConfig::DEFAULT_MAX_AGE;
    assert_eq!(bench.settle_with_store().1, Wanted::default());
    assert_eq!(bench.claimed(1, ClaimAnswer::First).1.releases, ["key"]);
    // And those left behind by a close: one whose claim has been answered, and one whose claim has not.
    bench.record(conversion(2, None, false));
    bench.settle_with_store();
    let (in_flight, _) = bench.claimed(2, ClaimAnswer::First);
    [3, 4].iter().for_each(|visitor| _ = bench.record(conversion(*visitor, None, false)));
    bench.settle_with_store();
    bench.claimed(3, ClaimAnswer::First);
    bench.close();
    assert_eq!(bench.settle_with_store().1.releases, [r#"dedup:["3", "3"]"#], "before the end");
    assert_eq!(bench.claimed(4, ClaimAnswer::First).1.releases, ["key"]);
    assert!(in_flight.is_some() && !bench.tracker.is_done());
    bench.tracker.finish(std::iter::empty(), &mut bench.effects);
    assert_eq!(bench.settle_with_store().1, Wanted::default(), "records in flight may have arrived");
    assert_eq!(bench.tracker.claims.held().len(), 0);
}

impl Bench {
    fn answer_with_store(&mut self, delivery: Delivery, status: u16) -> Wanted {
        self.end(delivery, delivery_answer(status, None));
        self.settle_with_store().1
    }
}

#[test]
fn a_repeated_record_takes_over_a_dropped_ones_claim() {
    for answer in [ClaimAnswer::First, ClaimAnswer::Failed] {
        let mut bench = Bench::with_store();
        bench.record(conversion(1, None, false));
        assert_eq!(bench.settle_with_store().1.claims, [0]);
        // Twice: the claim passes to the latest record.
        for _ in 0..2 {
            bench.now += DeliveryConfig::DEFAULT_MAX_AGE;
            bench.settle_with_store();
            assert_eq!(bench.record(conversion(1, None, false)), None);
            assert_eq!(
                bench.settle_with_store().1,
                Wanted::default(),
                "no claim that would run into the first"
            );
        }
        let claimed = Claimed { sequence: 0, key: KEY.into(), answer };
        bench.tracker.claimed(claimed, &mut bench.effects);
        let (begun, wanted) = bench.settle_with_store();
        assert_eq!(wanted, Wanted::default());
        bench.end(begun.unwrap(), delivery_answer(200, None));
        assert_eq!(bench.settle_with_store().1.keeps, [KEY]);
        assert_eq!((bench.tracker.stats().delivered, bench.tracker.stats().dropped.total()), (1, 2));
    }
}

/// A delivery of this many records, starting with the first visitor, whose claims are late.
fn late(records: u32) -> (Bench, Delivery) {
    let mut bench = Bench::new(records as usize, 100, None);
    bench.tracker.store = true;
    (1..=records).for_each(|visitor| _ = bench.record(conversion(visitor, None, false)));
    bench.settle_with_store();
    let mut begun = None;
    for sequence in 0..u64::from(records) {
        begun = bench.claimed(sequence, ClaimAnswer::Late).0;
    }
    assert_eq!(bench.tracker.stats().store_timeouts, u64::from(records), "memory has decided");
    (bench, begun.unwrap())
}

fn released(key: &str) -> Wanted {
    Wanted { releases: vec![key.into()], ..Wanted::default() }
}

fn kept(key: &str) -> Wanted {
    Wanted { keeps: vec![key.into()], ..Wanted::default() }
}

#[test]
fn a_late_lease_goes_with_its_record_in_flight() {
    for (status, told) in [(200, kept(KEY)), (400, released(KEY))] {
        let (mut bench, begun) = late(1);
        assert_eq!(bench.claimed(0, ClaimAnswer::First).1, Wanted::default());
        assert_eq!(bench.answer_with_store(begun, status), told);
        assert_eq!(bench.record(conversion(1, None, false)), None, "the store is asked again");
    }
}

#[test]
fn a_late_lease_goes_with_its_waiting_record() {
    let (mut bench, begun) = late(1);
    bench.fail(begun);
    assert_eq!(bench.claimed(0, ClaimAnswer::First).1, Wanted::default());
    bench.now = bench.tracker.wake_at().unwrap();
    let begun = bench.settle_with_store().0.unwrap();
    assert_eq!(bench.answer_with_store(begun, 400), released(KEY));
}

#[test]
fn a_late_lease_goes_with_its_suspected_record() {
    let (mut bench, begun) = late(2);
    bench.end(begun, delivery_answer(400, None));
    let half = bench.settle_with_store().0.unwrap();
    assert_eq!(sequences(&half), [0], "the other is suspected once this one is accepted");
    assert_eq!(bench.claimed(1, ClaimAnswer::First).1, Wanted::default());
    bench.end(half, delivery_answer(200, None));
    let (culprit, wanted) = bench.settle_with_store();
    assert_eq!(wanted, kept(KEY));
    assert_eq!(bench.answer_with_store(culprit.unwrap(), 400), released(r#"dedup:["2", "3"]"#));
}

#[test]
fn a_late_lease_is_kept_if_delivered_and_released_if_dropped() {
    for (status, at_first, in_the_end) in
        [(200, kept(KEY), kept("key")), (400, Wanted::default(), released("key"))]
    {
        let (mut bench, begun) = late(1);
        assert_eq!(bench.answer_with_store(begun, status), at_first);
        assert_eq!(bench.claimed(0, ClaimAnswer::First).1, in_the_end);
    }
}

#[test]
fn a_repeated_record_takes_over_a_late_claim() {
    for (status, told) in [(200, kept(KEY)), (400, released(KEY))] {
        let (mut bench, begun) = late(1);
        assert_eq!(bench.answer_with_store(begun, 400), Wanted::default());
        assert_eq!(bench.record(conversion(1, None, false)), Some(Verdict::Accepted));
        let (begun, wanted) = bench.settle_with_store();
        assert_eq!(wanted, Wanted::default(), "no claim that would run into the first one's lease");
        assert_eq!(bench.claimed(0, ClaimAnswer::First).1, Wanted::default());
        assert_eq!(bench.answer_with_store(begun.unwrap(), status), told);
    }
}

#[test]
fn a_late_answer_without_a_lease_changes_nothing() {
    for answer in [ClaimAnswer::Repeated, ClaimAnswer::Failed] {
        let (mut bench, begun) = late(1);
        assert_eq!(bench.claimed(0, answer).1, Wanted::default());
        assert_eq!(bench.answer_with_store(begun, 400), Wanted::default());
    }
}

#[test]
fn an_unanswered_claim_holds_up_no_other_record() {
    let mut bench = Bench::with_store();
    [1, 2, 3].iter().for_each(|visitor| _ = bench.record(conversion(*visitor, None, false)));
    bench.settle_with_store();
    let (begun, _) = bench.claimed(2, ClaimAnswer::First);
    assert!(begun.is_none(), "held up briefly to keep the order");
    bench.now = bench.tracker.wake_at().unwrap();
    let (begun, _) = bench.settle_with_store();
    assert_eq!(sequences(begun.as_ref().unwrap()), [2]);
    bench.answer_with_store(begun.unwrap(), 200);
    assert_eq!((bench.tracker.stats().delivered, bench.tracker.stats().pending), (1, 2));
}

#[test]
fn memory_decides_when_half_of_a_flush_is_over() {
    let mut bench = Bench::with_store();
    bench.record(conversion(1, None, false));
    bench.settle_with_store();
    let none = bench.flush_within(Duration::ZERO, false);
    bench.settle_with_store();
    assert_eq!(none.try_recv().unwrap().pending, 1, "there is no time to deliver it");
    let flushed = bench.flush_within(SECOND, false);
    let start = bench.now;
    bench.record(conversion(2, None, false));
    assert!(bench.settle_with_store().0.is_none());
    assert_eq!(bench.tracker.wake_at(), Some(start + SECOND / 2));
    bench.now += SECOND / 2;
    let (begun, _) = bench.settle_with_store();
    assert_eq!(sequences(begun.as_ref().unwrap()), [0], "what the flush does not cover waits");
    assert_eq!(bench.tracker.stats().store_timeouts, 1);
    bench.answer_with_store(begun.unwrap(), 200);
    let report = flushed.try_recv().unwrap();
    assert_eq!((report.delivered, report.pending), (1, 0));
    // The answer arrives when nobody is waiting for it any more.
    assert_eq!(bench.claimed(0, ClaimAnswer::Late).1, Wanted::default());
    assert_eq!(bench.tracker.stats().store_timeouts, 1, "counted once");
}

#[test]
fn memory_decides_at_a_close_and_a_full_batch_is_sent() {
    let mut bench = Bench::with_store();
    bench.record(conversion(1, None, false));
    bench.settle_with_store();
    bench.close();
    let (begun, _) = bench.settle_with_store();
    assert!(!bench.tracker.is_done());
    bench.answer_with_store(begun.unwrap(), 200);
    assert!(bench.tracker.is_done());
    assert_eq!((bench.tracker.stats().delivered, bench.tracker.stats().dropped.total()), (1, 0));
}

#[test]
fn memory_stands_in_for_a_store_that_fails_after_a_delivery() {
    for answer in [ClaimAnswer::Failed, ClaimAnswer::Unasked, ClaimAnswer::Late] {
        let mut bench = Bench::with_store();
        bench.record(conversion(1, None, false));
        bench.settle_with_store();
        let (begun, _) = bench.claimed(0, ClaimAnswer::First);
        bench.answer_with_store(begun.unwrap(), 200);
        // Repeatedly: what memory knows stays.
        for sequence in 1..3 {
            assert_eq!(bench.record(conversion(1, None, false)), None, "the store is asked");
            assert_eq!(bench.settle_with_store().1.claims, [sequence]);
            assert!(bench.claimed(sequence, answer).0.is_none());
            assert_eq!((bench.tracker.stats().deduplicated, bench.tracker.stats().pending), (sequence, 0));
            bench.claimed(sequence, ClaimAnswer::Failed);
        }
        bench.record(conversion(1, None, false));
        bench.settle_with_store();
        bench.claimed(3, ClaimAnswer::Late);
        assert_eq!(bench.claimed(3, ClaimAnswer::First).1, released("key"), "a repetition holds no lease");
        // Once erased in the store it counts as a first one, which is dropped, and then another.
        bench.record(conversion(1, None, false));
        bench.settle_with_store();
        let (begun, _) = bench.claimed(4, ClaimAnswer::First);
        assert_eq!(bench.answer_with_store(begun.unwrap(), 400), released(KEY));
        bench.record(conversion(1, None, false));
        bench.settle_with_store();
        assert!(bench.claimed(5, ClaimAnswer::Failed).0.is_some());
    }
}

#[test]
fn a_dropped_repetition_leaves_the_delivered_records_mark() {
    let mut bench = Bench::with_store();
    bench.record(conversion(1, None, false));
    bench.settle_with_store();
    let (begun, _) = bench.claimed(0, ClaimAnswer::First);
    bench.answer_with_store(begun.unwrap(), 200);
    bench.record(conversion(1, None, false));
    bench.settle_with_store();
    bench.now += DeliveryConfig::DEFAULT_MAX_AGE;
    bench.settle_with_store();
    assert_eq!(bench.claimed(1, ClaimAnswer::Failed).1, Wanted::default());
    bench.record(conversion(1, None, false));
    bench.settle_with_store();
    assert!(bench.claimed(2, ClaimAnswer::Failed).0.is_none());
    assert_eq!(bench.tracker.stats().deduplicated, 1);
}

#[test]
fn a_hung_store_holds_up_no_more_than_a_backlog_of_records() {
    let mut bench = Bench::new(100, 10, None);
    bench.tracker.store = true;
    let (mut asked, mut verdicts) = (0, Vec::new());
    for visitor in 0..20_000 {
        let (reply, verdict) = question();
        bench.tracker.record(conversion(visitor, None, false), Some(reply), bench.now, &mut bench.effects);
        asked += bench.settle_with_store().1.claims.len();
        verdicts.push(verdict);
    }
    let waiting = verdicts.iter().filter(|verdict| verdict.is_empty()).count();
    assert!(waiting <= 10, "{waiting}");
    assert_eq!(asked, 10 + crate::engine::StoreMachine::MOST_IN_CALLS);
}

#[test]
fn a_record_taken_over_frees_its_lease_unless_another_has_its_mark() {
    for answer in [ClaimAnswer::Repeated, ClaimAnswer::Failed] {
        let settings = settings(1, None, DeliveryConfig::builder().lanes(1).build().unwrap());
        let tracker = Tracker::new(TrackerSettings { outbox: true, store: true, ..settings });
        let mut bench = Bench { tracker, now: Moment::default(), effects: Effects::default() };
        bench.record(conversion(1, None, false));
        bench.settle_with_store();
        let left = vec![(RecordId::new(7), conversion(1, None, false), SECOND)];
        let recovered = Recovered { records: left, killed: 1, ..Recovered::default() };
        bench.tracker.recovered(Some(recovered), bench.now);
        bench.settle_with_store();
        bench.tracker.saved(0, true, bench.now, &mut bench.effects);
        let (delivery, wanted) = bench.claimed(0, answer);
        assert_eq!(wanted.releases, <[&str; 0]>::default());
        bench.end(delivery.expect("the one taken over"), delivery_answer(400, None));
        let (_, wanted) = bench.settle_with_store();
        // Whoever converts next would be told that it is a repetition, of a record that is lost.
        let expected: &[&str] = if answer == ClaimAnswer::Repeated { &[KEY] } else { &[] };
        assert_eq!(wanted.releases, expected, "{answer:?}");
    }
}

#[test]
fn what_turns_out_to_be_a_repetition_is_no_first_one_on_disk() {
    let settings = settings(1, None, DeliveryConfig::builder().lanes(1).build().unwrap());
    let tracker = Tracker::new(TrackerSettings { outbox: true, store: true, ..settings });
    let mut bench = Bench { tracker, now: Moment::default(), effects: Effects::default() };
    bench.record(conversion(1, Some(1.0), true));
    bench.settle_with_store();
    let is_first = |saved: &Saved| matches!(&saved.event, TrackedEvent::Conversion(it) if it.first);
    let asked = bench.effects.take_outbox_requests().unwrap_or_default();
    assert!(asked.saves.iter().all(is_first) && asked.changes.is_empty());
    bench.claimed(0, ClaimAnswer::Repeated);
    let asked = bench.effects.take_outbox_requests().unwrap_or_default();
    assert_eq!(asked.changes.iter().map(|it| (it.sequence, is_first(it))).collect::<Vec<_>>(), [(0, false)]);
}
