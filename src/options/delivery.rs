//! How recorded events are queued, sent and eventually given up.

use std::time::Duration;

use super::{InvalidOption, InvalidReason};

/// How the SDK queues and sends what is recorded, and when it gives up. The defaults suit a server; whatever a limit
/// costs is counted in [`Stats`](crate::Stats).
///
/// Memory: the channel holds at most `queue_capacity` records of about 150 bytes each (2.5 MB), the
/// backlog at most `max_pending_bytes` (32 MiB), deliveries in flight at most `lanes` requests.
///
/// ```
/// use std::time::Duration;
/// use convert_sdk::{SdkConfig, delivery::{DeliveryConfig, OverflowPolicy}};
///
/// let patient = DeliveryConfig::builder()
///     .max_age(Duration::from_secs(3_600))
///     .overflow(OverflowPolicy::Wait(Duration::from_millis(20)))
///     .build()?;
/// let config = SdkConfig::builder().sdk_key("10035569/10034190").delivery(patient);
/// # Ok::<(), convert_sdk::InvalidOption>(())
/// ```
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    pub(crate) queue_capacity: usize,
    pub(crate) max_queued_bytes: usize,
    pub(crate) max_pending_records: usize,
    pub(crate) max_pending_bytes: usize,
    pub(crate) overflow: OverflowPolicy,
    pub(crate) max_request_events: usize,
    pub(crate) max_request_bytes: usize,
    pub(crate) lanes: usize,
    pub(crate) max_age: Duration,
    pub(crate) backoff: Duration,
    pub(crate) backoff_ceiling: Duration,
    pub(crate) breaker_threshold: u32,
    pub(crate) first_timeout: Option<Duration>,
}

/// What happens to a record when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OverflowPolicy {
    /// Exposures are evicted first, then conversions, those with revenue last; within a class, the oldest first. The
    /// caller never waits.
    #[default]
    EvictLeastValuable,
    /// The new record is refused; queued ones stay. The caller never waits. Failed deliveries can push the backlog
    /// over its limit by what the lanes hold.
    DropNewest,
    /// The caller **waits** up to this long for space, then the new record is refused; a confirmed call's own timeout
    /// or a close ends the wait sooner. Not for asynchronous callers: the wait blocks the executor's thread, even
    /// through `AsyncContext` (except in confirmed calls). A full backlog lets the channel fill up, and a full
    /// channel makes callers wait. A flush empties the channel, so the backlog can exceed its limit by that, and by
    /// what the lanes hold.
    Wait(Duration),
}

/// Builds a [`DeliveryConfig`].
#[derive(Debug, Clone)]
#[must_use]
pub struct DeliveryConfigBuilder(DeliveryConfig);

impl DeliveryConfig {
    /// Capacity, in records, of the channel between callers and the tracker.
    pub const DEFAULT_QUEUE_CAPACITY: usize = 16_384;
    /// Bytes of long records that the channel between callers and the tracker may hold.
    pub const DEFAULT_MAX_QUEUED_BYTES: usize = 8 << 20;
    /// Maximum number of records waiting for delivery.
    pub const DEFAULT_MAX_PENDING_RECORDS: usize = 65_536;
    /// Maximum bytes of records waiting for delivery.
    pub const DEFAULT_MAX_PENDING_BYTES: usize = 32 << 20;
    /// Maximum number of events in one request.
    pub const DEFAULT_MAX_REQUEST_EVENTS: usize = 1_000;
    /// Maximum bytes of the records in one request; the body is about that size.
    pub const DEFAULT_MAX_REQUEST_BYTES: usize = 1 << 20;
    /// Maximum number of concurrent requests.
    pub const DEFAULT_LANES: usize = 2;
    /// The age at which an event expires.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
    /// The longest wait after a first failure.
    pub const DEFAULT_BACKOFF: Duration = Duration::from_secs(1);
    /// The longest wait after any failure, including one that the endpoint asks for.
    pub const DEFAULT_BACKOFF_CEILING: Duration = Duration::from_secs(60);
    /// Consecutive failures that open the circuit breaker.
    pub const DEFAULT_BREAKER_THRESHOLD: u32 = 5;

