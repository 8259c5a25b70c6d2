//! The configuration of one SDK instance.

use std::fs;
use std::io::Read;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{DeliveryConfig, InvalidOption, InvalidReason, RefreshConfig, Secret, TransportConfig, Upkeep};
use crate::config::{BucketOrder, CompileOptions};
#[cfg(feature = "async")]
use crate::ports::AsyncDataStore;
use crate::ports::{DataStore, Outbox};

/// The configuration of one SDK instance: where the config comes from, and how everything else behaves. Built by
/// [`SdkConfig::builder`] or [`SdkConfig::server`]; cheap to clone; its `Debug` output contains no secrets.
///
/// ```
/// use convert_sdk::{SdkConfig, config::CacheLevel};
///
/// let config = SdkConfig::builder()
///     .sdk_key("10035569/10034190")
///     .environment("production")
///     .cache_level(CacheLevel::Low)
///     .batch_size(50)
///     .build()?;
/// assert!(!config.is_direct_config());
/// # Ok::<(), convert_sdk::InvalidOption>(())
/// ```
#[derive(Clone)]
pub struct SdkConfig {
    pub(crate) origin: Origin,
    pub(crate) tuning: Tuning,
    pub(crate) upkeep: Upkeep,
    pub(crate) transport: TransportConfig,
    pub(crate) data_store: Option<Arc<dyn DataStore>>,
    /// The same store, if it is asynchronous.
    #[cfg(feature = "async")]
    pub(crate) async_store: Option<Arc<dyn AsyncDataStore>>,
    pub(crate) outbox: Option<Arc<dyn Outbox>>,
    pub(crate) compile: CompileOptions,
}

/// Where the config comes from.
#[derive(Clone)]
pub(crate) enum Origin {
    SdkKey(Secret),
    Direct(Arc<str>),
    /// Starts with the data, then follows the key.
    Both(Secret, Arc<str>),
    /// Offline and without data: there will never be a config.
    Nowhere,
}

/// The plain values of an [`SdkConfig`].
#[derive(Clone, Debug)]
pub(crate) struct Tuning {
    pub(crate) environment: Option<Box<str>>,
    pub(crate) cache_level: CacheLevel,
    pub(crate) debug_token: Option<Secret>,
    pub(crate) batch_size: NonZeroUsize,
    pub(crate) auto_flush_interval: Option<Duration>,
    pub(crate) refresh: Option<RefreshConfig>,
    pub(crate) tracking: bool,
    pub(crate) offline: bool,
    pub(crate) initialize_timeout: Duration,
    pub(crate) delivery: DeliveryConfig,
    pub(crate) max_visitors: NonZeroUsize,
    pub(crate) max_visitor_bytes: NonZeroUsize,
    pub(crate) visitor_ttl: Option<Duration>,
    pub(crate) store_timeout: Duration,
}

/// Default bytes per visitor, on average.
const BYTES_OF_A_VISITOR: usize = 2 << 10;

/// The lower limits of the default and of the configured total for all visitors.
const LEAST_DEFAULT_BYTES: usize = 64 << 20;
const LEAST_VISITOR_BYTES: usize = 1 << 20;

/// How much the config CDN may cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum CacheLevel {
    /// The CDN's default.
    #[default]
    Default,
    /// Asks for the low cache (`_conv_low_cache=1`), to see edits quickly.
    Low,
}

/// Builds an [`SdkConfig`].
#[must_use]
pub struct SdkConfigBuilder {
    sdk_key: Option<Secret>,
    direct: Vec<Direct>,
    tuning: Tuning,
    pub(super) upkeep: Upkeep,
    batch_size: usize,
    max_visitors: usize,
    max_visitor_bytes: Option<usize>,
    transport: TransportConfig,
    data_store: Option<Arc<dyn DataStore>>,
    #[cfg(feature = "async")]
    pub(crate) async_store: Option<Arc<dyn AsyncDataStore>>,
    outbox: Option<Arc<dyn Outbox>>,
    compile: CompileOptions,
}

