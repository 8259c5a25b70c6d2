//! Two hosts on one Redis: each knows what the other has decided and sent.
//!
//! `REDIS_URL` is the address of Redis, by default `redis://127.0.0.1/`. The events go to an emulator that this program
//! starts.

use std::error::Error;
use std::time::Duration;

use convert_emulator::{Emulator, Project};
use convert_sdk::config::TransportConfig;
use convert_sdk::{ConversionOptions, Core, DecisionSource, SdkConfig};
use convert_sdk_redis::RedisStore;

const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    // Returned from here an error would be printed for debugging.
    if let Err(error) = run() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1/".to_owned());
    let emulator = Emulator::builder().project(Project::demo()).start()?;
    let start = || -> Result<Core, Box<dyn Error>> {
        let network = TransportConfig::builder()
            .config_base_url(emulator.config_url())
            .track_base_url(emulator.track_url())
            .root_certificate_pem(emulator.ca_pem());
        let store = RedisStore::builder(&url).prefix("redis_hosts:").build()?;
        let config = SdkConfig::builder().sdk_key("10035569/10034190").transport(network.build()?);
        let core = Core::new(config.data_store(store).build()?);
        core.initialize()?;
        Ok(core)
    };
    let hosts = [start()?, start()?];
    for (number, host) in (1..).zip(&hosts) {
        let visitor = host.create_context("visitor-1", ())?;
        let shown = visitor.run_experience("homepage-headline")?;
        let source = if shown.source() == DecisionSource::Stored { "decided before" } else { "decided now" };
        println!("host {number}: {}, {source}", shown.variation_key());
        let plain = ConversionOptions::new();
        let conversion = visitor.track_conversion_confirmed("purchase", &plain, PATIENCE);
        println!("host {number}: purchase is {}", conversion.status.as_str());
        // Written after the decision returns; a flush waits for it.
        host.flush(PATIENCE)?;
    }
    println!("{} events were sent", emulator.received().totals.events);
    for host in &hosts {
        let failures = host.shutdown(PATIENCE)?.stats.store_failures;
        if failures > 0 {
            println!("Redis at REDIS_URL did not answer {failures} times");
        }
    }
    Ok(())
}
