//! The account of every record: what came in, where it is now, and how it ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::event::Class;
use super::moment::Moment;
use crate::ports::DeliveryFailure;
use crate::stripes::{STRIPES, stripe};

/// The ledger of one [`Core`](crate::Core), in records: an exposure is one, a conversion is one
/// (also with goal data, which makes it two events on the wire).
///
/// Always `recorded + recovered == deduplicated + delivered + withheld + pending + dropped.total()`; see
/// [`is_balanced`](Self::is_balanced). `recorded` is counted by the callers, all other counts by the tracker, except
/// for repetitions that the caller knows of; totals never decrease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Every exposure and conversion handed to the tracker, including those it refused, and every conversion known to
    /// be a repetition beforehand.
    pub recorded: u64,
    /// Records that other processes had left on disk, where an [outbox](crate::ports::Outbox) is used.
    pub recovered: u64,
    /// Found to be repetitions; nothing is sent for them.
    pub deduplicated: u64,
    /// Accepted by the endpoint with a 2xx status.
    pub delivered: u64,
    /// Kept in this process because the core is [offline](crate::SdkConfigBuilder::offline).
    pub withheld: u64,
    /// Neither delivered nor dropped yet; [`pending_places`](Self::pending_places) breaks this down.
    pub pending: u64,
    /// Where the pending records are.
    pub pending_places: PendingPlaces,
    /// How long the oldest pending record has been waiting since the tracker received it or, if it was recovered from
    /// an outbox, since it was recorded.
    pub oldest_pending_age: Option<Duration>,
    /// Lost, by reason.
    pub dropped: Dropped,
    /// Wire events in the delivered records; a conversion with goal data is two.
    pub delivered_events: u64,
    /// Delivery requests made.
    pub requests: u64,
    /// How many of these carried records that an earlier request had carried.
    pub retries: u64,
    /// How many of these ended without an answer, so that the endpoint may receive the records twice because
    /// of the retry. With an outbox also one for each process that was killed and whose records were recovered, as
    /// its last requests may have arrived; and at the end, the requests that the next process repeats: those in
    /// flight, and those whose records could not be removed.
    pub fate_unknown: u64,
    /// Total bytes of all request bodies.
    pub sent_bytes: u64,
    /// Total bytes of the delivered request bodies.
    pub delivered_bytes: u64,
    /// The last failed delivery.
    pub last_error: Option<DeliveryError>,
    /// The circuit breaker in front of the tracking endpoint.
    pub breaker: BreakerState,
    /// How many times the circuit breaker has opened.
    pub breaker_opened: u64,
    /// Segment values left out of delivered requests because the endpoint would refuse a request with them:
    /// null, objects, list items that are not strings, and a `customSegments` that is not a list.
    pub segments_left_out: u64,
    /// Records that the outbox has not taken, because it failed or was silent for 5 s; they are delivered from memory.
    pub outbox_missed: u64,
    /// Failed answers of the data store, keys that it could not be asked to keep or release, and visitors
    /// whose state was still unwritten at the end.
    pub store_failures: u64,
    /// Answers of the data store that did not arrive in time; this process decided from memory.
    pub store_timeouts: u64,
    /// Visitors whose state was forgotten, to make room or because of its age.
    pub visitors_evicted: u64,
    /// Deduplication marks that were forgotten, to make room or because of their age.
    pub marks_evicted: u64,
    /// Lifecycle events that a slow handler or subscriber missed, or that were still waiting for a handler
    /// when a close reached its deadline.
    pub events_missed: u64,
    /// Caught panics of handlers, sources, sinks and data stores.
    pub panics: u64,
    /// Where the current config came from; `None` until there is one.
    pub config_origin: Option<ConfigOrigin>,
    /// When the current config was given, fetched, or last confirmed to be current.
    pub config_at: Option<SystemTime>,
    /// Forks between the process that first used the SDK and this one. A child's counts start at zero.
    pub fork_generation: u64,
}

