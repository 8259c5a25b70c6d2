//! Signals to real processes: SIGTERM to the examples' recipe, SIGSTOP and SIGCONT to the SDK.

use std::process::Child;
use std::time::{Duration, Instant};

use convert_emulator::{Emulator, Fault, FaultKind, Project};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{outside, spawn_before};
use crate::child;
use crate::support::{PATIENCE, convert, serve, start};

#[path = "../../../examples/graceful_sigterm.rs"]
mod graceful_sigterm;

const ENTRY: &str = "process::signals::in_a_child";
/// Short, so that a stop spans many of them.
const AUTO_FLUSH: Duration = Duration::from_millis(1);

#[test]
#[ignore = "run by the other tests of this module, in a child process"]
fn in_a_child() {
    match child::case().as_deref() {
        Some("sigterm") => graceful_sigterm::main().unwrap(),
        Some("between") => {
            let core = start(outside().batch_size(100).auto_flush_interval(AUTO_FLUSH));
            convert(&core, 0..1);
            core.flush(PATIENCE).unwrap();
            stopped();
            convert(&core, 1..2);
            assert_eq!(core.shutdown(PATIENCE).unwrap().stats.requests, 2);
        }
        Some("at hand") => {
            let core = start(outside().batch_size(100));
            convert(&core, 0..3);
            // The test stops this process while the response is on its way.
            let report = core.shutdown(PATIENCE).unwrap();
            assert_eq!((report.delivered, report.stats.requests), (3, 1));
        }
        Some(other) => panic!("unknown case {other}"),
        None => {}
    }
}

/// Stops this process until another one continues it.
fn stopped() {
    signal_hook::low_level::raise(signal_hook::consts::SIGSTOP).unwrap();
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

/// Waits until a child has stopped, and then for as long as a stop must last.
fn see_it_stopped(child: &Child) {
    let status = waitpid(pid(child), Some(WaitPidFlag::WUNTRACED)).unwrap();
    assert_eq!(status, WaitStatus::Stopped(pid(child), Signal::SIGSTOP));
    let start = Instant::now();
    while start.elapsed() < 50 * AUTO_FLUSH {
        std::thread::yield_now();
    }
}

#[test]
fn the_sigterm_recipe_delivers_everything_and_exits_with_0() {
    let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let ca = folder.join(format!("ca-of-{}.pem", std::process::id()));
    emulator.write_ca(&ca).unwrap();
    let variables = [
        ("CONVERT_SDK_KEY", Project::DEMO_SDK_KEY.to_owned()),
        ("CONVERT_CONFIG_ENDPOINT", emulator.config_url()),
        ("CONVERT_TRACK_ENDPOINT", emulator.track_url()),
        ("CONVERT_CA_FILE", ca.display().to_string()),
    ];
    let child = child::spawn(ENTRY, "sigterm", &variables);
    emulator.wait_for_events(20, PATIENCE).unwrap();
    kill(pid(&child), Signal::SIGTERM).unwrap();
    let printed = child::finish(child, "sigterm");
    std::fs::remove_file(ca).unwrap();
    let totals = emulator.received().totals;
    assert!(printed.contains("signal 15"), "{printed}");
    let ledger = format!("{0} recorded, {0} delivered", totals.events);
    assert!(printed.contains(&ledger), "{ledger}, says the emulator: {printed}");
}

#[test]
fn sigstop_after_a_flush_loses_nothing_and_causes_no_burst() {
    let emulator = serve();
    let child = spawn_before(&emulator, ENTRY, "between", &[]);
    see_it_stopped(&child);
    assert_eq!(emulator.received().totals.events, 1);
    kill(pid(&child), Signal::SIGCONT).unwrap();
    child::finish(child, "between");
    let totals = emulator.received().totals;
    assert_eq!((totals.events, totals.track_requests, totals.config_requests), (2, 2, 1));
}

#[test]
fn sigstop_during_a_delivery_loses_and_repeats_nothing() {
    let emulator = serve();
    emulator.inject(Fault::track(FaultKind::Delay { ms: 3_000 }).times(1));
    let child = spawn_before(&emulator, ENTRY, "at hand", &[]);
    emulator.wait_for_requests(2, PATIENCE).unwrap();
    kill(pid(&child), Signal::SIGSTOP).unwrap();
    see_it_stopped(&child);
    emulator.wait_for_events(3, PATIENCE).unwrap();
    kill(pid(&child), Signal::SIGCONT).unwrap();
    child::finish(child, "at hand");
    let totals = emulator.received().totals;
    assert_eq!((totals.events, totals.track_requests), (3, 1));
}
