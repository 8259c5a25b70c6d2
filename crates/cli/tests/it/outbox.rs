//! `outbox`, against a directory that a process has left and an emulator.

use std::path::{Path, PathBuf};

use convert_emulator::{Emulator, Project};
use convert_sdk::ports::{DeliveryFailure, EventBatch, EventSink, Receipt, TransportError};
use convert_sdk::{Core, SdkConfig};
use convert_sdk_sqlite::SqliteOutbox;
use serde_json::Value;

use crate::program::{Output, cli, cli_with};

const EVENTS: usize = 250;

/// The endpoint is down.
struct Down;

impl EventSink for Down {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        Err(DeliveryFailure::NotSent(TransportError::Connect))
    }
}

/// A directory with the events of a process that is gone.
fn left_behind(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("convert-cli-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    let config = SdkConfig::builder()
        .data_json(include_str!("../../../emulator/projects/demo.json"))
        .outbox(SqliteOutbox::open(&directory).unwrap());
    let core = Core::builder(config.build().unwrap()).event_sink(Down).build().unwrap();
    core.initialize().unwrap();
    for number in 0..EVENTS {
        core.create_context(format!("visitor-{number}"), ()).unwrap().track_conversion("purchase");
    }
    let stats = core.close();
    assert_eq!(stats.pending_places.on_disk, EVENTS as u64, "{stats:?}");
    directory
}

fn drain(directory: &Path, emulator: &Emulator, more: &[&str]) -> Output {
    let authority = directory.join("authority.pem");
    std::fs::write(&authority, emulator.ca_pem()).unwrap();
    let (path, authority) = (directory.display().to_string(), authority.display().to_string());
    let url = emulator.track_url();
    let drain = ["outbox", "drain", &path, "--track-url", &url, "--root-certificate", &authority];
    cli(&[&drain, more].concat(), b"")
}

/// Writes over the one file of a directory.
fn damage(directory: &Path, place: usize, bytes: &[u8]) {
    let all = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let path = all.into_iter().find(|path| path.extension().is_some_and(|end| end == "db")).unwrap();
    let mut content = std::fs::read(&path).unwrap();
    content[place..place + bytes.len()].copy_from_slice(bytes);
    std::fs::write(path, content).unwrap();
}

#[test]
fn a_damaged_file_is_drained_by_its_name_and_told() {
    let directory = left_behind("damaged");
    // The page that has the project.
    damage(&directory, 2 * 4_096, &[0xff; 8]);
    let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
    let drained = drain(&directory, &emulator, &[]);
    assert_eq!((drained.code, drained.last_line()), (1, "250 records delivered, 1 dropped, 0 left"));
    assert_eq!(emulator.received().totals.events, EVENTS as u64);
    let again = drain(&directory, &emulator, &[]);
    assert_eq!((again.code, again.last_line()), (0, "0 records delivered, 0 dropped, 0 left"));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_drain_that_leaves_a_file_alone_says_so() {
    let directory = left_behind("newer");
    // Its version.
    damage(&directory, 60, &99_u32.to_be_bytes());
    let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
    let drained = drain(&directory, &emulator, &[]);
    assert_eq!(drained.code, 1);
    assert_eq!(drained.stdout, "files that cannot be read: 1\n0 records delivered, 0 dropped, 0 left\n");
    std::fs::remove_dir_all(directory).unwrap();
}

/// Its only look is still under way when the drain, which knows of no record, closes.
#[test]
fn a_file_that_is_nothing_but_noise_is_drained_as_a_loss() {
    let directory = left_behind("noise");
    damage(&directory, 0, &[0xa5; 50_000]);
    let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
    let drained = drain(&directory, &emulator, &[]);
    assert_eq!((drained.code, drained.last_line()), (1, "0 records delivered, 1 dropped, 0 left"));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_was_left_is_listed_shown_and_drained() {
    let directory = left_behind("drain");
    let path = directory.display().to_string();
    let listed = cli(&["outbox", "list", &path], b"");
    assert!(
        listed.stdout.contains("\n  left: project 10035569/10034190, 250 records, "),
        "{}",
        listed.stdout
    );
    let line: Value = serde_json::from_str(&cli(&["outbox", "list", &path, "--json"], b"").stdout).unwrap();
    assert_eq!((&line["state"], &line["records"]), (&"left".into(), &250.into()));
    let shown = cli(&["outbox", "show", &path], b"");
    assert_eq!(shown.lines().len(), EVENTS);
    assert!(shown.last_line().contains(r#""visitorId":"visitor-249""#), "{}", shown.last_line());

    let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
    let drained = drain(&directory, &emulator, &[]);
    assert_eq!((drained.code, drained.last_line()), (0, "250 records delivered, 0 dropped, 0 left"));
    assert_eq!(emulator.received().totals.events, EVENTS as u64);
    let again = drain(&directory, &emulator, &[]);
    assert_eq!((again.code, again.last_line()), (0, "0 records delivered, 0 dropped, 0 left"));
    let json = drain(&directory, &emulator, &["--json"]);
    assert_eq!(
        json.last_line(),
        r#"{"delivered":0,"dropped":0,"last_failure":null,"left":0,"unreadable_files":0}"#
    );
    assert_eq!(cli(&["outbox", "list", &path], b"").stdout, "nothing is left\n");
    assert_eq!(cli(&["outbox", "--json", "list", &path], b"").stdout, "");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn what_was_left_is_erased() {
    let directory = left_behind("erase");
    let path = directory.display().to_string();
    assert_eq!(cli(&["outbox", "erase", &path], b"").last_line(), "files erased: 1");
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_drain_that_the_endpoint_refuses_leaves_everything() {
    let directory = left_behind("refused");
    let path = directory.display().to_string();
    let nobody = [("CONVERT_TRACK_ENDPOINT", "https://127.0.0.1:9")];
    let drained = cli_with(&nobody, &["outbox", "drain", &path, "--timeout", "3"], b"");
    assert_eq!((drained.code, drained.last_line()), (1, "0 records delivered, 0 dropped, 250 left"));
    assert!(drained.stdout.contains("the last delivery failed: could not connect"), "{}", drained.stdout);
    assert!(cli(&["outbox", "list", &path], b"").stdout.contains("250 records"));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_mistyped_directory_is_named_and_not_made() {
    let path = std::env::temp_dir().join("convert-cli-no-such-directory");
    let run = cli(&["outbox", "list", &path.display().to_string()], b"");
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("not a directory"), "{}", run.stderr);
    assert!(!path.exists());
}