/// A config given by the application; files and readers are read by `build`.
enum Direct {
    Text(String),
    File(PathBuf),
    Reader(Box<dyn Read>),
}

impl SdkConfig {
    /// Batch size, in events (a conversion with goal data is two), that triggers a delivery; the official SDKs'
    /// default.
    pub const DEFAULT_BATCH_SIZE: usize = 10;
    /// Default limit on [`Core::initialize`](crate::Core::initialize).
    pub const DEFAULT_INITIALIZE_TIMEOUT: Duration = Duration::from_secs(10);
    /// How long to wait for an answer from the data store.
    pub const DEFAULT_STORE_TIMEOUT: Duration = Duration::from_secs(1);
    /// Visitors whose state and deduplication marks are remembered; with a data store, those with unwritten changes.
    pub const DEFAULT_MAX_VISITORS: usize = 100_000;

    /// Batch size under [`server`](Self::server).
    pub const SERVER_BATCH_SIZE: usize = 100;
    /// The longest that an event waits under [`server`](Self::server).
    pub const SERVER_AUTO_FLUSH_INTERVAL: Duration = Duration::from_secs(5);
    /// How long the first attempt to deliver may take under [`server`](Self::server).
    pub const SERVER_FIRST_TIMEOUT: Duration = Duration::from_secs(2);

    /// Starts with settings for a long-running program. With the official Python SDK's defaults, which
    /// [`builder`](Self::builder) uses, it would never notice that an experiment was stopped, and could hold up to
    /// nine events forever.
    ///
    /// | setting | value | why |
    /// |---|---|---|
    /// | [`refresh`](SdkConfigBuilder::refresh) | every 5 minutes, plus up to 30 s at random | an experiment stopped in Convert stops here too; servers that start together do not fetch together |
    /// | [`auto_flush_interval`](SdkConfigBuilder::auto_flush_interval) | 5 s | events arrive even in quiet hours; a crash loses the last 5 s of them, and those in flight or in a backoff |
    /// | [`batch_size`](SdkConfigBuilder::batch_size) | 100 events | above 20 events a second, fewer and fuller requests than with the default of 10, which suits short-lived programs |
    /// | [`first_timeout`](crate::delivery::DeliveryConfigBuilder::first_timeout) | 2 s | a shutdown of 5 s has time for a second attempt if a request hangs |
    ///
    /// Each can be overridden; [`delivery`](SdkConfigBuilder::delivery) replaces the last one. What only the application
    /// knows is left to it, above all the [`environment`](SdkConfigBuilder::environment).
    ///
    /// ```
    /// use convert_sdk::SdkConfig;
    ///
    /// let config = SdkConfig::server("10035569/10034190").environment("production").build()?;
    /// # Ok::<(), convert_sdk::InvalidOption>(())
    /// ```
    pub fn server(sdk_key: impl Into<Box<str>>) -> SdkConfigBuilder {
        Self::builder().sdk_key(sdk_key).for_server()
    }

    /// Batch size under [`game_loop`](Self::game_loop).
    pub const LOOP_BATCH_SIZE: usize = 500;
    /// The longest that an event waits under [`game_loop`](Self::game_loop).
    pub const LOOP_AUTO_FLUSH_INTERVAL: Duration = Duration::from_secs(30);

