//! New visitors per second on one Redis, beside what Redis does with the same batches alone, and conversions offered to
//! two processes at once.
//!
//! `cargo bench -p convert-sdk-redis`. Starts its own `redis-server`; a separate process counts what arrives. Elapsed
//! times depend on what else the machine does, of which the load average tells; CPU times and the ratio less so.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the server is that of the tests")]

#[path = "../../../benches/support/collector.rs"]
mod collector;
mod floor;
#[path = "../tests/support/hosts.rs"]
mod hosts;
#[path = "../../../benches/support/processor.rs"]
mod processor;
#[path = "../tests/support/server.rs"]
mod server;

use std::thread;
use std::time::{Duration, Instant};

use collector::Collector;
use convert_sdk::config::TransportConfig;
use convert_sdk::delivery::{DeliveryConfig, OverflowPolicy};
use convert_sdk::{Core, SdkConfig};
use convert_sdk_redis::RedisStore;
use floor::{Calls, Noted};
use processor::processor_time;
use server::Redis;

const VISITORS: u32 = 400_000;
const CONVERSIONS: u32 = 100_000;
/// Each blocks until Redis has returned its visitor.
const CALLERS: u32 = 256;
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first().map(|(role, rest)| (role.as_str(), rest)) {
        Some((collector::ROLE, _)) => return collector::collect(),
        Some((hosts::ROLE, rest)) => return hosts::host(rest),
        _ => {}
    }
    new_visitors(false)?;
    new_visitors(true)?;
    let Some(server) = Redis::start(&[]) else { return Ok(()) };
    let took = hosts::offer_twice(&server.url(), CONVERSIONS)?;
    println!(
        "{CONVERSIONS} conversions, each offered to two processes at once: each was sent once, in {took:.1?}"
    );
    Ok(())
}

/// Each reads the visitor from Redis, and claims and stores the conversion's mark; with a decision, that is read,
/// merged and written too, and the exposure's mark claimed and stored.
fn new_visitors(decide: bool) -> Result<(), collector::Failure> {
    let Some(server) = Redis::start(&[]) else { return Ok(()) };
    let collector = Collector::start()?;
    let network = TransportConfig::builder()
        .track_base_url(&collector.url)
        .danger_allow_http_on_loopback(true)
        .build()?;
    let calls = Calls::default();
    let delivery = DeliveryConfig::builder().overflow(OverflowPolicy::Wait(PATIENCE));
    let config = SdkConfig::builder()
        .data_json(include_str!("../../emulator/projects/demo.json"))
        .transport(network)
        .delivery(delivery.build()?)
        .data_store(Noted { store: RedisStore::open(&server.url())?, calls: calls.clone() })
        .max_visitors(1_000_000)
        .auto_flush_interval(Duration::from_millis(100))
        .build()?;
    let core = Core::new(config);
    core.initialize()?;
    let processes = [std::process::id(), server.process.id()];
    let (start, used) = (Instant::now(), processes.map(processor_time));
    thread::scope(|scope| {
        for first in 0..CALLERS {
            let core = &core;
            scope.spawn(move || {
                for number in (first..VISITORS).step_by(CALLERS as usize) {
                    let Ok(visitor) = core.create_context(format!("v{number}"), ()) else { continue };
                    if decide {
                        let _ = visitor.run_experience("homepage-headline");
                    }
                    visitor.track_conversion("purchase");
                }
            });
        }
    });
    core.flush(PATIENCE)?;
    let took = start.elapsed();
    let [ours, theirs] = processes.map(processor_time);
    let stats = core.close();
    let arrived = collector.end()?;
    let keys: u64 = redis::cmd("DBSIZE").query(&mut redis::Client::open(server.url())?.get_connection()?)?;
    let expected = u64::from(VISITORS) * if decide { 3 } else { 1 };
    if arrived != u64::from(VISITORS) || keys != expected {
        return Err(format!(
            "{arrived} of {VISITORS} conversions arrived, {keys} keys are stored: {stats:?}"
        )
        .into());
    }
    let Some(alone) = Redis::start(&[]) else { return Ok(()) };
    let floor = calls.replayed(alone.port);
    let rate = |took: Duration| f64::from(VISITORS) / took.as_secs_f64();
    let each = |used: Duration| used.as_secs_f64() * 1e6 / f64::from(VISITORS);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "{VISITORS} new visitors, {}a conversion: {:.0} a second, all on record with server and Redis; {:.1} µs of \
         CPU time each, and {:.1} µs of Redis's; {} answers were too late; load average {}",
        if decide { "each a decision and " } else { "each " },
        rate(took),
        each(ours - used[0]),
        each(theirs - used[1]),
        stats.store_timeouts,
        load.split(' ').next().unwrap_or_default(),
    );
    println!(
        "  Redis alone with the same {} batches: {:.0} a second, of which the SDK has {:.0}%; {:.1} µs of Redis's CPU \
         time each",
        calls.len(),
        rate(floor),
        100.0 * floor.as_secs_f64() / took.as_secs_f64(),
        each(processor_time(alone.process.id())),
    );
    Ok(())
}
