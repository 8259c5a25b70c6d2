//! New visitors per second on one Redis, and conversions offered to two processes at once.
//!
//! `cargo bench -p convert-sdk-redis`. Starts its own `redis-server`; a separate process counts what arrives.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the server is that of the tests")]

#[path = "../../../benches/support/collector.rs"]
mod collector;
#[path = "../tests/support/hosts.rs"]
mod hosts;
#[path = "../tests/support/server.rs"]
mod server;

use std::thread;
use std::time::{Duration, Instant};

use collector::Collector;
use convert_sdk::config::TransportConfig;
use convert_sdk::delivery::{DeliveryConfig, OverflowPolicy};
use convert_sdk::{Core, SdkConfig};
use convert_sdk_redis::RedisStore;
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
    let delivery = DeliveryConfig::builder().overflow(OverflowPolicy::Wait(PATIENCE));
    let config = SdkConfig::builder()
        .data_json(include_str!("../../emulator/projects/demo.json"))
        .transport(network)
        .delivery(delivery.build()?)
        .data_store(RedisStore::open(&server.url())?)
        .max_visitors(1_000_000)
        .auto_flush_interval(Duration::from_millis(100))
        .build()?;
    let core = Core::new(config);
    core.initialize()?;
    let start = Instant::now();
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
    println!(
        "{VISITORS} new visitors, {}a conversion: {:.0} a second, all on record with server and Redis, {} answers \
         were too late",
        if decide { "each a decision and " } else { "each " },
        f64::from(VISITORS) / took.as_secs_f64(),
        stats.store_timeouts,
    );
    Ok(())
}
