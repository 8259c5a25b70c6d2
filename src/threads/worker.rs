//! Starting a named thread, and joining it with a deadline.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread::{JoinHandle, ThreadId, current};

use super::wait::{Limit, Wakers};
use crate::engine::{Pending, Unanswered};
use crate::error::StartError;
use crate::threads::start_thread;

/// A running SDK thread, or what runs in the turns of a pump instead.
pub(crate) struct Worker {
    name: &'static str,
    /// `None` in a pump.
    id: Option<ThreadId>,
    end: Arc<End>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The end of a thread's body, and who is waiting for it.
#[derive(Default)]
struct End {
    is_there: AtomicBool,
    waiting: Arc<Wakers>,
}

/// Lives as long as the thread's body.
pub(crate) struct Running(Arc<End>);

impl Worker {
    /// Starts a thread whose name is visible from outside the process.
    pub(crate) fn start(
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<Self, StartError> {
        let end = Arc::<End>::default();
        let running = Running(Arc::clone(&end));
        let thread = start_thread(name, move || {
            // Dropped when the body has returned or panicked.
            let _running = running;
            body();
        })
        .map_err(|error| StartError(error.kind()))?;
        Ok(Self { name, id: Some(thread.thread().id()), end, thread: Mutex::new(Some(thread)) })
    }

    /// What has no thread of its own, and ends when the other value is dropped.
    pub(crate) fn threadless(name: &'static str) -> (Self, Running) {
        let end = Arc::<End>::default();
        let running = Running(Arc::clone(&end));
        (Self { name, id: None, end, thread: Mutex::default() }, running)
    }

    /// Whether the thread's body has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_there.load(Ordering::Acquire)
    }

    /// Waits for the answer to a question put to the thread. The thread's end is watched too: an inbox keeps
    /// what its receiver leaves behind, including the channel for the answer.
    pub(crate) async fn answer<T>(
        &self,
        mut answer: Pending<T>,
        limit: &mut Limit<'_>,
    ) -> Result<T, Unanswered> {
        let end = self.end.waiting.waiter();
        poll_fn(|context| {
            end.register(context);
            let ended = self.has_ended();
            // After checking for the end, so that an answer given before it counts.
            match Pin::new(&mut answer).poll(context) {
                Poll::Ready(answer) => Poll::Ready(answer.ok_or(Unanswered::Ended)),
                Poll::Pending if ended => Poll::Ready(Err(Unanswered::Ended)),
                Poll::Pending => limit.poll(context).map(|()| Err(Unanswered::Timeout)),
            }
        })
        .await
    }

    /// Waits until the thread's body has ended, and returns whether it has.
    pub(crate) async fn ended(&self, limit: &mut Limit<'_>) -> bool {
        let end = self.end.waiting.waiter();
        poll_fn(|context| {
            end.register(context);
            if self.has_ended() { Poll::Ready(true) } else { limit.poll(context).map(|()| false) }
        })
        .await
    }

    /// Waits until the thread has ended, and returns whether it has. A thread that joins itself (a handler
    /// that closes the core) does not wait, and a task does not wait for the system's cleanup after the body.
    pub(crate) async fn join(&self, limit: &mut Limit<'_>) -> bool {
        if self.id.is_some_and(|id| id == current().id()) {
            return false;
        }
        // Not under the lock, so that each of several callers waits until its own deadline.
        if !self.ended(limit).await {
            logged!(warn, "{} did not end in time", self.name);
            return false;
        }
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = thread.take_if(|handle| limit.may_block() || handle.is_finished())
            && handle.join().is_err()
        {
            logged!(error, "{} panicked", self.name);
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The flag first, then the wake-ups.
        self.0.is_there.store(true, Ordering::Release);
        self.0.waiting.wake_all();
    }
}

/// Runs `body` on a thread of its own and waits for it to end. Unlike the other waits here, this one works on
/// a thread that has lost its thread-local values.
pub(crate) fn run_apart(name: &'static str, body: impl FnOnce() + Send + 'static) {
    if start_apart(name, body).is_some_and(|thread| thread.join().is_err()) {
        logged!(error, "{name} panicked");
    }
}

/// Runs `body` on a thread of its own, which need not be waited for.
pub(crate) fn start_apart(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> Option<JoinHandle<()>> {
    start_thread(name, body).inspect_err(|error| logged!(error, "{name}: {}", StartError(error.kind()))).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crossbeam_channel::bounded;

    use super::super::wait::blocking;
    use super::*;
    use crate::engine::question;

    impl Worker {
        fn answer_within<T>(&self, answer: Pending<T>, timeout: Duration) -> Result<T, Unanswered> {
            blocking(async |caller| self.answer(answer, &mut caller.until(Instant::now() + timeout)).await)
        }

        fn join_within(&self, timeout: Duration) -> bool {
            blocking(async |caller| self.join(&mut caller.until(Instant::now() + timeout)).await)
        }
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn the_end_of_a_thread_resolves_its_open_questions() {
        let (inbox, questions) = bounded(1);
        let kept = questions.clone();
        let (reply, answer) = question::<()>();
        inbox.send(reply).unwrap();
        let worker = Worker::start("leaver", move || drop(questions)).unwrap();
        assert_eq!(worker.answer_within(answer, PATIENCE), Err(Unanswered::Ended));
        assert!(worker.join_within(PATIENCE) && worker.has_ended());
        drop(kept);
    }

    #[test]
    fn an_answer_from_before_the_end_counts() {
        let (reply, answer) = question();
        let worker = Worker::start("answerer", move || reply.send(7)).unwrap();
        assert!(worker.join_within(PATIENCE));
        assert_eq!(worker.answer_within(answer, PATIENCE), Ok(7));
    }

    #[test]
    fn a_deadline_ends_the_wait_for_a_running_thread() {
        let (go_on, told) = bounded::<()>(0);
        let worker = Worker::start("goer", move || assert!(told.recv().is_err())).unwrap();
        let (_reply, answer) = question::<()>();
        assert_eq!(worker.answer_within(answer, Duration::ZERO), Err(Unanswered::Timeout));
        assert!(!worker.join_within(Duration::ZERO) && !worker.has_ended());
        drop(go_on);
        assert!(worker.join_within(PATIENCE));
    }
}
