//! A worker under load: says what it was told, and is killed sooner or later.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use convert_emulator::Emulator;
use convert_sdk::config::TransportConfig;
use convert_sdk::delivery::DeliveryConfig;
use convert_sdk::{ConversionOptions, ConversionStatus, Core, SdkConfig};
use convert_sdk_sqlite::SqliteOutbox;

use crate::folder::Folder;

pub(crate) const ROLE: &str = "CONVERT_CRASH_ROLE";
const TRACK: &str = "CONVERT_CRASH_TRACK";
const DIRECTORY: &str = "CONVERT_CRASH_DIRECTORY";
const AUTHORITY: &str = "CONVERT_CRASH_AUTHORITY";
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two records that wait for the disk.
const GROUP: u64 = 20;
pub(crate) const MOST_A_REQUEST: u64 = 200;
pub(crate) const LANES: u64 = 2;

/// This program as a worker of that name.
pub(crate) fn command(emulator: &Emulator, folder: &Folder, name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .env(ROLE, name)
        .env(TRACK, emulator.track_url())
        .env(AUTHORITY, emulator.ca_pem())
        .env(DIRECTORY, &**folder);
    command
}

pub(crate) fn run() {
    let given = |name| std::env::var(name).unwrap();
    let name = given(ROLE);
    let network =
        TransportConfig::builder().track_base_url(given(TRACK)).root_certificate_pem(given(AUTHORITY));
    let delivery = DeliveryConfig::builder()
        .max_request_events(MOST_A_REQUEST as usize)
        .lanes(LANES as usize)
        .build()
        .unwrap();
    let config = SdkConfig::builder()
        .data_json(include_str!("../../../emulator/projects/demo.json"))
        .transport(network.build().unwrap())
        .delivery(delivery)
        .auto_flush_interval(Duration::from_millis(20))
        .batch_size(100)
        .outbox(SqliteOutbox::open(given(DIRECTORY)).unwrap());
    let core = Core::new(config.build().unwrap());
    core.initialize().unwrap();
    if name == "drain" {
        return drain(&core);
    }
    let plain = ConversionOptions::new();
    let mut out = std::io::stdout();
    for number in 0_u64.. {
        let visitor = core.create_context(format!("{name}-{number}"), ()).unwrap();
        let confirmed = number % GROUP == GROUP - 1;
        let status = if confirmed {
            visitor.track_conversion_confirmed("purchase", &plain, PATIENCE).status
        } else {
            visitor.track_conversion("purchase").status
        };
        assert!(matches!(status, ConversionStatus::Queued), "{status:?}");
        // What comes in order is written in order, so this one stands for those before it.
        let missed = core.stats().outbox_missed;
        let kept = if confirmed { format!("kept {} {missed}\n", number + 1) } else { String::new() };
        // One write for each line: what is killed in between has said it or not.
        out.write_all(format!("accepted {}\n{kept}", number + 1).as_bytes()).unwrap();
    }
}

/// Delivers what everybody has left behind.
fn drain(core: &Core) {
    let until = Instant::now() + PATIENCE;
    let mut quiet = 0;
    while quiet < 3 {
        assert!(Instant::now() < until, "{:?}", core.stats());
        core.flush(PATIENCE).unwrap();
        let stats = core.stats();
        assert!(stats.is_balanced(), "{stats:?}");
        let is_left = std::fs::read_dir(std::env::var(DIRECTORY).unwrap()).unwrap().count() > 0;
        quiet = if stats.pending == 0 && !is_left { quiet + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(20));
    }
    let stats = core.stats();
    eprintln!(
        "recovered {}, delivered {}, damaged {}, fate unknown {}",
        stats.recovered, stats.delivered, stats.dropped.damaged, stats.fate_unknown
    );
    core.shutdown(PATIENCE).unwrap();
}
