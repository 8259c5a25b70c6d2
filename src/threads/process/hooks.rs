//! Calls into the C library: the only file with `unsafe` code.

use std::fs::File;
use std::io;
#[cfg(all(unix, not(miri)))]
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(all(unix, not(miri)))]
use super::threads::GATE;

/// The number of forks between this process and the first one that registered the fork handlers.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Differs between a process and every child forked from it; costs one load.
pub(crate) fn generation() -> u64 {
    // Relaxed: only the thread that called `fork` exists in the child, and it has just run the handler.
    GENERATION.load(Ordering::Relaxed)
}

/// Has every fork counted in its child; false if out of memory. Registering twice is harmless.
#[cfg(all(unix, not(miri)))]
#[expect(unsafe_code, reason = "only the C library reports forks without a system call per check")]
pub(super) fn watch_forks() -> bool {
    /// The generation of the forking process. If registered more than once, as two threads may be first at
    /// the same time, the handlers store and count the same again.
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
    // SAFETY: the handlers are functions of this crate with the C ABI that take and return nothing and cannot
    // unwind. `fork` calls them, the last one in the child, where only async-signal-safe operations are
    // allowed: all they do is change atomic numbers and yield.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) == 0 }
}

/// Has `run` called when the process exits normally; false if the C library is out of memory.
#[cfg(all(unix, not(miri)))]
#[expect(unsafe_code, reason = "only the C library reports the exit")]
pub(super) fn watch_exit(run: extern "C" fn()) -> bool {
    // SAFETY: `run` is a function with the C ABI that takes and returns nothing, and a panic cannot leave it:
    // Rust aborts the process rather than unwind out of an `extern "C"` function.
    unsafe { libc::atexit(run) == 0 }
}

/// Locks a whole file for this process, by a POSIX record lock; false if another process has it locked. A forked
/// child does not inherit such a lock, and it ends with the process, however that ends. It also ends when this
/// process closes *any* descriptor of the file, so nobody may open the file twice.
#[cfg(all(unix, not(miri)))]
#[expect(unsafe_code, reason = "the standard library locks by `flock`, which a forked child keeps held")]
pub(crate) fn lock_for_process(file: &File) -> io::Result<bool> {
    // SAFETY: `flock` is plain integers, for which zeros are valid.
    let mut whole: libc::flock = unsafe { std::mem::zeroed() };
    whole.l_type = libc::F_WRLCK as _;
    whole.l_whence = libc::SEEK_SET as _;
    // SAFETY: the descriptor is open as long as `file` is borrowed, and `whole` is valid during the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const whole) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        held if matches!(held.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) => Ok(false),
        error => Err(error),
    }
}

/// The user that this process acts as.
#[cfg(all(unix, not(miri)))]
#[expect(unsafe_code, reason = "the standard library does not tell")]
pub(crate) fn effective_user() -> u32 {
    // SAFETY: takes nothing, and cannot fail.
    unsafe { libc::geteuid() }
}

/// Such locks belong to a handle here; no forked child could keep one.
#[cfg(not(all(unix, not(miri))))]
pub(crate) fn lock_for_process(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// No forks here, or no way to detect them.
#[cfg(not(all(unix, not(miri))))]
pub(super) const fn watch_forks() -> bool {
    true
}

/// Not supported on this platform.
#[cfg(not(all(unix, not(miri))))]
pub(super) const fn watch_exit(_: extern "C" fn()) -> bool {
    false
}

#[cfg(all(test, unix, not(miri)))]
pub(super) use self::tests::in_child;

#[cfg(all(test, unix, not(miri)))]
#[expect(unsafe_code, reason = "fork, and ending its child, are unsafe calls")]
mod tests {
    use super::*;
    use crate::threads::process;

    /// Runs `body` in a forked child and returns its answer.
    pub(in crate::threads::process) fn in_child(body: impl FnOnce() -> u8) -> i32 {
        // SAFETY: the child calls only `body`, which reads atomics, forks, and frees memory (which glibc
        // allows after a fork), and `_exit`.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let answer = body();
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(answer.into()) }
        }
        let mut status = 0;
        // SAFETY: `status` is valid for writing one integer during the call.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFEXITED(status));
        libc::WEXITSTATUS(status)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a handful of forks")]
    fn since(before: u64) -> u8 {
        (generation() - before) as u8
    }

    #[test]
    fn every_child_is_one_generation_after_its_parent() {
        // The C library calls each registration.
        assert!(watch_forks() && watch_forks());
        let before = generation();
        assert_eq!(in_child(|| since(before)), 1);
        assert_eq!(in_child(|| since(before)), 1, "a sibling is no further");
        assert_eq!(in_child(|| in_child(|| since(before)) as u8), 2, "a grandchild is");
        assert_eq!(generation(), before);
    }

    const GAP: &str = "CONVERT_TEST_GAP";

    /// In a process of its own, because fork handlers are registered once per process and never removed.
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
            // A fork made before registering may be missed, but not those the child makes after it.
            let later = || {
                process::watch_forks();
                let own = generation();
                in_child(|| since(own)) as u8
            };
            assert_eq!(in_child(later), 1, "a child forked in the meantime registers for itself");
            let noticed = std::thread::spawn(|| {
                process::watch_forks();
                in_child(|| since(0))
            });
            assert_eq!(noticed.join().unwrap(), 1, "once told that forks are watched, they are");
            watch_forks()
        });
        assert_eq!(in_child(|| since(0) + u8::from(!GATE.is_open())), 1);
        assert!(GATE.is_open(), "threads can start and end again after a fork");
    }
}
