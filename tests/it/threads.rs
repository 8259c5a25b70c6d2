//! Threads seen from outside: their names, their end, and that they keep no process alive. Each case runs in its own
//! process, because all tests of this binary share one.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use convert_emulator::{Fault, FaultKind};
use convert_sdk::{Core, SdkConfig, config::RefreshConfig, events::LifecycleEventKind};
use crossbeam_channel::bounded;

use crate::child;
use crate::support::{
    KEY, PATIENCE, Script, convert, deadline, direct, keyed, network, pro, serve, start, start_scripted,
    unready,
};

/// The names of this SDK's threads as the system shows them: truncated to 15 bytes.
const ALL: [&str; 4] = ["convert-events", "convert-flusher", "convert-refresh", "convert-tracker"];

/// All threads of the process, whatever their name: a new one has no name of its own yet.
fn all_threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

fn sdk_threads() -> BTreeSet<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end after being listed.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| ALL.contains(&name.as_str())).collect()
}

/// A joined thread stays listed for a moment, so this looks more than once.
fn expect_threads(wanted: &[&str]) {
    let deadline = deadline();
    let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    while sdk_threads() != wanted {
        assert!(Instant::now() < deadline, "{:?} instead of {wanted:?}", sdk_threads());
        std::thread::yield_now();
    }
}

pub(crate) fn run(case: &str) {
    child::run("threads::in_a_child", case);
}

/// A core with every thread running.
fn busy(emulator: &convert_emulator::Emulator) -> Core {
    let core = start(keyed(emulator));
    core.on(LifecycleEventKind::Bucketing, |_| {}).unwrap();
    convert(&core, 0..5);
    core
}

#[test]
#[ignore = "run by the other tests of this module, in a child process"]
fn in_a_child() {
    let Some(case) = child::case() else { return };
    let emulator = serve();
    let before = all_threads();
    let expect_none = || {
        let deadline = deadline();
        while all_threads() > before {
            assert!(Instant::now() < deadline, "{:?} are left", sdk_threads());
            std::thread::yield_now();
        }
    };
    match case.as_str() {
        "lazily" => {
            let core = unready(keyed(&emulator));
            let events = core.subscribe();
            expect_none();
            core.initialize().unwrap();
            expect_threads(&["convert-refresh"]);
            pro(&core, "v").run_experience("price").unwrap();
            expect_threads(&["convert-flusher", "convert-refresh", "convert-tracker"]);
            core.on(LifecycleEventKind::Ready, |_| {}).unwrap();
            expect_threads(&ALL);
            drop(events);
        }
        "close" => {
            let core = busy(&emulator);
            expect_threads(&ALL);
            core.close();
            expect_none();
            core.close();
            // No call to a closed core starts a thread again.
            core.refresh_now();
            let _ = core.refresh_now_within(PATIENCE);
            let _ = core.initialize();
            core.on(LifecycleEventKind::Ready, |_| {}).unwrap();
            expect_none();
            // Nor one to a core closed before it had any.
            let core = unready(keyed(&emulator));
            core.close();
            core.refresh_now();
            expect_none();
        }
        "shutdown" => {
            let core = busy(&emulator);
            assert_eq!(core.shutdown(PATIENCE).unwrap().delivered, 5);
            expect_none();
        }
        "hang" => {
            emulator.inject(Fault::track(FaultKind::Hang));
            let core = busy(&emulator);
            assert!(core.shutdown(Duration::from_millis(500)).is_err());
            assert!(
                sdk_threads().is_empty() || {
                    expect_none();
                    true
                }
            );
        }
        "interrupt" => {
            let (core, script) = start_scripted(direct().batch_size(1));
            convert(&core, 0..1);
            script.posted();
            assert!(core.shutdown(Duration::from_millis(400)).is_err());
            expect_none();
            let script = Script::new();
            let config = SdkConfig::builder().sdk_key(KEY).build().unwrap();
            let core = Core::builder(config).transport(script.transport()).build().unwrap();
            core.refresh_now();
            script.fetched();
            core.close();
            expect_none();
        }
        "drop" => {
            let core = busy(&emulator);
            let context = pro(&core, "v");
            drop(core);
            expect_threads(&ALL);
            drop(context);
            expect_none();
        }
        "many" => {
            for _ in 0..20 {
                busy(&emulator).close();
            }
            expect_none();
        }
        "handler" => {
            let core = busy(&emulator);
            let (closed, wait) = bounded(1);
            let own = core.clone();
            core.on(LifecycleEventKind::Conversion, move |_| {
                own.close();
                let _ = closed.try_send(());
            })
            .unwrap();
            convert(&core, 10..11);
            wait.recv_timeout(PATIENCE).unwrap();
            core.close();
            expect_none();
        }
        "never" => {
            let policy = RefreshConfig::builder().interval(Duration::from_millis(1)).jitter(Duration::ZERO);
            let network = network(&emulator).build().unwrap();
            emulator.inject(Fault::track(FaultKind::Hang));
            let config = keyed(&emulator).transport(network).refresh(policy.build().unwrap()).batch_size(1);
            let core = start(config);
            core.on(LifecycleEventKind::Conversion, |_| {
                loop {
                    std::thread::park()
                }
            })
            .unwrap();
            convert(&core, 0..100);
            expect_threads(&ALL);
            // Neither the core nor the call it waits for ever ends.
            std::mem::forget((core, emulator));
        }
        #[cfg(feature = "async")]
        case if case.starts_with("async-") => {
            crate::asynchronous::threads::case(case, &emulator, expect_none)
        }
        other => panic!("unknown case {other}"),
    }
}

#[test]
fn threads_are_named_and_start_on_demand() {
    run("lazily");
}

#[test]
fn no_thread_is_alive_after_close_and_none_comes_back() {
    run("close");
}

#[test]
fn no_thread_is_alive_after_shutdown() {
    run("shutdown");
}

#[test]
fn no_thread_outlives_a_shutdown_with_a_hanging_server() {
    run("hang");
}

#[test]
fn no_thread_is_left_in_a_hanging_call() {
    run("interrupt");
}

#[test]
fn no_thread_outlives_the_last_core_and_context() {
    run("drop");
}

#[test]
fn many_cores_leave_no_thread() {
    run("many");
}

#[test]
fn a_core_closed_by_a_handler_leaves_no_thread() {
    run("handler");
}

#[test]
fn a_program_that_never_closes_still_exits_cleanly() {
    run("never");
}
