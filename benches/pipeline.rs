//! Conversions delivered per second: two producers, the whole pipeline, and a collector in another process.
//!
//! `cargo bench --bench pipeline [-- RECORDS]`. The collector counts independently what it receives; the bench fails
//! unless its count, the ledger and the number of records agree. Producers wait while the pipeline is full, so nothing
//! is dropped and the rate is that of deliveries.

#[path = "support/collector.rs"]
mod collector;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use collector::{Collector, Failure, ROLE, collect};
use convert_sdk::{
    Core, SdkConfig,
    config::TransportConfig,
    delivery::{DeliveryConfig, OverflowPolicy},
};

const RECORDS: u64 = 2_000_000;
const PRODUCERS: u64 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = if arguments.first().is_some_and(|it| it == ROLE) {
        collect()
    } else {
        let records = arguments.iter().find_map(|it| it.parse().ok()).unwrap_or(RECORDS);
        measure(records)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(records: u64) -> Result<(), Failure> {
    let collector = Collector::start()?;
    let network = TransportConfig::builder()
        .track_base_url(&collector.url)
        .danger_allow_http_on_loopback(true)
        .build()?;
    let delivery =
        DeliveryConfig::builder().overflow(OverflowPolicy::Wait(Duration::from_secs(30))).build()?;
    let config = SdkConfig::builder()
        .data_json(include_str!("../examples/shop.json"))
        .transport(network)
        .delivery(delivery)
        .build()?;
    let core = Core::new(config);
    core.initialize()?;

    let start = Instant::now();
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let core = &core;
            scope.spawn(move || {
                for number in (producer..records).step_by(PRODUCERS as usize) {
                    if let Ok(visitor) = core.create_context(format!("v{number}"), ()) {
                        visitor.track_conversion("purchase");
                    }
                }
            });
        }
    });
    let recorded = start.elapsed();
    let report = core.flush(Duration::from_secs(60))?;
    let delivered = start.elapsed();
    let stats = core.close();

    let counted = collector.end()?;
    let rate = |time: Duration| records as f64 / time.as_secs_f64();
    println!("{records} conversions of as many visitors, {PRODUCERS} producers, {} requests", stats.requests);
    println!("{:>10.0} a second recorded, with the creation of a context each", rate(recorded));
    println!("{:>10.0} a second delivered", rate(delivered));
    println!("{counted} counted by the collector, {} by the ledger", stats.delivered);
    if !(stats.is_balanced() && report.is_complete() && stats.delivered == records && counted == records) {
        return Err(format!("the counts differ: {stats:?}").into());
    }
    Ok(())
}
