//! A `Retry-After` met by several attempts or flushes.

use super::*;

fn limited(seconds: u32) -> Result<Receipt, DeliveryFailure> {
    delivery_answer(429, Some(seconds * SECOND))
}

#[test]
fn a_shorter_flush_leaves_a_longer_one_its_last_attempt() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let start = bench.now;
    let shorter = bench.flush_within(2 * SECOND, false);
    let longer = bench.flush_within(5 * SECOND, false);
    let delivery = bench.settle().unwrap();
    bench.end(delivery, limited(50));
    assert!(bench.settle().is_none());
    let delivery = bench.wake().expect("the shorter one's last attempt");
    assert!(bench.now < start + 2 * SECOND);
    bench.end(delivery, limited(50));
    assert!(bench.settle().is_none());
    assert!(bench.wake().is_none() && bench.now == start + 2 * SECOND);
    assert_eq!(shorter.try_recv().unwrap().pending, 1);
    let delivery = bench.wake().expect("the longer one's last attempt");
    assert!(bench.now > start + 4 * SECOND && bench.now < start + 5 * SECOND);
    bench.answer(delivery, 200);
    assert_eq!(longer.try_recv().unwrap().delivered, 1);
}

#[test]
fn a_single_attempt_leaves_a_flush_its_last_one() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let start = bench.now;
    let report = bench.flush_within(5 * SECOND, false);
    let delivery = bench.settle().unwrap();
    bench.end(delivery, limited(50));
    assert!(bench.settle().is_none());
    let single = bench.flush_within(5 * SECOND, true);
    let delivery = bench.settle().expect("at once");
    bench.end(delivery, limited(50));
    assert!(bench.settle().is_none());
    assert_eq!(single.try_recv().unwrap().pending, 1);
    let delivery = bench.wake().expect("the last attempt of the other one");
    assert!(bench.now > start + 4 * SECOND && bench.now < start + 5 * SECOND);
    bench.answer(delivery, 200);
    assert_eq!(report.try_recv().unwrap().delivered, 1);
}

#[test]
fn a_flush_obeys_an_endpoint_that_refuses_the_sender() {
    let mut bench = Bench::new(1, 100, None);
    bench.expose(0);
    let start = bench.now;
    let report = bench.flush_within(9 * SECOND, false);
    let delivery = bench.settle().unwrap();
    bench.end(delivery, delivery_answer(403, Some(5 * SECOND)));
    assert!(bench.settle().is_none());
    let delivery = bench.wake().expect("an attempt after the wait");
    assert_eq!(bench.now, start + 5 * SECOND);
    bench.answer(delivery, 200);
    assert_eq!(report.try_recv().unwrap().delivered, 1);
}

#[test]
fn a_retry_after_outlasts_the_success_of_an_earlier_attempt() {
    let mut bench = Bench::with(1, None, |delivery| delivery.lanes(2));
    bench.expose(0);
    let earlier = bench.settle().unwrap();
    bench.expose(1);
    let later = bench.settle().unwrap();
    bench.end(later, limited(9));
    assert!(bench.settle().is_none());
    assert!(bench.answer(earlier, 200).is_none(), "the endpoint has asked for a wait since it began");
    let asked_at = bench.now;
    let delivery = bench.wake().unwrap();
    assert_eq!((bench.now, delivery.records.len()), (asked_at + 9 * SECOND, 1));
    bench.answer(delivery, 200);
    (2..4).for_each(|visitor| bench.expose(visitor));
    assert!(bench.settle().is_some(), "the wait is over");
}
