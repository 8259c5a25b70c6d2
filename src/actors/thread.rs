//! Starting a named thread, and joining it with a deadline.

#[cfg(feature = "async")]
mod tasks;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, ThreadId, current};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, at, bounded, select};

use super::wait::Wakers;
use crate::error::StartError;
use crate::process::start_thread;

/// A running thread of the SDK.
pub(crate) struct Worker {
    name: &'static str,
    id: ThreadId,
    /// Disconnects when the thread's body has ended.
    ended: Receiver<()>,
    /// Tasks that wait for that.
    #[cfg_attr(not(feature = "async"), expect(dead_code, reason = "no task waits without the feature"))]
    tasks: Arc<Wakers>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Lives as long as the thread's body.
struct Running {
    alive: Option<Sender<()>>,
    tasks: Arc<Wakers>,
}

impl Worker {
    /// Starts a thread whose name is visible from outside.
    pub(crate) fn start(
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<Self, StartError> {
        let (alive, ended) = bounded(0);
        let tasks = Arc::<Wakers>::default();
        let running = Running { alive: Some(alive), tasks: Arc::clone(&tasks) };
        let thread = start_thread(name, move || {
            // Dropped when the body has returned or panicked.
            let _running = running;
            body();
        })
        .map_err(|error| StartError(error.kind()))?;
        Ok(Self { name, id: thread.thread().id(), ended, tasks, thread: Mutex::new(Some(thread)) })
    }

    /// Whether the thread's body has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Waits for the answer to a question that the thread was asked; an error where it ended without
    /// one, or the deadline passed. To watch the answer alone is not enough: a bounded channel keeps
    /// what its receiver leaves behind, and with it the way that the answer would come.
    pub(crate) fn answer<T>(&self, answer: &Receiver<T>, deadline: Instant) -> Result<T, RecvTimeoutError> {
        select! {
            recv(answer) -> answer => answer.map_err(|_| RecvTimeoutError::Disconnected),
            recv(self.ended) -> _ => answer.try_recv().map_err(|_| RecvTimeoutError::Disconnected),
            recv(at(deadline)) -> _ => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Waits until the thread's body has ended, and says whether it has.
    pub(crate) fn has_ended_by(&self, deadline: Instant) -> bool {
        self.ended.recv_deadline(deadline) != Err(RecvTimeoutError::Timeout)
    }

    /// Waits until the thread has ended and says whether it has. A thread that joins itself (a
    /// handler that closes the core) does not wait.
    pub(crate) fn join(&self, deadline: Instant) -> bool {
        if self.id == current().id() {
            return false;
        }
        // Without the lock, so that of several callers each waits for its own deadline.
        if !self.has_ended_by(deadline) {
            log::warn!("{} did not end in time", self.name);
            return false;
        }
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = thread.take()
            && handle.join().is_err()
        {
            log::error!("{} panicked", self.name);
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // First the end, then the word that it is there.
        self.alive = None;
        self.tasks.wake_all();
    }
}

/// Runs `body` on a thread of its own and waits for its end. Of all that waits here this alone works on
/// a thread that has lost its thread-local values.
pub(crate) fn run_apart(name: &'static str, body: impl FnOnce() + Send + 'static) {
    if start_apart(name, body).is_some_and(|thread| thread.join().is_err()) {
        log::error!("{name} panicked");
    }
}

/// Runs `body` on a thread of its own, which need not be waited for.
pub(crate) fn start_apart(
    name: &'static str,
    body: impl FnOnce() + Send + 'static,
) -> Option<JoinHandle<()>> {
    start_thread(name, body).inspect_err(|error| log::error!("{name}: {}", StartError(error.kind()))).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_end_of_a_thread_answers_a_question_that_it_left_behind() {
        let (inbox, questions) = bounded(1);
        let (reply, answer) = bounded::<()>(1);
        inbox.send(reply).unwrap();
        let worker = Worker::start("leaver", move || drop(questions)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        assert_eq!(worker.answer(&answer, deadline), Err(RecvTimeoutError::Disconnected));
        assert!(worker.join(deadline) && worker.has_ended());
        drop(inbox);
    }

    #[test]
    fn an_answer_from_before_the_end_counts() {
        let (reply, answer) = bounded(1);
        let worker = Worker::start("answerer", move || reply.send(7).unwrap()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        assert!(worker.join(deadline));
        assert_eq!(worker.answer(&answer, deadline), Ok(7));
    }

    #[test]
    fn a_deadline_ends_the_wait_for_a_thread_that_goes_on() {
        let (go_on, told) = bounded::<()>(0);
        let worker = Worker::start("goer", move || assert!(told.recv().is_err())).unwrap();
        let (_reply, answer) = bounded::<()>(1);
        assert_eq!(worker.answer(&answer, Instant::now()), Err(RecvTimeoutError::Timeout));
        assert!(!worker.join(Instant::now()) && !worker.has_ended());
        drop(go_on);
        assert!(worker.join(Instant::now() + Duration::from_secs(30)));
    }
}
