//! A real `fork`, and what tests need to know about it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::support::deadline;

/// A forked child of this process.
pub(crate) struct Forked(Pid);

/// Forks a child that runs `body` and exits normally, successfully unless `body` panics.
pub(crate) fn forked(body: impl FnOnce()) -> Forked {
    #[expect(unsafe_code, reason = "forking while other threads run is what is tested")]
    // SAFETY: the child has one thread; what it takes from the C library beyond what is
    // async-signal-safe (memory, threads, sockets) glibc makes good after a fork.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => Forked(child),
        ForkResult::Child => {
            let ended_well = catch_unwind(AssertUnwindSafe(body)).is_ok();
            std::process::exit(if ended_well { 0 } else { 101 })
        }
    }
}

impl Forked {
    /// Kills the child if it is still running, and waits for it to end.
    pub(crate) fn kill(self) {
        let _ = nix::sys::signal::kill(self.0, nix::sys::signal::Signal::SIGKILL);
        waitpid(self.0, None).unwrap();
    }

    /// Waits for the child, which must succeed.
    pub(crate) fn join(self) {
        let deadline = deadline();
        loop {
            match waitpid(self.0, Some(WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::StillAlive if std::time::Instant::now() < deadline => std::thread::yield_now(),
                WaitStatus::StillAlive => {
                    let _ = nix::sys::signal::kill(self.0, nix::sys::signal::Signal::SIGKILL);
                    panic!("the forked child does not exit");
                }
                status => {
                    assert_eq!(status, WaitStatus::Exited(self.0, 0));
                    return;
                }
            }
        }
    }
}
