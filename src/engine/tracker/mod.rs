//! The tracker: detects repetitions, keeps accepted records, decides when to deliver, keeps the ledger.

mod claims;
mod deliveries;
mod disk;
mod effects;
mod flushes;
mod machine;
mod repetitions;
#[cfg(test)]
pub(crate) mod tests;

#[cfg(test)]
pub(crate) use claims::mark_key;
pub(crate) use effects::{Effect, Effects};
pub(crate) use machine::{Tracker, TrackerSettings};

use std::time::Duration;

use super::{BatchId, Moment, Queued, ReleaseReason, Reply, TrackedEvent};
use crate::ports::{DeliveryFailure, Receipt, RecordId};

/// A record, and the caller waiting for the tracker's verdict on it.
pub(crate) struct Record {
    pub(crate) event: TrackedEvent,
    pub(crate) verdict: Option<Reply<Verdict>>,
}

/// What the tracker decided about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Repeated,
    BacklogFull,
}

/// A record for the outbox.
pub(crate) struct Saved {
    pub(crate) sequence: u64,
    pub(crate) event: TrackedEvent,
    pub(crate) at: Moment,
}

/// A record that the outbox need not keep any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// This process's, by its number.
    Own(u64),
    /// Another process's.
    Adopted(RecordId),
}

/// A record that another process has left behind, and how long ago it was recorded.
pub(crate) type Found = (RecordId, TrackedEvent, Duration);

/// What other processes have left behind.
#[derive(Default)]
pub(crate) struct Recovered {
    /// With how long ago they were recorded.
    pub(crate) records: Vec<Found>,
    /// The first of them were sent in requests with these ids, each with so many, in order.
    pub(crate) batches: Vec<(BatchId, usize)>,
    /// How many cannot be read.
    pub(crate) damaged: u64,
    /// How many are still to be read.
    pub(crate) left: u64,
    /// Of how many processes that have not ended in order these are the first.
    pub(crate) killed: u64,
}

/// A request that is about to be sent.
pub(crate) struct Note {
    pub(crate) attempt: u64,
    pub(crate) id: BatchId,
    /// What it carries, in order.
    pub(crate) records: Vec<Left>,
}

/// What a step wants from the outbox.
#[derive(Default)]
pub(crate) struct OutboxRequests {
    /// To be kept, in order.
    pub(crate) saves: Vec<Saved>,
    /// Records handed over before, as they are now.
    pub(crate) changes: Vec<Saved>,
    /// After that, need not be kept any longer.
    pub(crate) forgets: Vec<Left>,
    /// How many deliveries have carried those.
    pub(crate) deliveries: u64,
    /// After that, to be noted, so that whoever takes their records over can send them again as they were.
    pub(crate) notes: Vec<Note>,
    /// Look for what other processes have left: up to so many records and bytes.
    pub(crate) adopt: Option<(usize, usize)>,
}

/// Records being sent.
pub(crate) struct Delivery {
    /// Increases with each delivery; a flush waits for one that began after it.
    pub(crate) attempt: u64,
    pub(crate) id: Option<BatchId>,
    pub(crate) records: Vec<Queued>,
    pub(crate) reason: ReleaseReason,
    /// How many times the first record had been tried before.
    pub(crate) retries: u32,
    /// The same, or how often the endpoint has failed in a row: the time limit grows with it.
    pub(crate) patience: u32,
}

/// The end of a delivery.
pub(crate) struct Outcome {
    pub(crate) delivery: Delivery,
    pub(crate) result: Result<Receipt, DeliveryFailure>,
    pub(crate) bytes: usize,
    /// Segment values left out because the endpoint would have refused the request.
    pub(crate) left_out: u64,
}
