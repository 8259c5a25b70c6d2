//! The start of every thread of the SDK. No fork happens while one of them is starting or exiting.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle, yield_now};

/// The standard library records each thread's stack in a list, under a lock, when the thread starts and
/// exits. A child forked at that time inherits the lock as held by a thread that it does not have: it can
/// neither start a thread nor even exit. So a fork waits until no thread of this SDK is at that point. The
/// application's other threads are out of its control.
pub(super) static GATE: Gate = Gate::new(yield_now);

/// Waits here are short and bounded: a thread that gets no turn for this long is a lesser evil than a fork
/// that hangs.
const MOST_TURNS: u32 = 100_000;

pub(super) struct Gate {
    /// Forks in progress.
    forks: AtomicUsize,
    /// Threads starting or exiting, or doing something else that no fork may interrupt.
    passing: AtomicUsize,
    /// Yields to other threads.
    turn: fn(),
}

/// A thread starting or exiting; no fork happens while this lives.
struct Passing(&'static Gate);

/// Dropped when a thread's body has returned or panicked.
struct Ending(&'static Gate);

/// Starts a thread whose name is visible from outside the process.
pub(crate) fn start(name: &'static str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    GATE.start(name, body)
}

/// Runs code that a fork must not interrupt, because any lock it holds would stay locked in the child. Must
/// be brief, since a fork waits for it where forks are watched.
pub(crate) fn between_forks<R>(body: impl FnOnce() -> R) -> R {
    let _passing = GATE.pass();
    body()
}

impl Gate {
    const fn new(turn: fn()) -> Self {
        Self { forks: AtomicUsize::new(0), passing: AtomicUsize::new(0), turn }
    }

    fn start(
        &'static self,
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let begins = self.pass();
        Builder::new().name(name.to_owned()).spawn(move || {
            drop(begins);
            let _ending = Ending(self);
            body();
        })
    }

    fn pass(&'static self) -> Passing {
        // Each side counts itself before it checks the other, sequentially consistent: one sees the other.
        self.passing.fetch_add(1, Ordering::SeqCst);
        for _ in 0..MOST_TURNS {
            if self.forks.load(Ordering::SeqCst) == 0 {
                break;
            }
            self.passing.fetch_sub(1, Ordering::SeqCst);
            (self.turn)();
            self.passing.fetch_add(1, Ordering::SeqCst);
        }
        Passing(self)
    }

    /// Before a fork, on the forking thread. Does not allocate or lock.
    #[cfg(any(test, all(unix, not(miri))))]
    pub(super) fn close(&self) {
        self.forks.fetch_add(1, Ordering::SeqCst);
        for _ in 0..MOST_TURNS {
            if self.passing.load(Ordering::SeqCst) == 0 {
                break;
            }
            (self.turn)();
        }
    }

    /// After a fork, in the parent.
    #[cfg(any(test, all(unix, not(miri))))]
    pub(super) fn open(&self) {
        self.forks.fetch_sub(1, Ordering::SeqCst);
    }

    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.forks.load(Ordering::SeqCst) == 0
    }

    /// A child has one thread: the one that forked.
    #[cfg(any(test, all(unix, not(miri))))]
    pub(super) fn in_child(&self) {
        self.forks.store(0, Ordering::SeqCst);
        self.passing.store(0, Ordering::SeqCst);
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.passing.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        thread_local! {
            // Destroyed after the standard library has removed the thread from its list.
            static LAST: Cell<Option<Passing>> = const { Cell::new(None) };
        }
        LAST.set(Some(self.0.pass()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn a_fork_waits_for_threads_in_transition_but_not_forever() {
        static TURNS: AtomicU32 = AtomicU32::new(0);
        static HERE: Gate = Gate::new(|| {
            if TURNS.fetch_add(1, Ordering::Relaxed) == 2 {
                HERE.passing.store(0, Ordering::Relaxed);
            }
        });
        HERE.close();
        assert_eq!(TURNS.load(Ordering::Relaxed), 0, "no thread is passing");
        HERE.open();
        std::mem::forget(HERE.pass());
        HERE.close();
        assert_eq!(TURNS.load(Ordering::Relaxed), 3);
        HERE.open();
        std::mem::forget(HERE.pass());
        HERE.close();
        assert_eq!(TURNS.load(Ordering::Relaxed), 3 + MOST_TURNS);
        HERE.in_child();
        HERE.close();
        assert_eq!(TURNS.load(Ordering::Relaxed), 3 + MOST_TURNS, "no thread is passing in a child");
    }

    #[test]
    fn a_thread_waits_for_a_fork_when_it_begins_and_ends() {
        static TURNS: AtomicU32 = AtomicU32::new(0);
        static HERE: Gate = Gate::new(|| {
            // While waiting, the thread must not hold up a fork.
            assert_eq!(HERE.passing.load(Ordering::Relaxed), 0);
            if TURNS.fetch_add(1, Ordering::Relaxed) == 2 {
                HERE.open();
            }
        });
        let turns = || TURNS.load(Ordering::Relaxed);
        HERE.start("open", || assert_eq!(HERE.passing.load(Ordering::Relaxed), 0)).unwrap().join().unwrap();
        assert_eq!(turns(), 0);
        HERE.close();
        HERE.start("begins", || {}).unwrap().join().unwrap();
        assert_eq!(turns(), 3);
        HERE.start("ends", || HERE.close()).unwrap().join().unwrap();
        assert_eq!(turns(), 3 + MOST_TURNS, "and not forever");
        assert_eq!(HERE.passing.load(Ordering::Relaxed), 0);
    }
}
