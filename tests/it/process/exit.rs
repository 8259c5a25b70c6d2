//! Exits: what is flushed when `main` returns, when the program exits, and when a scope ends.

use std::sync::LazyLock;
use std::time::Duration;

use convert_emulator::{Emulator, Fault, FaultKind};
use convert_sdk::{Core, FlushGuard, events::LifecycleEventKind, register_exit_flush};

use super::forked::forked;
use super::{outside, spawn_before};
use crate::child;
use crate::support::{PATIENCE, convert, direct, serve, start, start_scripted};

/// Lives until the process ends, as a core must for a flush at exit.
static CORE: LazyLock<Core> = LazyLock::new(|| start(outside().batch_size(100)));

/// A log on standard output, which the test reads.
struct Printed;

impl log::Log for Printed {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        println!("{}", record.args());
    }
    fn flush(&self) {}
}

/// Runs a case to its successful end and returns its emulator.
fn run_case(case: &str) -> Emulator {
    let emulator = serve();
    child::finish(spawn_before(&emulator, "process::exit::in_a_child", case, &[]), case);
    emulator
}

fn conversions(case: &str) -> u64 {
    run_case(case).received().totals.conversion
}

#[test]
#[ignore = "run by the other tests of this module, in a child process"]
fn in_a_child() {
    let register = || register_exit_flush(&CORE, PATIENCE).unwrap();
    match child::case().as_deref() {
        Some("return") => {
            register();
            // Registering twice is harmless.
            register();
            convert(&CORE, 0..3);
        }
        Some("unregistered") => convert(&CORE, 0..3),
        Some("exit") => {
            convert(&CORE, 0..3);
            register();
            let exiting = std::thread::spawn(|| std::process::exit(0));
            let _ = exiting.join();
        }
        Some("handler") => {
            register();
            CORE.on(LifecycleEventKind::Conversion, |_| std::process::exit(0)).unwrap();
            convert(&CORE, 0..1);
            loop {
                std::thread::park();
            }
        }
        Some("hang") => {
            log::set_logger(&Printed).unwrap();
            log::set_max_level(log::LevelFilter::Warn);
            register_exit_flush(&CORE, Duration::from_secs(1)).unwrap();
            convert(&CORE, 0..3);
        }
        Some("forked") => {
            register();
            convert(&CORE, 0..3);
            forked(|| convert(&CORE, 10..12)).join();
            forked(|| {}).join();
        }
        Some("dropped") => {
            let core = start(outside().batch_size(100));
            register_exit_flush(&core, PATIENCE).unwrap();
            convert(&core, 0..3);
            drop(core);
        }
        Some("guard") => {
            let core = start(outside().batch_size(100));
            let mut guard = Some(FlushGuard::new(&core, PATIENCE));
            convert(&core, 0..1);
            forked(|| {
                convert(&core, 10..12);
                drop(guard.take());
                assert_eq!(core.stats().delivered, 2);
            })
            .join();
            assert_eq!((core.stats().pending, core.stats().delivered), (1, 0));
            drop(guard);
            assert_eq!(core.stats().delivered, 1);
        }
        Some("several") => {
            register();
            let other = start(outside().batch_size(100));
            register_exit_flush(&other, PATIENCE).unwrap();
            convert(&CORE, 0..3);
            convert(&other, 10..12);
            std::mem::forget(other);
        }
        Some(other) => panic!("unknown case {other}"),
        None => {}
    }
}

#[test]
fn a_registered_core_is_flushed_when_main_returns() {
    assert_eq!(conversions("return"), 3);
    assert_eq!(conversions("several"), 5);
}

#[test]
fn an_exit_flushes_only_registered_living_cores() {
    assert_eq!(conversions("unregistered"), 0);
    assert_eq!(conversions("dropped"), 0);
}

#[test]
fn a_registered_core_is_flushed_on_process_exit_of_any_thread() {
    assert_eq!(conversions("exit"), 3);
    assert_eq!(conversions("handler"), 1);
}

#[test]
fn parent_and_child_each_flush_their_own_at_exit() {
    let emulator = run_case("forked");
    let received = emulator.received();
    assert_eq!(received.totals.conversion, 5);
    let requests: Vec<_> = received.requests.iter().map(|request| request.events).collect();
    assert_eq!(requests, [0, 2, 3], "the config, the child's flush, the parent's");
}

/// It exits while the server still holds its request.
#[test]
fn a_hanging_exit_flush_ends_at_its_deadline_and_logs_it() {
    let emulator = serve();
    emulator.inject(Fault::track(FaultKind::Hang));
    let printed = child::finish(spawn_before(&emulator, "process::exit::in_a_child", "hang", &[]), "hang");
    assert!(printed.contains("flush at the end: "), "{printed}");
    let received = emulator.received();
    assert_eq!((received.totals.track_requests, received.totals.events), (1, 0));
}

#[test]
fn a_guard_flushes_at_the_end_of_its_scope_or_a_panic() {
    let (core, script) = start_scripted(direct().batch_size(100));
    (0..3).for_each(|_| script.answer(200));
    {
        let _flushed = FlushGuard::new(&core, PATIENCE);
        convert(&core, 0..2);
    }
    assert_eq!((core.stats().delivered, core.stats().pending), (2, 0));
    let worker = core.clone();
    let panicked = std::thread::spawn(move || {
        let _flushed = FlushGuard::new(&worker, PATIENCE);
        convert(&worker, 2..4);
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    assert_eq!(core.stats().delivered, 4);
    {
        let _shut = FlushGuard::shutting_down(&core, PATIENCE);
        convert(&core, 4..6);
    }
    assert_eq!(core.stats().delivered, 6);
    assert!(core.create_context("late", ()).is_err());
    // A closed core's guard has nothing to do.
    drop(FlushGuard::new(&core, PATIENCE));
}

#[test]
fn a_guard_in_a_forked_child_flushes_the_childs_records() {
    assert_eq!(conversions("guard"), 3);
}
