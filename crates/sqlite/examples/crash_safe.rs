//! A process that is killed with a thousand conversions on hand, and the next one, which delivers them.
//!
//! The program starts itself twice; the events go to an emulator that it starts too.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use convert_emulator::{Emulator, Project};
use convert_sdk::config::TransportConfig;
use convert_sdk::{ConversionOptions, Core, SdkConfig};
use convert_sdk_sqlite::SqliteOutbox;

const VISITORS: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [life, directory, track_url, authority] = &arguments[..] {
        let core = start(Path::new(directory), track_url, authority)?;
        return if life == "first" { first_life(&core) } else { second_life(&core) };
    }
    let emulator = Emulator::builder().project(Project::demo()).start()?;
    let directory = std::env::temp_dir().join(format!("crash_safe-{}", std::process::id()));
    for life in ["first", "second"] {
        let mut process = Command::new(std::env::current_exe()?);
        process.arg(life).arg(&directory).arg(emulator.track_url()).arg(emulator.ca_pem());
        let status = process.status()?;
        println!("{life} life: {status}; {} conversions have arrived", emulator.received().totals.events);
    }
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

fn start(directory: &Path, track_url: &str, authority: &str) -> Result<Core, Box<dyn Error>> {
    let network = TransportConfig::builder().track_base_url(track_url).root_certificate_pem(authority);
    let config = SdkConfig::builder()
        .data_json(include_str!("../../emulator/projects/demo.json"))
        .transport(network.build()?)
        // So that nothing is delivered before the end.
        .batch_size(10_000)
        .outbox(SqliteOutbox::open(directory)?);
    let core = Core::new(config.build()?);
    core.initialize()?;
    Ok(core)
}

fn first_life(core: &Core) -> Result<(), Box<dyn Error>> {
    for number in 1..VISITORS {
        core.create_context(format!("visitor-{number}"), ())?.track_conversion("purchase");
    }
    // This one waits for the disk, and so for those before it.
    let last = core.create_context("the last visitor", ())?;
    let status = last.track_conversion_confirmed("purchase", &ConversionOptions::new(), PATIENCE).status;
    println!("the last conversion is {}, and on disk; now the process is killed", status.as_str());
    #[cfg(unix)]
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?;
    std::process::abort()
}

fn second_life(core: &Core) -> Result<(), Box<dyn Error>> {
    // It has begun to look with `initialize`.
    while core.stats().recovered < u64::from(VISITORS) || core.stats().pending > 0 {
        thread::sleep(Duration::from_millis(10));
    }
    let stats = core.shutdown(PATIENCE)?.stats;
    println!("recovered: {}, delivered: {}", stats.recovered, stats.delivered);
    Ok(())
}
