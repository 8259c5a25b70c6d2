//! Forked processes and their exits: how one ended, and why, from its own report and from the system.

use std::fmt::Write as _;
use std::fs::{read_dir, read_to_string};
use std::io::{PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork as system_fork};

/// Where this process writes its report: a pipe to its parent, or the first one's standard error.
static REPORT: AtomicI32 = AtomicI32::new(2);
/// The step that this process was at.
static DOING: AtomicI32 = AtomicI32::new(0);

/// A forked process that is watched.
pub(crate) struct Watched {
    pid: Pid,
    /// Readable when it has exited.
    end: OwnedFd,
    report: PipeReader,
}

/// Sets the step that this process is at, for its report.
pub(crate) fn doing(step: i32) {
    DOING.store(step, Ordering::Relaxed);
}

/// Writes to the report without a lock or a buffer, which a fork could leave in the middle of a use.
pub(crate) fn report(text: &str) {
    // SAFETY: the text is alive during the call. A full pipe takes what fits.
    unsafe { libc::write(REPORT.load(Ordering::Relaxed), text.as_ptr().cast(), text.len()) };
}

/// Forks a process that runs `body` and exits normally, successfully unless `body` panics.
pub(crate) fn fork(body: impl FnOnce()) -> Watched {
    let (report, reported) = std::io::pipe().unwrap();
    // SAFETY: forking while other threads run is what is tested here. The pipe does not block, so a report is truncated
    // rather than waited for.
    unsafe { libc::fcntl(reported.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    // SAFETY: as above.
    match unsafe { system_fork() }.unwrap() {
        ForkResult::Parent { child } => {
            // SAFETY: opens a descriptor of a child that nobody else waits for, and owns it.
            let end = unsafe {
                let end = libc::syscall(libc::SYS_pidfd_open, child.as_raw(), 0);
                assert!(end >= 0, "no descriptor for a child");
                OwnedFd::from_raw_fd(end.try_into().unwrap())
            };
            Watched { pid: child, end, report }
        }
        ForkResult::Child => {
            REPORT.store(reported.into_raw_fd(), Ordering::Relaxed);
            doing(0);
            let ended_well = catch_unwind(AssertUnwindSafe(body)).is_ok();
            doing(99);
            std::process::exit(if ended_well { 0 } else { 101 })
        }
    }
}

impl Watched {
    /// Waits for the process to exit successfully and in time. An error is the reason: the process's own report, and
    /// for a hanging one what the system knows about its threads.
    pub(crate) fn end(mut self, patience: Duration) -> Result<(), String> {
        let mut reason = String::new();
        if !self.ends_within(patience) {
            let _ = writeln!(reason, "{} hangs; its threads:", self.pid);
            reason += &threads(self.pid);
            // Each thread reports its own stack, if it still can.
            for thread in thread_ids(self.pid) {
                // SAFETY: sends a signal to a thread of a child that has not been reaped.
                unsafe { libc::syscall(libc::SYS_tgkill, self.pid.as_raw(), thread, libc::SIGUSR1) };
                // Longer than any machine takes to read the program's symbols.
                self.ends_within(Duration::from_secs(5));
            }
            let _ = nix::sys::signal::kill(self.pid, Signal::SIGKILL);
        }
        let status = waitpid(self.pid, None).unwrap();
        if status == WaitStatus::Exited(self.pid, 0) && reason.is_empty() {
            return Ok(());
        }
        let _ = writeln!(reason, "it ended with {status:?}; its report:");
        let mut bytes = vec![0; 1 << 16];
        // Siblings may hold the pipe's other end, so waiting for it to close is no option.
        if readable(self.report.as_fd(), PollTimeout::ZERO) {
            let read = self.report.read(&mut bytes).unwrap_or(0);
            reason += &String::from_utf8_lossy(&bytes[..read]);
        }
        Err(reason)
    }

    fn ends_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while let left @ 1.. = deadline.saturating_duration_since(Instant::now()).as_millis() {
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            if readable(self.end.as_fd(), left) {
                return true;
            }
        }
        false
    }
}

fn readable(descriptor: BorrowedFd<'_>, patience: PollTimeout) -> bool {
    matches!(poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], patience), Ok(1))
}

/// Reports panics and fatal signals with a stack, and answers SIGUSR1 with one.
pub(crate) fn report_signals() {
    std::panic::set_hook(Box::new(|panic| {
        report(&format!("{panic}\nat step {}\n{}", DOING.load(Ordering::Relaxed), stack()));
        // What the other threads do is half of the reason.
        let pid = Pid::this();
        report(&threads(pid));
        for thread in thread_ids(pid).into_iter().filter(|thread| *thread != this_thread()) {
            // SAFETY: sends a signal to a thread of this process.
            unsafe { libc::syscall(libc::SYS_tgkill, pid.as_raw(), thread, libc::SIGUSR1) };
            // SAFETY: waits briefly for its answer, as there is nothing else to wait for.
            unsafe { libc::usleep(200_000) };
        }
    }));
    for signal in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT] {
        handle(signal, crashed);
    }
    handle(Signal::SIGUSR1, asked);
}

fn handle(signal: Signal, handler: extern "C" fn(i32)) {
    let action = SigAction::new(SigHandler::Handler(handler), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handlers do more than is allowed in a handler, in a process that is about to end anyway.
    unsafe { sigaction(signal, &action) }.unwrap();
}

extern "C" fn asked(_: i32) {
    report(&format!(
        "thread {}, asked at step {}:\n{}",
        this_thread(),
        DOING.load(Ordering::Relaxed),
        stack()
    ));
}

extern "C" fn crashed(signal: i32) {
    // SAFETY: from here on the signal ends the process, even if the report raises it again.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    report(&format!("signal {signal} at step {}:\n{}", DOING.load(Ordering::Relaxed), stack()));
    // SAFETY: ends the process as the signal would have.
    unsafe { libc::raise(signal) };
}

fn stack() -> String {
    std::backtrace::Backtrace::force_capture().to_string()
}

fn this_thread() -> i32 {
    // SAFETY: takes nothing and returns a number.
    unsafe { libc::gettid() }
}

fn thread_ids(pid: Pid) -> Vec<i32> {
    let threads = read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok()).collect()
}

/// What the system knows about each thread. The arguments of its system call show, among others, an address that all
/// threads wait at; the maps tell whose it is.
fn threads(pid: Pid) -> String {
    let mut text = String::new();
    for thread in thread_ids(pid) {
        let about = |what: &str| {
            let text = read_to_string(format!("/proc/{pid}/task/{thread}/{what}"));
            text.unwrap_or_else(|error| error.to_string()).trim().to_owned()
        };
        let status = about("status");
        let state = status.lines().find(|line| line.starts_with("State")).unwrap_or_default().to_owned();
        let _ = writeln!(
            text,
            "thread {thread} {}: {state}, in {}, call {}, kernel stack {}",
            about("comm"),
            about("wchan"),
            about("syscall"),
            about("stack")
        );
    }
    let maps = read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    // Only the start of the program and of each library, which is enough to locate an address.
    let files = maps.lines().filter(|line| line.contains(" 00000000 ") && line.contains('/'));
    text + &files.map(|line| line.to_owned() + "\n").collect::<String>()
}
