//! The threads' clock: reads the system clock and converts it to the machines' time.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, at, never};

use crate::engine::Moment;
use crate::options::LONGEST_TIMEOUT;

/// The moment `timeout` from now, capped at what the system clock can represent.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(LONGEST_TIMEOUT)
}

/// Moments since this clock was started. Those of different clocks are not comparable.
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

    /// Anything earlier than the origin becomes the origin.
    pub(crate) fn moment(self, instant: Instant) -> Moment {
        Moment::after_origin(instant.saturating_duration_since(self.origin))
    }

    /// Fires at this moment; never if there is none, or if the system clock cannot represent it.
    pub(crate) fn alarm(self, moment: Option<Moment>) -> Receiver<Instant> {
        moment.and_then(|moment| self.origin.checked_add(moment.since_origin())).map_or_else(never, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_measures_moments_from_its_origin() {
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