    /// Starts from the defaults.
    pub const fn builder() -> DeliveryConfigBuilder {
        DeliveryConfigBuilder(Self {
            queue_capacity: Self::DEFAULT_QUEUE_CAPACITY,
            max_queued_bytes: Self::DEFAULT_MAX_QUEUED_BYTES,
            max_pending_records: Self::DEFAULT_MAX_PENDING_RECORDS,
            max_pending_bytes: Self::DEFAULT_MAX_PENDING_BYTES,
            overflow: OverflowPolicy::EvictLeastValuable,
            max_request_events: Self::DEFAULT_MAX_REQUEST_EVENTS,
            max_request_bytes: Self::DEFAULT_MAX_REQUEST_BYTES,
            lanes: Self::DEFAULT_LANES,
            max_age: Self::DEFAULT_MAX_AGE,
            backoff: Self::DEFAULT_BACKOFF,
            backoff_ceiling: Self::DEFAULT_BACKOFF_CEILING,
            breaker_threshold: Self::DEFAULT_BREAKER_THRESHOLD,
            first_timeout: None,
        })
    }
}

impl DeliveryConfig {
    /// The lease of a mark in a shared store whose record's outcome stays unknown: longer than any record is retried.
    pub(crate) fn lease(&self) -> Duration {
        self.max_age.saturating_add(Self::LEASE_BEYOND_AGE)
    }

    const LEASE_BEYOND_AGE: Duration = Duration::from_secs(10 * 60);
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self::builder().0
    }
}

impl DeliveryConfigBuilder {
    /// Capacity, in records, of the channel between callers and the tracker; 1 to 1,048,576. Default 16,384. The
    /// tracker drains the channel whatever the network does, so it fills up only if callers outrun that thread, or if
    /// [`OverflowPolicy::Wait`] leaves records in it. With a pump, what is recorded between two turns must fit. Under
    /// [`OverflowPolicy::EvictLeastValuable`] the last quarter is reserved for conversions, the last eighth for those
    /// with revenue.
    pub const fn queue_capacity(mut self, records: usize) -> Self {
        self.0.queue_capacity = records;
        self
    }

