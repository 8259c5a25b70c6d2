//! How long a flush keeps trying, and how it can fail.

use std::time::{Duration, Instant};

use thiserror::Error;

use crate::engine::{FlushReport, Stats};

/// How long a flush keeps trying, for [`Core::flush_with`](crate::Core::flush_with).
///
/// ```
/// use std::time::Duration;
/// use convert_sdk::delivery::FlushOptions;
///
/// // Give up early instead of waiting for an endpoint that is down.
/// let options = FlushOptions::within(Duration::from_secs(2)).single_attempt(true);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct FlushOptions {
    timeout: Duration,
    single_attempt: bool,
}

/// How long a flush keeps trying, from its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlushLimit {
    /// It is answered by this deadline, whatever is left.
    pub(crate) deadline: Instant,
    /// It is answered as soon as an attempt that started after it fails.
    pub(crate) single_attempt: bool,
}

impl FlushOptions {
    /// Waits up to this long.
    pub const fn within(timeout: Duration) -> Self {
        Self { timeout, single_attempt: false }
    }

    /// Returns as soon as a delivery that started after the flush fails, instead of retrying until the deadline.
    /// Default false.
    pub const fn single_attempt(mut self, on: bool) -> Self {
        self.single_attempt = on;
        self
    }

    #[cfg(feature = "threads")]
    pub(crate) fn limit(self) -> FlushLimit {
        FlushLimit {
            deadline: crate::threads::deadline_after(self.timeout),
            single_attempt: self.single_attempt,
        }
    }
}

impl FlushReport {
    /// `Ok` if it is complete.
    pub(crate) fn into_result(self) -> Result<Self, FlushError> {
        if self.is_complete() { Ok(self) } else { Err(FlushError::Incomplete(Box::new(self))) }
    }
}

/// Why a flush cannot confirm that everything was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FlushError {
    /// Records were dropped, or the only attempt failed. The report says how many; `stats.last_error` says
    /// why. A record dropped before the flush is reported by only one flush.
    #[error("records undelivered and kept: {}, dropped: {}", .0.pending, .0.dropped)]
    Incomplete(Box<FlushReport>),
    /// The deadline passed. After a `flush` the records are kept and delivery continues; after a `shutdown` they are
    /// dropped or, if a call could not be ended in time, still pending and lost. Holds the ledger at that time.
    #[error("timed out; records pending: {}, dropped in all: {}", .0.pending, .0.dropped.total())]
    Timeout(Box<Stats>),
    /// The core is closed, or was closed while the flush waited. Holds the ledger, which is final once the close has
    /// finished.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_is_the_callers() {
        let timeout = Duration::from_secs(5);
        let before = Instant::now();
        let limit = FlushOptions::within(timeout).limit();
        assert!(limit.deadline >= before + timeout && limit.deadline <= Instant::now() + timeout);
        assert!(!limit.single_attempt);
        assert!(FlushOptions::within(timeout).single_attempt(true).limit().single_attempt);
    }
}
