//! The account of every record: what came in, where it is, and what became of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::event::Class;
use super::moment::Moment;
use crate::ports::DeliveryFailure;

/// The ledger of one [`Core`](crate::Core), in records: an exposure is one, a conversion is one
/// (also with goal data, which makes it two events on the wire).
///
/// Always `recorded == deduplicated + delivered + pending + dropped.total()`; see
/// [`is_balanced`](Self::is_balanced). `recorded` is counted by the callers, what became of the records by
/// the tracker; no total ever goes back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Every exposure and conversion that was handed over, refused ones included.
    pub recorded: u64,
    /// Found to be repetitions by the tracker; nothing is sent for them.
    pub deduplicated: u64,
    /// Accepted by the endpoint with a 2xx status.
    pub delivered: u64,
    /// Neither delivered nor dropped yet; [`pending_places`](Self::pending_places) says where they are.
    pub pending: u64,
    /// Where the pending records are.
    pub pending_places: PendingPlaces,
    /// How long the oldest pending record has been waiting, from when the tracker took it.
    pub oldest_pending_age: Option<Duration>,
    /// Lost, by reason.
    pub dropped: Dropped,
    /// Events that the delivered records were sent as; a conversion with goal data is two.
    pub delivered_events: u64,
    /// Delivery requests made.
    pub requests: u64,
    /// Of these, how many carried records that an earlier one had carried.
    pub retries: u64,
    /// Of these, how many ended without an answer, so that the endpoint may have the records twice
    /// after the retry.
    pub fate_unknown: u64,
    /// Bytes of all request bodies.
    pub sent_bytes: u64,
    /// Bytes of delivered bodies.
    pub delivered_bytes: u64,
    /// The last failed delivery.
    pub last_error: Option<DeliveryError>,
    /// The circuit breaker in front of the tracking endpoint.
    pub breaker: BreakerState,
    /// How often the circuit breaker has opened.
    pub breaker_opened: u64,
    /// Values of segments that were left out of delivered requests, as the endpoint refuses a request with
    /// them: null, objects, list items that are not strings, and `customSegments` that is not a list.
    pub segments_left_out: u64,
    /// Answers of the data store that were failures, keys that it could not be told of, and visitors whose
    /// state was not written by the end.
    pub store_failures: u64,
    /// Answers of the data store that did not come in time; this process decided from memory.
    pub store_timeouts: u64,
    /// Visitors whose state was forgotten to make room or for its age.
    pub visitors_evicted: u64,
    /// Deduplication marks that were forgotten to make room or for their age.
    pub marks_evicted: u64,
    /// Lifecycle events that a slow handler or subscriber missed, or that waited for a handler when the
    /// time of a close was over.
    pub events_missed: u64,
    /// Panics of handlers, sources, sinks and data stores that were caught.
    pub panics: u64,
    /// Where the config in place is from; `None` until there is one.
    pub config_origin: Option<ConfigOrigin>,
    /// When the config in place was given, fetched, or last confirmed as current.
    pub config_at: Option<SystemTime>,
    /// Forks between the process that first used the SDK and this one. A child's counts begin at zero.
    pub fork_generation: u64,
}

/// Where the pending records are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PendingPlaces {
    /// On the way to the tracker, or being handed over.
    pub in_channel: u64,
    /// In the open batch, not yet released.
    pub in_batch: u64,
    /// Released, and waiting for a free lane or the end of a backoff.
    pub waiting: u64,
    /// In a delivery.
    pub in_flight: u64,
    /// Of those that wait, how many a failed delivery carried.
    pub to_retry: u64,
}

/// Lost records by reason, each by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Dropped {
    /// Refused because the channel to the tracker was full.
    pub queue_full: ByClass,
    /// Dropped from a full backlog to make room for newer or more valuable records, or found no room in it.
    pub overflow: ByClass,
    /// Refused in a request of its own (400, 422 or 413), or impossible to put into a request. A refused key
    /// drops nothing.
    pub rejected: ByClass,
    /// Older than the configured age.
    pub expired: ByClass,
    /// Handed over after close, or left behind by it.
    pub closed: ByClass,
}

/// Counts by class of record, in the order in which records are dropped when there is no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ByClass {
    /// Exposures, which go first.
    pub exposures: u64,
    /// Conversions without revenue.
    pub conversions: u64,
    /// Conversions with revenue, which go last.
    pub revenue: u64,
}

/// A failed delivery: when, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DeliveryError {
    /// When the delivery failed.
    pub at: SystemTime,
    /// Why the sink did not take it.
    pub cause: DeliveryFailure,
}

/// Where a config is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ConfigOrigin {
    /// Given by the application.
    Direct,
    /// Fetched by the SDK key.
    Fetched,
}

/// The state of the circuit breaker in front of the tracking endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BreakerState {
    /// Deliveries are made.
    #[default]
    Closed,
    /// The endpoint keeps failing; nothing is sent until the backoff ends, except by a flush.
    Open,
    /// A small delivery finds out whether the endpoint works again.
    HalfOpen,
}

