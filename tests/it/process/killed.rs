//! SIGKILL with a shared store: what was claimed but not delivered is a lease that expires.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convert_emulator::{Fault, FaultKind};
use convert_sdk::{
    ConversionOptions, ConversionStatus,
    delivery::DeliveryConfig,
    ports::{DataStore, StoreError},
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{outside, spawn_before};
use crate::child;
use crate::support::{PATIENCE, convert, keyed, serve, start, visitor};

const ENTRY: &str = "process::killed::in_a_child";
const FOLDER: &str = "CONVERT_TEST_STORE";

/// One file per key, with its expiry time; read as if the time were `ahead` of now.
struct Folder {
    path: PathBuf,
    ahead: Duration,
}

impl Folder {
    fn now(&self) -> u128 {
        (SystemTime::now() + self.ahead).duration_since(UNIX_EPOCH).unwrap().as_millis()
    }

    fn file(&self, key: &str) -> PathBuf {
        let name: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.path.join(name)
    }
}

impl DataStore for Folder {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        let Ok(text) = fs::read_to_string(self.file(key)) else { return Ok(None) };
        let (end, value) = text.split_once(' ').unwrap();
        let over = end.parse::<u128>().unwrap() <= self.now();
        Ok(if over { None } else { serde_json::from_str(value).unwrap() })
    }

    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        let end = ttl.map_or(u128::MAX, |ttl| self.now() + ttl.as_millis());
        fs::write(self.file(key), format!("{end} {value}")).unwrap();
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let _ = fs::remove_file(self.file(key));
        Ok(())
    }
}

#[test]
#[ignore = "run by the other test of this module, in a child process"]
fn in_a_child() {
    let Some(_) = child::case() else { return };
    let path = std::env::var(FOLDER).unwrap().into();
    let core = start(outside().data_store(Folder { path, ahead: Duration::ZERO }).batch_size(1));
    convert(&core, 0..1);
    // The endpoint hangs, and the test kills this process.
    let _ = core.flush(PATIENCE);
}

#[test]
fn a_killed_processs_claim_expires_with_its_lease() {
    let emulator = serve();
    emulator.inject(Fault::track(FaultKind::Hang).times(1));
    let path =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("leases-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    let mut child = {
        // The child finds the folder in this process's environment.
        let folder = [(FOLDER, path.display().to_string())];
        spawn_before(&emulator, ENTRY, "killed", &folder)
    };
    // The config, and the delivery, which starts once the claim has been answered.
    emulator.wait_for_requests(2, PATIENCE).unwrap();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(emulator.received().totals.events, 0);
    let convert_after = |ahead| {
        let core = start(keyed(&emulator).data_store(Folder { path: path.clone(), ahead }));
        let plain = ConversionOptions::new();
        let again = visitor(&core, "visitor-0").track_conversion_confirmed("purchase", &plain, PATIENCE);
        core.flush(PATIENCE).unwrap();
        again.status
    };
    assert_eq!(convert_after(Duration::ZERO), ConversionStatus::Deduplicated, "it may still arrive");
    // As long as any record is retried, plus ten minutes.
    let lease = DeliveryConfig::DEFAULT_MAX_AGE + Duration::from_secs(10 * 60);
    assert_eq!(convert_after(lease), ConversionStatus::Queued);
    assert_eq!(emulator.received().totals.events, 1);
    assert_eq!(convert_after(10 * lease), ConversionStatus::Deduplicated, "delivered, it stays");
    fs::remove_dir_all(&path).unwrap();
}
