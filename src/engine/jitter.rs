//! The random part of waits.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A small random number generator (SplitMix64) that spreads retries and decides nothing else.
pub struct Jitter(u64);

impl Jitter {
    /// The same waits for the same seed, for tests.
    #[must_use]
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Seeded from the operating system through the standard library's hash keys.
    #[must_use]
    pub fn random() -> Self {
        Self(RandomState::new().hash_one(()))
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
        // Rounding can push the longest durations past the maximum.
        Duration::try_from_secs_f64(most.as_secs_f64() * share).unwrap_or(most)
    }
}
