//! Two producers at full speed against a real server at its worst: what was accepted is delivered or counted, according
//! to the server's own record.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convert_emulator::{Emulator, Fault, FaultKind, RetryAfter, ServerCertificate};
use convert_sdk::{
    ConversionStatus, Core, FlushError, SdkConfigBuilder,
    adapters::InMemoryDataStore,
    delivery::{DeliveryConfig, FlushReport},
    ports::{DataStore, StoreError},
};
use crossbeam_channel::{Receiver, bounded};
use serde_json::Value;

use crate::support::{PATIENCE, direct, network, serve, start, visitor};

/// Conversions per producer, unless `STORM_RECORDS` overrides it.
const RECORDS: usize = 1_000;
const PRODUCERS: usize = 2;

fn records() -> usize {
    std::env::var("STORM_RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(RECORDS)
}

/// The result of a storm.
struct Toll {
    accepted: u64,
    delivered: u64,
    dropped: u64,
    /// Accepted conversions that the server does not have.
    missing: u64,
    /// Conversions that the server has more than once.
    twice: u64,
    fate_unknown: u64,
    retries: u64,
}

/// `weather` acts on the server; it is called before the first request, and again after one or more until everything is
/// recorded, with the number of previous calls.
fn storm(name: &str, weather: &(dyn Fn(&Emulator, usize) + Sync)) -> Toll {
    storm_beside(name, |config| config, weather)
}

/// Like [`storm`], with the test's own configuration, for instance a data store.
fn storm_beside(
    name: &str,
    configure: impl FnOnce(SdkConfigBuilder) -> SdkConfigBuilder,
    weather: &(dyn Fn(&Emulator, usize) + Sync),
) -> Toll {
    let records = records();
    let emulator = serve();
    let hasty = DeliveryConfig::builder()
        .backoff(Duration::from_millis(20))
        .backoff_ceiling(Duration::from_millis(100))
        .max_request_events(20)
        .build()
        .unwrap();
    let network = network(&emulator).total_timeout(Duration::from_secs(2)).build().unwrap();
    let core = start(configure(direct().transport(network).delivery(hasty)));
    let recorded = AtomicUsize::new(0);
    // The weather is there before the first request.
    weather(&emulator, 0);
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let (core, recorded) = (&core, &recorded);
            scope.spawn(move || produce(core, producer, records, recorded));
        }
        let (mut calls, mut requests) = (1.., Some(0));
        while recorded.load(Ordering::Relaxed) < PRODUCERS * records {
            // Only after a request has met the current weather, however slow this machine is.
            let made = Some(core.stats().requests);
            if made != requests {
                requests = made;
                calls.by_ref().take(1).for_each(|call| weather(&emulator, call));
            }
            let _ = core.flush(Duration::from_millis(20));
        }
    });
    // Clear weather at the end, except for faults about the records themselves.
    if !name.starts_with("400 for") {
        emulator.clear_faults();
    }
    emulator.use_certificate(ServerCertificate::Valid).unwrap();
    let _ = emulator.go_online();
    let report = core.flush(PATIENCE);
    toll(name, &emulator, &core, records, &report)
}

/// Closes the core and compares its report with the server's record.
fn toll(
    name: &str,
    emulator: &Emulator,
    core: &Core,
    records: usize,
    report: &Result<FlushReport, FlushError>,
) -> Toll {
    let stats = core.close();
    assert!(stats.is_balanced() && stats.pending == 0, "{name}: {stats:?}, {report:?}");

    let mut copies: HashMap<String, u64> = HashMap::new();
    for event in emulator.received().events {
        *copies.entry(event.visitor_id).or_default() += 1;
    }
    let arrived = |producer: usize, number: usize| copies.contains_key(&format!("{producer}-{number}"));
    let all = (0..PRODUCERS).flat_map(|producer| (0..records).map(move |number| (producer, number)));
    let toll = Toll {
        accepted: stats.recorded,
        delivered: stats.delivered,
        dropped: stats.dropped.total(),
        missing: all.filter(|(producer, number)| !arrived(*producer, *number)).count() as u64,
        twice: copies.values().filter(|copies| **copies > 1).count() as u64,
        fate_unknown: stats.fate_unknown,
        retries: stats.retries,
    };
    println!(
        "STORM | {name} | {} | {} | {} | {} | {} | {} |",
        toll.accepted, stats.requests, toll.retries, toll.dropped, toll.missing, toll.twice
    );
    assert_eq!(toll.accepted, (PRODUCERS * records) as u64, "{name}");
    assert_eq!(toll.missing, toll.dropped, "{name}: what is missing, and what was counted");
    assert!(toll.twice == 0 || toll.fate_unknown > 0, "{name}: sent twice though every fate was known");
    toll
}

