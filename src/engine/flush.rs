//! Flushes: the request and the report.

use super::{Moment, ReleaseReason, Reply, Stats};

/// A request to deliver every record sent so far and to report.
pub(crate) struct FlushRequest {
    pub(crate) reason: ReleaseReason,
    /// It is answered by then, whatever is left undelivered.
    pub(crate) deadline: Moment,
    /// It is answered as soon as an attempt that began after it has failed.
    pub(crate) single_attempt: bool,
    pub(crate) reply: Reply<FlushReport>,
}

/// What became of the records that a flush covered: all those recorded before it was requested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FlushReport {
    /// Records accepted by the endpoint while the flush waited.
    pub delivered: u64,
    /// Records that were dropped: those the flush covered, and any dropped since the last flush was answered.
    /// For a `shutdown`, also those that its close dropped.
    pub dropped: u64,
    /// Covered records that are kept and will be retried; after a `shutdown`, those left on disk for the next process.
    pub pending: u64,
    /// The whole ledger at the time the flush was answered.
    pub stats: Stats,
}

impl FlushReport {
    /// Whether everything covered was delivered, and nothing was lost since the last answered flush.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.pending == 0 && self.dropped == 0
    }
}
