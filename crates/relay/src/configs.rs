//! Configs: polled by one relay at a time, kept in Redis, served from memory.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use convert_sdk::config::CacheLevel;
use convert_sdk::ports::{ConfigRequest, ConfigResponse, ConfigSource, TransportError};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::config::{Config, Variant};
use crate::keys::{FETCH_TIMEOUT, Key};
use crate::store::{Store, StoreError};

/// Environments that are polled per key besides the config without one; requests for others are passed through.
pub(crate) const MAX_VARIANTS: usize = 16;
/// The longest name of such an environment.
pub(crate) const MAX_NAME: usize = 64;
/// Why a config is refused; `docs/relay.md` tells operators what to do.
const ANOTHER: &str = "the config of another project than the one that Redis or this relay knows";
/// How often a relay checks whether another one has fetched.
const LOOK: Duration = Duration::from_secs(1);
/// The wait after a first failure; it doubles with each further one, up to the interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);

impl Key {
    /// The polled config of an environment. The first request for one starts polling it; `None` if too many
    /// are polled already.
    pub(crate) fn variant(
        self: &Arc<Self>,
        environment: &str,
        store: &Store,
        interval: Duration,
    ) -> Option<Arc<Variant>> {
        let (mut variants, mut pollers) = (self.variants.lock().ok()?, self.pollers.lock().ok()?);
        if let Some(variant) = variants.get(environment) {
            return Some(Arc::clone(variant));
        }
        if variants.len() > MAX_VARIANTS || environment.len() > MAX_NAME {
            return None;
        }
        let variant = Arc::new(Variant { config: watch::Sender::new(None) });
        variants.insert(environment.to_owned(), Arc::clone(&variant));
        let poller = Poller {
            key: Arc::clone(self),
            environment: environment.to_owned(),
            variant: Arc::clone(&variant),
            store: store.clone(),
            interval,
            seen: None,
            failures: 0,
            own_turn: Instant::now(),
        };
        pollers.spawn(self.alarm.clone().guard(poller.run()));
        Some(variant)
    }

    /// A config that is available, preferably the one without an environment: it tells whose the key is.
    pub(crate) fn any_config(&self) -> Option<Arc<Config>> {
        let variants = self.variants.lock().ok()?;
        let first = variants.get("").and_then(|variant| variant.current());
        first.or_else(|| variants.values().find_map(|variant| variant.current()))
    }

    /// Whether a config is of the project that this relay knows as the key's, if it knows one.
    pub(crate) fn may_have(&self, config: &Config) -> bool {
        self.any_config().is_none_or(|known| known.project == config.project)
    }

    /// The polled environments and their configs.
    pub(crate) fn configs(&self) -> Vec<(String, Option<Arc<Config>>)> {
        let variants = self.variants.lock().map(|variants| {
            variants.iter().map(|(name, variant)| (name.clone(), variant.current())).collect::<Vec<_>>()
        });
        let mut variants = variants.unwrap_or_default();
        variants.sort_by(|(one, _), (other, _)| one.cmp(other));
        variants
    }

    /// Fetches from Convert; blocks.
    fn fetch(&self, environment: &str, etag: Option<&str>) -> Result<ConfigResponse, TransportError> {
        self.meters.config_fetches.fetch_add(1, Relaxed);
        let mut request = ConfigRequest::new(&self.sdk_key, FETCH_TIMEOUT);
        request.environment = Some(environment).filter(|name| !name.is_empty());
        request.etag = etag;
        self.upstream.fetch_config(&request)
    }

    /// Fetches from Convert a config that is not polled; blocks.
    pub(crate) fn fetch_for(&self, asked: &PassedThrough) -> Result<ConfigResponse, TransportError> {
        self.meters.passed_through.fetch_add(1, Relaxed);
        let mut request = ConfigRequest::new(&self.sdk_key, FETCH_TIMEOUT);
        request.environment = asked.environment.as_deref();
        request.debug_token = asked.debug_token.as_deref();
        if asked.low_cache {
            request.cache_level = CacheLevel::Low;
        }
        match &asked.experience {
            Some(id) => self.upstream.fetch_experience(&request, id),
            None => self.upstream.fetch_config(&request),
        }
    }
}

/// A config request that is passed through.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PassedThrough {
    pub(crate) environment: Option<String>,
    pub(crate) experience: Option<String>,
    pub(crate) debug_token: Option<String>,
    pub(crate) low_cache: bool,
}

/// Refreshes one variant.
struct Poller {
    key: Arc<Key>,
    environment: String,
    variant: Arc<Variant>,
    store: Store,
    interval: Duration,
    /// The tag and confirmation that Redis had when this relay last read or wrote them. Compared for equality: the
    /// times are by the clocks of different relays.
    seen: Option<(String, u64)>,
    failures: u32,
    /// When this relay may fetch if Redis cannot say whose turn it is.
    own_turn: Instant,
}

impl Poller {
    async fn run(mut self) {
        loop {
            if let Err(error) = self.look().await {
                log::warn!("configs: {error}");
            }
            if self.has_turn().await {
                self.fetch().await;
            }
            sleep(LOOK.min(self.interval)).await;
        }
    }