/// Where the pending records are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PendingPlaces {
    /// In the channel to the tracker, or being handed over.
    pub in_channel: u64,
    /// In the open batch, not yet released.
    pub in_batch: u64,
    /// Released, and waiting for a free lane or for a backoff to end.
    pub waiting: u64,
    /// In a delivery.
    pub in_flight: u64,
    /// On disk alone, where an outbox is used: left by other processes and not read yet, or left by the close for the
    /// next process.
    pub on_disk: u64,
    /// How many of those waiting were carried by a failed delivery.
    pub to_retry: u64,
}

/// Lost records, by reason and class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Dropped {
    /// Refused because the channel to the tracker was full.
    pub queue_full: ByClass,
    /// Dropped from a full backlog in favor of newer or more valuable records, or refused by it.
    pub overflow: ByClass,
    /// Refused by the endpoint in a request of their own (400, 422 or 413), or impossible to put into a
    /// request. A refused key drops nothing.
    pub rejected: ByClass,
    /// Older than the configured maximum age.
    pub expired: ByClass,
    /// Handed over after the close, or left undelivered by it.
    pub closed: ByClass,
    /// Left on disk by other processes, and damaged there; their class is unknown.
    pub damaged: u64,
}

/// Counts by class of record, in the order in which records are dropped when space runs out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ByClass {
    /// Exposures, dropped first.
    pub exposures: u64,
    /// Conversions without revenue.
    pub conversions: u64,
    /// Conversions with revenue, dropped last.
    pub revenue: u64,
}

/// A failed delivery: when, and how. `Display` shows the cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DeliveryError {
    /// When the delivery failed.
    pub at: SystemTime,
    /// Why the sink did not deliver.
    pub cause: DeliveryFailure,
}

/// Where a config came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ConfigOrigin {
    /// Given by the application.
    Direct,
    /// Fetched by the SDK key.
    Fetched,
    /// Read from the [config cache](crate::SdkConfigBuilder::config_cache), where an earlier process or another
    /// process of this host put it. [`config_at`](Stats::config_at) is the time at which that one fetched or confirmed
    /// it.
    Cached,
}

/// The state of the circuit breaker in front of the tracking endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum BreakerState {
    /// Deliveries are made as usual.
    #[default]
    Closed,
    /// The endpoint keeps failing; nothing is sent until the backoff ends, except for a flush.
    Open,
    /// A small delivery tests whether the endpoint works again.
    HalfOpen,
}

impl Stats {
    /// Whether every record is accounted for.
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        self.recorded + self.recovered
            == self.deduplicated + self.delivered + self.withheld + self.pending + self.dropped.total()
            && self.pending == self.pending_places.total()
    }

    /// Records that were not repetitions: delivered, withheld, pending or dropped.
    #[must_use]
    pub const fn accepted(&self) -> u64 {
        self.recorded + self.recovered - self.deduplicated
    }
}

impl PendingPlaces {
    /// All pending records.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.in_channel + self.in_batch + self.waiting + self.in_flight + self.on_disk
    }
}

impl Dropped {
    /// All lost records.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let Self { queue_full, overflow, rejected, expired, closed, damaged } = *self;
        let of_class = queue_full.total() + overflow.total() + rejected.total() + expired.total();
        of_class + closed.total() + damaged
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

/// Where the tracker publishes its counts, and where callers count what they could not hand over.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Written by the tracker alone, once per step; `recorded` and `pending` cover only what it has received.
    counts: Mutex<Counts>,
    /// Records that callers have begun to hand over, including those refused, and repetitions that they knew of.
    offered: [Stripe; STRIPES],
    refused_full: Refusals,
    refused_closed: Refusals,
    /// Records that were lost after being handed over, and marks that were forgotten; the parent's too.
    marks_lost: AtomicU64,
    /// Exposures among them that had no room or became too old.
    exposures_unsent: AtomicU64,
    /// Both of the parent, when it forked.
    before: (u64, u64),
    /// Dropped records that a flush has reported.
    reported: AtomicU64,
}

#[derive(Default)]
struct Counts {
    stats: Stats,
    oldest_pending: Option<Moment>,
}

/// Counters on a cache line of their own, padded to two because adjacent lines are prefetched in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    offered: AtomicU64,
    /// Repetitions that were not even offered.
    repeated: AtomicU64,
}

