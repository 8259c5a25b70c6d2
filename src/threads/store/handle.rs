//! The handle to the store actor, for any thread.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{SendError, Sender, unbounded};

use super::run::StoreThread;
use super::{StoreMessage, StoreSettings};
use crate::engine::{StoreCommand, Stored, question};
use crate::error::StartError;
use crate::ports::StoreError;
use crate::threads::clock::Clock;
use crate::threads::{Limit, Worker};
use crate::visitors::Visitors;

/// The handle to the store actor. Dropping the last one ends it after it has written what is waiting.
pub(crate) struct StoreHandle {
    inbox: Sender<StoreMessage>,
    worker: Worker,
    visitors: Arc<Visitors>,
    clock: Clock,
}

impl StoreHandle {
    pub(crate) fn start(settings: StoreSettings) -> Result<Self, StartError> {
        // Unbounded: a caller has at most one message in it, the tracker's are bounded by its backlog, and
        // the actor takes them out without waiting for the store.
        let (inbox, messages) = unbounded();
        let visitors = Arc::clone(&settings.visitors);
        let clock = Clock::start();
        let thread = StoreThread::new(settings, messages, clock);
        let worker = Worker::start("convert-store", move || thread.run())?;
        Ok(Self { inbox, worker, visitors, clock })
    }

    /// Sends a command without waiting for an answer.
    fn tell(&self, command: StoreCommand) {
        self.send(StoreMessage::Command(command));
    }

    /// Sends a message. A thread that has ended reads none; updates meant for the store count as failed.
    pub(crate) fn send(&self, message: StoreMessage) {
        let unsent = self.inbox.send(message).map_err(SendError::into_inner);
        if let Err(StoreMessage::Command(StoreCommand::Keep(keys) | StoreCommand::Release(keys))) = unsent {
            self.visitors.count_failures(keys.len(), &StoreError::new("its thread has ended"));
        }
    }

    /// Visitor state is waiting to be written. An actor that already knows is not woken.
    pub(crate) fn write(&self) {
        if self.visitors.announce() {
            self.tell(StoreCommand::Write);
        }
    }

    /// Reads a key; `None` if no answer arrived in time.
    pub(crate) async fn read(&self, key: String, limit: &mut Limit<'_>) -> Stored {
        let (reply, value) = question();
        self.tell(StoreCommand::Read(key, reply));
        self.worker.answer(value, limit).await.ok().flatten()
    }

    /// Waits until what was requested so far has been tried, and visitor state written.
    pub(crate) async fn drain(&self, limit: &mut Limit<'_>) -> bool {
        if self.visitors.first_waiting().is_some() {
            // Another thread may have announced it and not sent the message yet.
            self.tell(StoreCommand::Write);
        }
        let (reply, drained) = question();
        self.tell(StoreCommand::Drain(self.visitors.next_ticket(), self.clock.moment(limit.at()), reply));
        self.worker.answer(drained, limit).await.is_ok()
    }

    /// Has everything that is waiting written, for which the store has until `soft`, and waits for the thread
    /// to end. Returns whether it has.
    pub(crate) async fn close(&self, soft: Instant, limit: &mut Limit<'_>) -> bool {
        self.tell(StoreCommand::Close(self.clock.moment(soft)));
        self.worker.join(limit).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::adapters::InMemoryDataStore;
    use crate::engine::state_key;
    use crate::ports::DataStore;
    use crate::threads::blocking;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_drain_writes_what_another_thread_only_announced() {
        let store = Arc::new(InMemoryDataStore::new());
        let visitors = Arc::new(Visitors::new(std::num::NonZeroUsize::MAX, None, true));
        let handle = StoreHandle::start(StoreSettings {
            store: store.clone(),
            visitors: Arc::clone(&visitors),
            notifier: Arc::default(),
            timeout: PATIENCE,
            lease: PATIENCE,
            ttl: None,
        })
        .unwrap();
        visitors.update(&"v".into(), None, Default::default, |state| state.decide(&"1".into(), &"2".into()));
        // What another thread does first in `write`.
        assert!(visitors.announce());
        handle.write();
        let drained =
            blocking(async |caller| handle.drain(&mut caller.until(Instant::now() + PATIENCE)).await);
        assert!(drained && store.get(&state_key("v")).unwrap().is_some());
    }
}
