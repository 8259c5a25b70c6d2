//! How a task waits: for answers, ends of threads and deadlines, without a runtime.

mod ask;
mod timer;
mod wakers;

pub(crate) use ask::{Answer, TaskReply, Unanswered, answer, question};
pub(crate) use timer::{Limit, TimerHandle};
pub(crate) use wakers::{Waiter, Wakers};

use std::task::Waker;

use crate::caught::Wall;

/// Wakes a task. Its executor is foreign code.
fn wake(waker: Waker) {
    Wall::default().caught("an executor", || waker.wake());
}
