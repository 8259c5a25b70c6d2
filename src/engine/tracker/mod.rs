//! The tracker: finds repetitions, keeps what is accepted, decides when to deliver, keeps the account.

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

/// A record, and who waits for the tracker's verdict on it.
pub(crate) struct Record {
    pub(crate) event: TrackedEvent,
    pub(crate) verdict: Option<Reply<Verdict>>,
    /// Bytes of long texts, which the channel counts.
    pub(crate) long_bytes: usize,
}

/// What became of a record at the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Repeated,
    NoRoom,
}

/// Records on their way out.
pub(crate) struct Delivery {
    /// Counts up; a flush asks for a delivery that began after it.
    pub(crate) attempt: u64,
    pub(crate) records: Vec<Queued>,
    pub(crate) reason: ReleaseReason,
    /// How often the first of the records was tried before.
    pub(crate) retries: u32,
}

/// A delivery that has ended.
pub(crate) struct Outcome {
    pub(crate) delivery: Delivery,
    pub(crate) result: Result<Receipt, DeliveryFailure>,
    pub(crate) bytes: usize,
    /// Segment values that the endpoint would have refused the request for.
    pub(crate) left_out: u64,
}
