//! The store: all calls to the application's data store, batched and with deadlines.

mod machine;

pub(crate) use machine::{StoreEffect, StoreMachine};

use std::time::Duration;

use serde_json::Value;

use super::{Moment, Reply};
use crate::ports::StoreError;

/// What the store has under a key; `None` if it did not answer in time.
pub(crate) type Stored = Option<Result<Option<Value>, StoreError>>;

/// One of the tracker's records, and the key that it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimRequest {
    pub(crate) sequence: u64,
    pub(crate) key: String,
}

/// The answer to a [`ClaimRequest`].
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) sequence: u64,
    pub(crate) key: String,
    pub(crate) answer: ClaimAnswer,
}

/// Whether a key was free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimAnswer {
    /// It was, and is now leased.
    First,
    /// It was not.
    Repeated,
    /// The store failed.
    Failed,
    /// Time ran out before the store could be asked.
    Unasked,
    /// The store was asked and has not answered in time; another answer follows if it ever does.
    Late,
}

/// What the store can be asked to do.
pub(crate) enum StoreCommand {
    /// The value of a key.
    Read(String, Reply<Stored>),
    /// Lease these keys.
    Claim(Vec<ClaimRequest>),
    /// What was leased has been delivered: the keys stay.
    Keep(Vec<String>),
    /// What was leased has been dropped: the keys become free again.
    Release(Vec<String>),
    /// Visitor state is waiting to be written.
    Write,
    /// Write what is waiting, until this moment at most, and end.
    Close(Moment),
    /// Answer when everything requested before this has been tried once, including visitor state up to this
    /// ticket, or at this moment at the latest.
    Drain(u64, Moment, Reply<()>),
}

/// A batch for the data store.
#[derive(Debug)]
pub(crate) enum Call {
    Read(Vec<String>),
    /// Lease these keys for a time.
    Claim(Vec<String>, Duration),
    Keep(Vec<String>, Option<Duration>),
    Release(Vec<String>),
    /// Write up to this many visitors.
    Write(usize),
}

/// The data store's answer, item by item.
#[derive(Debug)]
pub(crate) enum Done {
    Read(Vec<Result<Option<Value>, StoreError>>),
    Claim(Vec<Result<bool, StoreError>>),
    /// Keys kept or released; failures are counted, and their leases expire.
    KeysUpdated,
    /// How many visitors were written and refused, and the first ticket still waiting.
    Write {
        written: usize,
        refused: usize,
        next: Option<u64>,
    },
}
