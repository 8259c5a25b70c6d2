//! Forked children.

use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// Runs `body` in a child; the parent goes on.
pub(crate) fn child(body: impl FnOnce()) -> Pid {
    // SAFETY: the child uses the SDK and its store, which are made for it, and ends without a return.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let lived = catch_unwind(AssertUnwindSafe(body));
            // SAFETY: ends this process alone; what the parent has to do at its end is not the child's.
            unsafe { nix::libc::_exit(i32::from(lived.is_err())) }
        }
        ForkResult::Parent { child } => child,
    }
}

/// Waits for a child, which must succeed.
pub(crate) fn assert_well(child: Pid) {
    assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
}
