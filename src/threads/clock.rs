//! Time outside of the machines: where a core reads it, and the deadlines of those who wait.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, at, never};

use super::generation;
use crate::engine::Moment;
use crate::options::LONGEST_TIMEOUT;

/// The moment `timeout` from now, capped at what the system clock can represent.
#[cfg(any(feature = "async", feature = "https"))]
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(LONGEST_TIMEOUT)
}

/// How far moments reach back before the origin of a clock: for records that an earlier process has left behind.
const BEFORE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The application's clock, for [`CoreBuilder::pumped_by`](crate::CoreBuilder::pumped_by): where there is no system
/// clock, as in `wasm32-unknown-unknown`, or where time is simulated.
pub trait HostClock: Send + Sync + 'static {
    /// The time since any fixed origin. Must not go back, and should advance during a turn, which measures its budget
    /// by it: by a clock that stands still, a turn does everything that there is to do.
    fn now(&self) -> Duration;

    /// The time of day, for what a person reads in [`Stats`](crate::Stats), and for a `Retry-After` that is a date of
    /// a server which does not say what time it has.
    fn time_of_day(&self) -> SystemTime;

    /// Random bits, other ones with each call, for a host whose system gives the SDK none, as in
    /// `wasm32-unknown-unknown`: for the random part of waits and for [batch
    /// ids](crate::config::TransportConfigBuilder::batch_ids). Asked a few times when the core starts to work. Without
    /// them (the default), waits there are as random as the time at which they begin, and there are no batch ids.
    fn entropy(&self) -> Option<u64> {
        None
    }
}

/// A core's clock, whose moments count from [`BEFORE`] its origin. The moments of one core are comparable with each
/// other, and with no other core's.
#[derive(Clone)]
pub(crate) enum Clock {
    System { origin: Instant },
    Given(Arc<dyn HostClock>),
}

/// Until when someone waits.
#[derive(Clone)]
pub(crate) struct Deadline {
    clock: Clock,
    at: Moment,
}

impl Clock {
    /// The system's, from now on.
    pub(crate) fn start() -> Self {
        Self::System { origin: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        let since_origin = match self {
            Self::System { origin } => origin.elapsed(),
            Self::Given(clock) => clock.now(),
        };
        Moment::after_origin(BEFORE.saturating_add(since_origin))
    }

    /// The time of day.
    pub(crate) fn wall(&self) -> SystemTime {
        match self {
            Self::System { .. } => SystemTime::now(),
            Self::Given(clock) => clock.time_of_day(),
        }
    }

    /// Random bits for waits. They come from the standard library's hash keys, which forked children share, so the process
    /// and the time are mixed in; WebAssembly has no such keys, and asking for the process panics there.
    pub(crate) fn seed(&self) -> u64 {
        let process = if cfg!(target_family = "wasm") { 0 } else { std::process::id() };
        RandomState::new().hash_one((process, generation(), self.wall(), self.now(), self.entropy()))
    }

    /// What nothing else in the world begins with; `None` where nothing is random enough.
    pub(crate) fn origin(&self) -> Option<u128> {
        let has_keys = !cfg!(target_family = "wasm");
        let half = || (has_keys || self.entropy().is_some()).then(|| u128::from(self.seed()));
        Some(half()? << 64 | half()?)
    }

    fn entropy(&self) -> Option<u64> {
        match self {
            Self::System { .. } => None,
            Self::Given(clock) => clock.entropy(),
        }
    }

    /// The moment `timeout` from now, capped at what the system clock can represent.
    pub(crate) fn deadline_after(&self, timeout: Duration) -> Deadline {
        Deadline { clock: self.clone(), at: self.now() + timeout.min(LONGEST_TIMEOUT) }
    }

    /// A deadline by this clock. Anything earlier than the origin becomes the origin.
    pub(crate) fn moment(&self, deadline: &Deadline) -> Moment {
        match (self, deadline.instant()) {
            (Self::System { origin }, Some(instant)) => {
                Moment::after_origin(BEFORE + instant.saturating_duration_since(*origin))
            }
            _ => deadline.at,
        }
    }

    /// Fires at this moment; never if there is none, or if the system clock cannot represent it.
    pub(crate) fn alarm(&self, moment: Option<Moment>) -> Receiver<Instant> {
        let instant = moment.and_then(|at| Deadline { clock: self.clone(), at }.instant());
        instant.map_or_else(never, at)
    }
}

impl Deadline {
    pub(crate) fn is_over(&self) -> bool {
        self.at <= self.clock.now()
    }

    /// When that is by its own clock.
    pub(crate) const fn moment(&self) -> Moment {
        self.at
    }

    /// How long until then.
    pub(crate) fn left(&self) -> Duration {
        self.at - self.clock.now()
    }

    /// The same clock's now.
    pub(crate) fn now(&self) -> Self {
        Self { clock: self.clock.clone(), at: self.clock.now() }
    }

    /// This much earlier.
    pub(crate) fn earlier(&self, by: Duration) -> Self {
        Self { clock: self.clock.clone(), at: self.at - by }
    }

    /// The earlier of two of one clock.
    pub(crate) fn min(self, other: Self) -> Self {
        if other.at < self.at { other } else { self }
    }

    /// When that is; `None` by a given clock, and if the system's cannot represent it.
    pub(crate) fn instant(&self) -> Option<Instant> {
        match self.clock {
            Clock::System { origin } => origin.checked_add(self.at.since_origin().saturating_sub(BEFORE)),
            Clock::Given(_) => None,
        }
    }
}

/// By the system's clock.
impl From<Instant> for Deadline {
    fn from(instant: Instant) -> Self {
        let origin = instant.min(Instant::now());
        Self { clock: Clock::System { origin }, at: Moment::after_origin(BEFORE + (instant - origin)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_measures_moments_from_its_start() {
        let clock = Clock::start();
        let Clock::System { origin } = clock else { unreachable!("it is the system's") };
        let second = Duration::from_secs(1);
        assert_eq!(clock.moment(&(origin + second).into()), Moment::after_origin(BEFORE + second));
        assert_eq!(clock.moment(&(origin - second).into()), Moment::after_origin(BEFORE));
        assert!(clock.alarm(Some(Moment::default())).recv().is_ok());
        let last = Moment::default() + Duration::MAX;
        assert_eq!((last + second, last - last), (last, Duration::ZERO));
        assert!(clock.alarm(Some(last)).is_empty() && clock.alarm(None).is_empty());
    }

    #[test]
    fn a_deadline_is_over_when_its_own_clock_says_so() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert!(Deadline::from(now).is_over() && Deadline::from(now - second).is_over());
        let later = Clock::start().deadline_after(1_000 * second);
        assert!(!later.is_over() && later.earlier(1_000 * second).is_over());
        assert_eq!(
            Clock::start().deadline_after(Duration::MAX).left().as_secs(),
            LONGEST_TIMEOUT.as_secs() - 1
        );
    }
}
