//! How a config is kept through restarts, outages and bad releases.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{InvalidOption, InvalidReason, SdkConfigBuilder};
use crate::config::{ConfigChanges, ConfigSnapshot};

/// What else belongs to following an SDK key than fetching.
#[derive(Clone)]
pub(crate) struct Upkeep {
    pub(crate) cache: Option<PathBuf>,
    /// How long `initialize` waits for the endpoint before it starts from the cache.
    pub(crate) patience: Duration,
    pub(crate) max_stale: Option<Duration>,
    pub(crate) decide_when_stale: bool,
    pub(crate) gate: Option<ConfigGate>,
}

/// The application's check of a config, foreign code.
pub(crate) type ConfigGate = Arc<dyn Fn(&ConfigSnapshot, &ConfigChanges) -> bool + Send + Sync>;

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            cache: None,
            patience: SdkConfigBuilder::DEFAULT_CONFIG_CACHE_PATIENCE,
            max_stale: None,
            decide_when_stale: true,
            gate: None,
        }
    }
}

impl SdkConfigBuilder {
    /// How long [`initialize`](crate::Core::initialize) waits for the endpoint before it starts from the cache.
    pub const DEFAULT_CONFIG_CACHE_PATIENCE: Duration = Duration::from_secs(2);

    /// Keeps the last good config in this file, so that a restart while the config endpoint is down still starts.
    /// Default none.
    ///
    /// Each fetched config is written with its ETag and time: to `path.tmp`, which is synced and renamed, readable by
    /// this user alone. The file does not contain the SDK key. Its directory must exist, and on Unix its file system
    /// needs POSIX record locks, which are taken on `path.lock`.
    ///
    /// `initialize` starts from the file if the endpoint does not answer; see
    /// [`config_cache_patience`](Self::config_cache_patience).
    /// [`Stats::config_origin`](crate::Stats::config_origin) says so, and [`config_at`](crate::Stats::config_at) how
    /// old that config is. A file that is damaged, longer than
    /// [`max_response_bytes`](crate::config::TransportConfigBuilder::max_response_bytes), of another key or
    /// environment, or that others may write to is not used: a warning is logged, and
    /// [`ConfigCacheFailed`](crate::events::LifecycleEvent::ConfigCacheFailed) announced. All of these but the file of
    /// another key or environment are then replaced; that one stays as it is, and nothing is cached.
    ///
    /// `initialize` returns when the first fetched config is on disk, unless the disk takes longer than its own timeout
    /// or the patience.
    ///
    /// With a [`refresh`](Self::refresh) policy, the processes of a host that use the same file share its refresh: one
    /// of them fetches, the others look at the file once a second. When that process ends, in any way, another one
    /// continues; `docs/processes.md` in the repository has the details. They must have the same key and environment.
    ///
    /// Without an SDK key there is nothing to keep; the path is ignored and a warning logged.
    pub fn config_cache(mut self, path: impl AsRef<Path>) -> Self {
        self.upkeep.cache = Some(path.as_ref().to_owned());
        self
    }

    /// How long [`initialize`](crate::Core::initialize) waits for the endpoint before it starts from the
    /// [cache](Self::config_cache), at most half of its own timeout; a fetch that fails ends the wait earlier, and
    /// one that takes longer still replaces the cached config when it ends. Zero starts from the cache at once and
    /// fetches afterwards. Default 2 s.
    pub const fn config_cache_patience(mut self, patience: Duration) -> Self {
        self.upkeep.patience = patience;
        self
    }

    /// Announces [`ConfigStale`](crate::events::LifecycleEvent::ConfigStale) when the config could not be confirmed
    /// as current for this long; more than zero. A fetch in progress is waited for first. It should exceed the refresh
    /// interval several times, and needs a [`refresh`](Self::refresh) policy or calls of
    /// [`refresh_now`](crate::Core::refresh_now) to be confirmed at all. Default none:
    /// a config is used however old it is. Ignored without an SDK key.
    pub const fn max_stale(mut self, after: Duration) -> Self {
        self.upkeep.max_stale = Some(after);
        self
    }

    /// Whether a config older than [`max_stale`](Self::max_stale) still decides. Default true. When false, new
    /// contexts get a config without experiences and features until the next good fetch, and report
    /// [`Undecided::Withdrawn`](crate::Undecided::Withdrawn); goals remain, so conversions are still recorded.
    /// Existing contexts keep the config that they have.
    pub const fn decide_when_stale(mut self, decides: bool) -> Self {
        self.upkeep.decide_when_stale = decides;
        self
    }

    /// The application's own check of each config from the endpoint or the cache, before it is used: gets the config,
    /// and what it changes compared with the current one (for a first config, everything is added). If it returns
    /// false or panics, the current config stays, and
    /// [`ConfigNotAccepted`](crate::events::LifecycleEvent::ConfigNotAccepted) is announced. Runs on the refresher's
    /// thread; one that blocks delays the refresh. Not asked about direct data. Default none.
    ///
    /// ```
    /// use convert_sdk::SdkConfig;
    ///
    /// // A release that takes away more than a third of the experiences is more likely a mistake.
    /// let config = SdkConfig::server("10035569/10034190")
    ///     .accept_config(|config, changes| changes.keeps_two_thirds(config))
    ///     .build()?;
    /// # Ok::<(), convert_sdk::InvalidOption>(())
    /// ```
    pub fn accept_config(
        mut self,
        check: impl Fn(&ConfigSnapshot, &ConfigChanges) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.upkeep.gate = Some(Arc::new(check));
        self
    }
}

impl Upkeep {
    pub(super) fn checked(self) -> Result<Self, InvalidOption> {
        if self.cache.as_ref().is_some_and(|path| path.file_name().is_none()) {
            return Err(InvalidOption::new("config_cache", InvalidReason::NotAFile));
        }
        if self.max_stale.is_some_and(|after| after.is_zero()) {
            return Err(InvalidOption::new("max_stale", InvalidReason::OutOfRange("more than zero")));
        }
        Ok(self)
    }

    /// Whether anything of it was set that has no effect without an SDK key.
    pub(crate) const fn needs_key(&self) -> bool {
        self.cache.is_some() || self.max_stale.is_some() || self.gate.is_some()
    }
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep")
            .field("cache", &self.cache)
            .field("patience", &self.patience)
            .field("max_stale", &self.max_stale)
            .field("decide_when_stale", &self.decide_when_stale)
            .field("gate", &self.gate.is_some())
            .finish()
    }
}
