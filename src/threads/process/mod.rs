//! The process under the SDK: how often it was forked, and what is left to do when it exits.

mod exit;
mod hooks;
mod per_process;
mod threads;

pub(crate) use exit::{ExitJob, at_exit};
#[cfg(all(unix, not(miri)))]
pub(crate) use hooks::effective_user;
pub(crate) use hooks::{generation, lock_for_process};
pub(crate) use per_process::{Current, PerProcess, inherit_lock};
pub(crate) use threads::between_forks;
pub(crate) use threads::start as start_thread;

use std::sync::atomic::{AtomicBool, Ordering};

/// From now on [`generation`] reflects forks.
pub(crate) fn watch_forks() {
    watch_forks_by(hooks::watch_forks);
}

fn watch_forks_by(register: impl FnOnce() -> bool) {
    // Nobody waits for the first thread to finish, since a fork could leave it behind: any caller that
    // arrives before forks are watched registers again.
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.load(Ordering::Acquire) {
        return;
    }
    if register() {
        WATCHED.store(true, Ordering::Release);
    } else {
        logged!(error, "fork handlers cannot be registered: a forked child must not use this SDK");
    }
}
