//! Wraps the built-in HTTPS client: logs every fetch and counts what is delivered.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use convert_emulator::{Emulator, Project};
use convert_sdk::adapters::HttpsClient;
use convert_sdk::config::TransportConfig;
use convert_sdk::ports::{
    ConfigRequest, ConfigResponse, ConfigSource, DeliveryFailure, EventBatch, EventSink, Receipt,
    TransportError,
};
use convert_sdk::{Core, SdkConfig};

struct Counted {
    inner: HttpsClient,
    delivered: AtomicUsize,
}

impl ConfigSource for Counted {
    fn fetch_config(&self, request: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        let begun = Instant::now();
        let answer = self.inner.fetch_config(request);
        println!("fetched the config in {:?}: {answer:?}", begun.elapsed());
        answer
    }

    fn fetch_experience(
        &self,
        request: &ConfigRequest<'_>,
        experience_id: &str,
    ) -> Result<ConfigResponse, TransportError> {
        self.inner.fetch_experience(request, experience_id)
    }

    fn interrupt(&self) {
        ConfigSource::interrupt(&self.inner);
    }

    fn after_fork(&self) {
        ConfigSource::after_fork(&self.inner);
    }
}

impl EventSink for Counted {
    fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        let receipt = self.inner.deliver(batch)?;
        self.delivered.fetch_add(batch.events, Ordering::Relaxed);
        Ok(receipt)
    }

    fn interrupt(&self) {
        EventSink::interrupt(&self.inner);
    }

    fn after_fork(&self) {
        EventSink::after_fork(&self.inner);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let emulator = Emulator::builder().project(Project::demo()).start()?;
    let network = TransportConfig::builder()
        .config_base_url(emulator.config_url())
        .track_base_url(emulator.track_url())
        .root_certificate_pem(emulator.ca_pem())
        .build()?;
    let client = Arc::new(Counted { inner: HttpsClient::new(network), delivered: AtomicUsize::new(0) });
    let config = SdkConfig::builder().sdk_key(Project::DEMO_SDK_KEY).build()?;
    let core = Core::builder(config).transport(Arc::clone(&client)).build()?;
    core.initialize()?;
    core.create_context("visitor-1", ())?.track_conversion("signup");
    core.shutdown(Duration::from_secs(5))?;
    println!("delivered {} event(s)", client.delivered.load(Ordering::Relaxed));
    Ok(())
}