    /// Starts with settings for a loop that has little time, such as a game's; meant for a
    /// [`Pump`](crate::pump::Pump).
    ///
    /// | setting | value | why |
    /// |---|---|---|
    /// | [`refresh`](SdkConfigBuilder::refresh) | every 5 minutes, plus up to 30 s at random | as under [`server`](Self::server) |
    /// | [`auto_flush_interval`](SdkConfigBuilder::auto_flush_interval) | 30 s | one request in tens of seconds |
    /// | [`batch_size`](SdkConfigBuilder::batch_size) | 500 events | a burst fills a request |
    /// | [`max_request_events`](crate::delivery::DeliveryConfigBuilder::max_request_events) | 500 events | what follows the answer to one request fits into a frame |
    ///
    /// Each can be overridden; [`delivery`](SdkConfigBuilder::delivery) replaces the last one.
    ///
    /// ```
    /// use convert_sdk::{Core, SdkConfig};
    ///
    /// let (core, pump) = Core::builder(SdkConfig::game_loop("10035569/10034190").build()?).pumped()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn game_loop(sdk_key: impl Into<Box<str>>) -> SdkConfigBuilder {
        Self::builder().sdk_key(sdk_key).for_game_loop()
    }

    /// Starts with the official Python SDK's defaults; a source is required. For a server use [`server`](Self::server).
    pub fn builder() -> SdkConfigBuilder {
        SdkConfigBuilder {
            sdk_key: None,
            direct: Vec::new(),
            tuning: Tuning {
                environment: None,
                cache_level: CacheLevel::Default,
                debug_token: None,
                batch_size: NonZeroUsize::MIN,
                auto_flush_interval: None,
                refresh: None,
                tracking: true,
                offline: false,
                initialize_timeout: Self::DEFAULT_INITIALIZE_TIMEOUT,
                delivery: DeliveryConfig::default(),
                max_visitors: NonZeroUsize::MIN,
                max_visitor_bytes: NonZeroUsize::MIN,
                visitor_ttl: None,
                store_timeout: Self::DEFAULT_STORE_TIMEOUT,
            },
            upkeep: Upkeep::default(),
            batch_size: Self::DEFAULT_BATCH_SIZE,
            max_visitors: Self::DEFAULT_MAX_VISITORS,
            max_visitor_bytes: None,
            transport: TransportConfig::default(),
            data_store: None,
            #[cfg(feature = "async")]
            async_store: None,
            outbox: None,
            compile: CompileOptions::default(),
        }
    }

    /// Whether the config was given directly and no SDK key is used, so nothing is ever fetched.
    #[must_use]
    pub const fn is_direct_config(&self) -> bool {
        matches!(self.origin, Origin::Direct(_))
    }

    /// See [`transport`](SdkConfigBuilder::transport).
    #[must_use]
    pub const fn transport(&self) -> &TransportConfig {
        &self.transport
    }
}

impl std::fmt::Debug for SdkConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SdkConfig")
            .field("source", &self.origin.name())
            .field("tuning", &self.tuning)
            .field("upkeep", &self.upkeep)
            .field("transport", &self.transport)
            .field("data_store", &self.data_store.is_some())
            .field("outbox", &self.outbox.is_some())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SdkConfigBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SdkConfigBuilder").field("tuning", &self.tuning).finish_non_exhaustive()
    }
}

impl Origin {
    pub(crate) const fn key(&self) -> Option<&Secret> {
        match self {
            Self::SdkKey(key) | Self::Both(key, _) => Some(key),
            Self::Direct(_) | Self::Nowhere => None,
        }
    }

    /// What operators read.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::SdkKey(_) => "sdk key",
            Self::Direct(_) => "direct data",
            Self::Both(..) => "direct data, then sdk key",
            Self::Nowhere => "none",
        }
    }

    pub(crate) const fn direct(&self) -> Option<&Arc<str>> {
        match self {
            Self::Direct(text) | Self::Both(_, text) => Some(text),
            Self::SdkKey(_) | Self::Nowhere => None,
        }
    }
}

impl SdkConfigBuilder {
    /// Applies the settings of [`SdkConfig::server`], overriding earlier ones.
    pub fn for_server(mut self) -> Self {
        self.tuning.delivery.first_timeout = Some(SdkConfig::SERVER_FIRST_TIMEOUT);
        self.refresh(RefreshConfig::default())
            .auto_flush_interval(SdkConfig::SERVER_AUTO_FLUSH_INTERVAL)
            .batch_size(SdkConfig::SERVER_BATCH_SIZE)
    }