fn produce(core: &Core, producer: usize, records: usize, recorded: &AtomicUsize) {
    for number in 0..records {
        // No faster than the storm lets through, so that it lasts.
        while core.stats().pending > 200 {
            std::thread::yield_now();
        }
        let sent = visitor(core, &format!("{producer}-{number}")).track_conversion("purchase");
        assert_eq!(sent.status, ConversionStatus::Queued);
        recorded.fetch_add(1, Ordering::Relaxed);
    }
}

/// A fault from the start.
fn steady(name: &str, fault: &Fault) -> Toll {
    storm(name, &|emulator, call| {
        if call == 0 {
            emulator.inject(fault.clone());
        }
    })
}

fn nothing_is_lost(toll: &Toll) {
    assert_eq!((toll.missing, toll.dropped, toll.delivered), (0, 0, toll.accepted));
}

#[test]
fn every_second_request_fails_with_503() {
    let toll = steady("503 half of the time", &Fault::track(FaultKind::status(503)).with_probability(0.5, 7));
    nothing_is_lost(&toll);
    assert!(toll.retries > 0 && toll.twice == 0);
}

#[test]
fn connections_are_reset_before_the_response() {
    let toll = steady("reset instead of an answer", &Fault::track(FaultKind::Reset).with_probability(0.4, 7));
    nothing_is_lost(&toll);
    assert!(toll.fate_unknown > 0 && toll.twice == 0);
}

#[test]
fn connections_are_reset_after_the_events_were_accepted() {
    let fault = Fault::track(FaultKind::DropAfterRecording).with_probability(0.4, 7);
    let toll = steady("reset after the events were taken", &fault);
    nothing_is_lost(&toll);
    assert!(toll.fate_unknown > 0 && toll.twice > 0, "delivery is at least once");
}

#[test]
fn responses_break_off_in_the_middle() {
    let fault = Fault::track(FaultKind::ResetMidBody).with_probability(0.5, 7);
    nothing_is_lost(&steady("reset in the middle of the body", &fault));
}

#[test]
fn a_storm_of_429_with_seconds_to_wait() {
    let fault = Fault::track(FaultKind::too_many_requests(1)).with_probability(0.7, 7);
    let toll = steady("429 with seconds", &fault);
    nothing_is_lost(&toll);
    assert!(toll.retries > 0 && toll.twice == 0);
}

#[test]
fn a_storm_of_429_with_a_date_to_wait_for() {
    let retry_after = Some(RetryAfter::Date("Wed, 21 Oct 2099 07:28:00 GMT".to_owned()));
    let fault = Fault::track(FaultKind::Status { status: 429, retry_after }).with_probability(0.7, 7);
    nothing_is_lost(&steady("429 with a date", &fault));
}

#[test]
fn responses_drip() {
    let fault = Fault::track(FaultKind::SlowDrip { bytes: 1, interval_ms: 1 });
    nothing_is_lost(&steady("answers drip", &fault));
}

#[test]
fn requests_hang_at_times() {
    let toll = steady("no answer at all, three times", &Fault::track(FaultKind::Hang).times(3));
    nothing_is_lost(&toll);
    assert!(toll.fate_unknown > 0);
}

#[test]
fn requests_are_too_large_for_the_server() {
    let fault = Fault::track(FaultKind::status(413)).with_probability(0.3, 7);
    // Only what splitting cannot help is dropped.
    steady("413 now and then", &fault);
}

#[test]
fn the_server_refuses_requests_at_random() {
    let toll = steady("400 now and then", &Fault::track(FaultKind::status(400)).with_probability(0.2, 7));
    assert!(toll.dropped > 0 && toll.twice == 0);
}

