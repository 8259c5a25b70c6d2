//! A process that is killed with a thousand conversions on hand, and the next one, which delivers them: each once, though
//! it is offered all of them again, and with the variations that the visitors have seen, though the split has changed.
//!
//! The program starts itself twice; the events go to an emulator that it starts too.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use convert_emulator::{Emulator, Project};
use convert_sdk::config::TransportConfig;
use convert_sdk::{Context, ContextError, ConversionOptions, Core, SdkConfig};
use convert_sdk_sqlite::{SqliteOutbox, SqliteStore};

const DEMO: &str = include_str!("../../emulator/projects/demo.json");
const VISITORS: u32 = 1_000;
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [life, directory, track_url, authority] = &arguments[..] {
        // In the second life, two of the three variations get no new visitors.
        let project = if life == "first" { DEMO } else { &DEMO.replace("33.33", "0") };
        let core = start(project, Path::new(directory), track_url, authority)?;
        return if life == "first" { first_life(&core) } else { second_life(&core) };
    }
    let emulator = Emulator::builder().project(Project::demo()).start()?;
    let directory = std::env::temp_dir().join(format!("crash_safe-{}", std::process::id()));
    let live = |life: &str| {
        let mut process = Command::new(std::env::current_exe()?);
        process.arg(life).arg(&directory).arg(emulator.track_url()).arg(emulator.ca_pem());
        let output = process.stderr(Stdio::inherit()).output()?;
        let said = String::from_utf8(output.stdout)?;
        let arrived = emulator.received().totals.conversion;
        println!("{said}{life} life: {}; {arrived} conversions have arrived", output.status);
        let seen = said.lines().next().unwrap_or_default().to_owned();
        Ok::<_, Box<dyn Error>>((output.status.success(), arrived, seen))
    };
    let (ended_well, arrived, seen) = live("first")?;
    assert!(!ended_well && arrived == 0, "the first life must be killed before it delivers");
    assert_eq!(live("second")?, (true, VISITORS.into(), seen));
    std::fs::remove_dir_all(directory)?;
    Ok(())
}

fn start(project: &str, directory: &Path, track_url: &str, authority: &str) -> Result<Core, Box<dyn Error>> {
    let network = TransportConfig::builder().track_base_url(track_url).root_certificate_pem(authority);
    let config = SdkConfig::builder()
        .data_json(project)
        .transport(network.build()?)
        // So that nothing is delivered before the end.
        .batch_size(10_000)
        .outbox(SqliteOutbox::open(directory.join("outbox"))?)
        .data_store(SqliteStore::open(directory.join("visitors.db"))?)
        // A disk that stalls must not let memory decide.
        .store_timeout(Duration::from_secs(30));
    let core = Core::new(config.build()?);
    core.initialize()?;
    Ok(core)
}

fn first_life(core: &Core) -> Result<(), Box<dyn Error>> {
    run_experience(core)?;
    // From here on, the decisions are in the store.
    core.flush(PATIENCE)?;
    for number in 1..VISITORS {
        visitor(core, number)?.track_conversion("purchase");
    }
    // This one waits for the disk, and so for those before it.
    let last = visitor(core, VISITORS)?;
    let status = last.track_conversion_confirmed("purchase", &ConversionOptions::new(), PATIENCE).status;
    println!("the last conversion is {}, and on disk; now the process is killed", status.as_str());
    #[cfg(unix)]
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?;
    std::process::abort()
}

fn second_life(core: &Core) -> Result<(), Box<dyn Error>> {
    run_experience(core)?;
    // The search for what was left behind began with `initialize`.
    let until = Instant::now() + PATIENCE;
    while core.stats().recovered < u64::from(VISITORS) {
        if Instant::now() > until {
            return Err(format!("not all is recovered: {:?}", core.stats()).into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    for number in 1..=VISITORS {
        visitor(core, number)?.track_conversion("purchase");
    }
    let stats = core.shutdown(PATIENCE)?.stats;
    println!("recovered: {}, delivered: {}", stats.recovered, stats.delivered);
    Ok(())
}

/// Says how many visitors see each variation.
fn run_experience(core: &Core) -> Result<(), Box<dyn Error>> {
    let mut seen = BTreeMap::<_, u32>::new();
    for number in 1..=VISITORS {
        if let Ok(headline) = visitor(core, number)?.run_experience("homepage-headline") {
            *seen.entry(headline.variation_key().to_owned()).or_default() += 1;
        }
    }
    println!("variations seen: {seen:?}");
    Ok(())
}

fn visitor(core: &Core, number: u32) -> Result<Context, ContextError> {
    core.create_context(format!("visitor-{number}"), ())
}