    /// Applies the settings of [`SdkConfig::game_loop`], overriding earlier ones.
    pub fn for_game_loop(mut self) -> Self {
        self.tuning.delivery.max_request_events = SdkConfig::LOOP_BATCH_SIZE;
        self.refresh(RefreshConfig::default())
            .auto_flush_interval(SdkConfig::LOOP_AUTO_FLUSH_INTERVAL)
            .batch_size(SdkConfig::LOOP_BATCH_SIZE)
    }

    /// Fetches the config of this key over HTTPS. Keys of the form `account/project` keep their
    /// slash. Together with direct data (as in [`data`](Self::data)), the core starts with the data at once, then
    /// follows the key: it fetches as soon as it is initialized, and by the [`refresh`](Self::refresh) policy.
    pub fn sdk_key(mut self, key: impl Into<Box<str>>) -> Self {
        self.sdk_key = Some(Secret::new(key));
        self
    }

    /// Uses this config, in the served format, and fetches nothing unless there is an [SDK key](Self::sdk_key) too.
    ///
    /// **Events are still sent to the real project**, unless the core is [`offline`](Self::offline) or has an [event
    /// sink](crate::CoreBuilder::event_sink) of its own. If they would go to Convert itself, the first record logs a
    /// warning. For unit tests see the module `testing`.
    pub fn data(mut self, config: &serde_json::Value) -> Self {
        self.direct.push(Direct::Text(config.to_string()));
        self
    }

    /// Uses the config in this JSON text, which is validated by [`Core::initialize`](crate::Core::initialize).
    /// **Events are still sent to the real project**; see [`data`](Self::data).
    pub fn data_json(mut self, config: impl Into<String>) -> Self {
        self.direct.push(Direct::Text(config.into()));
        self
    }

    /// Uses the config in this file, read by [`build`](Self::build).
    /// **Events are still sent to the real project**; see [`data`](Self::data).
    pub fn data_file(mut self, path: impl AsRef<Path>) -> Self {
        self.direct.push(Direct::File(path.as_ref().to_owned()));
        self
    }

    /// Uses the config that this reader yields, read to its end by [`build`](Self::build).
    /// **Events are still sent to the real project**; see [`data`](Self::data).
    pub fn data_reader(mut self, reader: impl Read + 'static) -> Self {
        self.direct.push(Direct::Reader(Box::new(reader)));
        self
    }

    /// The environment that this program runs in, exactly as named in Convert. Only experiences of this environment
    /// and those without one are decided, and the CDN is asked for it.
    ///
    /// Default none: experiences of **every** environment are decided, so one set up for `staging` also runs in
    /// production. A wrong name is not an error: only the experiences without an environment remain, and
    /// [`diagnose_experience`](crate::Context::diagnose_experience) reports the others as not in the config, or as
    /// belonging to another environment.
    pub fn environment(mut self, environment: impl Into<Box<str>>) -> Self {
        self.tuning.environment = Some(environment.into());
        self
    }

    /// How much the CDN may cache. Default [`CacheLevel::Default`].
    pub const fn cache_level(mut self, level: CacheLevel) -> Self {
        self.tuning.cache_level = level;
        self
    }

    /// Sent with config fetches only; implies the low cache. Default none.
    pub fn debug_token(mut self, token: impl Into<Box<str>>) -> Self {
        self.tuning.debug_token = Some(Secret::new(token));
        self
    }

    /// Network settings of the built-in client. Default [`TransportConfig::default`].
    pub fn transport(mut self, transport: TransportConfig) -> Self {
        self.transport = transport;
        self
    }

    /// Batch size, in events, that triggers a delivery; 1 to 10,000. Default 10.
    pub const fn batch_size(mut self, events: usize) -> Self {
        self.batch_size = events;
        self
    }

    /// Delivers events no later than this after the first of them; at least 1 ms. Default off: events then wait for a
    /// full batch, a flush or a shutdown, as in the official Python SDK.
    pub const fn auto_flush_interval(mut self, interval: Duration) -> Self {
        self.tuning.auto_flush_interval = Some(interval);
        self
    }

