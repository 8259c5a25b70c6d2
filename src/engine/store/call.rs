//! One call to the data store: what it asks, and how it ended.

use std::time::Duration;

use serde_json::Value;

use crate::ports::StoreError;

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
    /// Keys kept or released; what fails is counted and left to the lease's end.
    Told,
    /// Visitors written and refused, and the first ticket that still waits.
    Write {
        written: usize,
        refused: usize,
        next: Option<u64>,
    },
}
