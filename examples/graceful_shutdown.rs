//! Ends cleanly: everything recorded is delivered within one deadline, or the program reports what is not.

use std::error::Error;
use std::time::Duration;

use convert_emulator::{Emulator, Fault, FaultKind, Project};
use convert_sdk::{Core, SdkConfig, attributes, config::TransportConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let emulator = Emulator::builder().project(Project::demo()).start()?;
    println!("a server that answers:");
    serve_and_stop(&emulator)?;
    emulator.inject(Fault::track(FaultKind::status(503)));
    println!("a server that fails:");
    serve_and_stop(&emulator)
}

fn serve_and_stop(emulator: &Emulator) -> Result<(), Box<dyn Error>> {
    let transport = TransportConfig::builder()
        .config_base_url(emulator.config_url())
        .track_base_url(emulator.track_url())
        .root_certificate_pem(emulator.ca_pem())
        .build()?;
    let core = Core::new(SdkConfig::builder().sdk_key(Project::DEMO_SDK_KEY).transport(transport).build()?);
    core.initialize()?;
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let core = &core;
            scope.spawn(move || {
                for request in 0..25 {
                    let id = format!("visitor-{worker}-{request}");
                    if let Ok(visitor) = core.create_context(id, attributes! { "age" => 30 }) {
                        visitor.run_experiences();
                        visitor.track_conversion("signup");
                    }
                }
            });
        }
    });
    match core.shutdown(Duration::from_secs(5)) {
        Ok(report) => println!("  all {} records delivered", report.stats.delivered),
        Err(error) => println!("  {error}; delivered: {}", error.stats().delivered),
    }
    Ok(())
}