impl Stats {
    /// Whether every record is accounted for.
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        self.recorded == self.deduplicated + self.delivered + self.pending + self.dropped.total()
            && self.pending == self.pending_places.total()
    }

    /// Records that were not repetitions: delivered, pending or dropped.
    #[must_use]
    pub const fn accepted(&self) -> u64 {
        self.recorded - self.deduplicated
    }
}

impl PendingPlaces {
    /// All pending records.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.in_channel + self.in_batch + self.waiting + self.in_flight
    }
}

impl Dropped {
    /// All lost records.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let Self { queue_full, overflow, rejected, expired, closed } = *self;
        queue_full.total() + overflow.total() + rejected.total() + expired.total() + closed.total()
    }
}

impl ByClass {
    /// Records of every class.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.exposures + self.conversions + self.revenue
    }

    pub(crate) const fn count(&mut self, class: Class) {
        self.add(class, 1);
    }

    pub(crate) const fn add_all(&mut self, other: Self) {
        self.exposures += other.exposures;
        self.conversions += other.conversions;
        self.revenue += other.revenue;
    }

    const fn add(&mut self, class: Class, records: u64) {
        *match class {
            Class::Exposure => &mut self.exposures,
            Class::Conversion => &mut self.conversions,
            Class::Revenue => &mut self.revenue,
        } += records;
    }
}

/// Where the tracker publishes its counts, and callers count what they could not hand over.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Written by the tracker alone, once for each step; `recorded` and `pending` hold what it has
    /// received.
    counts: Mutex<Counts>,
    /// Records that callers have begun to hand over, refused ones included.
    offered: [Stripe; STRIPES],
    refused_full: Refusals,
    refused_closed: Refusals,
    /// Exposures that were lost after they were handed over, and marks that were forgotten.
    exposures_lost: AtomicU64,
    /// Dropped records that a flush has told of.
    told: AtomicU64,
}

#[derive(Default)]
struct Counts {
    stats: Stats,
    oldest_pending: Option<Moment>,
}

/// Counters that threads rarely share.
const STRIPES: usize = 16;

/// A counter with a cache line, and the one that is fetched with it, of its own.
#[derive(Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

/// By class.
#[derive(Default)]
struct Refusals([AtomicU64; 3]);

/// Why a record was not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

impl Ledger {
    pub(crate) fn publish(&self, stats: &Stats, oldest_pending: Option<Moment>) {
        let Dropped { queue_full: _, overflow, rejected, expired, closed } = stats.dropped;
        let dropped = [overflow, rejected, expired, closed].map(|it| it.exposures);
        let lost = dropped.iter().sum::<u64>() + stats.marks_evicted;
        self.exposures_lost.store(lost, Ordering::Release);
        let mut counts = self.lock();
        counts.stats.clone_from(stats);
        counts.oldest_pending = oldest_pending;
    }

    /// Exposures that the tracker has lost, and marks that it has forgotten.
    pub(crate) fn exposures_lost(&self) -> u64 {
        self.exposures_lost.load(Ordering::Acquire)
    }

    /// A caller begins to hand a record over.
    #[inline]
    pub(crate) fn count_offered(&self) {
        // Threads have their stacks in different places, and this is a place on the caller's.
        let here = std::ptr::from_ref(&self).addr();
        let stripe = (here >> 12) % STRIPES;
        self.offered[stripe].0.fetch_add(1, Ordering::Relaxed);
    }

    /// A record that was offered is not handed over.
    pub(crate) fn count_refused(&self, refused: Refused, class: Class) {
        let counters = match refused {
            Refused::Full => &self.refused_full,
            Refused::Closed => &self.refused_closed,
        };
        // After the offer, for whoever reads this.
        counters.0[class as usize].fetch_add(1, Ordering::Release);
    }

    /// Of so many records dropped in all, how many no flush has told of. They are told now.
    pub(crate) fn tell_dropped(&self, dropped: u64) -> u64 {
        dropped.saturating_sub(self.told.fetch_max(dropped, Ordering::Relaxed))
    }

    /// The counts now. What was offered is read last: a record that has a fate was offered before.
    pub(crate) fn read(&self, now: Moment) -> Stats {
        let (mut stats, oldest) = {
            let counts = self.lock();
            (counts.stats.clone(), counts.oldest_pending)
        };
        stats.oldest_pending_age = oldest.map(|since| now - since);
        stats.recorded += self.refused_full.add_to(&mut stats.dropped.queue_full);
        stats.recorded += self.refused_closed.add_to(&mut stats.dropped.closed);
        let offered: u64 = self.offered.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum();
        let in_channel = offered.saturating_sub(stats.recorded);
        stats.recorded = offered;
        stats.pending += in_channel;
        stats.pending_places.in_channel = in_channel;
        stats
    }

    /// Counts are plain numbers, good after any panic.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refusals {
    fn add_to(&self, dropped: &mut ByClass) -> u64 {
        let mut all = 0;
        for (counter, class) in self.0.iter().zip(Class::ALL) {
            let refused = counter.load(Ordering::Acquire);
            dropped.add(class, refused);
            all += refused;
        }
        all
    }
}
