//! The configuration of one SDK instance.

use std::fs;
use std::io::Read;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{DeliveryConfig, InvalidOption, InvalidReason, RefreshConfig, Secret, TransportConfig};
use crate::config::{BucketOrder, CompileOptions};
#[cfg(feature = "async")]
use crate::ports::AsyncDataStore;
use crate::ports::DataStore;

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
    pub(crate) transport: TransportConfig,
    pub(crate) data_store: Option<Arc<dyn DataStore>>,
    /// The same store, if it is asynchronous.
    #[cfg(feature = "async")]
    pub(crate) async_store: Option<Arc<dyn AsyncDataStore>>,
    pub(crate) compile: CompileOptions,
}

/// Where the config comes from.
#[derive(Clone)]
pub(crate) enum Origin {
    SdkKey(Secret),
    Direct(Arc<str>),
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
    batch_size: usize,
    max_visitors: usize,
    max_visitor_bytes: Option<usize>,
    transport: TransportConfig,
    data_store: Option<Arc<dyn DataStore>>,
    #[cfg(feature = "async")]
    pub(crate) async_store: Option<Arc<dyn AsyncDataStore>>,
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

    /// Starts with settings for a long-running program. With the official SDKs' defaults, which
    /// [`builder`](Self::builder) uses, it would never notice that an experiment was stopped, and could hold up to
    /// nine events forever.
    ///
    /// | setting | value | why |
    /// |---|---|---|
    /// | [`refresh`](SdkConfigBuilder::refresh) | every 5 minutes, plus up to 30 s at random | an experiment stopped in Convert stops here too; servers that start together do not fetch together |
    /// | [`auto_flush_interval`](SdkConfigBuilder::auto_flush_interval) | 5 s | events arrive even in quiet hours; a crash loses the last 5 s of them, and those in flight or in a backoff |
    /// | [`batch_size`](SdkConfigBuilder::batch_size) | 100 events | above 20 events a second, fewer and fuller requests than with the default of 10, which suits short-lived programs |
    ///
    /// Each can be overridden. What only the application knows is left to it, above all the
    /// [`environment`](SdkConfigBuilder::environment).
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

    /// Starts with the official SDKs' defaults; a source is required. For a server use [`server`](Self::server).
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
                initialize_timeout: Self::DEFAULT_INITIALIZE_TIMEOUT,
                delivery: DeliveryConfig::default(),
                max_visitors: NonZeroUsize::MIN,
                max_visitor_bytes: NonZeroUsize::MIN,
                visitor_ttl: None,
                store_timeout: Self::DEFAULT_STORE_TIMEOUT,
            },
            batch_size: Self::DEFAULT_BATCH_SIZE,
            max_visitors: Self::DEFAULT_MAX_VISITORS,
            max_visitor_bytes: None,
            transport: TransportConfig::default(),
            data_store: None,
            #[cfg(feature = "async")]
            async_store: None,
            compile: CompileOptions::default(),
        }
    }

    /// Whether the config was given directly, so nothing is ever fetched.
    #[must_use]
    pub const fn is_direct_config(&self) -> bool {
        matches!(self.origin, Origin::Direct(_))
    }
}

impl std::fmt::Debug for SdkConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let source = match &self.origin {
            Origin::SdkKey(_) => "sdk key",
            Origin::Direct(_) => "direct data",
        };
        f.debug_struct("SdkConfig")
            .field("source", &source)
            .field("tuning", &self.tuning)
            .field("transport", &self.transport)
            .field("data_store", &self.data_store.is_some())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SdkConfigBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SdkConfigBuilder").field("tuning", &self.tuning).finish_non_exhaustive()
    }
}

impl SdkConfigBuilder {
    /// Applies the settings of [`SdkConfig::server`], overriding earlier ones.
    pub fn for_server(self) -> Self {
        self.refresh(RefreshConfig::default())
            .auto_flush_interval(SdkConfig::SERVER_AUTO_FLUSH_INTERVAL)
            .batch_size(SdkConfig::SERVER_BATCH_SIZE)
    }

    /// Fetches the config of this key over HTTPS. Keys of the form `account/project` keep their
    /// slash.
    pub fn sdk_key(mut self, key: impl Into<Box<str>>) -> Self {
        self.sdk_key = Some(Secret::new(key));
        self
    }

    /// Uses this config, in the served format, and fetches nothing.
    ///
    /// **Events are still sent** to Convert's tracking endpoint: in unit tests turn that off with
    /// [`tracking(false)`](Self::tracking), or give the core your own [event sink](crate::CoreBuilder::event_sink).
    pub fn data(mut self, config: &serde_json::Value) -> Self {
        self.direct.push(Direct::Text(config.to_string()));
        self
    }

    /// Uses the config in this JSON text, which is validated by [`Core::initialize`](crate::Core::initialize).
    /// **Events are still sent**; see [`data`](Self::data).
    pub fn data_json(mut self, config: impl Into<String>) -> Self {
        self.direct.push(Direct::Text(config.into()));
        self
    }

    /// Uses the config in this file, read by [`build`](Self::build).
    /// **Events are still sent**; see [`data`](Self::data).
    pub fn data_file(mut self, path: impl AsRef<Path>) -> Self {
        self.direct.push(Direct::File(path.as_ref().to_owned()));
        self
    }

    /// Uses the config that this reader yields, read to its end by [`build`](Self::build).
    /// **Events are still sent**; see [`data`](Self::data).
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

    /// Refreshes the config by this policy. Default off: the first config stays, and an experience stopped in Convert
    /// continues here, so **a long-running program should set one**, such as `RefreshConfig::default()`. With direct
    /// data there is nothing to fetch; the policy is ignored and a warning logged.
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
    /// A million visitors with one decision each take about 500 MB, a million marks about 71 MB.
    pub const fn max_visitors(mut self, visitors: usize) -> Self {
        self.max_visitors = visitors;
        self
    }

    /// Approximate limit on the memory for all visitors' state, in bytes; the oldest are evicted first, and
    /// [`Stats`](crate::Stats) counts them. A visitor who needs more than a sixteenth of it is not remembered. At
    /// least 1 MiB. Default 2 KiB for each of [`max_visitors`](Self::max_visitors), but at least 64 MiB: a visitor
    /// with a decision or two takes about 500 bytes.
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
            batch_size,
            max_visitors,
            max_visitor_bytes,
            transport,
            data_store,
            #[cfg(feature = "async")]
            async_store,
            compile,
        } = self;
        let origin = read_origin(sdk_key, direct)?;
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
            transport,
            data_store,
            #[cfg(feature = "async")]
            async_store,
            compile,
        })
    }
}

fn read_origin(sdk_key: Option<Secret>, mut direct: Vec<Direct>) -> Result<Origin, InvalidOption> {
    match (sdk_key, direct.pop(), direct.is_empty()) {
        (Some(key), None, _) => {
            check_text("sdk_key", key.expose())?;
            let sendable =
                |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '%' | '\\' | '<' | '>' | '`');
            if !key.expose().chars().all(sendable) {
                return Err(InvalidOption::new("sdk_key", InvalidReason::IllegalCharacter));
            }
            Ok(Origin::SdkKey(key))
        }
        (None, Some(source), true) => read_direct(source).map(|text| Origin::Direct(text.into())),
        (None, None, _) => Err(InvalidOption::new("source", InvalidReason::NoSource)),
        _ => Err(InvalidOption::new("source", InvalidReason::SeveralSources)),
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
