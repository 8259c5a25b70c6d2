//! A flush covers what was recorded before it, ends at its deadline, and tells the truth.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convert_emulator::{Fault, FaultKind};
use convert_sdk::ports::{DeliveryFailure, EventBatch, EventSink, Receipt, TransportError};
use convert_sdk::{Core, FlushError, delivery::DeliveryConfig};
use crossbeam_channel::{Sender, unbounded};

use crate::support::{
    ONCE, PATIENCE, capacity, convert, direct, direct_to, keyed, keyed_over, network, serve, start,
    start_scripted, until,
};

#[test]
fn with_nothing_recorded_it_is_complete_at_once() {
    let core = start(direct());
    let report = core.flush(Duration::ZERO).unwrap();
    assert_eq!((report.delivered, report.dropped, report.pending), (0, 0, 0));
    assert!(report.is_complete());
}

#[test]
fn it_says_delivered_only_after_a_2xx() {
    let (core, script) = start_scripted(direct());
    convert(&core, 0..2);
    let flusher = core.clone();
    let flush = std::thread::spawn(move || flusher.flush(PATIENCE));
    script.posted();
    assert!(!flush.is_finished());
    assert_eq!(core.stats().delivered, 0);
    script.answer(299);
    assert_eq!(flush.join().unwrap().unwrap().delivered, 2);
}

#[test]
fn it_covers_exactly_what_was_recorded_before() {
    let (core, script) = start_scripted(direct());
    convert(&core, 0..3);
    let flusher = core.clone();
    let flush = std::thread::spawn(move || flusher.flush(PATIENCE));
    assert_eq!(script.posted().visitors().len(), 3);
    convert(&core, 3..5);
    until(&core, |stats| stats.recorded == 5);
    script.answer(200);
    let report = flush.join().unwrap().unwrap();
    assert_eq!((report.delivered, report.pending), (3, 0));
    assert_eq!(core.stats().pending, 2, "later records wait for their own batch");
}

#[test]
fn it_waits_for_a_delivery_already_in_flight() {
    let (core, script) = start_scripted(direct().batch_size(1));
    convert(&core, 0..1);
    script.posted();
    let flusher = core.clone();
    let flush = std::thread::spawn(move || flusher.flush(PATIENCE));
    // The failure of an attempt that began before the flush does not complete it: it retries once.
    script.fail(TransportError::Connect);
    script.posted();
    script.answer(200);
    assert_eq!(flush.join().unwrap().unwrap().stats.delivered, 1);
}

#[test]
fn a_hanging_server_ends_at_the_deadline_and_keeps_records() {
    let emulator = serve();
    emulator.inject(Fault::track(FaultKind::Hang).times(1));
    let core = start(direct_to(&emulator));
    convert(&core, 0..2);
    let Err(FlushError::Timeout(report)) = core.flush(Duration::from_millis(50)) else { panic!("it hangs") };
    assert_eq!((report.pending, report.delivered), (2, 0));
    assert!(report.stats.is_balanced());
    emulator.wait_until(PATIENCE, |received| received.totals.track_requests == 1).unwrap();
    emulator.close_connections();
    assert_eq!(core.flush(PATIENCE).unwrap().stats.delivered, 2);
}

#[test]
fn a_hanging_request_times_out_as_fate_unknown() {
    let emulator = serve();
    emulator.inject(Fault::track(FaultKind::Hang).times(1));
    let network = network(&emulator).total_timeout(Duration::from_secs(5));
    let core = start(direct().transport(network.build().unwrap()));
    convert(&core, 0..1);
    let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("it hangs") };
    assert_eq!(report.stats.last_error.unwrap().cause.code(), "timeout");
    assert_eq!((report.pending, report.stats.fate_unknown), (1, 1));
    assert_eq!(core.flush(PATIENCE).unwrap().stats.delivered, 1);
}

#[test]
fn a_first_attempt_that_hangs_leaves_time_for_another() {
    let emulator = serve();
    emulator.inject(Fault::track(FaultKind::Hang).times(1));
    let network = network(&emulator).total_timeout(10 * PATIENCE).build().unwrap();
    let delivery = DeliveryConfig::builder().first_timeout(Duration::from_millis(300)).build().unwrap();
    let core = start(direct().transport(network).delivery(delivery));
    convert(&core, 0..2);
    let stats = core.shutdown(PATIENCE).unwrap().stats;
    // The second attempt may be late too, on a slow machine.
    assert!(stats.delivered == 2 && stats.fate_unknown >= 1, "{stats:?}");
}

