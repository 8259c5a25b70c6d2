//! When to fetch, when to look at the cache, and when a config is stale.

use std::time::Duration;

use super::{RefreshSettings, Role};
use crate::engine::{Jitter, Moment};

/// The longest that a follower goes without a look at the cache; a shorter refresh interval shortens it.
const LOOK: Duration = Duration::from_secs(1);
/// The time between two looks while it has no config.
const EAGER_LOOK: Duration = Duration::from_millis(20);
/// How long it leaves the first fetch to the holder of the lock.
const HOLDER_PATIENCE: Duration = Duration::from_secs(2);
/// The same with an old config at hand: the holder may have failed to fetch, which nobody else sees.
const SHORT_HOLDER_PATIENCE: Duration = Duration::from_millis(500);

pub(super) struct Schedule {
    jitter: Jitter,
    role: Role,
    /// When the config in place was known to be current.
    confirmed: Since,
    failures: u32,
    /// When a process that fetches fetches again.
    due: Option<Moment>,
    look_at: Option<Moment>,
    /// Since when a follower leaves its first fetch to the holder of the lock.
    leaves_it_since: Option<Moment>,
}

/// A time in the past, which may be before the origin of all moments.
#[derive(Clone, Copy)]
pub(super) struct Since {
    moment: Moment,
    before: Duration,
}

impl Since {
    pub(super) const fn now(now: Moment) -> Self {
        Self::before(now, Duration::ZERO)
    }

    /// So long before a moment.
    pub(super) const fn before(moment: Moment, before: Duration) -> Self {
        Self { moment, before }
    }

    pub(super) fn age(self, now: Moment) -> Duration {
        (now - self.moment).saturating_add(self.before)
    }

    /// When it will be this long ago.
    fn plus(self, age: Duration) -> Moment {
        self.moment + age.saturating_sub(self.before)
    }
}

impl Schedule {
    pub(super) const fn new(jitter: Jitter, now: Moment) -> Self {
        Self {
            jitter,
            role: Role::Fetches,
            confirmed: Since::now(now),
            failures: 0,
            due: None,
            look_at: None,
            leaves_it_since: None,
        }
    }

    /// Begins with a config of that age, a whole interval before the next fetch.
    pub(super) fn begin(&mut self, age: Duration, now: Moment, settings: &RefreshSettings) {
        self.confirm(Since::now(now), settings);
        self.confirmed = Since::before(now, age);
        self.look_at = settings.shares().then_some(now);
    }

    pub(super) fn follows(&self) -> bool {
        self.role == Role::Follows
    }

    /// The age of the config in place.
    pub(super) fn age(&self, now: Moment) -> Duration {
        self.confirmed.age(now)
    }

    /// The config in place was current then.
    pub(super) fn confirm(&mut self, since: Since, settings: &RefreshSettings) {
        (self.failures, self.confirmed) = (0, since);
        self.due = self.wait(settings).map(|wait| since.plus(wait));
    }

    /// A fetch has failed. A core that never had a config is initialized again by its application, not by a timer.
    pub(super) fn fail(&mut self, has_config: bool, now: Moment, settings: &RefreshSettings) {
        self.failures = self.failures.saturating_add(1);
        if has_config {
            self.due = self.wait(settings).map(|wait| now + wait);
        }
    }

    /// After a look at the cache.
    pub(super) fn follow(&mut self, role: Role, now: Moment, settings: &RefreshSettings) {
        self.role = role;
        let interval = settings.policy.as_ref().map_or(LOOK, |policy| policy.interval().min(LOOK));
        self.look_at = self.follows().then(|| now + interval);
    }

    /// Whether the first fetch is left to the holder of the lock, which has probably begun it; then a look is due soon.
    pub(super) fn leaves_it(&mut self, has_standby: bool, now: Moment) -> bool {
        let patience = if has_standby { SHORT_HOLDER_PATIENCE } else { HOLDER_PATIENCE };
        let leaves = self.follows() && now - *self.leaves_it_since.get_or_insert(now) < patience;
        if leaves {
            self.look_at = Some(now + EAGER_LOOK);
        }
        leaves
    }

    pub(super) const fn look_at(&self) -> Option<Moment> {
        self.look_at
    }

    /// A follower fetches only when the holder of the lock has failed to for long, or hangs.
    pub(super) fn fetch_at(&self, settings: &RefreshSettings) -> Option<Moment> {
        let policy = settings.policy.as_ref()?;
        let patience = if self.follows() { policy.backoff_ceiling() } else { Duration::ZERO };
        self.due.map(|due| due + patience)
    }

    /// When the config in place is too old.
    pub(super) fn stale_at(&self, settings: &RefreshSettings) -> Option<Moment> {
        settings.max_stale.map(|most| self.confirmed.plus(most))
    }

    fn wait(&mut self, settings: &RefreshSettings) -> Option<Duration> {
        let policy = settings.policy.as_ref()?;
        Some(policy.wait_after(self.failures).saturating_add(self.jitter.up_to(policy.jitter())))
    }
}
