//! A question to an actor: answered or abandoned.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::caught::PanicGuard;

/// Wakes a caller. A task's executor is foreign code, and may panic.
pub(crate) fn wake(waker: Waker) {
    PanicGuard::default().caught("an executor", || waker.wake());
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The deadline passed first.
    Timeout,
    /// The actor ended without answering.
    Ended,
}

/// The actor's end of a question. The first clone to answer counts; if the last one is dropped unanswered,
/// the answer is `None`.
pub(crate) struct Reply<T>(Arc<Asked<T>>);

/// The caller's end of a question: resolves to the answer, or to `None` if there will never be one. Dropping
/// it, for example at the deadline, withdraws the question.
pub(crate) struct Pending<T>(Arc<Slot<T>>);

struct Asked<T>(Arc<Slot<T>>);

struct Slot<T>(Mutex<State<T>>);

struct State<T> {
    /// Whether the actor has answered, or never will.
    settled: bool,
    value: Option<T>,
    waker: Option<Waker>,
}

/// The two ends of a new question.
pub(crate) fn question<T>() -> (Reply<T>, Pending<T>) {
    let slot = Arc::new(Slot(Mutex::new(State { settled: false, value: None, waker: None })));
    (Reply(Arc::new(Asked(Arc::clone(&slot)))), Pending(slot))
}

impl<T> Reply<T> {
    /// Answers. The caller may have stopped waiting, which is fine.
    pub(crate) fn send(self, value: T) {
        self.0.0.settle(Some(value));
    }

    /// Whether nobody is waiting any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.0.0) == 1
    }
}

impl<T> Clone for Reply<T> {
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
        // After unlocking: a waker is foreign code.
        if let Some(waker) = waker {
            wake(waker);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task may be long gone by the time the actor gets to its question.
impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        let waker = self.0.lock().waker.take();
        drop(waker);
    }
}

impl<T> Future for Pending<T> {
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

#[cfg(test)]
impl<T> Pending<T> {
    /// Whether there is no answer yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().value.is_none()
    }

    /// The answer, if it has arrived.
    pub(crate) fn try_recv(&self) -> Result<T, std::sync::mpsc::TryRecvError> {
        use std::sync::mpsc::TryRecvError;

        let mut state = self.0.lock();
        let none = if state.settled { TryRecvError::Disconnected } else { TryRecvError::Empty };
        state.value.take().ok_or(none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::blocking;

    #[test]
    fn the_first_answer_counts_and_wakes_the_task() {
        let (reply, asked) = question();
        let other = reply.clone();
        let answerer = std::thread::spawn(move || reply.send(7));
        assert_eq!(blocking(async |_| asked.await), Some(7));
        answerer.join().unwrap();
        other.send(8);
    }

    #[test]
    fn a_question_dropped_unanswered_is_resolved() {
        let (reply, asked) = question::<()>();
        let other = reply.clone();
        drop(reply);
        let dropper = std::thread::spawn(move || drop(other));
        assert_eq!(blocking(async |_| asked.await), None);
        dropper.join().unwrap();
    }

    #[test]
    fn an_unawaited_answer_holds_no_task() {
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
}
