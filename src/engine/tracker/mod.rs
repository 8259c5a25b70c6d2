//! The tracker: detects repetitions, keeps accepted records, decides when to deliver, keeps the ledger.

mod claims;
mod deliveries;
mod effects;
mod flushes;
mod machine;
mod repetitions;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use effects::{Effect, Effects};
pub(crate) use machine::{Tracker, TrackerSettings};
#[cfg(test)]
pub(crate) use repetitions::mark_key;

use super::{Queued, ReleaseReason, Reply, TrackedEvent};
use crate::ports::{DeliveryFailure, Receipt};

/// A record, and the caller waiting for the tracker's verdict on it.
pub(crate) struct Record {
    pub(crate) event: TrackedEvent,
    pub(crate) verdict: Option<Reply<Verdict>>,
    /// Bytes of long strings, which the channel counts.
    pub(crate) long_bytes: usize,
}

/// What the tracker decided about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Repeated,
    BacklogFull,
}

/// Records being sent.
pub(crate) struct Delivery {
    /// Increases with each delivery; a flush waits for one that began after it.
    pub(crate) attempt: u64,
    pub(crate) records: Vec<Queued>,
    pub(crate) reason: ReleaseReason,
    /// How many times the first record had been tried before.
    pub(crate) retries: u32,
}

/// The end of a delivery.
pub(crate) struct Outcome {
    pub(crate) delivery: Delivery,
    pub(crate) result: Result<Receipt, DeliveryFailure>,
    pub(crate) bytes: usize,
    /// Segment values left out because the endpoint would have refused the request.
    pub(crate) left_out: u64,
}