#[test]
fn one_visitor_in_a_hundred_is_poison() {
    let poison = FaultKind::poisoned_visitor("0-13");
    let toll = steady("400 for one visitor in a hundred", &Fault::track(poison));
    let culprits = (0..records()).filter(|number| number.to_string().starts_with("13")).count();
    assert_eq!((toll.dropped, toll.twice), (culprits as u64, 0), "only the culprits");
}

#[test]
fn the_key_is_refused_for_a_while() {
    let toll = storm("401 for a while", &|emulator, call| match call {
        0 => emulator.inject(Fault::track(FaultKind::status(401))),
        5 => emulator.clear_faults(),
        _ => {}
    });
    nothing_is_lost(&toll);
}

/// Waits half a millisecond in every call.
struct Slow(InMemoryDataStore, Receiver<()>);

impl Slow {
    fn wait(&self) -> &InMemoryDataStore {
        let _ = self.1.recv_timeout(Duration::from_micros(500));
        &self.0
    }
}

impl DataStore for Slow {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.wait().get(key)
    }
    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.wait().set(key, value, ttl)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.wait().delete(key)
    }
}

#[test]
fn a_slow_store_and_503() {
    let (_open, never) = bounded(0);
    let slow = Slow(InMemoryDataStore::new(), never);
    let toll = storm_beside(
        "a slow store, and 503 half of the time",
        |config| config.data_store(slow),
        &|emulator, call| {
            if call == 0 {
                emulator.inject(Fault::track(FaultKind::status(503)).with_probability(0.5, 7));
            }
        },
    );
    nothing_is_lost(&toll);
}

/// Never answers while the test runs.
struct Hanging(Receiver<()>);

impl Hanging {
    fn hang<T>(&self) -> Result<T, StoreError> {
        let _ = self.0.recv();
        Err(StoreError::new("the test is over"))
    }
}

impl DataStore for Hanging {
    fn get(&self, _: &str) -> Result<Option<Value>, StoreError> {
        self.hang()
    }
    fn set(&self, _: &str, _: Value, _: Option<Duration>) -> Result<(), StoreError> {
        self.hang()
    }
    fn delete(&self, _: &str) -> Result<(), StoreError> {
        self.hang()
    }
}

#[test]
fn a_hanging_store_and_503() {
    let (_open, never) = bounded(0);
    let beside =
        |config: SdkConfigBuilder| config.data_store(Hanging(never)).store_timeout(Duration::from_millis(20));
    let toll = storm_beside("a hanging store, and 503 half of the time", beside, &|emulator, call| {
        if call == 0 {
            emulator.inject(Fault::track(FaultKind::status(503)).with_probability(0.5, 7));
        }
    });
    nothing_is_lost(&toll);
}

#[test]
fn the_server_recovers_during_a_shutdown() {
    const RECORDS: usize = 200;
    let emulator = serve();
    let core = start(direct().transport(network(&emulator).build().unwrap()).batch_size(10_000));
    for producer in 0..PRODUCERS {
        produce(&core, producer, RECORDS / PRODUCERS, &AtomicUsize::new(0));
    }
    emulator.inject(Fault::track(FaultKind::status(503)).times(3));
    let report = core.shutdown(PATIENCE);
    assert!(report.is_ok(), "{report:?}");
    let toll = toll("503 three times, during a shutdown", &emulator, &core, RECORDS / PRODUCERS, &report);
    nothing_is_lost(&toll);
}

#[test]
fn the_server_is_away_for_a_while() {
    let toll = storm("server restarted again and again", &|emulator, call| match call % 4 {
        1 => emulator.go_offline(),
        3 => emulator.go_online().unwrap(),
        _ => {}
    });
    nothing_is_lost(&toll);
    assert!(toll.retries > 0);
}

#[test]
fn the_certificate_changes_to_a_wrong_one_and_back() {
    let toll = storm("another authority's certificate, now and then", &|emulator, call| {
        let shown = if call % 4 == 1 { ServerCertificate::OtherAuthority } else { ServerCertificate::Valid };
        emulator.use_certificate(shown).unwrap();
        emulator.close_connections();
    });
    nothing_is_lost(&toll);
    assert!(toll.retries > 0);
}
