//! The calls into the C library: the only file with `unsafe` code.

use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(all(unix, not(miri)))]
use super::threads::GATE;

/// How many forks lie between this process and the one that first watched for them.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Differs between a process and every child forked from it; one load.
pub(crate) fn generation() -> u64 {
    // Relaxed: a fork copies only the thread that called it, and that one has just run the handler.
    GENERATION.load(Ordering::Relaxed)
}

/// Has every fork counted in its child; false where the C library has no room for it. Twice is no harm.
#[cfg(all(unix, not(miri)))]
#[expect(unsafe_code, reason = "only the C library tells of forks without a system call for each question")]
pub(super) fn watch_forks() -> bool {
    /// The generation of the process that forks. Whoever is registered more than once, as two threads may
    /// be the first at the same time, says and counts the same again.
    static PARENTS: AtomicU64 = AtomicU64::new(0);
    extern "C" fn before() {
        PARENTS.store(generation(), Ordering::Relaxed);
        GATE.close();
    }
    extern "C" fn in_parent() {
        GATE.open();
    }
    extern "C" fn in_child() {
        GATE.in_child();
        GENERATION.store(PARENTS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
    // SAFETY: the handlers are functions of this crate with the C ABI that take nothing, return nothing
    // and cannot unwind. They are called by `fork`, the last one in the child, where only what is
    // async-signal-safe is allowed: all that they do is to change atomic numbers, and to yield.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) == 0 }
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
pub(super) use self::tests::in_child;

#[cfg(all(test, unix, not(miri)))]
#[expect(unsafe_code, reason = "fork, and the end of its child, are unsafe calls")]
mod tests {
    use super::*;
    use crate::threads::process;

    /// Runs `body` in a forked child and returns its answer.
    pub(in crate::threads::process) fn in_child(body: impl FnOnce() -> u8) -> i32 {
        // SAFETY: the child calls only `body`, which reads atomics, forks, and frees memory (which glibc
        // makes good after a fork), and `_exit`.
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

    #[expect(clippy::cast_possible_truncation, reason = "a handful of forks")]
    fn since(before: u64) -> u8 {
        (generation() - before) as u8
    }

    #[test]
    fn every_child_is_one_generation_further_and_the_parent_stays() {
        // The C library calls each of them.
        assert!(watch_forks() && watch_forks());
        let before = generation();
        assert_eq!(in_child(|| since(before)), 1);
        assert_eq!(in_child(|| since(before)), 1, "a sibling is no further");
        assert_eq!(in_child(|| in_child(|| since(before)) as u8), 2, "a grandchild is");
        assert_eq!(generation(), before);
    }

    const GAP: &str = "CONVERT_TEST_GAP";

    /// In a process of its own, as forks are watched for once in a process and for good.
    #[test]
    fn a_fork_while_another_thread_registers_is_noticed() {
        let mut case = std::process::Command::new(std::env::current_exe().unwrap());
        case.args(["--exact", "threads::process::hooks::tests::in_the_gap", "--ignored"]).env(GAP, "");
        let ended = case.output().unwrap();
        let printed = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && printed.contains("1 passed"), "{printed}");
    }

    #[test]
    #[ignore = "run by the test above, in a process of its own"]
    fn in_the_gap() {
        if std::env::var_os(GAP).is_none() {
            return;
        }
        process::watch_forks_by(|| {
            // One who has asked for nothing may be missed, but not what is forked from there.
            let later = || {
                process::watch_forks();
                let own = generation();
                in_child(|| since(own)) as u8
            };
            assert_eq!(in_child(later), 1, "a child that was forked meanwhile watches for itself");
            let noticed = std::thread::spawn(|| {
                process::watch_forks();
                in_child(|| since(0))
            });
            assert_eq!(noticed.join().unwrap(), 1, "who is told that forks are watched is told the truth");
            watch_forks()
        });
        assert_eq!(in_child(|| since(0) + u8::from(!GATE.is_open())), 1);
        assert!(GATE.is_open(), "threads begin and end again after a fork");
    }
}