    /// Keeps visitor state and deduplication marks in this store. Each new context reads it; memory holds what is not
    /// written yet. Default none: memory only.
    pub fn data_store(self, store: impl DataStore) -> Self {
        self.shared_data_store(Arc::new(store))
    }

    /// Like [`data_store`](Self::data_store), for a store that the application keeps a handle to.
    pub fn shared_data_store(mut self, store: Arc<dyn DataStore>) -> Self {
        self.data_store = Some(store);
        #[cfg(feature = "async")]
        {
            self.async_store = None;
        }
        self
    }

    /// Keeps events in this outbox until they are delivered, so that they outlive a process that is killed; what
    /// other processes have left there is delivered too. Default none: memory only. An event is delivered once it is on
    /// disk, within some milliseconds, or without it if the outbox fails or is silent for 5 s
    /// ([`Stats::outbox_missed`](crate::Stats::outbox_missed));
    /// nobody waits for the disk but
    /// [`track_conversion_confirmed`](crate::Context::track_conversion_confirmed). What a shutdown or close leaves
    /// undelivered stays on disk.
    ///
    /// An event can arrive twice if its process was killed after it was sent: see
    /// [`Stats::fate_unknown`](crate::Stats::fate_unknown).
    pub fn outbox(mut self, outbox: impl Outbox) -> Self {
        self.outbox = Some(Arc::new(outbox));
        self
    }

    /// Refreshes the config by this policy. Default off: the first config stays, and an experience stopped in Convert
    /// continues here, so **a long-running program should set one**, such as `RefreshConfig::default()`. Without
    /// an SDK key there is nothing to fetch; the policy is ignored and a warning logged.
    pub fn refresh(mut self, policy: RefreshConfig) -> Self {
        self.tuning.refresh = Some(policy);
        self
    }

    /// Whether exposures and conversions are recorded at all. Default true. When off, decisions are the same and
    /// `track_conversion` returns [`TrackingDisabled`](crate::ConversionStatus::TrackingDisabled).
    pub const fn tracking(mut self, on: bool) -> Self {
        self.tuning.tracking = on;
        self
    }

