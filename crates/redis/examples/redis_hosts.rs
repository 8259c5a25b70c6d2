//! Two hosts on one Redis: what the one has decided and sent, the other one knows.
//!
//! `REDIS_URL` says where Redis is; without it, at `redis://127.0.0.1/`. The events go to an emulator that this
//! program starts.

use std::error::Error;
use std::time::Duration;

use convert_emulator::{Emulator, Project};
use convert_sdk::config::TransportConfig;
use convert_sdk::{ConversionOptions, Core, SdkConfig};
use convert_sdk_redis::RedisStore;

const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
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
        println!("host {number}: {}, {:?}", shown.variation_key(), shown.source());
        let plain = ConversionOptions::new();
        let conversion = visitor.track_conversion_confirmed("purchase", &plain, PATIENCE);
        println!("host {number}: purchase is {:?}", conversion.status);
        // Written behind the decision, and waited for by a flush.
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
