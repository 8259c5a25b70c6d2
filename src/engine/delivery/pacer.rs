//! When the endpoint may be tried: exponential backoff with full jitter, plus a circuit breaker.

use std::time::Duration;

use crate::engine::{BreakerState, Jitter, Moment};
use crate::options::DeliveryConfig;

/// What may begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// Nothing.
    Nothing,
    /// One small delivery on its own: the endpoint has failed repeatedly.
    Probe,
    /// One delivery on its own: the endpoint has just failed.
    One,
    /// One delivery per lane.
    Any,
}

/// The shortest wait between two attempts for a flush.
const SHORTEST: Duration = Duration::from_millis(50);
/// How long before its deadline a flush tries an endpoint that asked for a longer wait.
const LAST_TRY: Duration = Duration::from_millis(500);

/// Counts consecutive failures. Concurrent deliveries that fail together count once, so that more lanes do
/// not make the SDK give up sooner.
pub(crate) struct Pacer {
    longest_first: Duration,
    ceiling: Duration,
    threshold: u32,
    jitter: Jitter,
    failures: u32,
    failed_at: Option<Moment>,
    /// The end of the backoff.
    backoff: Option<Moment>,
    /// The end of the wait that the endpoint asked for.
    asked: Option<Moment>,
    /// Attempts before this one began before the endpoint asked for that wait.
    asked_before: u64,
    /// Attempts before this one began before the last counted failure.
    counted: u64,
    opened: u64,
}

impl Pacer {
    pub(crate) fn new(delivery: &DeliveryConfig, jitter: Jitter) -> Self {
        Self {
            longest_first: delivery.backoff,
            ceiling: delivery.backoff_ceiling,
            threshold: delivery.breaker_threshold,
            jitter,
            failures: 0,
            failed_at: None,
            backoff: None,
            asked: None,
            asked_before: 0,
            counted: 0,
            opened: 0,
        }
    }

    /// An attempt has succeeded: all waits end, except one that the endpoint has asked for since the attempt
    /// began. Returns whether the endpoint may be tried again.
    pub(crate) const fn succeeded(&mut self, attempt: u64) -> bool {
        if self.asked.is_some() && attempt < self.asked_before {
            return false;
        }
        self.failures = 0;
        (self.failed_at, self.backoff, self.asked) = (None, None, None);
        true
    }

    /// Failures in a row.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// An attempt has failed; `next` is the number of the next new one. The endpoint can ask for a longer
    /// wait than the backoff, but not a shorter one: a `Retry-After` of zero must not cause a busy loop.
    pub(crate) fn failed(&mut self, attempt: u64, next: u64, now: Moment, retry_after: Option<Duration>) {
        let asked = retry_after.map(|asked| now + asked.min(self.ceiling));
        let together = self.failures > 0 && attempt < self.counted;
        if !together {
            self.counted = next;
            self.fail(self.failures.saturating_add(1));
        }
        if asked.is_some() {
            self.asked_before = next;
        }
        if together && self.until().is_some_and(|until| until > now) {
            self.asked = self.asked.max(asked);
        } else {
            self.backoff = Some(now + self.jitter.up_to(self.longest()));
            self.asked = asked;
        }
        self.failed_at = Some(now);
    }

    /// The endpoint refuses everything: from now on it is probed, with the longest waits, or longer ones that it
    /// asks for.
    pub(crate) fn refused(&mut self, next: u64, now: Moment, retry_after: Option<Duration>) {
        if let Some(asked) = retry_after {
            self.asked = self.asked.max(Some(now + asked.min(self.ceiling)));
            self.asked_before = next;
        }
        self.counted = next;
        self.fail(self.failures.saturating_add(1).max(self.threshold));
        self.backoff = Some(now + self.ceiling / 2 + self.jitter.up_to(self.ceiling / 2));
        self.failed_at = Some(now);
    }

    fn fail(&mut self, failures: u32) {
        self.opened += u64::from(self.failures < self.threshold && failures >= self.threshold);
        self.failures = failures;
    }

