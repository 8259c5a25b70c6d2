//! The tracker: finds repetitions, keeps what is accepted, decides when to deliver, keeps the account.

mod at_hand;
mod deliveries;
mod effects;
mod flushes;
mod handle;
mod machine;
mod pacer;
mod run;
#[cfg(test)]
mod simulation;
#[cfg(feature = "async")]
mod tasks;
#[cfg(test)]
mod tests;

pub(crate) use handle::TrackerHandle;
pub(crate) use machine::TrackerSettings;

use super::reply::Reply;
use crate::flush::FlushReport;
use crate::tracking::{ReleaseReason, Stats, TrackedEvent};

/// A record, and who waits for the tracker's verdict on it.
pub(crate) struct Record {
    event: TrackedEvent,
    verdict: Option<Reply<Verdict>>,
    /// Bytes of long texts, which the channel counts.
    long_bytes: usize,
}

/// What the tracker can be asked besides taking a record.
pub(crate) enum TrackerCommand {
    /// Deliver every record sent so far and report.
    Flush(ReleaseReason, Reply<FlushReport>),
    /// End after the deliveries at hand and report what is left.
    Close(Reply<Stats>),
}

/// What became of a record at the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Repeated,
    NoRoom,
}
