//! The store's thread, its handle, and the threads that block on the store.

mod call;
mod handle;
mod run;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::engine::{Claimed, StoreCommand};
use crate::ports::DataStore;
use crate::threads::{Clock, Notifier};
use crate::visitors::Visitors;

/// The store actor's settings.
pub(crate) struct StoreSettings {
    pub(crate) store: Arc<dyn DataStore>,
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) notifier: Arc<Notifier>,
    /// How long to wait for an answer.
    pub(crate) timeout: Duration,
    /// How long a claim lasts if it is neither kept nor released.
    pub(crate) lease: Duration,
    pub(crate) ttl: Option<Duration>,
    pub(crate) clock: Clock,
}

/// The store thread's messages.
pub(crate) enum StoreMessage {
    /// For the machine.
    Command(StoreCommand),
    /// Send the answers to claims here.
    Attach(Sender<Vec<Claimed>>),
    /// The tracker has ended: these are the answers it has not read, and the numbers of the claims whose
    /// records were not dropped.
    Detach(Receiver<Vec<Claimed>>, HashSet<u64>),
}

#[cfg(test)]
pub(crate) use call::perform;
pub(crate) use handle::StoreHandle;
