//! What an actor answers through, not knowing whether a thread or a task waits.

use std::sync::{Arc, Weak};

use crossbeam_channel::{Receiver, Sender, bounded};

/// The way back to whoever asked. Of several clones the first to answer counts.
#[derive(Clone)]
pub(crate) enum Reply<T> {
    /// A thread waits at the other end, nobody knows for how long.
    Thread(Sender<T>),
    /// A thread that withdraws its question. Boxed, as records have replies in them.
    Withdrawable(Box<Withdrawable<T>>),
    /// A task does.
    #[cfg(feature = "async")]
    Task(super::wait::TaskReply<T>),
}

#[derive(Clone)]
pub(crate) struct Withdrawable<T> {
    sender: Sender<T>,
    /// Alive for as long as the thread waits.
    waits: Weak<()>,
}

/// A thread's end of a question. Dropping it, at the deadline say, withdraws the question.
pub(super) struct Receipt<T> {
    answer: Receiver<T>,
    _waits: Arc<()>,
}

impl<T> Reply<T> {
    /// A new question's two ends, for a thread that waits.
    pub(super) fn to_thread() -> (Self, Receipt<T>) {
        let (sender, answer) = bounded(1);
        let waits = Arc::new(());
        let reply = Withdrawable { sender, waits: Arc::downgrade(&waits) };
        (Self::Withdrawable(Box::new(reply)), Receipt { answer, _waits: waits })
    }

    /// Answers. Whoever asked may have stopped waiting, which is theirs to do.
    pub(crate) fn send(self, value: T) {
        match self {
            // The first answer takes the one place; a later one must not wait for another.
            Self::Thread(sender) => drop(sender.try_send(value)),
            Self::Withdrawable(reply) => drop(reply.sender.try_send(value)),
            #[cfg(feature = "async")]
            Self::Task(reply) => reply.send(value),
        }
    }

    /// Whether nobody waits any more, where that is known.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Thread(_) => false,
            Self::Withdrawable(reply) => reply.waits.strong_count() == 0,
            #[cfg(feature = "async")]
            Self::Task(reply) => reply.is_abandoned(),
        }
    }
}

impl<T> Receipt<T> {
    pub(super) const fn answer(&self) -> &Receiver<T> {
        &self.answer
    }
}

impl<T> From<Sender<T>> for Reply<T> {
    fn from(sender: Sender<T>) -> Self {
        Self::Thread(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_stops_waiting_withdraws_its_question() {
        let (reply, receipt) = Reply::to_thread();
        assert!(!reply.is_abandoned());
        reply.clone().send(1);
        reply.clone().send(2);
        assert_eq!(receipt.answer().try_recv(), Ok(1));
        drop(receipt);
        assert!(reply.is_abandoned());
    }
}
