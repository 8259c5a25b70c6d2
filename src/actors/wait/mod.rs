//! How callers wait, threads and tasks alike: for answers, ends of threads and deadlines, without a runtime.

mod caller;
mod pending;
#[cfg(feature = "async")]
mod timer;
mod wakers;

pub(crate) use caller::{Caller, Limit, blocking};
pub(crate) use pending::{Pending, Reply, Unanswered, question};
#[cfg(feature = "async")]
pub(crate) use timer::TimerHandle;
#[cfg(feature = "async")]
pub(crate) use wakers::Waiter;
pub(crate) use wakers::Wakers;

use std::task::Waker;

use crate::caught::Wall;

/// Wakes a caller. A task's executor is foreign code.
fn wake(waker: Waker) {
    Wall::default().caught("an executor", || waker.wake());
}
