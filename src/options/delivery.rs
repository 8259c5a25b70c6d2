//! How recorded events are kept, sent and given up.

use std::time::Duration;

use super::{InvalidOption, InvalidReason};

/// How the SDK keeps what is recorded, sends it, and when it gives up. The defaults suit a server;
/// each bound that is reached is counted in [`Stats`](crate::Stats).
///
/// Memory: the channel holds at most `queue_capacity` records of about 150 bytes each (2.5 MB), the
/// backlog at most `max_pending_bytes` (32 MiB), deliveries at hand at most `lanes` requests.
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
}

/// What happens to a record for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OverflowPolicy {
    /// Exposures go first, then conversions, those with revenue last; the oldest first within a
    /// class. The caller never waits.
    #[default]
    EvictLeastValuable,
    /// The new record is refused; what is kept stays. The caller never waits. Deliveries that fail can
    /// take the backlog over its bound, by what the lanes hold.
    DropNewest,
    /// The caller **waits** up to this long for room, then the new record is refused; a confirmed call's own
    /// timeout or a close ends the wait sooner. A task blocks its executor's thread by it, also through
    /// `AsyncContext` (but for confirmed calls): not for asynchronous callers. A full backlog
    /// makes the channel fill up, and that makes callers wait. A flush takes what is in the channel, so
    /// that the backlog can exceed its bound by that, and by what the lanes hold.
    Wait(Duration),
}

/// Collects a [`DeliveryConfig`].
#[derive(Debug, Clone)]
#[must_use]
pub struct DeliveryConfigBuilder(DeliveryConfig);

impl DeliveryConfig {
    /// Records that fit between callers and the tracker.
    pub const DEFAULT_QUEUE_CAPACITY: usize = 16_384;
    /// Bytes of long texts that fit between callers and the tracker, beyond the records themselves.
    pub const DEFAULT_MAX_QUEUED_BYTES: usize = 8 << 20;
    /// Records that may wait for delivery.
    pub const DEFAULT_MAX_PENDING_RECORDS: usize = 65_536;
    /// Bytes of records that may wait for delivery.
    pub const DEFAULT_MAX_PENDING_BYTES: usize = 32 << 20;
    /// Events in one request at most.
    pub const DEFAULT_MAX_REQUEST_EVENTS: usize = 1_000;
    /// Bytes of one request's records at most; the body is of about that size.
    pub const DEFAULT_MAX_REQUEST_BYTES: usize = 1 << 20;
    /// Requests at hand at one time.
    pub const DEFAULT_LANES: usize = 2;
    /// How old an event may become before it is given up.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
    /// The longest wait after a first failure.
    pub const DEFAULT_BACKOFF: Duration = Duration::from_secs(1);
    /// The longest wait after any failure, also of one that the endpoint asks for.
    pub const DEFAULT_BACKOFF_CEILING: Duration = Duration::from_secs(60);
    /// Failures in a row that open the circuit breaker.
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
        })
    }
}

impl DeliveryConfig {
    /// How long a mark in a shared store lasts that its record's fate does not settle: longer than any
    /// record is retried.
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
    /// Records that fit between callers and the tracker; 1 to 1,048,576. Default 16,384. The tracker
    /// empties the channel whatever the network does, so it fills up only where callers outrun that
    /// thread, or where [`OverflowPolicy::Wait`] leaves records in it. Under
    /// [`OverflowPolicy::EvictLeastValuable`] the last quarter is kept for conversions, the last eighth for
    /// those with revenue.
    pub const fn queue_capacity(mut self, records: usize) -> Self {
        self.0.queue_capacity = records;
        self
    }

    /// Bytes of long records (visitor ids, goal data and segments of more than 256 bytes a record)
    /// that fit between callers and the tracker; at least 1. Default 8 MiB. Shorter ones are bounded by
    /// [`queue_capacity`](Self::queue_capacity) alone; a single longer one is refused whatever the policy.
    pub const fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.0.max_queued_bytes = bytes;
        self
    }

    /// Records that may wait for delivery; at least 1. Default 65,536.
    pub const fn max_pending_records(mut self, records: usize) -> Self {
        self.0.max_pending_records = records;
        self
    }

    /// Bytes of records, with their visitors' segments, that may wait for delivery; at least 1.
    /// Default 32 MiB.
    pub const fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.0.max_pending_bytes = bytes;
        self
    }

    /// What happens when there is no room. Default [`OverflowPolicy::EvictLeastValuable`].
    pub const fn overflow(mut self, policy: OverflowPolicy) -> Self {
        self.0.overflow = policy;
        self
    }

    /// Events in one request at most; 1 to 10,000. Default 1,000. Requests are smaller while the
    /// endpoint keeps up, and grow to this under load; a 413 halves them for a while.
    pub const fn max_request_events(mut self, events: usize) -> Self {
        self.0.max_request_events = events;
        self
    }

    /// Bytes of the records, with their visitors' segments, in one request at most, save for a single
    /// record that is larger; at least 1. Default 1 MiB. Texts count as they are, before JSON escapes them: a
    /// control character is one byte here and six on the wire.
    pub const fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.0.max_request_bytes = bytes;
        self
    }

    /// Requests at hand at one time, each on a thread of its own; 1 to 16. Default 2: one slow answer
    /// does not hold up the rest. While the endpoint fails there is one.
    pub const fn lanes(mut self, lanes: usize) -> Self {
        self.0.lanes = lanes;
        self
    }

    /// How old an event may become before it is given up and counted as expired; at least 1 s.
    /// Default 24 h.
    pub const fn max_age(mut self, age: Duration) -> Self {
        self.0.max_age = age;
        self
    }

    /// The longest wait after a first failure; it doubles with each further one, and the wait is a
    /// random part of it. More than zero. Default 1 s.
    pub const fn backoff(mut self, longest: Duration) -> Self {
        self.0.backoff = longest;
        self
    }

    /// The longest wait after any failure, and the most that a `Retry-After` can ask for, which makes a
    /// wait longer and never shorter; at least the backoff. Default 60 s. An endpoint that refuses the SDK key
    /// or the route (401, 403, 404, 410 and the like) is probed after half of it at least.
    pub const fn backoff_ceiling(mut self, longest: Duration) -> Self {
        self.0.backoff_ceiling = longest;
        self
    }

    /// Failures in a row that open the circuit breaker: from then on the waits are followed by a
    /// probe of at most 50 events, until one succeeds. At least 1. Default 5. A refused SDK key opens it at
    /// once.
    pub const fn breaker_threshold(mut self, failures: u32) -> Self {
        self.0.breaker_threshold = failures;
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
        ];
        let counts =
            counts.into_iter().map(|(field, count, range, text)| (field, range.contains(&count), text));
        match counts.chain(rules).find(|(_, holds, _)| !holds) {
            Some((field, _, range)) => Err(InvalidOption::new(field, InvalidReason::OutOfRange(range))),
            None => Ok(config),
        }
    }
}
