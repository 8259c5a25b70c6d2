//! From a duration that a caller gives to the moment at which its wait ends.

use std::time::{Duration, Instant};

/// Longer waits than this are cut to it, so that every deadline is a moment that the clock can name.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The moment `timeout` from now.
pub(crate) fn deadline_after(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(LONGEST)
}
