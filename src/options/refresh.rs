//! When the config is fetched again, and how failures slow this down.

use std::time::Duration;

use super::{InvalidOption, InvalidReason};

/// The policy for automatic config refresh. Off unless passed to
/// [`SdkConfigBuilder::refresh`](super::SdkConfigBuilder::refresh); the defaults are the official
/// Python SDK's.
///
/// ```
/// use std::time::Duration;
/// use convert_sdk::config::RefreshConfig;
///
/// let every_minute = RefreshConfig::builder()
///     .interval(Duration::from_secs(60))
///     .jitter(Duration::from_secs(5))
///     .build()?;
/// assert_eq!(every_minute.interval(), Duration::from_secs(60));
/// # Ok::<(), convert_sdk::InvalidOption>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RefreshConfig {
    interval: Duration,
    jitter: Duration,
    backoff_factor: f64,
    backoff_ceiling: Duration,
}

/// Builds a [`RefreshConfig`].
#[derive(Debug, Clone)]
#[must_use]
pub struct RefreshConfigBuilder(RefreshConfig);

impl RefreshConfig {
    /// Time between two successful fetches.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(300);
    /// Upper bound of the random time added to each wait, so that a fleet does not fetch in lockstep.
    pub const DEFAULT_JITTER: Duration = Duration::from_secs(30);
    /// The factor by which each further failure multiplies the wait.
    pub const DEFAULT_BACKOFF_FACTOR: f64 = 2.0;
    /// The longest wait between two failing fetches, without jitter.
    pub const DEFAULT_BACKOFF_CEILING: Duration = Duration::from_secs(600);

    /// Starts from the defaults.
    pub const fn builder() -> RefreshConfigBuilder {
        RefreshConfigBuilder(Self {
            interval: Self::DEFAULT_INTERVAL,
            jitter: Self::DEFAULT_JITTER,
            backoff_factor: Self::DEFAULT_BACKOFF_FACTOR,
            backoff_ceiling: Self::DEFAULT_BACKOFF_CEILING,
        })
    }

    /// Time between two successful fetches.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Upper bound of the random time added to each wait.
    #[must_use]
    pub const fn jitter(&self) -> Duration {
        self.jitter
    }

    pub(crate) const fn backoff_ceiling(&self) -> Duration {
        self.backoff_ceiling
    }

    /// The wait after `failures` consecutive failures, without jitter: the interval, multiplied by the factor once
    /// per failure, up to the ceiling.
    pub(crate) fn wait_after(&self, failures: u32) -> Duration {
        let exponent = i32::try_from(failures).unwrap_or(i32::MAX);
        let seconds = self.interval.as_secs_f64() * self.backoff_factor.powi(exponent);
        if seconds < self.backoff_ceiling.as_secs_f64() {
            Duration::from_secs_f64(seconds)
        } else {
            self.backoff_ceiling
        }
    }
}

impl Default for RefreshConfig {
    fn default() -> Self {
        Self::builder().0
    }
}

impl RefreshConfigBuilder {
    /// Time between two successful fetches; more than zero. Default 300 s.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.0.interval = interval;
        self
    }

    /// Upper bound of the random time added to each wait; at most the interval. Default 30 s.
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.0.jitter = jitter;
        self
    }

    /// The factor by which each further failure multiplies the wait; at least 1. Default 2.
    pub const fn backoff_factor(mut self, factor: f64) -> Self {
        self.0.backoff_factor = factor;
        self
    }

    /// The longest wait between two failing fetches; at least the interval. Default 600 s.
    pub const fn backoff_ceiling(mut self, ceiling: Duration) -> Self {
        self.0.backoff_ceiling = ceiling;
        self
    }

    /// Checks the values against each other.
    ///
    /// # Errors
    /// Names the first field that is out of its range.
    pub fn build(self) -> Result<RefreshConfig, InvalidOption> {
        let out_of_range = |field, range| Err(InvalidOption::new(field, InvalidReason::OutOfRange(range)));
        let policy = self.0;
        if policy.interval.is_zero() {
            return out_of_range("refresh.interval", "more than zero");
        }
        if policy.jitter > policy.interval {
            return out_of_range("refresh.jitter", "at most the interval");
        }
        if !(policy.backoff_factor.is_finite() && policy.backoff_factor >= 1.0) {
            return out_of_range("refresh.backoff_factor", "a number of at least 1");
        }
        if policy.backoff_ceiling < policy.interval {
            return out_of_range("refresh.backoff_ceiling", "at least the interval");
        }
        Ok(policy)
    }
}