    /// Nothing leaves this process: for development, unit tests, and machines without a network. Default false.
    ///
    /// The config is the one given directly, with one of the `data` methods; an SDK key beside it is never used. Without
    /// data the core is never ready: [`Core::initialize`](crate::Core::initialize) returns
    /// [`LoadError::Offline`](crate::error::LoadError::Offline) at once.
    ///
    /// Everything else works as usual: decisions, deduplication, lifecycle events, the ledger. Records are counted as
    /// [`Stats::withheld`](crate::Stats::withheld) in the call that makes them, and need no thread; a flush has nothing
    /// to wait for. No source or sink is called, not even the application's own. Only a
    /// [data store](Self::data_store) is, if there is one: visitors are read from it and written to it, but no
    /// deduplication marks are.
    ///
    /// ```
    /// # use convert_sdk::*;
    /// # let config_json = include_str!("../../examples/shop.json");
    /// let core = Core::new(SdkConfig::builder().data_json(config_json).offline().build()?);
    /// core.initialize()?;
    /// core.create_context("visitor-4", ())?.track_conversion("purchase");
    /// assert_eq!(core.stats().withheld, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn offline(mut self) -> Self {
        self.tuning.offline = true;
        self
    }

    /// Limit on [`Core::initialize`](crate::Core::initialize); more than zero. Default 10 s.
    pub const fn initialize_timeout(mut self, timeout: Duration) -> Self {
        self.tuning.initialize_timeout = timeout;
        self
    }

    /// How recorded events are queued, sent and given up. Default [`DeliveryConfig::default`].
    pub const fn delivery(mut self, delivery: DeliveryConfig) -> Self {
        self.tuning.delivery = delivery;
        self
    }

    /// Number of visitors whose state is kept in memory, with eight deduplication marks each; the oldest are evicted
    /// first, and [`Stats`](crate::Stats) counts them. At least 1. Default 100,000.
    ///
    /// A million visitors with up to four decisions each take about 160 MB, or 320 MB if no two have the same
    /// segments; a million marks about 71 MB.
    pub const fn max_visitors(mut self, visitors: usize) -> Self {
        self.max_visitors = visitors;
        self
    }

    /// Approximate limit on the memory for all visitors' state, in bytes; the oldest are evicted first, and
    /// [`Stats`](crate::Stats) counts them. A visitor who needs more than a sixteenth of it is not remembered. At
    /// least 1 MiB. Default 2 KiB for each of [`max_visitors`](Self::max_visitors), but at least 64 MiB: a visitor
    /// with up to four decisions takes 160 to 320 bytes.
    pub const fn max_visitor_bytes(mut self, bytes: usize) -> Self {
        self.max_visitor_bytes = Some(bytes);
        self
    }

    /// Time to live of visitor state since its last change, and of deduplication marks since they were set; at least
    /// 1 s. Passed to the data store with each write. Default none: only the limits above apply, as in the official
    /// SDKs.
    pub const fn visitor_ttl(mut self, ttl: Duration) -> Self {
        self.tuning.visitor_ttl = Some(ttl);
        self
    }

    /// How long to wait for an answer from the [data store](Self::data_store); 1 ms to 1 h. Default 1 s. Without an
    /// answer in time this process's memory decides, counted in
    /// [`Stats::store_timeouts`](crate::Stats::store_timeouts): a context then starts without its stored state, and a
    /// record is sent even though it may repeat another process's. A flush waits at most half of its own timeout, and
    /// a close not at all. Writes are not limited by this: a flush and a close wait for them until their own
    /// deadlines.
    pub const fn store_timeout(mut self, timeout: Duration) -> Self {
        self.tuning.store_timeout = timeout;
        self
    }

    /// Hashes only the visitor id, so that a visitor has the same bucket value in every experience (the
    /// JavaScript SDK's `bucketing.excludeExperienceIdHash`). Default false.
    pub const fn exclude_experience_id_hash(mut self, exclude: bool) -> Self {
        self.compile.exclude_experience_id_hash = exclude;
        self
    }

    /// The hash seed (the JavaScript SDK's `bucketing.hash_seed`); zero means the default, 9999.
    /// Any other value buckets visitors differently from every other SDK.
    pub const fn hash_seed(mut self, seed: u32) -> Self {
        if seed != 0 {
            self.compile.hash_seed = seed;
        }
        self
    }

    /// The number of bucket values (the JavaScript SDK's `bucketing.max_traffic`). Default 10,000, which layouts are
    /// designed for.
    pub const fn max_traffic(mut self, values: NonZeroU32) -> Self {
        self.compile.max_traffic = values.get();
        self
    }

    /// The order of variations in packed layouts. Default [`BucketOrder::JavaScript`].
    pub const fn bucket_order(mut self, order: BucketOrder) -> Self {
        self.compile.bucket_order = order;
        self
    }

    /// Validates every value, and reads a config file or reader.
    ///
    /// # Errors
    /// Names the first field that was rejected; the value itself is not shown, except for a file path.
    pub fn build(self) -> Result<SdkConfig, InvalidOption> {
        let Self {
            sdk_key,
            direct,
            mut tuning,
            upkeep,
            batch_size,
            max_visitors,
            max_visitor_bytes,
            transport,
            data_store,
            #[cfg(feature = "async")]
            async_store,
            outbox,
            compile,
        } = self;
        let origin = read_origin(sdk_key, direct, tuning.offline)?;
        if let Some(environment) = &tuning.environment {
            check_text("environment", environment)?;
        }
        if let Some(token) = &tuning.debug_token {
            check_text("debug_token", token.expose())?;
        }
        tuning.batch_size = check_count("batch_size", batch_size, 10_000, "from 1 to 10,000")?;
        tuning.max_visitors = check_count("max_visitors", max_visitors, usize::MAX, "at least 1")?;
        let bytes = max_visitor_bytes
            .unwrap_or_else(|| max_visitors.saturating_mul(BYTES_OF_A_VISITOR).max(LEAST_DEFAULT_BYTES));
        tuning.max_visitor_bytes = NonZeroUsize::new(bytes)
            .filter(|bytes| bytes.get() >= LEAST_VISITOR_BYTES)
            .ok_or(out_of_range("max_visitor_bytes", "at least 1 MiB"))?;
        if tuning.auto_flush_interval.is_some_and(|every| every < Duration::from_millis(1)) {
            return Err(out_of_range("auto_flush_interval", "at least 1 ms"));
        }
        if tuning.visitor_ttl.is_some_and(|ttl| ttl < Duration::from_secs(1)) {
            return Err(out_of_range("visitor_ttl", "at least 1 s"));
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(3_600)).contains(&tuning.store_timeout) {
            return Err(out_of_range("store_timeout", "from 1 ms to 1 h"));
        }
        if tuning.initialize_timeout.is_zero() {
            return Err(out_of_range("initialize_timeout", "more than zero"));
        }
        Ok(SdkConfig {
            origin,
            tuning,
            upkeep: upkeep.checked()?,
            transport,
            data_store,
            #[cfg(feature = "async")]
            async_store,
            outbox,
            compile,
        })
    }
}