#[test]
fn each_attempt_has_twice_the_time_of_the_one_before() {
    /// Says how long each delivery may take, and has no answer.
    struct Silent(Sender<Duration>);
    impl EventSink for Silent {
        fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
            self.0.send(batch.timeout).unwrap();
            Err(DeliveryFailure::Unknown(TransportError::Timeout("waiting for the answer")))
        }
    }
    let (told, times) = unbounded();
    let delivery = DeliveryConfig::builder().first_timeout(Duration::from_secs(2)).build().unwrap();
    let core = Core::builder(direct().delivery(delivery).build().unwrap());
    let core = core.event_sink(Silent(told)).build().unwrap();
    core.initialize().unwrap();
    convert(&core, 0..1);
    for seconds in [2, 4, 8, 10, 10] {
        core.flush_with(ONCE).unwrap_err();
        assert_eq!(times.try_recv(), Ok(Duration::from_secs(seconds)));
    }
}

#[test]
fn retry_after_zero_does_not_cause_a_busy_loop() {
    let emulator = serve();
    emulator.inject(Fault::track(FaultKind::too_many_requests(0)));
    let core = start(keyed(&emulator));
    convert(&core, 0..1);
    let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("refused") };
    assert_eq!((report.delivered, report.pending, report.stats.requests), (0, 1, 1));
}

#[test]
fn one_flush_can_take_many_requests() {
    let emulator = serve();
    let core = start(direct_to(&emulator).batch_size(10_000).delivery(capacity(5_000)));
    convert(&core, 0..2_500);
    let report = core.flush(PATIENCE).unwrap();
    assert_eq!((report.delivered, report.stats.requests), (2_500, 3));
    assert_eq!(emulator.received().totals.events, 2_500);
}

#[test]
fn a_failure_in_the_middle_is_reported_in_numbers() {
    let (core, script) = start_scripted(direct().batch_size(10_000).delivery(capacity(2_000)));
    convert(&core, 0..1_500);
    script.answer(200);
    script.answer(503);
    let error = core.flush_with(ONCE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "records lost: 0, undelivered and kept: 500; the last failed delivery: the server answered with status 503"
    );
    let FlushError::Incomplete(report) = error else { panic!("half fails") };
    assert_eq!((report.delivered, report.dropped, report.pending), (1_000, 0, 500));
    assert_eq!((report.stats.delivered, report.stats.pending), (1_000, 500));
    script.answer(200);
    assert_eq!(core.flush(PATIENCE).unwrap().stats.delivered, 1_500);
}

#[test]
fn flushes_from_several_threads_all_complete() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let core = &core;
            scope.spawn(move || {
                convert(core, thread * 10..thread * 10 + 10);
                let report = core.flush(PATIENCE).unwrap();
                assert!(report.stats.delivered >= 10, "{report:?}");
            });
        }
    });
    assert_eq!(emulator.received().totals.events, 80);
    assert_eq!(core.stats().pending, 0);
}

/// Accepts everything, and remembers whose events it accepted.
#[derive(Default)]
struct Recorder(Mutex<HashSet<String>>);

impl EventSink for Recorder {
    fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        let body: serde_json::Value = serde_json::from_slice(batch.body).unwrap();
        let visitors = body["visitors"].as_array().unwrap().iter();
        let ids = visitors.map(|visitor| visitor["visitorId"].as_str().unwrap().to_owned());
        self.0.lock().unwrap().extend(ids);
        Ok(Receipt::default())
    }
}

#[test]
fn each_concurrent_flush_covers_its_callers_records() {
    const ROUNDS: u32 = 500;
    let recorder = Arc::<Recorder>::default();
    let config = direct().build().unwrap();
    let core = Core::builder(config).event_sink(recorder.clone()).build().unwrap();
    core.initialize().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let (core, recorder) = (&core, &recorder);
            scope.spawn(move || {
                for visitor in thread * ROUNDS..(thread + 1) * ROUNDS {
                    convert(core, visitor..visitor + 1);
                    core.flush(PATIENCE).unwrap();
                    let id = format!("visitor-{visitor}");
                    assert!(recorder.0.lock().unwrap().contains(&id), "{id} was flushed and not sent");
                }
            });
        }
    });
}

#[test]
fn after_an_outage_a_flush_delivers_everything() {
    let emulator = serve();
    let core = start(keyed_over(network(&emulator)));
    emulator.go_offline();
    convert(&core, 0..25);
    let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("offline") };
    assert_eq!((report.pending, report.delivered), (25, 0));
    emulator.go_online().unwrap();
    assert_eq!(core.flush(PATIENCE).unwrap().stats.delivered, 25);
    assert_eq!(emulator.received().totals.events, 25);
}

#[test]
fn duplicates_are_not_part_of_a_flush() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    convert(&core, 0..1);
    convert(&core, 0..1);
    let report = core.flush(PATIENCE).unwrap();
    assert_eq!((report.delivered, report.stats.recorded, report.stats.deduplicated), (1, 2, 1));
    assert!(core.flush(PATIENCE).unwrap().is_complete());
}
