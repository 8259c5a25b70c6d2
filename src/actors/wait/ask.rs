//! A task's question to an actor: sent when there is room, answered, or given up.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::{Limit, wake};
use crate::actors::reply::Reply;
use crate::actors::thread::Worker;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The deadline passed first.
    Timeout,
    /// The actor ended without one.
    Ended,
}

/// The actor's end of a question. When the last clone is dropped unanswered the answer is `None`.
pub(crate) struct TaskReply<T>(Arc<Asked<T>>);

/// The task's end of a question: resolves to the answer, or to `None` where none can come any more.
/// Dropping it leaves a reply that goes nowhere.
pub(crate) struct Answer<T>(Arc<Slot<T>>);

struct Asked<T>(Arc<Slot<T>>);

struct Slot<T>(Mutex<State<T>>);

struct State<T> {
    /// Whether the actor has answered, or never will.
    settled: bool,
    value: Option<T>,
    waker: Option<Waker>,
}

/// A new question's two ends.
pub(crate) fn question<T>() -> (Reply<T>, Answer<T>) {
    let slot = Arc::new(Slot(Mutex::new(State { settled: false, value: None, waker: None })));
    (Reply::Task(TaskReply(Arc::new(Asked(Arc::clone(&slot))))), Answer(slot))
}

impl<T> TaskReply<T> {
    pub(crate) fn send(self, value: T) {
        self.0.0.settle(Some(value));
    }

    /// Whether the task's end is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.0.0) == 1
    }
}

impl<T> Clone for TaskReply<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Asked<T> {
    fn drop(&mut self) {
        self.0.settle(None);
    }
}

impl<T> Slot<T> {
    /// Only the first call counts.
    fn settle(&self, value: Option<T>) {
        let waker = {
            let mut state = self.lock();
            if state.settled {
                return;
            }
            state.settled = true;
            state.value = value;
            state.waker.take()
        };
        // Without the lock: a waker is foreign code.
        if let Some(waker) = waker {
            wake(waker);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task may be long gone when the actor comes to its question.
impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let waker = self.0.lock().waker.take();
        drop(waker);
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let waker = context.waker().clone();
        let mut state = self.0.lock();
        if state.settled {
            return Poll::Ready(state.value.take());
        }
        let before = state.waker.replace(waker);
        drop(state);
        drop(before);
        Poll::Pending
    }
}

/// Waits for the answer to a question that a worker was asked. The worker's end is watched too: an
/// inbox keeps what its receiver leaves behind, and with it the way that the answer would come.
pub(crate) async fn answer<T>(
    worker: &Worker,
    mut answer: Answer<T>,
    limit: &mut Limit,
) -> Result<T, Unanswered> {
    let end = worker.end();
    poll_fn(|context| {
        end.register(context);
        let ended = worker.has_ended();
        // After the look at the end, so that an answer from before it counts.
        match Pin::new(&mut answer).poll(context) {
            Poll::Ready(answer) => Poll::Ready(answer.ok_or(Unanswered::Ended)),
            Poll::Pending if ended => Poll::Ready(Err(Unanswered::Ended)),
            Poll::Pending => limit.poll(context).map(|()| Err(Unanswered::Timeout)),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use crossbeam_channel::bounded;

    use super::super::TimerHandle;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A block_on by hand: parks until woken.
    fn block_on<F: Future>(future: F) -> F::Output {
        struct Parked(std::thread::Thread);
        impl std::task::Wake for Parked {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Parked(std::thread::current())));
        let mut future = std::pin::pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    fn limit(wait: Duration) -> Limit {
        TimerHandle::default().until(Instant::now() + wait)
    }

    #[test]
    fn the_first_answer_counts_and_wakes_the_task() {
        let (reply, asked) = question();
        let other = reply.clone();
        let answerer = std::thread::spawn(move || reply.send(7));
        assert_eq!(block_on(asked), Some(7));
        answerer.join().unwrap();
        other.send(8);
    }

    #[test]
    fn a_question_that_is_dropped_unanswered_is_resolved() {
        let (reply, asked) = question::<()>();
        let other = reply.clone();
        drop(reply);
        let dropper = std::thread::spawn(move || drop(other));
        assert_eq!(block_on(asked), None);
        dropper.join().unwrap();
    }

    #[test]
    fn an_answer_that_nobody_waits_for_goes_nowhere_and_holds_no_task() {
        struct Task;
        impl std::task::Wake for Task {
            fn wake(self: Arc<Self>) {}
        }
        let (reply, mut asked) = question();
        let (task, value) = (Arc::new(Task), Arc::new(()));
        let waker = Waker::from(Arc::clone(&task));
        assert!(Pin::new(&mut asked).poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        assert_eq!(Arc::strong_count(&task), 2);
        assert!(!reply.is_abandoned());
        drop(asked);
        assert!(reply.is_abandoned());
        assert_eq!(Arc::strong_count(&task), 1);
        reply.send(Arc::clone(&value));
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn the_end_of_a_thread_answers_a_question_that_it_left_behind() {
        let (inbox, questions) = bounded(1);
        let kept = questions.clone();
        let (go_on, told) = bounded::<()>(0);
        let worker = Worker::start("leaver", move || {
            let _ = told.recv();
            drop(questions);
        })
        .unwrap();
        let (reply, asked) = question::<()>();
        inbox.send(reply).unwrap();
        let ender = std::thread::spawn(move || drop(go_on));
        let answered = block_on(answer(&worker, asked, &mut limit(PATIENCE)));
        assert_eq!(answered, Err(Unanswered::Ended));
        ender.join().unwrap();
        assert!(worker.join(Instant::now() + PATIENCE));
        drop(kept);
    }
}