    /// What may begin with this many attempts in flight, if the endpoint is to be left alone until `until`.
    pub(crate) fn allows(&self, now: Moment, in_flight: usize, until: Option<Moment>) -> Allowance {
        if self.failures == 0 {
            return Allowance::Any;
        }
        let waits = until.is_some_and(|until| until > now);
        match (waits || in_flight > 0, self.is_open()) {
            (true, _) => Allowance::Nothing,
            (false, true) => Allowance::Probe,
            (false, false) => Allowance::One,
        }
    }

    /// When the endpoint may be tried again; `None` means at once.
    pub(crate) fn until(&self) -> Option<Moment> {
        self.backoff.max(self.asked)
    }

    /// When the endpoint may be tried again for a flush. A flush that has not tried yet does so at once;
    /// after that the backoff is shortened so that several attempts fit into the remaining time. A wait that
    /// the endpoint asked for is respected; if it goes past the deadline, one attempt is made shortly before
    /// the deadline, unless it is already `spent`.
    pub(crate) fn until_within(
        &self,
        asked_at: Moment,
        tried: bool,
        deadline: Moment,
        spent: bool,
    ) -> Option<Moment> {
        if let Some(last) = self.last_try(asked_at, deadline) {
            return (!spent).then_some(last);
        }
        let since = self.failed_at?.max(asked_at);
        let third = (deadline - since) / 3;
        let backoff = if tried { self.backoff.map(|it| it.min(since + third.max(SHORTEST))) } else { None };
        self.asked.max(Some(backoff.unwrap_or(since)))
    }

    /// When a flush makes its one attempt, if the endpoint asked for a wait past its deadline.
    pub(crate) fn last_try(&self, asked_at: Moment, deadline: Moment) -> Option<Moment> {
        self.asked.filter(|asked| *asked > deadline)?;
        let left = deadline - self.failed_at?.max(asked_at);
        Some(deadline - (left / 3).min(LAST_TRY))
    }

    pub(crate) const fn state(&self, in_flight: usize) -> BreakerState {
        match (self.is_open(), in_flight) {
            (false, _) => BreakerState::Closed,
            (true, 0) => BreakerState::Open,
            (true, _) => BreakerState::HalfOpen,
        }
    }

