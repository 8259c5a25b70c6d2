//! What a flush answers.

use thiserror::Error;

use crate::tracking::Stats;

/// What became of the records that a flush covered: all those recorded before it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlushReport {
    /// Records that the endpoint took while the flush waited.
    pub delivered: u64,
    /// Records that were dropped while the flush waited.
    pub dropped: u64,
    /// Records that are kept and will be retried.
    pub pending: u64,
    /// The whole ledger when the flush was answered.
    pub stats: Stats,
}

impl FlushReport {
    /// Whether everything covered was delivered.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.pending == 0 && self.dropped == 0
    }
}

/// Why a flush cannot say that everything was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FlushError {
    /// A delivery that began after the flush failed, or records were dropped. The report says how
    /// many; `stats.last_error` says why.
    #[error("{} records are undelivered and kept, {} were dropped", .0.pending, .0.dropped)]
    Incomplete(Box<FlushReport>),
    /// The deadline passed. The records are kept and delivery goes on. Holds the ledger at that
    /// time.
    #[error("timed out with {} records pending", .0.pending)]
    Timeout(Box<Stats>),
    /// The core is closed. Holds the final ledger.
    #[error("the core is closed")]
    Closed(Box<Stats>),
}

impl FlushError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Incomplete(_) => "flush_incomplete",
            Self::Timeout(_) => "flush_timeout",
            Self::Closed(_) => "closed",
        }
    }

    /// The ledger when the flush ended.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        match self {
            Self::Incomplete(report) => &report.stats,
            Self::Timeout(stats) | Self::Closed(stats) => stats,
        }
    }
}
