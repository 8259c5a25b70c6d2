//! A bound on how often one line is logged.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::HAS_CLOCK;

/// The shortest time between two lines from one place, in seconds.
const EVERY: u64 = 60;

/// What one place in the code has logged. Two threads at the same time may both log.
pub(crate) struct Limit {
    /// When the last line was logged, in seconds; 0 is never.
    last: AtomicU64,
    left_out: AtomicU64,
}

/// How many lines were not logged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeftOut(u64);

impl Limit {
    pub(crate) const fn new() -> Self {
        Self { last: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Whether to log now, and what was left out since the last line. Without a clock, one line is all.
    pub(crate) fn take(&self) -> Option<LeftOut> {
        let since = HAS_CLOCK.then(SystemTime::now).and_then(|now| now.duration_since(UNIX_EPOCH).ok());
        self.take_at(since.map_or(0, |since| since.as_secs()))
    }

    fn take_at(&self, now: u64) -> Option<LeftOut> {
        let last = self.last.load(Ordering::Relaxed);
        // A clock that was set back does not silence it.
        if last != 0 && now.abs_diff(last) < EVERY {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.last.store(now.max(1), Ordering::Relaxed);
        Some(LeftOut(self.left_out.swap(0, Ordering::Relaxed)))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            lines => write!(f, " ({lines} more times since the last such line)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_logged_once_a_minute_and_the_rest_counted() {
        let limit = Limit::new();
        let seconds = 1_000..1_000 + 3 * EVERY;
        let logged: Vec<_> = seconds.filter_map(|now| limit.take_at(now)).collect();
        assert_eq!(logged, [LeftOut(0), LeftOut(EVERY - 1), LeftOut(EVERY - 1)]);
        assert_eq!(LeftOut(59).to_string(), " (59 more times since the last such line)");
        assert_eq!(LeftOut(0).to_string(), "");
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_silence_it() {
        let limit = Limit::new();
        assert!(limit.take_at(10_000).is_some());
        assert!(limit.take_at(500).is_some());
        assert!(limit.take_at(0).is_some());
        assert!(limit.take_at(30).is_none());
    }
}
