//! The account of every record: what came in, where it is, and what became of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::transport::TransportError;

/// The ledger of one [`Core`](crate::Core), in records: an exposure is one, a conversion is one
/// (also with goal data, which makes it two events on the wire).
///
/// Always `recorded == deduplicated + delivered + pending + dropped.total()`; see
/// [`is_balanced`](Self::is_balanced).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Every exposure and conversion that was handed over, refused ones included.
    pub recorded: u64,
    /// Found to be repetitions by the tracker; nothing is sent for them.
    pub deduplicated: u64,
    /// Taken by the endpoint with a 2xx status.
    pub delivered: u64,
    /// On their way: in the channel, in the open batch, in a delivery, or waiting to be retried.
    pub pending: u64,
    /// Lost, by reason.
    pub dropped: Dropped,
    /// Events on the wire that the delivered records were.
    pub delivered_events: u64,
    /// Delivery requests made.
    pub requests: u64,
    /// Of these, how many carried records that an earlier one had carried.
    pub retries: u64,
    /// Of these, how many ended without an answer, so that the endpoint may have the records twice
    /// after the retry.
    pub fate_unknown: u64,
    /// Bytes of delivered bodies.
    pub delivered_bytes: u64,
    /// The last failed delivery.
    pub last_error: Option<DeliveryError>,
    /// Calls to the data store that failed.
    pub store_failures: u64,
    /// Visitors whose state was forgotten to make room.
    pub visitors_evicted: u64,
    /// Deduplication marks that were forgotten to make room.
    pub marks_evicted: u64,
    /// Lifecycle events that a slow handler or subscriber missed.
    pub events_missed: u64,
    /// Forks between the process that first used the SDK and this one. A child's counts begin at zero.
    pub fork_generation: u64,
}

/// Lost records by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Refused because the channel to the tracker was full.
    pub queue_full: u64,
    /// Made room for newer or better defended records in a full backlog.
    pub overflow: u64,
    /// The endpoint refused them with a status that is not worth a retry.
    pub rejected: u64,
    /// Handed over after close, or left behind by it.
    pub closed: u64,
}

/// A failed delivery: when, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryError {
    /// When the delivery failed.
    pub at: SystemTime,
    /// The status of a refusal, or the transport's failure.
    pub cause: TransportError,
}

impl Stats {
    /// Whether every record is accounted for.
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        self.recorded == self.deduplicated + self.delivered + self.pending + self.dropped.total()
    }

    /// Records that were not repetitions: delivered, pending or dropped.
    #[must_use]
    pub const fn accepted(&self) -> u64 {
        self.recorded - self.deduplicated
    }
}

impl Dropped {
    /// All lost records.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let Self { queue_full, overflow, rejected, closed } = *self;
        queue_full + overflow + rejected + closed
    }
}

/// Where the tracker publishes its counts, and callers count what they could not hand over.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Written by the tracker alone, once for each step; `recorded` and `pending` hold what it has
    /// received.
    counts: Mutex<Stats>,
    refused_full: AtomicU64,
    refused_closed: AtomicU64,
}

/// Why a record was not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

impl Ledger {
    pub(crate) fn publish(&self, counts: &Stats) {
        self.lock().clone_from(counts);
    }

    pub(crate) fn count_refused(&self, refused: Refused) {
        let counter = match refused {
            Refused::Full => &self.refused_full,
            Refused::Closed => &self.refused_closed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts now, with `in_channel` records that the tracker has not received: not yet, or,
    /// after its end, never.
    pub(crate) fn read(&self, in_channel: usize, ended: bool) -> Stats {
        let mut stats = self.lock().clone();
        let full = self.refused_full.load(Ordering::Relaxed);
        let closed = self.refused_closed.load(Ordering::Relaxed);
        let in_channel = in_channel as u64;
        stats.recorded += in_channel + full + closed;
        if ended {
            stats.dropped.closed += in_channel;
        } else {
            stats.pending += in_channel;
        }
        stats.dropped.queue_full += full;
        stats.dropped.closed += closed;
        stats
    }

    /// Counts are plain numbers, good after any panic.
    fn lock(&self) -> MutexGuard<'_, Stats> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
