//! The way to the store actor, for any thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{SendError, Sender, bounded, unbounded};

use super::run::StoreThread;
use super::{StoreCommand, Stored};
use crate::actors::Notifier;
use crate::actors::reply::Reply;
use crate::actors::thread::Worker;
#[cfg(feature = "async")]
use crate::actors::wait::{Limit, answer, question};
use crate::error::StartError;
use crate::state::{DataStore, StoreError, Visitors};

/// What the store actor is made of.
pub(crate) struct StoreSettings {
    pub(crate) store: Arc<dyn DataStore>,
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) notifier: Arc<Notifier>,
    /// How long an answer is waited for.
    pub(crate) timeout: Duration,
    /// How long a claim lasts that is neither kept nor released.
    pub(crate) lease: Duration,
    pub(crate) ttl: Option<Duration>,
}

/// The way to the store actor. The last one dropped ends it, after it has written what waits.
pub(crate) struct StoreHandle {
    inbox: Sender<StoreCommand>,
    worker: Worker,
    visitors: Arc<Visitors>,
}

impl StoreHandle {
    pub(crate) fn start(settings: StoreSettings) -> Result<Self, StartError> {
        // Without a bound of their own: each call of a caller's puts in one thing at the most, the tracker's
        // are bounded by its backlog, and the actor takes them out without waiting for the store.
        let (inbox, commands) = unbounded();
        let visitors = Arc::clone(&settings.visitors);
        let thread = StoreThread::new(settings, commands);
        let worker = Worker::start("convert-store", move || thread.run())?;
        Ok(Self { inbox, worker, visitors })
    }

    /// Asks without waiting for an answer. An actor that has ended is asked in vain, and what it was to tell
    /// the store counts as failed.
    pub(crate) fn tell(&self, command: StoreCommand) {
        let unsent = self.inbox.send(command).map_err(SendError::into_inner);
        if let Err(StoreCommand::Keep(keys) | StoreCommand::Release(keys)) = unsent {
            self.visitors.count_failures(keys.len(), &StoreError::new("its thread has ended"));
        }
    }

    /// Visitor state waits to be written. Nobody is woken who knows of some already.
    pub(crate) fn write(&self) {
        if self.visitors.announce() {
            self.tell(StoreCommand::Write);
        }
    }

    /// Reads a key; `None` where no answer came in time.
    pub(crate) fn read(&self, key: String, deadline: Instant) -> Stored {
        let (reply, value) = Reply::to_thread();
        self.tell(StoreCommand::Read(key, reply));
        self.worker.answer(value.answer(), deadline).ok().flatten()
    }

    /// Waits until what was asked so far has been tried, and visitor state written.
    pub(crate) fn drain(&self, deadline: Instant) -> bool {
        let (reply, drained) = bounded(1);
        self.tell(StoreCommand::Drain(self.visitors.next_ticket(), reply.into()));
        self.worker.answer(&drained, deadline).is_ok()
    }

    /// Has everything written that waits, and waits for the end. Says whether it has come.
    pub(crate) fn close(&self, deadline: Instant) -> bool {
        self.tell(StoreCommand::Close);
        self.worker.join(deadline)
    }

    /// As [`close`](Self::close), in a task.
    #[cfg(feature = "async")]
    pub(crate) async fn close_in_task(&self, limit: &mut Limit) -> bool {
        self.tell(StoreCommand::Close);
        self.worker.ended(limit).await
    }

    /// As [`read`](Self::read), in a task.
    #[cfg(feature = "async")]
    pub(crate) async fn read_in_task(&self, key: String, limit: &mut Limit) -> Stored {
        let (reply, value) = question();
        self.tell(StoreCommand::Read(key, reply));
        answer(&self.worker, value, limit).await.ok().flatten()
    }

    /// As [`drain`](Self::drain), in a task.
    #[cfg(feature = "async")]
    pub(crate) async fn drain_in_task(&self, limit: &mut Limit) -> bool {
        let (reply, drained) = question();
        self.tell(StoreCommand::Drain(self.visitors.next_ticket(), reply));
        answer(&self.worker, drained, limit).await.is_ok()
    }
}