    /// Loads the config that another relay, or an earlier process, has stored since the last look.
    async fn look(&mut self) -> Result<(), StoreError> {
        let stored = self.store.config_tag(&self.key.sdk_key, &self.environment).await?;
        if stored.is_none() {
            self.seen = None;
            // A Redis that has lost its data learns again whose the key is, before it hears of another project.
            if let Some(current) = self.variant.current() {
                let _ = self.keep(current.confirmed(current.confirmed_ms)).await;
            }
        }
        let Some((tag, confirmed_ms)) = stored.filter(|stored| self.seen.as_ref() != Some(stored)) else {
            return Ok(());
        };
        if let Some(current) = self.variant.current().filter(|current| current.tag == tag) {
            self.publish(current.confirmed(confirmed_ms).vouched());
            self.seen = Some((tag, confirmed_ms));
            return Ok(());
        }
        let Some(kept) = self.store.config(&self.key.sdk_key, &self.environment).await? else {
            return Ok(());
        };
        self.seen = Some((kept.tag.clone(), kept.confirmed_ms));
        if let Some(config) = Config::read(kept.body, kept.upstream_etag, kept.confirmed_ms).await {
            self.publish(config.vouched());
        }
        Ok(())
    }

    async fn has_turn(&mut self) -> bool {
        match self.store.take_turn(&self.key.sdk_key, &self.environment, self.interval).await {
            Ok(has_turn) => has_turn,
            Err(_) => self.own_turn <= Instant::now(),
        }
    }

    async fn fetch(&mut self) {
        let current = self.variant.current();
        let etag = current.as_ref().and_then(|config| config.upstream_etag.clone());
        let (key, environment) = (Arc::clone(&self.key), self.environment.clone());
        let fetched = spawn_blocking(move || key.fetch(&environment, etag.as_deref())).await;
        let outcome = match fetched {
            Ok(Ok(ConfigResponse::NotModified)) => self.confirm(current.as_deref()).await,
            Ok(Ok(ConfigResponse::Fetched { body, etag })) => {
                match Config::read(body, etag, now_ms()).await {
                    Some(config) => self.keep(config).await,
                    None => Err("not a config".to_owned()),
                }
            }
            Ok(Err(error)) => Err(error.to_string()),
            Ok(Ok(_)) | Err(_) => Err("the fetch did not end".to_owned()),
        };
        match outcome {
            Ok(()) => {
                self.failures = 0;
                self.own_turn = Instant::now() + self.interval;
            }
            Err(error) => {
                log::warn!("a config was not fetched: {error}");
                self.key.meters.config_failures.fetch_add(1, Relaxed);
                let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(16)).min(self.interval);
                self.failures = self.failures.saturating_add(1);
                self.own_turn = Instant::now() + wait;
                let _ = self.store.shorten_turn(&self.key.sdk_key, &self.environment, wait).await;
            }
        }
    }

    async fn confirm(&mut self, current: Option<&Config>) -> Result<(), String> {
        let confirmed = current.ok_or("an answer without a config")?.confirmed(now_ms());
        // Redis has another one, or none, if it did not take this one.
        if self.seen.as_ref().is_none_or(|(tag, _)| *tag != confirmed.tag) {
            return self.keep(confirmed).await;
        }
        let (key, environment) = (&self.key.sdk_key, &self.environment);
        match self.store.confirm_config(key, environment, confirmed.confirmed_ms).await {
            Ok(()) => self.seen = Some((confirmed.tag.clone(), confirmed.confirmed_ms)),
            Err(error) => log::warn!("a config is not kept: {error}"),
        }
        self.publish(confirmed);
        Ok(())
    }

    /// Keeps and publishes a config, unless it is of another project than the last good one: Redis judges, or if
    /// it does not answer, what this relay has. One that Redis did not take is served anyway.
    async fn keep(&mut self, config: Config) -> Result<(), String> {
        let known = self.key.any_config();
        let known = known.as_ref().map(|known| known.project.to_string()).unwrap_or_default();
        let (key, environment, project) = (&self.key.sdk_key, &self.environment, config.project.to_string());
        match self.store.keep_config(key, environment, &config.kept(), &project, &known).await {
            Ok(true) => {
                self.seen = Some((config.tag.clone(), config.confirmed_ms));
                self.publish(config.vouched());
            }
            Ok(false) => {
                // What Redis has is looked at again; nobody has vouched for what was fetched without it.
                self.seen = None;
                let unvouched = |current: &mut Arc<Config>| !current.is_vouched;
                self.variant.config.send_if_modified(|current| current.take_if(unvouched).is_some());
                return Err(ANOTHER.to_owned());
            }
            Err(error) => {
                log::warn!("a config is not kept: {error}");
                if !self.key.may_have(&config) {
                    return Err(ANOTHER.to_owned());
                }
                self.publish(config);
            }
        }
        Ok(())
    }

    fn publish(&self, config: Config) {
        self.variant.config.send_replace(Some(Arc::new(config)));
    }
}

pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
