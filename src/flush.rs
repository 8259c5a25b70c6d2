//! How long a flush keeps trying, and how it can fail.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::engine::{DeliveryError, FlushReport, Stats};

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
    pub(crate) timeout: Duration,
    pub(crate) single_attempt: bool,
}

/// How long a flush keeps trying, from its start.
#[cfg(feature = "threads")]
pub(crate) struct FlushLimit {
    /// It is answered by this deadline, whatever is left.
    pub(crate) deadline: crate::threads::Deadline,
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
}

impl FlushReport {
    /// `Ok` if it is complete.
    pub(crate) fn into_result(self) -> Result<Self, FlushError> {
        if self.is_complete() { Ok(self) } else { Err(FlushError::Incomplete(Box::new(self))) }
    }
}

/// Why a flush cannot confirm that everything was delivered.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FlushError {
    /// Records were dropped, or the only attempt failed. The report says how many; `stats.last_error` says
    /// why. A record dropped before the flush is reported by only one flush.
    #[error(
        "records lost: {}, undelivered and kept: {}{}",
        .0.dropped, .0.pending, Last(.0.stats.last_error.as_ref())
    )]
    Incomplete(Box<FlushReport>),
    /// The deadline passed. After a `flush` the records are kept and delivery continues; after a `shutdown` they are
    /// dropped or, if a call could not be ended in time, still pending and lost. In the report, `pending` counts all
    /// records, `delivered` at least those that the flush covered. What a timed-out `flush` reports as dropped, the next flush reports again.
    #[error(
        "timed out; records lost: {}, still undelivered: {}{}",
        .0.dropped, .0.pending, Last(.0.stats.last_error.as_ref())
    )]
    Timeout(Box<FlushReport>),
    /// The core is closed, or was closed while the flush waited. The report is like that of a timeout; its ledger is
    /// final once the close has finished.
    #[error("the core is closed")]
    Closed(Box<FlushReport>),
    /// The core is driven by a pump, for whose turns this call would wait: use [`Pump`](crate::pump::Pump). Nothing was
    /// begun. Holds the ledger.
    #[error("the call would wait for the pump")]
    WouldBlock(Box<Stats>),
}

/// The end of a message: the last failed delivery, if any delivery has failed.
struct Last<'a>(Option<&'a DeliveryError>);

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |error| write!(f, "; the last failed delivery: {error}"))
    }
}

impl FlushError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Incomplete(_) => "flush_incomplete",
            Self::Timeout(_) => "flush_timeout",
            Self::Closed(_) => "closed",
            Self::WouldBlock(_) => "would_block",
        }
    }

    /// The ledger when the flush ended.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        match self {
            Self::Incomplete(report) | Self::Timeout(report) | Self::Closed(report) => &report.stats,
            Self::WouldBlock(stats) => stats,
        }
    }

    /// What became of the records; `None` if nothing was begun.
    #[must_use]
    pub const fn report(&self) -> Option<&FlushReport> {
        match self {
            Self::Incomplete(report) | Self::Timeout(report) | Self::Closed(report) => Some(report),
            Self::WouldBlock(_) => None,
        }
    }
}
