//! A flush: what is asked, and what is answered.

use super::{Moment, ReleaseReason, Reply, Stats};

/// A question: deliver every record sent so far, and report.
pub(crate) struct FlushRequest {
    pub(crate) reason: ReleaseReason,
    /// It is answered by then, whatever is left.
    pub(crate) deadline: Moment,
    /// It is answered when an attempt that began after it has failed.
    pub(crate) single_attempt: bool,
    pub(crate) reply: Reply<FlushReport>,
}

/// What became of the records that a flush covered: all those recorded before it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FlushReport {
    /// Records that the endpoint took while the flush waited.
    pub delivered: u64,
    /// Records that were dropped: covered ones, and any since the last flush that was answered; by a
    /// `shutdown` also those that its close dropped.
    pub dropped: u64,
    /// Covered records that are kept and will be retried; none after a `shutdown`.
    pub pending: u64,
    /// The whole ledger when the flush was answered.
    pub stats: Stats,
}

impl FlushReport {
    /// Whether everything covered was delivered, and nothing was lost since the last answered flush.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.pending == 0 && self.dropped == 0
    }
}
