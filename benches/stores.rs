//! Deliveries with a data store that sleeps or hangs, counted by the collector in another process.
//!
//! `cargo bench --bench stores`. Every store is called for the visitor of each new context, for the mark of each
//! record, after each delivery, and with the visitor's state.

#[path = "support/collector.rs"]
mod collector;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use collector::{Collector, Failure, ROLE, collect};
use convert_sdk::{
    Core, SdkConfig, Stats,
    adapters::InMemoryDataStore,
    config::TransportConfig,
    delivery::{DeliveryConfig, OverflowPolicy},
    ports::{DataStore, StoreError},
};
use serde_json::Value;

/// The duration of a call.
const CALL: Duration = Duration::from_micros(500);

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == ROLE) {
        return collect().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    match single_calls().and_then(|()| batches()).and_then(|()| hanging()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Sleeps for each key.
#[derive(Default)]
struct Single(InMemoryDataStore);

impl DataStore for Single {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        thread::sleep(CALL);
        self.0.get(key)
    }
    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        thread::sleep(CALL);
        self.0.set(key, value, ttl)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        thread::sleep(CALL);
        self.0.delete(key)
    }
    fn set_if_absent(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool, StoreError> {
        thread::sleep(CALL);
        self.0.set_if_absent(key, value, ttl)
    }
}

/// Sleeps for each batch.
#[derive(Default)]
struct Batched(InMemoryDataStore);

impl DataStore for Batched {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.0.get(key)
    }
    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.0.set(key, value, ttl)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.delete(key)
    }
    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Value>, StoreError>> {
        thread::sleep(CALL);
        self.0.get_many(keys)
    }
    fn set_many(&self, entries: &[(&str, Value)], ttl: Option<Duration>) -> Vec<Result<(), StoreError>> {
        thread::sleep(CALL);
        self.0.set_many(entries, ttl)
    }
    fn claim_many(&self, keys: &[&str], lease: Duration) -> Vec<Result<bool, StoreError>> {
        thread::sleep(CALL);
        self.0.claim_many(keys, lease)
    }
}

/// Never answers.
struct Hanging;

impl Hanging {
    fn hang<T>() -> Result<T, StoreError> {
        loop {
            thread::park();
        }
    }
}

impl DataStore for Hanging {
    fn get(&self, _: &str) -> Result<Option<Value>, StoreError> {
        Self::hang()
    }
    fn set(&self, _: &str, _: Value, _: Option<Duration>) -> Result<(), StoreError> {
        Self::hang()
    }
    fn delete(&self, _: &str) -> Result<(), StoreError> {
        Self::hang()
    }
}

/// Offers visitors from so many threads at this pace, and returns what became of them and how long it took.
fn run(
    store: impl DataStore,
    visitors: u64,
    threads: u64,
    pace: Option<Duration>,
) -> Result<(Stats, u64, Duration, Duration), Failure> {
    let collector = Collector::start()?;
    let network = TransportConfig::builder()
        .track_base_url(&collector.url)
        .danger_allow_http_on_loopback(true)
        .build()?;
    let delivery = DeliveryConfig::builder().overflow(OverflowPolicy::Wait(Duration::from_secs(30)));
    let config = SdkConfig::builder()
        .data_json(include_str!("../examples/shop.json"))
        .transport(network)
        .delivery(delivery.build()?)
        .data_store(store)
        .max_visitors(1_000_000)
        .auto_flush_interval(Duration::from_millis(100))
        .build()?;
    let core = Core::new(config);
    core.initialize()?;
    let start = Instant::now();
    let mut oldest = Duration::ZERO;
    thread::scope(|scope| {
        for first in 0..threads {
            let core = &core;
            scope.spawn(move || {
                for number in (first..visitors).step_by(threads as usize) {
                    if let Some(pace) = pace {
                        let due = start + pace * u32::try_from(number).unwrap_or(u32::MAX);
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                    }
                    if let Ok(visitor) = core.create_context(format!("v{number}"), ()) {
                        visitor.track_conversion("purchase");
                    }
                }
            });
        }
        while core.stats().recorded < visitors {
            oldest = oldest.max(core.stats().oldest_pending_age.unwrap_or_default());
            thread::sleep(Duration::from_millis(20));
        }
    });
    core.flush(Duration::from_secs(60))?;
    let took = start.elapsed();
    let stats = core.close();
    let counted = collector.end()?;
    if !(stats.is_balanced() && stats.delivered == visitors && counted == visitors) {
        return Err(format!("{counted} arrived of {visitors}: {stats:?}").into());
    }
    Ok((stats, counted, took, oldest))
}

fn single_calls() -> Result<(), Failure> {
    let (stats, counted, took, oldest) = run(Single::default(), 10_000, 4, Some(Duration::from_millis(1)))?;
    println!(
        "0.5 ms a call, one key after the other, 1,000 new visitors a second: {counted} arrived in {took:.1?}, \
         {} dropped, {} decided by memory, {} visitors forgotten, the oldest pending record was {oldest:.2?} old",
        stats.dropped.total(),
        stats.store_timeouts,
        stats.visitors_evicted,
    );
    Ok(())
}

fn batches() -> Result<(), Failure> {
    const VISITORS: u64 = 400_000;
    let (stats, counted, took, _) = run(Batched::default(), VISITORS, 256, None)?;
    println!(
        "0.5 ms a batch, 256 threads: {counted} new visitors arrived in {took:.1?}, {:.0} a second, {} decided \
         by memory",
        VISITORS as f64 / took.as_secs_f64(),
        stats.store_timeouts,
    );
    Ok(())
}

fn hanging() -> Result<(), Failure> {
    let (stats, counted, took, _) = run(Hanging, 1_000, 64, None)?;
    println!(
        "a store that hangs for ever: {counted} visitors' records arrived after {took:.2?}, {} answers were \
         not waited for",
        stats.store_timeouts,
    );
    Ok(())
}
