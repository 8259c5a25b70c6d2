//! The store: all calls to the application's data store, in batches and behind deadlines.

mod machine;

pub(crate) use machine::{StoreEffect, StoreMachine};

use std::time::Duration;

use serde_json::Value;

use super::{Moment, Reply};
use crate::ports::StoreError;

/// What the store has under a key; `None` where it did not answer in time.
pub(crate) type Stored = Option<Result<Option<Value>, StoreError>>;

/// A record of the tracker's, and the key that it claims.
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
    /// It was, and is leased now.
    First,
    /// It was not.
    Repeated,
    /// The store failed.
    Failed,
    /// Time ran out before it could be asked.
    Unasked,
    /// It has been asked and has not answered in time; another answer follows if it ever does.
    Late,
}

/// What the store can be asked.
pub(crate) enum StoreCommand {
    /// The value of a key.
    Read(String, Reply<Stored>),
    /// Lease these keys.
    Claim(Vec<ClaimRequest>),
    /// What was leased has been delivered: the keys stay.
    Keep(Vec<String>),
    /// What was leased has been dropped: the keys are free again.
    Release(Vec<String>),
    /// Visitor state waits to be written.
    Write,
    /// Write what waits, at most until then, and end.
    Close(Moment),
    /// Answer when everything asked before this has been tried once, visitor state up to this ticket
    /// included, or then.
    Drain(u64, Moment, Reply<()>),
}

/// A batch for the data store.
#[derive(Debug)]
pub(crate) enum Call {
    Read(Vec<String>),
    /// Keys to be leased for a time.
    Claim(Vec<String>, Duration),
    Keep(Vec<String>, Option<Duration>),
    Release(Vec<String>),
    /// As many visitors as this.
    Write(usize),
}

/// What the data store has answered, item by item.
#[derive(Debug)]
pub(crate) enum Done {
    Read(Vec<Result<Option<Value>, StoreError>>),
    Claim(Vec<Result<bool, StoreError>>),
    /// Keys kept or released; failures are counted, and the leases run out.
    KeysUpdated,
    /// Visitors written and refused, and the first ticket that still waits.
    Write {
        written: usize,
        refused: usize,
        next: Option<u64>,
    },
}
