//! The store's thread, the way to it, and the threads that wait for the store.

mod call;
mod handle;
mod run;

use std::collections::HashSet;

use crossbeam_channel::{Receiver, Sender};

use crate::engine::{Claimed, StoreCommand};

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
pub(crate) use handle::{StoreHandle, StoreSettings};
