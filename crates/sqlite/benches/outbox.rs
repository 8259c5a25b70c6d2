//! Conversions delivered a second through an outbox, and how long it takes to deliver what a process has left: fails if
//! it takes too long, or too much memory.
//!
//! `cargo bench -p convert-sdk-sqlite`. A separate process counts what arrives; another one takes over what was left,
//! so that its memory can be measured.
#![expect(clippy::unwrap_used, reason = "a figure that cannot be had ends the bench")]

#[path = "../../../benches/support/collector.rs"]
mod collector;
#[path = "../tests/support/folder.rs"]
mod folder;

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use collector::{Collector, Failure};
use convert_sdk::config::TransportConfig;
use convert_sdk::delivery::{DeliveryConfig, DeliveryConfigBuilder, OverflowPolicy};
use convert_sdk::ports::{DeliveryFailure, EventBatch, EventSink, Receipt, TransportError};
use convert_sdk::{ConversionOptions, Core, SdkConfig, SdkConfigBuilder};
use convert_sdk_sqlite::{Durability, SqliteOutbox};
use folder::Folder;

const RECORDS: u64 = 1_000_000;
const PRODUCERS: u64 = 2;
const PATIENCE: Duration = Duration::from_secs(300);
/// The bars: conversions a second with [`Durability::Process`], and what it takes to take over a million.
const LEAST_A_SECOND: f64 = 200_000.0;
const LONGEST: Duration = Duration::from_secs(30);
const MOST_MIB: u64 = 64;
/// The role of the process that takes over.
const HEIR: &str = "heir";

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [role, ..] if role == collector::ROLE => return collector::collect(),
        [role, directory, ..] if role == HEIR => return take_over(directory),
        _ => {}
    }
    let records = arguments.iter().find_map(|it| it.parse().ok()).unwrap_or(RECORDS);
    deliver("no outbox", records, None)?;
    deliver("Durability::Process", records, Some(Durability::Process))?;
    deliver("Durability::Power", records / 4, Some(Durability::Power))?;
    leave_and_take_over(records)
}

fn config(delivery: DeliveryConfigBuilder) -> Result<SdkConfigBuilder, Failure> {
    let shop = include_str!("../../../examples/shop.json");
    Ok(SdkConfig::builder().data_json(shop).delivery(delivery.build()?))
}

fn deliver(what: &str, records: u64, durability: Option<Durability>) -> Result<(), Failure> {
    let (folder, collector) = (Folder::new(), Collector::start()?);
    let network = TransportConfig::builder()
        .track_base_url(&collector.url)
        .danger_allow_http_on_loopback(true)
        .build()?;
    let waits = DeliveryConfig::builder().overflow(OverflowPolicy::Wait(PATIENCE));
    let mut config = config(waits)?.transport(network);
    if let Some(durability) = durability {
        config = config.outbox(SqliteOutbox::builder(&*folder).durability(durability).build()?);
    }
    let core = Core::new(config.build()?);
    core.initialize()?;
    let start = Instant::now();
    record(&core, records);
    core.flush(PATIENCE)?;
    let took = start.elapsed();
    let stats = core.close();
    let counted = collector.end()?;
    let a_second = records as f64 / took.as_secs_f64();
    println!("{a_second:>10.0} a second delivered: {what}");
    if !(stats.is_balanced() && counted == records && stats.outbox_missed == 0) {
        return Err(format!("{counted} of {records} were counted: {stats:?}").into());
    }
    if durability == Some(Durability::Process) && a_second < LEAST_A_SECOND {
        return Err(format!("{a_second:.0} a second are fewer than {LEAST_A_SECOND:.0}").into());
    }
    Ok(())
}

fn record(core: &Core, records: u64) {
    thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            scope.spawn(move || {
                for number in (producer..records).step_by(PRODUCERS as usize) {
                    let visitor = core.create_context(format!("v{number}"), ()).unwrap();
                    visitor.track_conversion("purchase");
                }
            });
        }
    });
}

/// Takes everything, or nothing.
struct Sink {
    takes: bool,
}

impl EventSink for Sink {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        if self.takes {
            Ok(Receipt::default())
        } else {
            Err(DeliveryFailure::NotSent(TransportError::Connect))
        }
    }
}

fn leave_and_take_over(records: u64) -> Result<(), Failure> {
    let folder = Folder::new();
    let patient = DeliveryConfig::builder()
        .overflow(OverflowPolicy::Wait(PATIENCE))
        .max_pending_records(usize::MAX)
        .max_pending_bytes(usize::MAX);
    let outbox = SqliteOutbox::builder(&*folder).max_bytes(4 << 30).build()?;
    let core =
        Core::builder(config(patient)?.outbox(outbox).build()?).event_sink(Sink { takes: false }).build()?;
    core.initialize()?;
    record(&core, records);
    // What is confirmed is on disk, and so is what came before it.
    let last = core.create_context("last", ())?;
    last.track_conversion_confirmed("purchase", &ConversionOptions::new(), PATIENCE);
    let left = core.close().pending_places.on_disk;
    if left != records + 1 {
        return Err(format!("{left} of {records} and one are on disk").into());
    }
    drop(core);
    let heir = Command::new(std::env::current_exe()?).arg(HEIR).arg(&*folder).status()?;
    if heir.success() { Ok(()) } else { Err("the process that takes over has failed".into()) }
}

fn take_over(directory: &str) -> Result<(), Failure> {
    let config = config(DeliveryConfig::builder())?.outbox(SqliteOutbox::open(directory)?);
    let core = Core::builder(config.build()?).event_sink(Sink { takes: true }).build()?;
    let (before, start) = (memory("VmRSS"), Instant::now());
    core.initialize()?;
    let (took, more) = loop {
        let stats = core.stats();
        let is_left = std::fs::read_dir(directory)?.next().is_some();
        if stats.recovered > 0 && stats.pending == 0 && !is_left {
            break (start.elapsed(), memory("VmHWM") - before);
        }
        thread::sleep(Duration::from_millis(10));
    };
    let delivered = core.shutdown(PATIENCE)?.stats.delivered;
    println!("{delivered} records of another process taken over in {took:.1?}, with {more} MiB more");
    if took > LONGEST || more > MOST_MIB {
        return Err(format!("that is more than {LONGEST:?} or {MOST_MIB} MiB").into());
    }
    Ok(())
}

/// In MiB; zero where the system does not tell.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    let kib: Option<u64> = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.unwrap_or(0) / 1024
}
