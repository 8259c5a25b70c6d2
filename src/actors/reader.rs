//! The reader: asks a synchronous data store for visitors, so that no task has to wait for its I/O.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::Value;

use super::reply::Reply;
use super::thread::Worker;
use super::wait::{Limit, Wakers, answer, question, send};
use crate::error::StartError;
use crate::state::{DataStore, StoreError};

/// Questions that may wait; further tasks wait for room.
const QUESTIONS: usize = 64;

/// The way to the reader. Dropping the last one ends the thread after the call at hand.
pub(crate) struct ReaderHandle {
    inbox: Sender<Question>,
    room: Arc<Wakers>,
    worker: Worker,
}

/// A key, and where its value goes.
struct Question(String, Reply<Stored>);

/// What a store has under a key.
pub(crate) type Stored = Result<Option<Value>, StoreError>;

impl ReaderHandle {
    /// Starts the thread.
    pub(crate) fn start(store: Arc<dyn DataStore>) -> Result<Self, StartError> {
        let (inbox, questions) = bounded(QUESTIONS);
        let room = Arc::<Wakers>::default();
        let taken = Arc::clone(&room);
        let worker = Worker::start("convert-reader", move || run(store.as_ref(), &questions, &taken))?;
        Ok(Self { inbox, room, worker })
    }

    /// What the store has under this key.
    pub(crate) async fn get(&self, key: String) -> Stored {
        let (reply, stored) = question();
        // How long a store may take is its own business, as on a thread of the caller's.
        let mut endless = Limit::Endless;
        let try_send = |question| self.inbox.try_send(question);
        let ended = |_| StoreError::new("the reader ended");
        let asked = Question(key, reply);
        send(&self.worker, &self.room, &mut endless, asked, try_send).await.map_err(ended)?;
        answer(&self.worker, stored, &mut endless).await.map_err(ended)?
    }
}

fn run(store: &dyn DataStore, questions: &Receiver<Question>, room: &Wakers) {
    for Question(key, reply) in questions {
        room.wake_all();
        reply.send(store.get(&key));
    }
}
