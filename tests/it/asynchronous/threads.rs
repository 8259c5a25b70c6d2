//! The threads that only tasks need: they start when a task waits, and end by themselves.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use convert_emulator::{Emulator, Fault, FaultKind};
use convert_sdk::{
    AsyncCore, FlushError, adapters::InMemoryDataStore, events::LifecycleEventKind, ports::BoxFuture,
};
use crossbeam_channel::bounded;

use super::{block_on, poll_once};
use crate::support::{PATIENCE, convert, deadline, keyed, serve_project, shop, unready};
use crate::threads::run;

/// The names, truncated as the system shows them.
fn waiting_threads() -> BTreeSet<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    let own = ["convert-timer", "convert-store", "convert-store-i"];
    names.map(|name| name.trim().to_owned()).filter(|name| own.contains(&name.as_str())).collect()
}

fn expect_waiting(wanted: &[&str]) {
    let deadline = deadline();
    let wanted: BTreeSet<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
    while waiting_threads() != wanted {
        assert!(Instant::now() < deadline, "{:?} instead of {wanted:?}", waiting_threads());
        std::thread::yield_now();
    }
}

/// A core with all of them running.
fn busy(emulator: &Emulator) -> AsyncCore {
    let core = unready(keyed(emulator).data_store(InMemoryDataStore::new())).to_async();
    block_on(core.initialize()).unwrap();
    expect_waiting(&["convert-timer"]);
    block_on(core.create_context("v", ())).unwrap();
    expect_waiting(&["convert-store", "convert-store-i", "convert-timer"]);
    convert(&core.to_sync(), 0..3);
    core
}

/// What a child process does; see `threads.rs`.
pub(crate) fn case(case: &str, emulator: &Emulator, expect_none: impl Fn()) {
    match case {
        "async-lazily" => {
            let direct =
                crate::support::direct_to(&serve_project(convert_emulator::Project::from_json(shop())));
            let core = unready(direct).to_async();
            block_on(core.initialize()).unwrap();
            block_on(core.create_context("v", ())).unwrap();
            drop(core.subscribe());
            block_on(core.flush(PATIENCE)).unwrap();
            expect_waiting(&[]);
        }
        "async-shutdown" => {
            let core = busy(emulator);
            assert_eq!(block_on(core.shutdown(PATIENCE)).unwrap().delivered, 3);
            expect_none();
            block_on(core.close());
            assert!(matches!(block_on(core.flush(PATIENCE)), Err(FlushError::Closed(_))));
            expect_none();
        }
        "async-sync" => {
            let core = busy(emulator);
            core.to_sync().close();
            expect_none();
        }
        "async-drop" => {
            emulator.inject(Fault::track(FaultKind::Hang));
            let core = busy(emulator);
            let mut flush: BoxFuture<'_, _> = Box::pin(core.flush(PATIENCE));
            poll_once(&mut flush);
            drop(flush);
            drop(core);
            expect_none();
        }
        "async-hang" => {
            emulator.inject(Fault::track(FaultKind::Hang));
            let core = busy(emulator);
            assert!(block_on(core.shutdown(Duration::from_millis(500))).is_err());
            expect_none();
        }
        "async-crowd" => {
            let core = busy(emulator);
            let (hangs, is_hanging) = bounded(1);
            let (go_on, told) = bounded::<()>(0);
            core.on(LifecycleEventKind::Conversion, move |_| {
                let _ = hangs.try_send(());
                let _ = told.recv();
            })
            .unwrap();
            convert(&core.to_sync(), 3..4);
            is_hanging.recv_timeout(PATIENCE).unwrap();
            let mut crowd: Vec<BoxFuture<'_, _>> = Vec::new();
            for _ in 0..1_000 {
                crowd.push(Box::pin(core.close()));
            }
            crowd.iter_mut().for_each(poll_once);
            let tasks = std::fs::read_dir("/proc/self/task").unwrap().count();
            assert!(tasks < 50, "{tasks} threads");
            drop(go_on);
            crowd.into_iter().for_each(|close| drop(block_on(close)));
            expect_none();
        }
        other => panic!("unknown case {other}"),
    }
}

#[test]
fn a_thousand_waiting_tasks_share_one_timer() {
    run("async-crowd");
}

#[test]
fn calls_that_do_not_wait_start_no_thread() {
    run("async-lazily");
}

#[test]
fn no_thread_is_alive_after_shutdown() {
    run("async-shutdown");
}

#[test]
fn no_thread_is_alive_after_a_close_on_the_other_surface() {
    run("async-sync");
}

#[test]
fn no_thread_outlives_the_last_core_and_wait() {
    run("async-drop");
}

#[test]
fn no_thread_outlives_a_shutdown_with_a_hanging_server() {
    run("async-hang");
}
