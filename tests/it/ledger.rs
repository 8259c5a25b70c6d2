//! The account of every record balances whenever it is read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use convert_emulator::{Fault, FaultKind};
use convert_sdk::config::ConfigOrigin;
use convert_sdk::{ConversionOptions, ConversionStatus, Core, FlushError, Stats};

use crate::support::{
    PATIENCE, capacity, convert, counts, direct, direct_to, keyed, serve, start, start_scripted, unready,
    until, visitor,
};

/// Reads the ledger continuously while `work` runs, and checks that it balances each time.
fn watched(core: &Core, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let stats = core.stats();
                assert!(stats.is_balanced(), "{stats:?}");
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
}

fn record_from_4_threads(core: &Core, each: u32) {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for number in 0..each {
                    let visitor = visitor(core, &format!("{thread}-{number}"));
                    let _ = visitor.run_experience("banner");
                    let sent = visitor.track_conversion("purchase");
                    assert!(matches!(sent.status, ConversionStatus::Queued | ConversionStatus::QueueFull));
                }
            });
        }
    });
}

#[test]
fn it_balances_under_4_fast_threads_and_a_tiny_queue() {
    let emulator = serve();
    let core = start(direct_to(&emulator).delivery(capacity(8)).batch_size(100));
    watched(&core, || record_from_4_threads(&core, 2_000));
    let flushed = core.flush(PATIENCE);
    let stats = core.stats();
    // The flush reports what was rejected before it.
    let told = match &flushed {
        Ok(report) => report.dropped,
        Err(FlushError::Incomplete(report)) => report.dropped,
        Err(error) => panic!("{error}"),
    };
    assert_eq!((told, flushed.is_ok()), (stats.dropped.total(), stats.dropped.total() == 0));
    assert_eq!((stats.recorded, stats.pending), (16_000, 0));
    assert_eq!(stats.delivered + stats.dropped.total(), 16_000);
    assert_eq!(stats.delivered_events, stats.delivered, "each record is one event");
    assert_eq!(emulator.received().totals.events, stats.delivered, "sent == received");
    core.close();
}

#[test]
fn readings_are_monotonic_and_never_exceed_the_calls() {
    let emulator = serve();
    let core = start(direct_to(&emulator).delivery(capacity(64)).batch_size(10));
    let (begun, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut before, mut readings) = (core.stats(), 0);
            while !over.load(Ordering::Acquire) {
                let now = core.stats();
                // Read after the ledger, so it includes every call that the ledger may reflect.
                let calls = begun.load(Ordering::Acquire);
                assert!(now.is_balanced(), "{now:?}");
                assert!(now.recorded <= calls, "{} recorded by {calls} calls", now.recorded);
                let totals = |stats: &Stats| {
                    [
                        stats.recorded,
                        stats.delivered,
                        stats.deduplicated,
                        stats.dropped.total(),
                        stats.requests,
                    ]
                };
                let goes_on = totals(&before).iter().zip(totals(&now)).all(|(before, now)| *before <= now);
                assert!(goes_on, "{before:?} and then {now:?}");
                (before, readings) = (now, readings + 1);
            }
            readings
        });
        let producers: Vec<_> = (0..3)
            .map(|thread| {
                let (core, begun) = (&core, &begun);
                scope.spawn(move || {
                    for number in 0..3_000 {
                        let visitor = visitor(core, &format!("{thread}-{}", number % 2_000));
                        begun.fetch_add(1, Ordering::AcqRel);
                        visitor.track_conversion("purchase");
                    }
                })
            })
            .collect();
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        over.store(true, Ordering::Release);
        assert!(watcher.join().unwrap() > 0);
    });
    let _ = core.flush(PATIENCE);
    let stats = core.close();
    assert_eq!((stats.recorded, stats.pending), (9_000, 0));
    assert_eq!(emulator.received().totals.events, stats.delivered);
}

#[test]
fn it_balances_while_everything_fails_at_times() {
    let emulator = serve();
    emulator.inject(Fault::track(FaultKind::status(503)).with_probability(0.2, 7));
    emulator.inject(Fault::track(FaultKind::status(400)).with_probability(0.1, 8));
    emulator.inject(Fault::track(FaultKind::Reset).with_probability(0.1, 9));
    let core = start(direct_to(&emulator).delivery(capacity(64)).batch_size(10));
    watched(&core, || {
        std::thread::scope(|scope| {
            scope.spawn(|| record_from_4_threads(&core, 500));
            for _ in 0..20 {
                let _ = core.flush(PATIENCE);
            }
        });
    });
    emulator.clear_faults();
    let _ = core.flush(PATIENCE);
    let stats = core.close();
    assert_eq!((stats.recorded, stats.pending), (4_000, 0));
    assert!(stats.is_balanced());
    assert_eq!(emulator.received().totals.events, stats.delivered);
}