/// Counters by class.
#[derive(Default)]
struct Refusals([AtomicU64; 3]);

/// Why a record was not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

impl Ledger {
    /// For a forked child: nothing is counted yet, but it knows what its parent has lost.
    pub(crate) fn inherit(&self) -> Self {
        let (lost, unsent) = (self.marks_lost(), self.exposures_unsent());
        Self {
            marks_lost: lost.into(),
            exposures_unsent: unsent.into(),
            before: (lost, unsent),
            ..Self::default()
        }
    }

    pub(crate) fn publish(&self, stats: &Stats, oldest_pending: Option<Moment>) {
        let Dropped { queue_full: _, overflow, rejected, expired, closed, damaged: _ } = stats.dropped;
        let unsent = overflow.exposures + expired.exposures;
        let lost = overflow.total() + expired.total() + rejected.total() + closed.total();
        let lost = lost + stats.marks_evicted;
        self.marks_lost.store(self.before.0 + lost, Ordering::Release);
        self.exposures_unsent.store(self.before.1 + unsent, Ordering::Release);
        let mut counts = self.lock();
        counts.stats.clone_from(stats);
        counts.oldest_pending = oldest_pending;
    }

    /// How many records the tracker has lost, plus how many marks it has forgotten, in this process and before the
    /// forks that led to it.
    pub(crate) fn marks_lost(&self) -> u64 {
        self.marks_lost.load(Ordering::Acquire)
    }

    /// How many exposures had no room or became too old, likewise: a context can hand them over again, unlike those
    /// that the endpoint refuses.
    pub(crate) fn exposures_unsent(&self) -> u64 {
        self.exposures_unsent.load(Ordering::Acquire)
    }

    /// Counts a record that a caller begins to hand over.
    #[inline]
    pub(crate) fn count_offered(&self) {
        self.stripe().offered.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a repetition that is not handed over.
    #[inline]
    pub(crate) fn count_repeated(&self) {
        self.stripe().repeated.fetch_add(1, Ordering::Relaxed);
    }

    #[inline(always)]
    fn stripe(&self) -> &Stripe {
        &self.offered[stripe()]
    }

    /// Counts an offered record that was refused.
    pub(crate) fn count_refused(&self, refused: Refused, class: Class) {
        let counters = match refused {
            Refused::Full => &self.refused_full,
            Refused::Closed => &self.refused_closed,
        };
        // After the offer, for concurrent readers.
        counters.0[class as usize].fetch_add(1, Ordering::Release);
    }

    /// How many records were refused because the channel was full.
    pub(crate) fn refused_full(&self) -> u64 {
        self.refused_full.0.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    /// How many of all dropped records no flush has reported yet; marks them as reported.
    pub(crate) fn take_unreported_drops(&self, dropped: u64) -> u64 {
        dropped.saturating_sub(self.reported.fetch_max(dropped, Ordering::Relaxed))
    }

    /// The same, without marking them.
    pub(crate) fn unreported_drops(&self, dropped: u64) -> u64 {
        dropped.saturating_sub(self.reported.load(Ordering::Relaxed))
    }

    /// The counts now. Offers are read last: a record whose outcome is counted was offered earlier.
    pub(crate) fn read(&self, now: Moment) -> Stats {
        let (mut stats, oldest) = {
            let counts = self.lock();
            (counts.stats.clone(), counts.oldest_pending)
        };
        stats.oldest_pending_age = oldest.map(|since| now - since);
        stats.recorded += self.refused_full.add_to(&mut stats.dropped.queue_full);
        stats.recorded += self.refused_closed.add_to(&mut stats.dropped.closed);
        let sum = |of: fn(&Stripe) -> &AtomicU64| -> u64 {
            self.offered.iter().map(|stripe| of(stripe).load(Ordering::Relaxed)).sum()
        };
        let (offered, repeated) = (sum(|it| &it.offered), sum(|it| &it.repeated));
        let in_channel = offered.saturating_sub(stats.recorded);
        stats.recorded = offered + repeated;
        stats.deduplicated += repeated;
        stats.pending += in_channel;
        stats.pending_places.in_channel = in_channel;
        stats
    }

    /// Plain numbers, valid after any panic.
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