    /// How many times the breaker has opened.
    pub(crate) const fn opened(&self) -> u64 {
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
    fn waits_grow_up_to_the_ceiling_and_end_with_a_success() {
        let start = Moment::default();
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
        assert!(pacer.succeeded(64));
        assert_eq!((pacer.until(), pacer.allows(start, 5, pacer.until())), (None, Allowance::Any));
    }

    #[test]
    fn retry_after_counts_between_the_backoff_and_the_ceiling() {
        let start = Moment::default();
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
    fn an_endless_wait_is_a_wait_for_the_last_moment() {
        let start = Moment::default();
        let delivery = DeliveryConfig::builder().backoff(Duration::MAX).backoff_ceiling(Duration::MAX);
        let mut pacer = Pacer::new(&delivery.build().unwrap(), Jitter::seeded(7));
        pacer.failed(0, 1, start, None);
        assert!(pacer.until() > Some(start));
        pacer.failed(1, 2, start, Some(Duration::MAX));
        assert_eq!(pacer.until(), Some(start + Duration::MAX));
    }

    #[test]
    fn lanes_that_fail_together_count_as_one_failure() {
        let start = Moment::default();
        let mut pacer = pacer();
        pacer.failed(3, 5, start, Some(SECOND));
        pacer.failed(4, 5, start, Some(9 * SECOND));
        pacer.failed(2, 5, start, None);
        assert_eq!((pacer.failures, pacer.until()), (1, Some(start + 9 * SECOND)));
        pacer.failed(5, 6, start, Some(3 * SECOND));
        assert_eq!((pacer.failures, pacer.until()), (2, Some(start + 3 * SECOND)));
        assert!(pacer.succeeded(6));
        pacer.failed(4, 6, start, Some(9 * SECOND));
        assert_eq!(pacer.until(), Some(start + 9 * SECOND), "a success came in between");
        assert_eq!(pacer.failures, 1);
        let late = start + 10 * SECOND;
        pacer.failed(3, 6, late, None);
        assert_eq!(
            (pacer.failures, pacer.allows(late, 0, pacer.until())),
            (1, Allowance::Nothing),
            "waiting again"
        );
    }

    #[test]
    fn an_earlier_success_does_not_end_a_retry_after() {
        let start = Moment::default();
        let mut pacer = pacer();
        // Three in flight at once: one fails, one is told to wait, and one is accepted.
        pacer.failed(1, 3, start, None);
        pacer.failed(2, 3, start, Some(9 * SECOND));
        assert!(!pacer.succeeded(0));
        assert_eq!(pacer.until(), Some(start + 9 * SECOND));
        assert_eq!(pacer.allows(start, 0, pacer.until()), Allowance::Nothing);
        assert!(pacer.succeeded(3), "a flush has tried in the meantime");
        assert_eq!((pacer.until(), pacer.allows(start, 0, None)), (None, Allowance::Any));
        // If the endpoint did not ask for a wait, any success will do.
        pacer.failed(5, 6, start, None);
        assert!(pacer.succeeded(4));
        assert_eq!(pacer.until(), None);
    }

    #[test]
    fn the_breaker_opens_after_five_failures_and_closes_on_success() {
        let start = Moment::default();
        let mut pacer = pacer();
        for attempt in 0..5 {
            assert_eq!(pacer.state(0), BreakerState::Closed);
            pacer.failed(attempt, attempt + 1, start, Some(60 * SECOND));
            assert_eq!(pacer.allows(start, 0, pacer.until()), Allowance::Nothing);
            let expected = if attempt < 4 { Allowance::One } else { Allowance::Probe };
            assert_eq!(pacer.allows(start, 0, None), expected, "a flush does not wait");
        }
        assert_eq!((pacer.state(0), pacer.opened()), (BreakerState::Open, 1));
        let later = start + 60 * SECOND;
        assert_eq!(pacer.allows(later, 0, pacer.until()), Allowance::Probe);
        assert_eq!(
            (pacer.allows(later, 1, None), pacer.state(1)),
            (Allowance::Nothing, BreakerState::HalfOpen)
        );
        pacer.failed(5, 6, later, Some(SECOND));
        assert_eq!((pacer.state(0), pacer.opened()), (BreakerState::Open, 1), "it did not close in between");
        assert!(pacer.succeeded(6));
        assert_eq!((pacer.state(0), pacer.allows(later, 1, None)), (BreakerState::Closed, Allowance::Any));
    }

    #[test]
    fn a_flush_tries_at_once_and_then_several_times() {
        let start = Moment::default();
        let mut pacer = pacer();
        for attempt in 0..9 {
            pacer.failed(attempt, attempt + 1, start, None);
        }
        let asked_at = start + SECOND;
        let deadline = asked_at + 6 * SECOND;
        assert_eq!(pacer.until_within(asked_at, false, deadline, false), Some(asked_at));
        let (mut now, mut attempts) = (asked_at, 0);
        while now < deadline {
            pacer.failed(20 + attempts, 21 + attempts, now, None);
            let next = pacer.until_within(asked_at, true, deadline, false).unwrap();
            assert!(next >= now && next <= now + ((deadline - now) / 3).max(SHORTEST));
            attempts += 1;
            now = next.max(now + SHORTEST);
        }
        assert!((5..40).contains(&attempts), "{attempts}");
    }

    #[test]
    fn a_flush_makes_one_attempt_before_a_wait_past_its_deadline() {
        let start = Moment::default();
        let mut pacer = pacer();
        pacer.failed(0, 1, start, Some(3 * SECOND));
        let within = |pacer: &Pacer, deadline, spent| pacer.until_within(start, true, deadline, spent);
        assert_eq!(within(&pacer, start + 5 * SECOND, true), Some(start + 3 * SECOND));
        assert_eq!(within(&pacer, start + 2 * SECOND, false), Some(start + 3 * SECOND / 2));
        assert_eq!(within(&pacer, start + 2 * SECOND, true), None);
    }

    #[test]
    fn an_endpoint_that_refuses_everything_is_probed_slowly() {
        let start = Moment::default();
        let mut pacer = pacer();
        pacer.refused(1, start, None);
        assert_eq!((pacer.state(0), pacer.opened()), (BreakerState::Open, 1));
        let until = pacer.until().unwrap();
        assert!(until >= start + 30 * SECOND && until <= start + 60 * SECOND);
        pacer.refused(2, until, Some(60 * SECOND));
        assert_eq!((pacer.until(), pacer.opened()), (Some(until + 60 * SECOND), 1));
    }
}
