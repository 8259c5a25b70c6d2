//! The reader: asks a synchronous data store for visitors, so that no task has to wait for its I/O.

use std::sync::Arc;

use serde_json::Value;

use super::inbox::{Desk, Inbox};
use super::wait::Limit;
use crate::error::StartError;
use crate::state::{DataStore, StoreError};

/// The way to the reader. Dropping the last one ends the thread after the call at hand.
pub(crate) struct ReaderHandle(Desk<String, Stored>);

/// What a store has under a key.
pub(crate) type Stored = Result<Option<Value>, StoreError>;

impl ReaderHandle {
    /// Starts the thread.
    pub(crate) fn start(store: Arc<dyn DataStore>) -> Result<Self, StartError> {
        Desk::start("convert-reader", move |inbox| run(store.as_ref(), inbox)).map(Self)
    }

    /// What the store has under this key.
    pub(crate) async fn get(&self, key: String) -> Stored {
        // How long a store may take is its own business, as on a thread of the caller's.
        let stored = self.0.ask_in_task(key, &mut Limit::Endless).await;
        stored.unwrap_or_else(|| Err(StoreError::new("the core is closed")))
    }

    /// Ends the thread after the call at hand. What waits is not read any more.
    pub(crate) fn stop(&self) {
        self.0.close();
    }
}

/// In the order of the questions; those that no task waits for any more are left out.
fn run(store: &dyn DataStore, inbox: &Inbox<String, Stored>) {
    while let Some((key, reply)) = inbox.next() {
        reply.send(store.get(&key));
    }
}
