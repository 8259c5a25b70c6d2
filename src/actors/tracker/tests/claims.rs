//! Records and their deduplication marks, with a data store and without.

use super::*;
use crate::actors::store::{ClaimAnswer, Claimed};

/// What a step wants of the data store.
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

    /// Ends a step; returns the delivery that it begins, and what it wants of the store.
    fn settle_with_store(&mut self) -> (Option<Delivery>, Wanted) {
        let mut wanted = Wanted::default();
        self.tracker.settle(self.now, &mut self.effects);
        assert!(self.tracker.stats().is_balanced(), "{:?}", self.tracker.stats());
        let mut begun = None;
        for effect in self.effects.drain() {
            match effect {
                Effect::Deliver(delivery) => begun = Some(delivery),
                Effect::Report(reply, report) => reply.send(*report),
                Effect::Judge(reply, verdict) => reply.send(verdict),
                Effect::Notify(_) => {}
                Effect::Claim(claim) => wanted.claims.push(claim.sequence),
                Effect::Keep(key) => wanted.keeps.push(key),
                Effect::Release(key) => wanted.releases.push(key),
            }
        }
        (begun, wanted)
    }

    fn claimed(&mut self, sequence: u64, answer: ClaimAnswer) -> (Option<Delivery>, Wanted) {
        let claimed = Claimed { sequence, key: "key".into(), answer };
        self.tracker.claimed(claimed, &mut self.effects);
        self.settle_with_store()
    }
}

const KEY: &str = r#"dedup:["1", "3"]"#;

#[test]
fn a_dropped_record_can_be_recorded_again_whatever_dropped_it() {
    type Loss = fn(&mut Bench, Delivery);
    let losses: [Loss; 3] = [
        |bench, delivery| drop(bench.answer(delivery, 400)),
        |bench, delivery| {
            bench.fail(delivery);
            bench.now += DeliveryConfig::DEFAULT_MAX_AGE;
            bench.settle();
        },
        |bench, delivery| {
            // What comes back finds its place taken by revenue.
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
fn a_record_waits_for_its_claim_and_keeps_it_when_it_is_delivered() {
    let mut bench = Bench::with_store();
    assert_eq!(bench.record(conversion(1, None, false)), None, "the store is asked first");
    let flushed = bench.flush();
    let (begun, wanted) = bench.settle_with_store();
    assert!(begun.is_none());
    assert_eq!(wanted, Wanted { claims: vec![0], ..Wanted::default() });
    assert_eq!((bench.tracker.stats().pending, bench.tracker.wake_at()), (1, Some(bench.now + 10 * SECOND)));
    assert_eq!(bench.convert(1), Verdict::Repeated, "by the memory of this process");
    let (begun, wanted) = bench.claimed(0, ClaimAnswer::First);
    assert_eq!(wanted, Wanted::default());
    bench.end(begun.unwrap(), Ok(TrackingResponse::new(200)));
    let (_, wanted) = bench.settle_with_store();
    assert_eq!(wanted, Wanted { keeps: vec![KEY.into()], ..Wanted::default() });
    let report = flushed.try_recv().unwrap();
    assert_eq!((report.delivered, report.dropped, report.pending), (1, 0, 0));
}

#[test]
fn what_the_store_has_is_the_stores_to_judge_after_the_delivery() {
    let mut bench = Bench::with_store();
    bench.record(conversion(1, None, false));
    bench.settle_with_store();
    let (begun, _) = bench.claimed(0, ClaimAnswer::First);
    bench.end(begun.unwrap(), Ok(TrackingResponse::new(200)));
    bench.settle_with_store();
    assert_eq!(bench.record(conversion(1, None, false)), None, "asked again: the store may have erased it");
}

#[test]
fn what_the_store_knows_is_a_repetition_and_is_asked_about_again() {
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
    bench.end(begun, Ok(TrackingResponse::new(200)));
    assert_eq!((bench.settle_with_store().1, wanted), (Wanted::default(), Wanted::default()));
    assert_eq!((bench.tracker.stats().delivered, bench.tracker.stats().deduplicated), (1, 1));
}

#[test]
fn a_record_that_the_store_does_not_answer_for_goes_on() {
    let mut bench = Bench::with_store();
    bench.record(conversion(1, None, false));
    bench.settle_with_store();
    let (begun, _) = bench.claimed(0, ClaimAnswer::None);
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
    // One whose answer comes after the end of its record.
    bench.record(conversion(1, None, false));
    bench.settle_with_store();
    bench.now += DeliveryConfig::DEFAULT_MAX_AGE;
    assert_eq!(bench.settle_with_store().1, Wanted::default());
    assert_eq!(bench.claimed(1, ClaimAnswer::First).1.releases, ["key"]);
    // And one that a close leaves behind.
    bench.record(conversion(2, None, false));
    bench.tracker.close();
    bench.settle_with_store();
    assert!(bench.claimed(2, ClaimAnswer::First).0.is_none());
    bench.tracker.finish(std::iter::empty(), &mut bench.effects);
    assert_eq!(bench.settle_with_store().1.releases, [r#"dedup:["2", "3"]"#]);
}

impl Bench {
    fn answer_with_store(&mut self, delivery: Delivery, status: u16) -> Wanted {
        self.end(delivery, Ok(TrackingResponse::new(status)));
        self.settle_with_store().1
    }
}

#[test]
fn a_record_made_again_takes_over_the_claim_of_a_dropped_one() {
    for answer in [ClaimAnswer::First, ClaimAnswer::None] {
        let mut bench = Bench::with_store();
        bench.record(conversion(1, None, false));
        assert_eq!(bench.settle_with_store().1.claims, [0]);
        // Twice: the claim goes on to whoever comes last.
        for _ in 0..2 {
            bench.now += DeliveryConfig::DEFAULT_MAX_AGE;
            bench.settle_with_store();
            assert_eq!(bench.record(conversion(1, None, false)), None);
            assert_eq!(bench.settle_with_store().1, Wanted::default(), "no claim that would find the first");
        }
        let claimed = Claimed { sequence: 0, key: KEY.into(), answer };
        bench.tracker.claimed(claimed, &mut bench.effects);
        let (begun, wanted) = bench.settle_with_store();
        assert_eq!(wanted, Wanted::default());
        bench.end(begun.unwrap(), Ok(TrackingResponse::new(200)));
        assert_eq!(bench.settle_with_store().1.keeps, [KEY]);
        assert_eq!((bench.tracker.stats().delivered, bench.tracker.stats().dropped.total()), (1, 2));
    }
}
