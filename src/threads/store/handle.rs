//! The handle to the store actor, for any thread.

use std::sync::Arc;

use crossbeam_channel::{SendError, Sender, unbounded};

use super::run::StoreThread;
use super::{StoreMessage, StoreSettings};
use crate::engine::{StoreCommand, Stored, question};
use crate::error::StartError;
use crate::ports::StoreError;
use crate::threads::clock::Clock;
use crate::threads::{Deadline, Limit, Worker};
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
        let clock = settings.clock.clone();
        let thread = StoreThread::new(settings, messages);
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
    pub(crate) async fn close(&self, soft: &Deadline, limit: &mut Limit<'_>) -> bool {
        self.tell(StoreCommand::Close(self.clock.moment(soft)));
        self.worker.join(limit).await
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::{Duration, Instant};

    use crossbeam_channel::{Receiver, bounded};
    use serde_json::Value;

    use super::*;
    use crate::adapters::InMemoryDataStore;
    use crate::engine::{LifecycleEvent, state_key};
    use crate::ports::DataStore;
    use crate::threads::{Notifier, blocking};

    const PATIENCE: Duration = Duration::from_secs(30);

    fn start(store: Arc<dyn DataStore>, visitors: &Arc<Visitors>, notifier: &Arc<Notifier>) -> StoreHandle {
        StoreHandle::start(StoreSettings {
            store,
            visitors: Arc::clone(visitors),
            notifier: Arc::clone(notifier),
            timeout: PATIENCE,
            lease: PATIENCE,
            ttl: None,
            clock: Clock::start(),
        })
        .unwrap()
    }

    fn decide(visitors: &Visitors) {
        visitors.update(
            &"v".into(),
            None,
            |_| Default::default(),
            |state, _| state.decide(&"1".into(), &"2".into()),
        );
    }

    /// Answers no read before it is told to.
    struct Silent(Receiver<()>);

    impl DataStore for Silent {
        fn get(&self, _: &str) -> Result<Option<Value>, StoreError> {
            let _ = self.0.recv();
            Ok(None)
        }
        fn set(&self, _: &str, _: Value, _: Option<Duration>) -> Result<(), StoreError> {
            Ok(())
        }
        fn delete(&self, _: &str) -> Result<(), StoreError> {
            Ok(())
        }
    }

    #[test]
    fn state_unwritten_at_a_deadline_is_told_and_at_the_end_counted() {
        let ((_go_on, told), visitors) = (bounded(0), Arc::new(Visitors::new(NonZeroUsize::MAX, None, true)));
        let notifier = Arc::<Notifier>::default();
        let events = notifier.subscribe();
        let handle = start(Arc::new(Silent(told)), &visitors, &notifier);
        decide(&visitors);
        let left = || match events.next_before(Instant::now() + PATIENCE) {
            Some(LifecycleEvent::DataStoreQueueReleased { written: 0, left, .. }) => left,
            other => panic!("{other:?}"),
        };
        // Both deadlines are over when the thread looks at them.
        let drain = StoreCommand::Drain(visitors.next_ticket(), handle.clock.now(), question().0);
        handle.write();
        handle.tell(drain);
        assert_eq!((left(), visitors.store_failures()), (1, 0), "it may still be written");
        let ended = blocking(async |caller| {
            handle.close(&Instant::now().into(), &mut caller.until(Instant::now() + PATIENCE)).await
        });
        assert!(ended, "it waits for the store");
        assert_eq!((left(), visitors.store_failures()), (1, 1));
    }

    #[test]
    fn a_drain_writes_what_another_thread_only_announced() {
        let store = Arc::new(InMemoryDataStore::new());
        let visitors = Arc::new(Visitors::new(NonZeroUsize::MAX, None, true));
        let handle = start(store.clone(), &visitors, &Arc::default());
        decide(&visitors);
        // What another thread does first in `write`.
        assert!(visitors.announce());
        handle.write();
        let drained =
            blocking(async |caller| handle.drain(&mut caller.until(Instant::now() + PATIENCE)).await);
        assert!(drained && store.get(&state_key("v")).unwrap().is_some());
    }
}
