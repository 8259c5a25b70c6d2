//! How long a failing endpoint is left alone.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// A small random number generator (SplitMix64): spreads retries, decides nothing.
pub(crate) struct Jitter(u64);

impl Jitter {
    #[cfg(test)]
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Seeded from the operating system, by way of the standard library's hash keys, which a forked
    /// child has in common with its siblings: the process id keeps them apart.
    pub(crate) fn random() -> Self {
        Self(RandomState::new().hash_one(std::process::id()))
    }

    /// A duration from zero up to `most`.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        #[expect(clippy::cast_precision_loss, reason = "53 random bits are plenty")]
        let share = (mixed >> 11) as f64 / (1_u64 << 53) as f64;
        // Rounding can carry the longest durations past what one holds.
        Duration::try_from_secs_f64(most.as_secs_f64() * share).unwrap_or(most)
    }
}

/// Exponential backoff with full jitter; a `Retry-After` is obeyed up to a ceiling.
pub(crate) struct Backoff {
    failures: u32,
    until: Option<Instant>,
    jitter: Jitter,
}

impl Backoff {
    /// Upper bound of the wait after the first failure.
    const FIRST: Duration = Duration::from_secs(1);
    /// Upper bound of any wait, also of one that the endpoint asks for.
    pub(crate) const CEILING: Duration = Duration::from_secs(60);

    pub(crate) const fn new(jitter: Jitter) -> Self {
        Self { failures: 0, until: None, jitter }
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    pub(crate) fn failed(&mut self, now: Instant, retry_after: Option<Duration>) {
        let most = Self::FIRST.saturating_mul(1 << self.failures.min(16)).min(Self::CEILING);
        self.failures = self.failures.saturating_add(1);
        let wait = retry_after.map_or_else(|| self.jitter.up_to(most), |asked| asked.min(Self::CEILING));
        self.until = Some(now + wait);
    }

    /// When the endpoint may be tried again; `None` means at once.
    pub(crate) const fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_ceiling_and_end_with_a_success() {
        let start = Instant::now();
        let mut backoff = Backoff::new(Jitter::seeded(7));
        let mut longest = Duration::ZERO;
        for failures in 0..64_u32 {
            backoff.failed(start, None);
            let wait = backoff.until().map_or(Duration::ZERO, |until| until - start);
            assert!(wait <= Backoff::FIRST.saturating_mul(1 << failures.min(16)).min(Backoff::CEILING));
            longest = longest.max(wait);
        }
        assert!(longest > Backoff::CEILING / 2);
        backoff.succeeded();
        assert_eq!(backoff.until(), None);
    }

    #[test]
    fn retry_after_is_obeyed_up_to_the_ceiling() {
        let start = Instant::now();
        let mut backoff = Backoff::new(Jitter::seeded(7));
        backoff.failed(start, Some(Duration::from_secs(5)));
        assert_eq!(backoff.until(), Some(start + Duration::from_secs(5)));
        backoff.failed(start, Some(Duration::from_secs(86_400)));
        assert_eq!(backoff.until(), Some(start + Backoff::CEILING));
    }
}
