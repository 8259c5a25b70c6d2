//! The process below the SDK: how often it was forked, and what is still to do when it exits.

mod exit;
mod hooks;
mod per_process;
mod threads;

pub(crate) use exit::{ExitJob, at_exit};
pub(crate) use hooks::generation;
pub(crate) use per_process::{Current, PerProcess, inherit_lock};
pub(crate) use threads::{between_forks, start as start_thread};

use std::sync::atomic::{AtomicBool, Ordering};

/// From now on [`generation`] tells of forks.
fn watch_forks() {
    watch_forks_by(hooks::watch_forks);
}

fn watch_forks_by(register: impl FnOnce() -> bool) {
    // Nobody waits for who is first, as a fork could leave that one behind: whoever comes before forks are
    // watched has them watched once more.
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.load(Ordering::Acquire) {
        return;
    }
    if register() {
        WATCHED.store(true, Ordering::Release);
    } else {
        logged!(error, "no memory to watch for forks: a forked child must not use this SDK");
    }
}
