//! The calls into the C library: the only file with `unsafe` code.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many forks lie between this process and the one that first watched for them.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Differs between a process and every child forked from it; one load.
pub(crate) fn generation() -> u64 {
    // Relaxed: a fork copies only the thread that called it, and that one has just run the handler.
    GENERATION.load(Ordering::Relaxed)
}

/// Has every fork counted in its child; false where the C library has no room for it.
#[cfg(all(unix, not(miri)))]
#[expect(unsafe_code, reason = "only the C library tells of forks without a system call for each question")]
pub(super) fn watch_forks() -> bool {
    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler is a function of this crate with the C ABI that takes nothing, returns
    // nothing and cannot unwind. It is called in the child before `fork` returns, where only what is
    // async-signal-safe is allowed: it changes one atomic number.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) == 0 }
}

/// Has `run` called when the process exits in the ordinary way; false where the C library has no room.
#[cfg(all(unix, not(miri)))]
#[expect(unsafe_code, reason = "only the C library tells of the exit")]
pub(super) fn watch_exit(run: extern "C" fn()) -> bool {
    // SAFETY: `run` is a function with the C ABI that takes nothing and returns nothing, and a panic
    // cannot leave it: Rust ends the process where one would leave an `extern "C"` function.
    unsafe { libc::atexit(run) == 0 }
}

/// There is no fork here, or nobody to ask.
#[cfg(not(all(unix, not(miri))))]
pub(super) const fn watch_forks() -> bool {
    true
}

/// Nobody to ask.
#[cfg(not(all(unix, not(miri))))]
pub(super) const fn watch_exit(_: extern "C" fn()) -> bool {
    false
}

#[cfg(all(test, unix, not(miri)))]
#[expect(unsafe_code, reason = "fork, and the end of its child, are unsafe calls")]
mod tests {
    use super::*;
    use crate::process::watch_forks;

    /// Runs `body` in a forked child and returns its answer.
    fn in_child(body: impl FnOnce() -> u8) -> i32 {
        // SAFETY: the child calls only `body`, which reads atomics and forks, and `_exit`; all of it
        // is async-signal-safe.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let answer = body();
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(answer.into()) }
        }
        let mut status = 0;
        // SAFETY: `status` is a place for one number, alive during the call.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFEXITED(status));
        libc::WEXITSTATUS(status)
    }

    #[test]
    fn every_child_is_one_generation_further_and_the_parent_stays() {
        watch_forks();
        watch_forks();
        let before = generation();
        #[expect(clippy::cast_possible_truncation, reason = "a handful of forks")]
        let passed = move || (generation() - before) as u8;
        assert_eq!(in_child(passed), 1);
        assert_eq!(in_child(passed), 1, "a sibling is no further");
        assert_eq!(in_child(|| in_child(passed) as u8), 2, "a grandchild is");
        assert_eq!(generation(), before);
    }
}
