//! The store's thread, the way to it, and the threads that wait for the store.

mod call;
mod handle;
mod run;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::engine::{Claimed, StoreCommand};
use crate::ports::DataStore;
use crate::threads::Notifier;
use crate::visitors::Visitors;

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

/// What the store's thread is sent.
pub(crate) enum StoreMessage {
    /// For the machine.
    Command(StoreCommand),
    /// Send the answers to claims here.
    Attach(Sender<Vec<Claimed>>),
    /// The tracker has ended: here are the answers that it has not heard, and the claims, by number, whose
    /// records were not dropped.
    Detach(Receiver<Vec<Claimed>>, HashSet<u64>),
}

#[cfg(test)]
pub(crate) use call::perform;
pub(crate) use handle::StoreHandle;
