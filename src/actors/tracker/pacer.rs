//! When the endpoint may be tried: exponential backoff with full jitter, and a circuit breaker.

use std::time::{Duration, Instant};

use crate::actors::jitter::Jitter;
use crate::options::DeliveryConfig;
use crate::tracking::BreakerState;

/// No wait is longer, so that its end is a moment that the clock can name.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What may begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowance {
    /// Nothing.
    Nothing,
    /// One small delivery, alone: the endpoint has failed often.
    Probe,
    /// One delivery, alone: the endpoint has just failed.
    One,
    /// As many as there are lanes.
    Any,
}

/// Counts failures in a row. Deliveries at hand together that fail together count once, so that more
/// lanes do not make the SDK give up sooner.
pub(super) struct Pacer {
    longest_first: Duration,
    ceiling: Duration,
    threshold: u32,
    jitter: Jitter,
    failures: u32,
    until: Option<Instant>,
    /// Attempts before this one began before the last counted failure.
    counted: u64,
    opened: u64,
}

impl Pacer {
    pub(super) fn new(delivery: &DeliveryConfig, jitter: Jitter) -> Self {
        Self {
            longest_first: delivery.backoff,
            ceiling: delivery.backoff_ceiling.min(LONGEST),
            threshold: delivery.breaker_threshold,
            jitter,
            failures: 0,
            until: None,
            counted: 0,
            opened: 0,
        }
    }

    pub(super) const fn succeeded(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    /// An attempt has failed; the next new one will have the number `next`. The endpoint can ask for a
    /// longer wait than the backoff's, not for a shorter one: a `Retry-After` of zero is no reason to try
    /// again and again without a pause.
    pub(super) fn failed(&mut self, attempt: u64, next: u64, now: Instant, retry_after: Option<Duration>) {
        let asked = retry_after.map(|asked| now + asked.min(self.ceiling));
        let together = self.failures > 0 && attempt < self.counted;
        if !together {
            self.counted = next;
            self.failures = self.failures.saturating_add(1);
            self.opened += u64::from(self.failures == self.threshold);
        }
        let waits = together && self.until.is_some_and(|until| until > now);
        let own = if waits { self.until } else { Some(now + self.jitter.up_to(self.longest())) };
        self.until = asked.max(own);
    }

    /// What may begin, with this many deliveries at hand; one that is `urgent` does not wait for the
    /// end of a backoff.
    pub(super) fn allows(&self, now: Instant, at_hand: usize, urgent: bool) -> Allowance {
        if self.failures == 0 {
            return Allowance::Any;
        }
        let waits = self.until.is_some_and(|until| until > now) && !urgent;
        match (waits || at_hand > 0, self.is_open()) {
            (true, _) => Allowance::Nothing,
            (false, true) if !urgent => Allowance::Probe,
            (false, _) => Allowance::One,
        }
    }

    /// When the endpoint may be tried again; `None` means at once.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// For a bug that the simulation must find.
    #[cfg(test)]
    pub(super) const fn forget_wait(&mut self) {
        self.until = None;
    }

    /// Failures in a row.
    #[cfg(test)]
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) const fn state(&self, at_hand: usize) -> BreakerState {
        match (self.is_open(), at_hand) {
            (false, _) => BreakerState::Closed,
            (true, 0) => BreakerState::Open,
            (true, _) => BreakerState::HalfOpen,
        }
    }

    /// How often the breaker has opened.
    pub(super) const fn opened(&self) -> u64 {
        self.opened
    }

    /// The longest wait after this many failures.
    fn longest(&self) -> Duration {
        self.longest_first.saturating_mul(1 << self.failures.saturating_sub(1).min(16)).min(self.ceiling)
    }