    /// Maximum bytes of long records (with more than 256 bytes of visitor id, goal data and segments) in the channel
    /// between callers and the tracker; at least 1. Default 8 MiB. Shorter records are limited by
    /// [`queue_capacity`](Self::queue_capacity) alone; a single record above this limit is refused under any policy.
    pub const fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.0.max_queued_bytes = bytes;
        self
    }

    /// Maximum number of records waiting for delivery; at least 1. Default 65,536.
    pub const fn max_pending_records(mut self, records: usize) -> Self {
        self.0.max_pending_records = records;
        self
    }

    /// Maximum bytes of records waiting for delivery, including their visitors' segments; at least 1. Default 32 MiB.
    pub const fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.0.max_pending_bytes = bytes;
        self
    }

    /// What happens when the queue is full. Default [`OverflowPolicy::EvictLeastValuable`].
    pub const fn overflow(mut self, policy: OverflowPolicy) -> Self {
        self.0.overflow = policy;
        self
    }

    /// Maximum number of events in one request; 1 to 10,000. Default 1,000. Requests are smaller while the endpoint
    /// keeps up, and grow to this under load; a 413 halves them for a while.
    pub const fn max_request_events(mut self, events: usize) -> Self {
        self.0.max_request_events = events;
        self
    }

    /// Maximum bytes of the records in one request, including their visitors' segments, unless a single record is
    /// larger; at least 1. Default 1 MiB. Text is counted before JSON escaping: a control character is one byte here
    /// and six on the wire.
    pub const fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.0.max_request_bytes = bytes;
        self
    }

    /// Maximum number of concurrent requests, each on its own thread; 1 to 16. Default 2, so that one slow response
    /// does not hold up the rest. While the endpoint fails, one at a time.
    pub const fn lanes(mut self, lanes: usize) -> Self {
        self.0.lanes = lanes;
        self
    }

    /// The age at which an event is dropped and counted as expired; at least 1 s. Default 24 h.
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.0.max_age = age;
        self
    }

    /// The longest wait after a first failure. It doubles with each further one, and the actual wait is a random
    /// fraction of it. More than zero. Default 1 s.
    pub const fn backoff(mut self, longest: Duration) -> Self {
        self.0.backoff = longest;
        self
    }

    /// The longest wait after any failure, and the cap on `Retry-After`, which can lengthen a wait but never shorten
    /// it; at least the backoff. Default 60 s. An endpoint that refuses the SDK key or the route (401, 403, 404, 410
    /// and the like) is probed after at least half of this.
    pub const fn backoff_ceiling(mut self, longest: Duration) -> Self {
        self.0.backoff_ceiling = longest;
        self
    }

    /// Consecutive failures that open the circuit breaker: from then on each wait is followed by a probe of at most
    /// 50 events, until one succeeds. At least 1. Default 5. A refused SDK key opens it at once.
    pub const fn breaker_threshold(mut self, failures: u32) -> Self {
        self.0.breaker_threshold = failures;
        self
    }

    /// Limit on the first attempt to deliver a record. Each further attempt, and each after a failure of another request,
    /// may take twice as long as the one before, up to
    /// [`total_timeout`](crate::config::TransportConfigBuilder::total_timeout): a request that hangs leaves time for
    /// another one, and an endpoint that is merely slow gets the time that it needs, but may receive again what it was
    /// about to answer (counted as `fate_unknown`). More than zero. Default none, so each attempt may take
    /// `total_timeout`; 2 s under [`SdkConfig::server`](crate::SdkConfig::server).
    pub const fn first_timeout(mut self, limit: Duration) -> Self {
        self.0.first_timeout = Some(limit);
        self
    }

    /// Checks the values.
    ///
    /// # Errors
    /// Names the first field that is out of its range.
    pub fn build(self) -> Result<DeliveryConfig, InvalidOption> {
        let config = self.0;
        let at_least_one = 1..=usize::MAX;
        let counts = [
            ("delivery.queue_capacity", config.queue_capacity, 1..=1 << 20, "from 1 to 1,048,576"),
            ("delivery.max_queued_bytes", config.max_queued_bytes, at_least_one.clone(), "at least 1"),
            ("delivery.max_pending_records", config.max_pending_records, at_least_one.clone(), "at least 1"),
            ("delivery.max_pending_bytes", config.max_pending_bytes, at_least_one.clone(), "at least 1"),
            ("delivery.max_request_events", config.max_request_events, 1..=10_000, "from 1 to 10,000"),
            ("delivery.max_request_bytes", config.max_request_bytes, at_least_one, "at least 1"),
            ("delivery.lanes", config.lanes, 1..=16, "from 1 to 16"),
        ];
        let rules = [
            ("delivery.max_age", config.max_age >= Duration::from_secs(1), "at least 1 s"),
            ("delivery.backoff", !config.backoff.is_zero(), "more than zero"),
            ("delivery.backoff_ceiling", config.backoff_ceiling >= config.backoff, "at least the backoff"),
            ("delivery.breaker_threshold", config.breaker_threshold > 0, "at least 1"),
            ("delivery.first_timeout", config.first_timeout != Some(Duration::ZERO), "more than zero"),
        ];
        let counts =
            counts.into_iter().map(|(field, count, range, text)| (field, range.contains(&count), text));
        match counts.chain(rules).find(|(_, holds, _)| !holds) {
            Some((field, _, range)) => Err(InvalidOption::new(field, InvalidReason::OutOfRange(range))),
            None => Ok(config),
        }
    }
}
