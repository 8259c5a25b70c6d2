//! A thread's end, as a task waits for it.

use std::future::poll_fn;
use std::sync::PoisonError;
use std::task::Poll;
use std::thread::current;

use super::Worker;
use crate::actors::wait::{Limit, Waiter};

impl Worker {
    /// A place among the tasks that are woken when the thread has ended.
    pub(crate) fn end(&self) -> Waiter {
        self.tasks.waiter()
    }

    /// As [`has_ended_by`](Self::has_ended_by).
    pub(crate) async fn ended_by(&self, limit: &mut Limit) -> bool {
        let end = self.end();
        poll_fn(|context| {
            end.register(context);
            if self.has_ended() { Poll::Ready(true) } else { limit.poll(context).map(|()| false) }
        })
        .await
    }

    /// As [`join`](Self::join), without a thread that waits. What the system does after the body's
    /// end is not waited for.
    pub(crate) async fn ended(&self, limit: &mut Limit) -> bool {
        if self.id == current().id() {
            return false;
        }
        if !self.ended_by(limit).await {
            log::warn!("{} did not end in time", self.name);
            return false;
        }
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = thread.take_if(|handle| handle.is_finished())
            && handle.join().is_err()
        {
            log::error!("{} panicked", self.name);
        }
        true
    }
}
