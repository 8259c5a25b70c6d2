//! What an actor answers through, not knowing whether a thread or a task waits.

use crossbeam_channel::Sender;

/// The way back to whoever asked. Of several clones the first to answer counts.
#[derive(Clone)]
pub(crate) enum Reply<T> {
    /// A thread waits at the other end.
    Thread(Sender<T>),
    /// A task does.
    #[cfg(feature = "async")]
    Task(super::wait::TaskReply<T>),
}

impl<T> Reply<T> {
    /// Answers. Whoever asked may have stopped waiting, which is theirs to do.
    pub(crate) fn send(self, value: T) {
        match self {
            Self::Thread(sender) => drop(sender.send(value)),
            #[cfg(feature = "async")]
            Self::Task(reply) => reply.send(value),
        }
    }

    /// Whether a task has stopped waiting. Of a thread that is not known.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Thread(_) => false,
            #[cfg(feature = "async")]
            Self::Task(reply) => reply.is_abandoned(),
        }
    }
}

impl<T> From<Sender<T>> for Reply<T> {
    fn from(sender: Sender<T>) -> Self {
        Self::Thread(sender)
    }
}
