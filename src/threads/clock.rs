//! The clock of the threads: reads the system's, and tells the machines the time in their own.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, at, never};

use crate::engine::Moment;
use crate::options::LONGEST_TIMEOUT;

/// The moment `timeout` from now, as far as the system's clock can name it.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(LONGEST_TIMEOUT)
}

/// Moments since this clock was started. Those of two clocks do not compare.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(self) -> Moment {
        self.moment(Instant::now())
    }

    /// The origin for whatever was before.
    pub(crate) fn moment(self, instant: Instant) -> Moment {
        Moment::after_origin(instant.saturating_duration_since(self.origin))
    }

    /// Fires at this moment; never without one, or where the system's clock cannot name it.
    pub(crate) fn alarm(self, moment: Option<Moment>) -> Receiver<Instant> {
        moment.and_then(|moment| self.origin.checked_add(moment.since_origin())).map_or_else(never, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_names_moments_from_its_origin_on() {
        let clock = Clock::start();
        let second = Duration::from_secs(1);
        assert_eq!(clock.moment(clock.origin + second), Moment::after_origin(second));
        assert_eq!(clock.moment(clock.origin - second), Moment::default());
        assert!(clock.alarm(Some(Moment::default())).recv().is_ok());
        let last = Moment::default() + Duration::MAX;
        assert_eq!((last + second, last - last), (last, Duration::ZERO));
        assert!(clock.alarm(Some(last)).is_empty() && clock.alarm(None).is_empty());
    }
}
