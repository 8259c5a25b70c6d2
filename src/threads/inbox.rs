//! An inbox that discards questions whose callers have stopped waiting, and that a close empties.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::wait::{Limit, Wakers};
use super::worker::{Running, Worker};
use crate::engine::{Reply, question};
use crate::error::StartError;

/// Above this many questions, abandoned ones are searched for.
const CROWDED: usize = 64;

/// The handle to an actor that answers questions. Dropping it ends the thread after the call in progress.
pub(super) struct ActorHandle<Q, T> {
    inbox: Arc<Inbox<Q, T>>,
    worker: Worker,
}

/// The waiting questions, in order. There is always space: each belongs to a waiting caller, and abandoned
/// ones never make up more than half of a crowded inbox.
pub(crate) struct Inbox<Q, T> {
    state: Mutex<State<Q, T>>,
    signal: (Sender<()>, Receiver<()>),
    /// Callers whose questions are or are being answered; a close wakes them.
    callers: Arc<Wakers>,
}

struct State<Q, T> {
    closed: bool,
    questions: VecDeque<Question<Q, T>>,
    /// Above this many questions, the next search for abandoned ones is due.
    crowded: usize,
}

/// A question, and where its answer goes.
type Question<Q, T> = (Q, Reply<T>);

impl<Q: Send + 'static, T: Send + 'static> ActorHandle<Q, T> {
    /// Starts the thread, which must end when its inbox is closed.
    pub(super) fn start(
        name: &'static str,
        body: impl FnOnce(&Arc<Inbox<Q, T>>) + Send + 'static,
    ) -> Result<Self, StartError> {
        let inbox = Arc::new(Inbox::new());
        let read = Arc::clone(&inbox);
        let worker = Worker::start(name, move || body(&read))?;
        Ok(Self { inbox, worker })
    }

    /// An actor without a thread, which ends when the third value is dropped.
    pub(super) fn threadless(name: &'static str) -> (Self, Arc<Inbox<Q, T>>, Running) {
        let inbox = Arc::new(Inbox::new());
        let (worker, running) = Worker::threadless(name);
        (Self { inbox: Arc::clone(&inbox), worker }, inbox, running)
    }

    /// Asks without waiting for the answer.
    pub(super) fn ask_in_passing(&self, asked: Q) {
        self.inbox.put(asked, question().0);
    }