fn read_origin(
    sdk_key: Option<Secret>,
    mut direct: Vec<Direct>,
    offline: bool,
) -> Result<Origin, InvalidOption> {
    let (data, more) = (direct.pop(), direct.len());
    if more > 0 {
        return Err(InvalidOption::new("source", InvalidReason::SeveralSources));
    }
    if let Some(key) = &sdk_key {
        check_text("sdk_key", key.expose())?;
        let sendable =
            |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '%' | '\\' | '<' | '>' | '`');
        if !key.expose().chars().all(sendable) {
            return Err(InvalidOption::new("sdk_key", InvalidReason::IllegalCharacter));
        }
    }
    match (sdk_key.filter(|_| !offline), data.map(read_direct).transpose()?) {
        (Some(key), None) => Ok(Origin::SdkKey(key)),
        (None, Some(text)) => Ok(Origin::Direct(text.into())),
        (Some(key), Some(text)) => Ok(Origin::Both(key, text.into())),
        (None, None) if offline => Ok(Origin::Nowhere),
        (None, None) => Err(InvalidOption::new("source", InvalidReason::NoSource)),
    }
}

fn read_direct(source: Direct) -> Result<String, InvalidOption> {
    match source {
        Direct::Text(text) => Ok(text),
        Direct::File(path) => fs::read_to_string(&path).map_err(|error| {
            let reason = InvalidReason::UnreadableFile { path, kind: error.kind() };
            InvalidOption::new("data_file", reason)
        }),
        Direct::Reader(mut reader) => {
            let mut text = String::new();
            let read = reader.read_to_string(&mut text);
            read.map_err(|error| InvalidOption::new("data_reader", InvalidReason::Unreadable(error.kind())))?;
            Ok(text)
        }
    }
}

fn out_of_range(field: &'static str, range: &'static str) -> InvalidOption {
    InvalidOption::new(field, InvalidReason::OutOfRange(range))
}

fn check_text(field: &'static str, text: &str) -> Result<(), InvalidOption> {
    if text.trim().is_empty() { Err(InvalidOption::new(field, InvalidReason::Empty)) } else { Ok(()) }
}

fn check_count(
    field: &'static str,
    count: usize,
    most: usize,
    range: &'static str,
) -> Result<NonZeroUsize, InvalidOption> {
    NonZeroUsize::new(count).filter(|count| count.get() <= most).ok_or(out_of_range(field, range))
}
