//! Processes that share a config cache: one of them fetches, and when it is gone, another one.

use std::fs::{self, File, Permissions};
use std::io::{PipeReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use convert_emulator::{Emulator, RouteKind};
use convert_sdk::config::{ConfigOrigin, RefreshConfig};
use convert_sdk::error::ConfigCacheError;
use convert_sdk::events::LifecycleEvent;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, setuid};
use serde_json::json;

use super::forked::{Forked, forked};
use crate::child;
use crate::config_cache::Directory;
use crate::support::{KEY, PATIENCE, deadline, keyed, next, serve, shop, start, unready, visitor};

const WORKERS: usize = 16;
const INTERVAL: Duration = Duration::from_millis(500);

#[test]
#[ignore = "run by the other tests of this module, in a child process"]
fn in_a_child() {
    match child::case().as_deref() {
        Some("workers") => workers(),
        Some("another user") => another_user(),
        Some(other) => panic!("no case {other}"),
        None => {}
    }
}

/// Serves another config, which so many workers must see.
fn release(emulator: &Emulator, number: usize, workers: usize, told: &mut PipeReader) {
    let mut config = shop();
    config["experiences"][0]["variations"][0]["key"] = json!(format!("release-{number}"));
    emulator.set_config(KEY, config).unwrap();
    let mut updated = vec![0; workers];
    told.read_exact(&mut updated).unwrap();
    updated.sort_unstable();
    updated.dedup();
    assert_eq!(updated.len(), workers, "each sees it once");
}

/// How often a whole config was fetched: once for each release if one process fetches.
fn whole(emulator: &Emulator) -> usize {
    emulator.received().requests_on(RouteKind::Config).filter(|it| it.status == Some(200)).count()
}

/// Who has the lock. This process must not have it: closing the file would end that.
fn holder(cache: &Path) -> Option<i32> {
    let file = File::options().write(true).open(cache.with_extension("lock")).unwrap();
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as _,
        l_whence: libc::SEEK_SET as _,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_GETLK(&mut lock)).unwrap();
    (i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid)
}

/// Waits for another process than this one to take the lock and to fetch twice: what the one before it has asked for
/// in its last moment is answered by then.
fn succeeds(emulator: &Emulator, cache: &Path, before: Option<i32>) -> i32 {
    let deadline = deadline();
    let successor = loop {
        match holder(cache) {
            Some(process) if Some(process) != before => break process,
            _ => assert!(Instant::now() < deadline, "nobody takes the lock"),
        }
        std::thread::yield_now();
    };
    let fetches = emulator.received().totals.config_requests;
    emulator.wait_until(PATIENCE, |received| received.totals.config_requests >= fetches + 2).unwrap();
    successor
}

fn workers() {
    let (emulator, directory) = (serve(), Directory::new("workers"));
    let policy = RefreshConfig::builder().interval(INTERVAL).jitter(Duration::ZERO);
    let begun = Instant::now();
    let config = keyed(&emulator).config_cache(directory.file()).refresh(policy.build().unwrap());
    let core = start(config);
    let (mut told, tell) = std::io::pipe().unwrap();
    let workers: Vec<Forked> = (0..WORKERS)
        .map(|number| {
            forked(|| {
                let events = core.subscribe();
                // Any use will do.
                visitor(&core, "v");
                let byte = u8::try_from(number).unwrap();
                loop {
                    next(&events, |event| {
                        matches!(event, LifecycleEvent::ConfigUpdated { .. }).then_some(())
                    });
                    (&tell).write_all(&[byte]).unwrap();
                }
            })
        })
        .collect();
    release(&emulator, 1, WORKERS, &mut told);
    release(&emulator, 2, WORKERS, &mut told);
    assert_eq!(whole(&emulator), 3, "by this process alone");
    // The end of its core leaves the lock to a worker.
    core.close();
    let first = succeeds(&emulator, &directory.file(), None);
    release(&emulator, 3, WORKERS, &mut told);
    assert_eq!(whole(&emulator), 4);
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    succeeds(&emulator, &directory.file(), Some(first));
    release(&emulator, 4, WORKERS - 1, &mut told);
    release(&emulator, 5, WORKERS - 1, &mut told);
    assert_eq!(whole(&emulator), 6, "one for each release");
    workers.into_iter().for_each(Forked::kill);
    // Also of those that found nothing new: the first, one each interval, and one by each who took the lock.
    let fetches = emulator.received().totals.config_requests;
    let intervals = begun.elapsed().div_duration_f64(INTERVAL) as u64;
    assert!(fetches <= 1 + intervals + 2, "{fetches} fetches in {intervals} intervals");
}

#[test]
fn sixteen_workers_make_one_fetch_also_after_a_kill() {
    child::run("process::shared_cache::in_a_child", "workers");
}

/// As nobody in particular, in a directory that this user cannot write.
fn another_user() {
    let (emulator, directory) = (serve(), Directory::new("another-user"));
    start(keyed(&emulator).config_cache(directory.file())).close();
    fs::remove_file(directory.file().with_extension("lock")).unwrap();
    let folder = directory.file().parent().unwrap().to_owned();
    let is_root = Uid::effective().is_root();
    forked(|| {
        let set = |file: &Path, mode| fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
        set(&directory.file(), 0o644);
        set(&folder, 0o555);
        if is_root {
            setuid(Uid::from_raw(65_534)).unwrap();
        }
        let core =
            unready(keyed(&emulator).config_cache(directory.file()).config_cache_patience(Duration::ZERO));
        let events = core.subscribe();
        core.initialize().unwrap();
        // What root has written may be read.
        assert_eq!(core.stats().config_origin, Some(ConfigOrigin::Cached));
        let error = next(&events, |event| match event {
            LifecycleEvent::ConfigCacheFailed { error, .. } => Some(error.clone()),
            _ => None,
        });
        assert_eq!(error, ConfigCacheError::Lock(std::io::ErrorKind::PermissionDenied));
        core.close();
    })
    .join();
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_directory_of_another_user_is_read_and_not_written() {
    child::run("process::shared_cache::in_a_child", "another user");
}