#[test]
fn it_balances_while_the_core_closes_under_load() {
    let emulator = serve();
    let core = start(direct_to(&emulator).delivery(capacity(64)));
    watched(&core, || {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let core = &core;
                scope.spawn(move || {
                    let visitors =
                        (0..500).map(|number| core.create_context(format!("{thread}-{number}"), ()));
                    for visitor in visitors.map_while(Result::ok) {
                        let _ = visitor.track_conversion("purchase");
                        if thread == 0 && visitor.visitor_id() == "0-100" {
                            core.close();
                        }
                    }
                });
            }
        });
    });
    let stats = core.close();
    assert_eq!(stats.pending, 0, "{stats:?}");
    assert_eq!(emulator.received().totals.events, stats.delivered);
}

#[test]
fn a_full_backlog_drops_exposures_first_and_counts_them() {
    let (core, script) = start_scripted(direct().delivery(capacity(4)).batch_size(1));
    // One delivery is in flight, so everything else has to wait.
    convert(&core, 0..1);
    script.posted();
    for number in 0..4 {
        let visitor = visitor(&core, &format!("late-{number}"));
        let _ = visitor.run_experience("banner");
        // The verdict follows what was recorded earlier, so the tracker has both.
        let sent = visitor.track_conversion_confirmed("purchase", &ConversionOptions::new(), PATIENCE);
        assert!(sent.tracked());
    }
    let stats = until(&core, |stats| stats.dropped.overflow.total() == 4);
    assert_eq!((stats.pending, stats.recorded), (5, 9));
    let Err(FlushError::Timeout(report)) = core.flush(Duration::ZERO) else { panic!("nothing is answered") };
    assert_eq!((report.delivered, report.dropped, report.pending), (0, 4, 5));
    script.answer(200);
    script.answer(200);
    let Err(FlushError::Incomplete(report)) = core.flush(PATIENCE) else { panic!("four are reported") };
    assert_eq!((report.dropped, report.pending, report.stats.delivered), (4, 0, 5));
    assert!(core.flush(Duration::ZERO).unwrap().is_complete(), "reported once");
    script.posted().body["visitors"].as_array().unwrap().iter().for_each(|visitor| {
        assert_eq!(visitor["events"][0]["eventType"], "conversion");
    });
}

#[test]
fn a_rejected_record_is_reported_and_counted() {
    let (core, script) = start_scripted(direct().delivery(capacity(1)).batch_size(1));
    let mut full = 0;
    for number in 0..10_000 {
        let sent = visitor(&core, &number.to_string()).track_conversion("purchase");
        if sent.status == ConversionStatus::QueueFull {
            assert!(!sent.tracked() && sent.reason() == Some("queue_full"));
            full += 1;
        }
        let stats = core.stats();
        assert_eq!((stats.dropped.queue_full.total(), stats.is_balanced()), (full, true));
    }
    script.answer(200);
    script.answer(200);
    let _ = core.flush(PATIENCE);
    let stats = core.close();
    assert_eq!((stats.recorded, stats.dropped.queue_full.total()), (10_000, full));
    assert_eq!(stats.delivered + stats.dropped.overflow.total() + full, 10_000);
}

#[test]
fn a_fresh_core_has_an_empty_ledger() {
    let core = start(direct());
    assert_eq!(counts(&core), Stats::default());
    assert_eq!(core.stats().accepted(), 0);
}

#[test]
fn the_ledger_shows_the_configs_source_and_the_backlog() {
    let emulator = serve();
    let core = unready(keyed(&emulator));
    assert_eq!((core.stats().config_origin, core.stats().config_at), (None, None));
    core.initialize().unwrap();
    assert_eq!(core.stats().config_origin, Some(ConfigOrigin::Fetched));
    let fetched_at = core.stats().config_at.unwrap();
    emulator.go_offline();
    assert!(core.refresh_now_within(PATIENCE).is_err());
    assert_eq!(core.stats().config_at, Some(fetched_at), "a failed refresh does not change its age");
    emulator.go_online().unwrap();
    core.refresh_now_within(PATIENCE).unwrap();
    assert!(core.stats().config_at > Some(fetched_at));

    let (core, script) = start_scripted(direct().batch_size(1).delivery(capacity(10)));
    assert_eq!(core.stats().config_origin, Some(ConfigOrigin::Direct));
    assert_eq!(core.stats().oldest_pending_age, None);
    convert(&core, 0..1);
    script.posted();
    let stats = until(&core, |stats| stats.oldest_pending_age.is_some());
    assert_eq!((stats.pending_places.in_flight, stats.pending), (1, 1));
    script.answer(200);
    until(&core, |stats| stats.delivered == 1 && stats.oldest_pending_age.is_none());
}
