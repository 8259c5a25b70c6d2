//! What records: a core with an outbox, the worker that uses it in a forked child, and the process that drains it.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use convert_sdk::config::TransportConfig;
use convert_sdk::delivery::DeliveryConfig;
use convert_sdk::{ConversionOptions, ConversionStatus, Core, SdkConfig};
use convert_sdk_sqlite::SqliteOutbox;
use nix::unistd::getppid;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two records that wait for the disk.
const GROUP: u64 = 20;

/// What a process records that gets no answer.
pub(crate) const RECORDS: usize = 3;

pub(crate) fn core(track: &str, authority: &str, directory: &str, lanes: &str, has_ids: bool) -> Core {
    let network =
        TransportConfig::builder().track_base_url(track).root_certificate_pem(authority).batch_ids(has_ids);
    let delivery = DeliveryConfig::builder().max_request_events(200).lanes(lanes.parse().unwrap());
    let config = SdkConfig::builder()
        .data_json(include_str!("../../../emulator/projects/demo.json"))
        .transport(network.build().unwrap())
        .delivery(delivery.build().unwrap())
        .auto_flush_interval(Duration::from_millis(20))
        .batch_size(100)
        .outbox(SqliteOutbox::open(directory).unwrap());
    let core = Core::new(config.build().unwrap());
    core.initialize().unwrap();
    core
}

/// One conversion, which may wait for the disk.
pub(crate) fn record(core: &Core, visitor: String, confirmed: bool) {
    let visitor = core.create_context(visitor, ()).unwrap();
    let status = if confirmed {
        visitor.track_conversion_confirmed("purchase", &ConversionOptions::new(), PATIENCE).status
    } else {
        visitor.track_conversion("purchase").status
    };
    assert!(matches!(status, ConversionStatus::Queued), "{status:?}");
}

/// Records until it is killed, and says for each record when it began to, in microseconds since `begun`, and what is on
/// disk: `accepted AT` and, for all so far, `kept MISSED`.
pub(crate) fn run(core: &Core, name: &str, begun: Instant, mut words: std::fs::File) {
    let host = getppid();
    for number in 1_u64.. {
        let at = begun.elapsed().as_micros();
        let confirmed = number % GROUP == 0;
        record(core, format!("{name}-{number}"), confirmed);
        // What comes in order is written in order, so this one stands for those before it.
        let missed = core.stats().outbox_missed;
        let kept = if confirmed { format!("kept {missed}\n") } else { String::new() };
        // One write for both: what is killed in between has said it or not.
        words.write_all(format!("accepted {at}\n{kept}").as_bytes()).unwrap();
        assert_eq!(getppid(), host, "nobody is left to end it");
    }
}

/// Records a few that are on disk then, and waits until it is killed.
pub(crate) fn wait(core: &Core) {
    let process = std::process::id();
    (0..RECORDS).for_each(|number| record(core, format!("{process}-{number}"), true));
    println!("kept");
    let _ = core.flush(PATIENCE);
    panic!("nobody has killed it");
}

/// Delivers what everybody has left behind.
pub(crate) fn drain(core: &Core, directory: &Path) {
    let until = Instant::now() + PATIENCE;
    let mut quiet = 0;
    while quiet < 3 {
        assert!(Instant::now() < until, "{:?}", core.stats());
        core.flush(PATIENCE).unwrap();
        let stats = core.stats();
        assert!(stats.is_balanced(), "{stats:?}");
        let is_left = std::fs::read_dir(directory).unwrap().count() > 0;
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
