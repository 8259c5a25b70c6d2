//! The process below the SDK: how often it was forked, and what is still to do when it exits.

mod exit;
mod hooks;
mod per_process;

pub(crate) use exit::{ExitJob, at_exit};
pub(crate) use hooks::generation;
pub(crate) use per_process::{Current, PerProcess, inherit_lock};

use std::sync::atomic::{AtomicBool, Ordering};

/// From now on [`generation`] tells of forks.
fn watch_forks() {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    // No `Once`: a fork during its first call would leave it unfinished in the child for ever.
    if !WATCHED.swap(true, Ordering::Relaxed) && !hooks::watch_forks() {
        log::error!("no memory to watch for forks: a forked child must not use this SDK");
    }
}