    const fn is_open(&self) -> bool {
        self.failures >= self.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pacer() -> Pacer {
        Pacer::new(&DeliveryConfig::default(), Jitter::seeded(7))
    }

    #[test]
    fn waits_grow_to_the_ceiling_and_end_with_a_success() {
        let start = Instant::now();
        let mut pacer = pacer();
        let mut longest = Duration::ZERO;
        for failures in 0..64_u32 {
            let attempt = u64::from(failures);
            pacer.failed(attempt, attempt + 1, start, None);
            let wait = pacer.until().map_or(Duration::ZERO, |until| until - start);
            assert!(wait <= SECOND.saturating_mul(1 << failures.min(16)).min(60 * SECOND));
            longest = longest.max(wait);
        }
        assert!(longest > 30 * SECOND);
        pacer.succeeded();
        assert_eq!((pacer.until(), pacer.allows(start, 5, false)), (None, Allowance::Any));
    }

    #[test]
    fn retry_after_is_obeyed_from_the_backoff_up_to_the_ceiling() {
        let start = Instant::now();
        let mut pacer = pacer();
        pacer.failed(0, 1, start, Some(5 * SECOND));
        assert_eq!(pacer.until(), Some(start + 5 * SECOND));
        pacer.failed(1, 2, start, Some(86_400 * SECOND));
        assert_eq!(pacer.until(), Some(start + 60 * SECOND));
        let mut longest = Duration::ZERO;
        for attempt in 2..20 {
            pacer.failed(attempt, attempt + 1, start, Some(Duration::ZERO));
            let wait = pacer.until().unwrap() - start;
            assert!(!wait.is_zero() && wait <= 60 * SECOND);
            longest = longest.max(wait);
        }
        assert!(longest > 30 * SECOND);
    }

    #[test]
    fn no_wait_goes_beyond_what_the_clock_can_name() {
        let start = Instant::now();
        let delivery = DeliveryConfig::builder().backoff(Duration::MAX).backoff_ceiling(Duration::MAX);
        let mut pacer = Pacer::new(&delivery.build().unwrap(), Jitter::seeded(7));
        pacer.failed(0, 1, start, None);
        assert!(pacer.until() > Some(start) && pacer.until() <= Some(start + LONGEST));
        pacer.failed(1, 2, start, Some(Duration::MAX));
        assert_eq!(pacer.until(), Some(start + LONGEST));
    }

    #[test]
    fn lanes_that_fail_together_count_once_and_the_longest_request_to_wait_counts() {
        let start = Instant::now();
        let mut pacer = pacer();
        pacer.failed(3, 5, start, Some(SECOND));
        pacer.failed(4, 5, start, Some(9 * SECOND));
        pacer.failed(2, 5, start, None);
        assert_eq!((pacer.failures(), pacer.until()), (1, Some(start + 9 * SECOND)));
        pacer.failed(5, 6, start, Some(3 * SECOND));
        assert_eq!((pacer.failures(), pacer.until()), (2, Some(start + 3 * SECOND)));
        pacer.succeeded();
        pacer.failed(4, 6, start, Some(9 * SECOND));
        assert_eq!(pacer.until(), Some(start + 9 * SECOND), "a success came between");
        assert_eq!(pacer.failures(), 1);
        let late = start + 10 * SECOND;
        pacer.failed(3, 6, late, None);
        assert_eq!((pacer.failures(), pacer.allows(late, 0, false)), (1, Allowance::Nothing), "a wait again");
    }

    #[test]
    fn the_breaker_opens_after_five_failures_probes_and_closes_with_a_success() {
        let start = Instant::now();
        let mut pacer = pacer();
        for attempt in 0..5 {
            assert_eq!(pacer.state(0), BreakerState::Closed);
            pacer.failed(attempt, attempt + 1, start, Some(60 * SECOND));
            assert_eq!(pacer.allows(start, 0, false), Allowance::Nothing);
            assert_eq!(pacer.allows(start, 0, true), Allowance::One, "a flush does not wait");
        }
        assert_eq!((pacer.state(0), pacer.opened()), (BreakerState::Open, 1));
        let later = start + 60 * SECOND;
        assert_eq!(pacer.allows(later, 0, false), Allowance::Probe);
        assert_eq!(
            (pacer.allows(later, 1, true), pacer.state(1)),
            (Allowance::Nothing, BreakerState::HalfOpen)
        );
        pacer.failed(5, 6, later, Some(SECOND));
        assert_eq!((pacer.state(0), pacer.opened()), (BreakerState::Open, 1), "it did not close meanwhile");
        pacer.succeeded();
        assert_eq!((pacer.state(0), pacer.allows(later, 1, false)), (BreakerState::Closed, Allowance::Any));
    }
}
