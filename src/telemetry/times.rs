//! Times, for the histograms of the feature `metrics`.

use std::time::{Duration, Instant};

use super::HAS_CLOCK;

/// The histogram of waiting calls.
pub(crate) const WAIT: &str = "convert_wait_seconds";

/// Measures until it is dropped, which also happens to a task that stops waiting.
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "there is no histogram"))]
pub(crate) struct Timer {
    name: &'static str,
    label: &'static str,
    value: &'static str,
    /// `None` where the platform has no clock.
    started: Option<Instant>,
}

impl Timer {
    pub(crate) fn start(name: &'static str, label: &'static str, value: &'static str) -> Self {
        Self { name, label, value, started: HAS_CLOCK.then(Instant::now) }
    }

    /// The time so far; none where the platform has no clock.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |started| started.elapsed())
    }

    /// The same for a line, in seconds to the millisecond.
    pub(crate) fn seconds(&self) -> f64 {
        (self.elapsed().as_secs_f64() * 1_000.0).round() / 1_000.0
    }

    /// Says what it has measured.
    pub(crate) const fn set(&mut self, value: &'static str) {
        self.value = value;
    }
}

#[cfg(feature = "metrics")]
impl Drop for Timer {
    fn drop(&mut self) {
        crate::caught::quietly(|| {
            let seconds = self.elapsed().as_secs_f64();
            metrics::histogram!(self.name, self.label => self.value).record(seconds);
        });
    }
}
