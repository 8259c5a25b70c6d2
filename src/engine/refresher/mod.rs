//! The refresher's state machine: requests, results and time go in; fetches, configs and answers come out.

mod machine;
mod schedule;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{ConfigOrigin, LifecycleEvent, Reply};
use crate::config::{ConfigChanges, ConfigSnapshot};
use crate::error::{ConfigCacheError, LoadError};
use crate::options::RefreshConfig;

pub(crate) use machine::Refresher;

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshKind {
    /// A config to be in place, whoever fetched it.
    Ready,
    /// A fetch that shows what is served now.
    Current,
}

/// The result of a fetch.
pub(crate) enum FetchedConfig {
    /// The config is still the one whose ETag was sent.
    NotModified,
    /// A different config, and its ETag.
    Changed { snapshot: Arc<ConfigSnapshot>, etag: Option<String> },
}

/// The result of a refresh.
pub(crate) type Refreshed = Result<RefreshOutcome, LoadError>;

/// What a successful refresh found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RefreshOutcome {
    /// The current config has not changed.
    NotModified,
    /// A different config is now in place.
    Updated(ConfigChanges),
}

/// How configs are followed.
#[derive(Default)]
pub(crate) struct RefreshSettings {
    pub(crate) policy: Option<RefreshConfig>,
    /// There is a config cache.
    pub(crate) cached: bool,
    /// The first config may come from the cache before any fetch.
    pub(crate) at_once: bool,
    /// The age at which a config is stale.
    pub(crate) max_stale: Option<Duration>,
    /// A stale config is withdrawn.
    pub(crate) withdraws: bool,
    /// The application judges each config.
    pub(crate) judged: bool,
}

impl RefreshSettings {
    /// Whether processes that share the cache share its refresh.
    pub(crate) const fn shares(&self) -> bool {
        self.cached && self.policy.is_some()
    }

    /// Whether a config of this age need not be fetched yet.
    fn is_fresh(&self, age: Duration) -> bool {
        let policy = self.policy.as_ref();
        policy.is_some_and(|policy| age < policy.interval().saturating_add(policy.jitter()))
    }
}

/// The config in place when the refresher starts: the application's own, or that of a forked child.
pub(crate) struct InPlace {
    pub(crate) config: Arc<ConfigSnapshot>,
    pub(crate) etag: Option<String>,
    pub(crate) origin: ConfigOrigin,
    /// Since it was last known to be current.
    pub(crate) age: Duration,
    /// It was withdrawn.
    pub(crate) withdrawn: bool,
}

/// A process's part among those that share a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It fetches: it holds the lock, or shares with nobody.
    Fetches,
    /// Another one fetches.
    Follows,
}

/// A look at the cache.
pub(crate) struct Seen {
    pub(crate) role: Result<Role, ConfigCacheError>,
    /// What is new there.
    pub(crate) found: Result<Option<CachedConfig>, ConfigCacheError>,
}

/// A config from the cache.
pub(crate) struct CachedConfig {
    /// `None` if it is the one in place.
    pub(crate) snapshot: Option<Arc<ConfigSnapshot>>,
    pub(crate) etag: Option<String>,
    /// When it was last known to be current.
    pub(crate) at: SystemTime,
    /// Since then.
    pub(crate) age: Duration,
}

/// An input of the refresher.
pub(crate) enum RefreshEvent {
    /// A caller asks and waits.
    Asked(RefreshKind, Reply<Refreshed>),
    /// A caller wants a fetch and does not wait for it.
    Wanted,
    /// Time has passed.
    Tick,
    /// The fetch has ended.
    Answered(Result<FetchedConfig, LoadError>),
    /// The look has ended.
    Looked(Seen),
    /// The application has judged.
    Judged(bool),
    /// A caller has put the standby in place and announced it.
    Adopted,
    /// The cache was written, or not.
    Kept(Result<(), ConfigCacheError>),
}

/// What is to be done, in this order.
pub(crate) enum RefreshEffect {
    /// Fetch the config, unless it is still the one with this ETag.
    Fetch(Option<String>),
    /// Look at the cache, to compare it with the config in place, and try for the lock if it is shared.
    Look(Option<Arc<ConfigSnapshot>>),
    /// Ask the application about a config and its changes.
    Judge(Arc<ConfigSnapshot>, ConfigChanges),
    /// Until the next event, callers who have waited long enough may put this config in place.
    StandBy(Standby),
    /// Put a config in place, with its ETag.
    Publish(Arc<ConfigSnapshot>, Option<String>),
    /// Put what remains of the config in place when it must not decide.
    Withdraw(Arc<ConfigSnapshot>),
    /// Note that the config in place was current at this time, or is now.
    Confirm(ConfigOrigin, Option<SystemTime>),
    /// Write the config to the cache, as current.
    Keep(Arc<ConfigSnapshot>, Option<String>),
    Announce(LifecycleEvent),
    Answer(Reply<Refreshed>, Refreshed),
}

/// A config from the cache that is used if no other comes in time.
#[derive(Clone)]
pub(crate) struct Standby {
    pub(crate) snapshot: Arc<ConfigSnapshot>,
    pub(crate) etag: Option<String>,
    pub(crate) at: SystemTime,
}
