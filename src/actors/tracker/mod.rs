//! The tracker: finds repetitions, keeps what is accepted, decides when to deliver, keeps the account.

mod at_hand;
mod claims;
mod deliveries;
mod effects;
mod flushes;
mod handle;
mod isolation;
mod machine;
mod pacer;
mod repetitions;
mod run;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub(crate) use handle::TrackerHandle;
pub(crate) use machine::TrackerSettings;

use super::wait::Reply;
use crate::flush::{FlushLimit, FlushReport};
use crate::tracking::{ReleaseReason, TrackedEvent};

/// A record, and who waits for the tracker's verdict on it.
pub(crate) struct Record {
    event: TrackedEvent,
    verdict: Option<Reply<Verdict>>,
    /// Bytes of long texts, which the channel counts.
    long_bytes: usize,
}

/// A question: deliver every record sent so far, and report.
pub(crate) struct FlushRequest {
    reason: ReleaseReason,
    limit: FlushLimit,
    reply: Reply<FlushReport>,
}

/// What became of a record at the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Repeated,
    NoRoom,
}
