//! Watches what the SDK does: a handler on its own thread, and a subscription read at leisure.

use std::error::Error;
use std::time::Duration;

use convert_emulator::{Emulator, Project};
use convert_sdk::{
    ConversionOptions, Core, SdkConfig, attributes,
    config::TransportConfig,
    events::{LifecycleEvent, LifecycleEventKind},
};

fn main() -> Result<(), Box<dyn Error>> {
    let emulator = Emulator::builder().project(Project::demo()).start()?;
    let transport = TransportConfig::builder()
        .config_base_url(emulator.config_url())
        .track_base_url(emulator.track_url())
        .root_certificate_pem(emulator.ca_pem())
        .build()?;
    let config = SdkConfig::builder().sdk_key(Project::DEMO_SDK_KEY).transport(transport).build()?;
    let core = Core::builder(config)
        .on(LifecycleEventKind::ApiQueueReleased, |event| {
            if let LifecycleEvent::ApiQueueReleased { batch_size, reason, status, .. } = event {
                println!("handler: delivered {batch_size} records ({}), status {status:?}", reason.as_str());
            }
        })
        .build()?;
    let subscription = core.subscribe();
    core.initialize()?;

    let visitor = core.create_context("visitor-1", attributes! { "age" => 30 })?;
    visitor.run_experiences();
    visitor.track_conversion_with("purchase", &ConversionOptions::new().revenue(12.5));
    visitor.track_conversion("purchase");
    let _ = visitor.diagnose_experience("no-such-experience");
    core.flush(Duration::from_secs(10))?;
    core.close();

    // Visitor ids are not shown.
    for event in subscription {
        println!("{}: {event:?}", event.kind());
    }
    Ok(())
}
