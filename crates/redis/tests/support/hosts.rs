//! Two processes that are offered the same conversions at once, and share their marks through Redis.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use convert_emulator::{Emulator, Project};
use convert_sdk::config::TransportConfig;
use convert_sdk::delivery::{DeliveryConfig, OverflowPolicy};
use convert_sdk::{Core, SdkConfig};
use convert_sdk_redis::RedisStore;

pub(crate) type Failure = Box<dyn std::error::Error>;

/// The argument that makes this program one of the hosts.
pub(crate) const ROLE: &str = "host";

const DEMO: &str = include_str!("../../../emulator/projects/demo.json");
/// So long that nothing is abandoned that only waits for its turn.
const PATIENCE: Duration = Duration::from_secs(300);
/// Calling threads per host.
const CALLERS: u32 = 32;

/// Offers so many conversions to two hosts at once, on an empty Redis. Fails unless each was sent exactly once.
pub(crate) fn offer_twice(redis: &str, conversions: u32) -> Result<Duration, Failure> {
    let emulator = Emulator::builder().project(Project::from_json(DEMO)).request_history(1).start()?;
    let url = format!("{}/v1", emulator.http_url());
    let start = || -> Result<Child, Failure> {
        let mut host = Command::new(std::env::current_exe()?);
        let host = host.args([ROLE, redis, &url, &conversions.to_string()]);
        Ok(host.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?)
    };
    let mut hosts = [start()?, start()?];
    for host in &mut hosts {
        let output = host.stdout.take().ok_or("no output")?;
        BufReader::new(output).read_line(&mut String::new())?;
    }
    let begin = Instant::now();
    for host in &mut hosts {
        host.stdin.take().ok_or("no input")?.write_all(b"go\n")?;
    }
    for host in &mut hosts {
        if !host.wait()?.success() {
            return Err("a host has failed".into());
        }
    }
    let took = begin.elapsed();
    let received = emulator.received();
    let (sent, visitors) = (received.totals.conversion, received.by_visitor().len());
    if sent != u64::from(conversions) || visitors != conversions as usize {
        return Err(format!("{sent} conversions of {visitors} visitors were sent, not {conversions}").into());
    }
    Ok(took)
}

/// One of the two hosts, with the arguments that [`offer_twice`] passes.
pub(crate) fn host(arguments: &[String]) -> Result<(), Failure> {
    let [redis, url, conversions] = arguments else { return Err("three arguments".into()) };
    let conversions: u32 = conversions.parse()?;
    let network = TransportConfig::builder().track_base_url(url).danger_allow_http_on_loopback(true);
    let config = SdkConfig::builder()
        .data_json(DEMO)
        .transport(network.build()?)
        .delivery(DeliveryConfig::builder().overflow(OverflowPolicy::Wait(PATIENCE)).build()?)
        .data_store(RedisStore::open(redis)?)
        // After a late reply memory decides, which knows nothing of the other host.
        .store_timeout(PATIENCE)
        .build()?;
    let core = Core::new(config);
    core.initialize()?;
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    thread::scope(|scope| {
        for first in 0..CALLERS {
            let core = &core;
            scope.spawn(move || {
                for number in (first..conversions).step_by(CALLERS as usize) {
                    if let Ok(visitor) = core.create_context(format!("v{number}"), ()) {
                        visitor.track_conversion("purchase");
                    }
                }
            });
        }
    });
    core.shutdown(PATIENCE)?;
    Ok(())
}