    /// Asks, and waits for the answer; `None` if the deadline passed first, or the inbox is closed.
    pub(super) async fn ask(&self, asked: Q, limit: &mut Limit<'_>) -> Option<T> {
        let (reply, answer) = question();
        self.inbox.put(asked, reply);
        let caller = self.inbox.callers.waiter();
        let mut answered = pin!(self.worker.answer(answer, limit));
        poll_fn(|context| {
            caller.register(context);
            let closed = self.inbox.is_closed();
            match answered.as_mut().poll(context) {
                Poll::Ready(answer) => Poll::Ready(answer.ok()),
                // The call in progress may never finish.
                Poll::Pending if closed => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

impl<Q, T> ActorHandle<Q, T> {
    /// Wakes the actor.
    pub(super) fn notify(&self) {
        self.inbox.notify();
    }

    /// Ends the thread after the call in progress. Waiting questions get no answer.
    pub(super) fn close(&self) {
        self.inbox.close();
    }

    /// The thread.
    pub(super) const fn worker(&self) -> &Worker {
        &self.worker
    }
}

impl<Q, T> Drop for ActorHandle<Q, T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<Q, T> Inbox<Q, T> {
    fn new() -> Self {
        let state = State { closed: false, questions: VecDeque::new(), crowded: CROWDED };
        Self { state: Mutex::new(state), signal: bounded(1), callers: Arc::default() }
    }

    /// Fires when there is something to check.
    pub(super) const fn signal(&self) -> &Receiver<()> {
        &self.signal.1
    }

    /// To be checked before taking any question.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether a question is waiting.
    pub(super) fn has_questions(&self) -> bool {
        !self.lock().questions.is_empty()
    }

    /// The question that has waited longest. It may have been abandoned.
    pub(super) fn pop(&self) -> Option<Question<Q, T>> {
        let mut state = self.lock();
        let question = state.questions.pop_front();
        state.shrink();
        question
    }

    /// Takes all questions that the same answer settles.
    pub(super) fn take(&self, answers: impl Fn(&Q) -> bool) -> Vec<Question<Q, T>> {
        self.lock().take(|(question, _)| answers(question))
    }

    fn put(&self, question: Q, reply: Reply<T>) {
        let mut state = self.lock();
        // Dropped after unlocking: a drop may wake a task, which is foreign code.
        if state.closed {
            drop(state);
            drop(reply);
            return;
        }
        state.questions.push_back((question, reply));
        let abandoned = state.abandoned();
        drop(state);
        drop(abandoned);
        self.notify();
    }

    fn notify(&self) {
        // One pending signal is enough.
        let _ = self.signal.0.try_send(());
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let unanswered = std::mem::take(&mut state.questions);
        drop(state);
        drop(unanswered);
        self.callers.wake_all();
        self.notify();
    }

    fn lock(&self) -> MutexGuard<'_, State<Q, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Q, T> State<Q, T> {
    /// Removes abandoned questions, but only once in a while: a full search is due when their number has
    /// doubled since the last one.
    fn abandoned(&mut self) -> Vec<Question<Q, T>> {
        if self.questions.len() <= self.crowded {
            return Vec::new();
        }
        let abandoned = self.take(|(_, reply)| reply.is_abandoned());
        self.crowded = CROWDED.max(2 * self.questions.len());
        abandoned
    }

    fn take(&mut self, wanted: impl Fn(&Question<Q, T>) -> bool) -> Vec<Question<Q, T>> {
        let (taken, left) = std::mem::take(&mut self.questions).into_iter().partition(wanted);
        self.questions = left;
        self.shrink();
        Vec::from(taken)
    }

    /// Lowers the threshold again after a crowd has been served.
    fn shrink(&mut self) {
        self.crowded = CROWDED.max(self.crowded.min(2 * self.questions.len()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::TryRecvError;
    use std::time::{Duration, Instant};

    use super::super::wait::blocking;
    use super::*;

    #[test]
    fn abandoned_questions_make_room_for_others() {
        let inbox = Inbox::<u32, ()>::new();
        let (reply, _waits) = question();
        inbox.put(0, reply);
        for asked in 1..100_000 {
            inbox.put(asked, question().0);
            assert!(inbox.lock().questions.len() <= CROWDED + 1);
        }
        assert_eq!(inbox.pop().unwrap().0, 0, "someone is waiting for this one");
    }

    #[test]
    fn a_served_crowd_does_not_let_the_next_one_grow() {
        let inbox = Inbox::<u32, ()>::new();
        let (replies, receipts): (Vec<_>, Vec<_>) = (0..1_000).map(|_| question()).unzip();
        replies.into_iter().for_each(|reply| inbox.put(0, reply));
        while inbox.pop().is_some() {}
        drop(receipts);
        for asked in 0..1_000 {
            inbox.put(asked, question().0);
        }
        assert!(inbox.lock().questions.len() <= CROWDED + 1);
    }

    #[test]
    fn waiting_questions_keep_their_order_however_many() {
        let inbox = Inbox::<u32, u32>::new();
        let ask = |asked| {
            let (reply, receipt) = question();
            inbox.put(asked, reply);
            receipt
        };
        let receipts: Vec<_> = (0..1_000).map(ask).collect();
        assert_eq!(inbox.take(|question| question % 2 == 1).len(), 500);
        while let Some((question, reply)) = inbox.pop() {
            reply.send(question);
        }
        let answers: Vec<_> = receipts.iter().filter_map(|it| it.try_recv().ok()).collect();
        assert_eq!(answers, (0..1_000).step_by(2).collect::<Vec<_>>());
    }

    #[test]
    fn a_close_needs_no_space_and_is_seen_first() {
        let (go_on, told) = bounded::<()>(0);
        let (found, seen) = bounded(1);
        let actor = ActorHandle::<u32, ()>::start("closed", move |inbox| {
            assert!(told.recv().is_err());
            found.send((inbox.is_closed(), inbox.pop().is_some())).unwrap();
        })
        .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        let ask = |asked| {
            let (reply, receipt) = question();
            actor.inbox.put(asked, reply);
            receipt
        };
        let asked: Vec<_> = (0..200).map(ask).collect();
        actor.close();
        assert!(asked.iter().all(|it| it.try_recv() == Err(TryRecvError::Disconnected)));
        assert_eq!(blocking(async |caller| actor.ask(7, &mut caller.until(deadline)).await), None, "closed");
        drop(go_on);
        assert_eq!(seen.recv(), Ok((true, false)));
        assert!(blocking(async |caller| actor.worker().join(&mut caller.until(deadline)).await));
    }
}
