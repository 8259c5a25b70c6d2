//! Callers that wait for free capacity (`OverflowPolicy::Wait`), and what ends their wait.

use std::time::Duration;

use convert_sdk::{
    ConversionOptions, ConversionStatus, Core, GoalDataKey,
    delivery::{DeliveryConfig, OverflowPolicy},
};

use crate::support::{PATIENCE, Script, convert, direct, pro, start_scripted, until, visitor};

/// Longer than any test: only something else can end the wait.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A core with a delivery in flight, a full backlog, and a full channel of one record.
fn full() -> (Core, Script) {
    full_for(FOR_EVER)
}

/// Like [`full`], with callers of this patience.
fn full_for(patience: Duration) -> (Core, Script) {
    let delivery = DeliveryConfig::builder()
        .lanes(1)
        .queue_capacity(1)
        .max_pending_records(1)
        .max_request_events(1)
        .max_queued_bytes(1_000)
        .overflow(OverflowPolicy::Wait(patience));
    let (core, script) = start_scripted(direct().batch_size(1).delivery(delivery.build().unwrap()));
    convert(&core, 0..1);
    script.posted();
    convert(&core, 1..2);
    until(&core, |stats| stats.pending_places.waiting == 1);
    convert(&core, 2..3);
    until(&core, |stats| stats.pending_places.in_channel == 1);
    (core, script)
}

#[test]
fn a_close_releases_every_waiting_caller() {
    let (core, _script) = full();
    let callers: Vec<_> = (0..64)
        .map(|number| {
            let core = core.clone();
            std::thread::spawn(move || {
                visitor(&core, &format!("late-{number}")).track_conversion("purchase").status
            })
        })
        .collect();
    until(&core, |stats| stats.recorded == 67);
    let stats = core.close();
    for caller in callers {
        assert_eq!(caller.join().unwrap(), ConversionStatus::Closed);
    }
    assert_eq!((stats.recorded, stats.is_balanced()), (67, true));
    let stats = core.stats();
    assert_eq!((stats.pending, stats.dropped.closed.total()), (0, 67));
}

#[test]
fn a_callers_own_deadline_ends_its_wait() {
    let (core, script) = full();
    let plain = ConversionOptions::new();
    let late =
        visitor(&core, "late").track_conversion_confirmed("purchase", &plain, Duration::from_millis(10));
    assert_eq!(late.status, ConversionStatus::QueueFull);
    (0..3).for_each(|_| script.answer(200));
    until(&core, |stats| stats.delivered == 3);
}

#[test]
fn free_capacity_ends_the_wait_for_long_texts_too() {
    let (core, script) = full();
    (0..8).for_each(|_| script.answer(200));
    let order = ConversionOptions::new().data(GoalDataKey::TransactionId, "x".repeat(600));
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (core, order) = (&core, &order);
            scope.spawn(move || {
                let visitor = visitor(core, &format!("long-{number}"));
                assert_eq!(visitor.track_conversion_with("purchase", order).status, ConversionStatus::Queued);
            });
        }
    });
    assert_eq!(core.flush(PATIENCE).unwrap().stats.delivered, 7);
}

#[test]
fn a_text_that_never_fits_is_rejected_at_once() {
    let (core, _script) = full();
    let order = ConversionOptions::new().data(GoalDataKey::TransactionId, "x".repeat(2_000));
    let refused = visitor(&core, "long").track_conversion_with("purchase", &order);
    assert_eq!(refused.status, ConversionStatus::QueueFull);
}

#[test]
#[cfg(feature = "async")]
fn a_task_that_gives_up_its_wait_has_handed_nothing_over() {
    let (core, script) = full();
    let tasks = core.to_async();
    let plain = ConversionOptions::new();
    crate::asynchronous::block_on(async {
        let late = tasks.create_context("late", ()).await.unwrap();
        let mut waiting: convert_sdk::ports::BoxFuture<'_, _> =
            Box::pin(late.track_conversion_confirmed("purchase", &plain, PATIENCE));
        crate::asynchronous::poll_once(&mut waiting);
        assert_eq!(core.stats().recorded, 4);
    });
    (0..3).for_each(|_| script.answer(200));
    let stats = until(&core, |stats| stats.delivered == 3);
    assert_eq!((stats.recorded, stats.pending, stats.dropped.queue_full.total()), (4, 0, 1));
}

#[test]
fn a_rejected_exposure_is_recorded_by_the_next_call() {
    let (core, script) = full_for(Duration::ZERO);
    let shopper = pro(&core, "shopper");
    assert!(shopper.run_experience("price").is_ok());
    assert_eq!(core.stats().dropped.queue_full.exposures, 1);
    (0..3).for_each(|_| script.answer(200));
    until(&core, |stats| stats.pending == 0);
    script.answer(200);
    assert!(shopper.run_experience("price").is_ok() && shopper.run_experience("price").is_ok());
    let _ = core.flush(PATIENCE);
    assert_eq!(core.stats().delivered, 4);
}

#[test]
fn flushes_take_no_more_records_than_fit() {
    let (core, script) = full();
    let flusher = core.clone();
    for _ in 0..3 {
        let stats = flusher.flush(Duration::from_millis(10)).unwrap_err().stats().clone();
        let places = stats.pending_places;
        assert_eq!((places.in_flight, places.waiting, places.in_channel), (1, 1, 1), "{stats:?}");
    }
    let flush = std::thread::spawn(move || flusher.flush(PATIENCE));
    (0..3).for_each(|_| script.answer(200));
    assert_eq!(
        flush.join().unwrap().unwrap().stats.delivered,
        3,
        "the waiting callers' records are covered too"
    );
}
