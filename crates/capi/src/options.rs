//! The configuration of a core.

use std::ffi::c_void;
use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use convert_sdk::config::{BucketOrder, CacheLevel, RefreshConfig, TransportConfig};
use convert_sdk::delivery::{DeliveryConfig, OverflowPolicy};
use convert_sdk::{SdkConfig, SdkConfigBuilder};

use crate::border::{Versioned, list_or_empty, read};
use crate::status::{Answer, Fault, need};
use crate::text::ConvertText;
use crate::user::{ConvertRelease, User};

/// An HTTP header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConvertHeader {
    /// Its name.
    pub name: ConvertText,
    /// Its value. Never appears in logs or errors.
    pub value: ConvertText,
}

/// The configuration of a core, read only while a core is created. Set `size` to `sizeof(ConvertConfig)`
/// and the rest to zero, then what you need: zero, or no text, is the default of every field. Times are in
/// milliseconds. `sdk_key`, or one of `data_json` and `data_file`, is required; with both, the core starts
/// from the data, then follows the key.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConvertConfig {
    /// `sizeof(ConvertConfig)`.
    pub size: usize,
    /// Fetches the config of this key over HTTPS.
    pub sdk_key: ConvertText,
    /// Uses the config in this JSON text. Events are still sent, unless `offline` is set.
    pub data_json: ConvertText,
    /// Uses the config in this file, read by `convert_core_new`. Otherwise like `data_json`.
    pub data_file: ConvertText,
    /// Not 0: the settings for a long-running program, see `auto_flush_interval`, `batch_size` and `refresh_interval`;
    /// each can be overridden. A first attempt to deliver may take 2 s, each further one twice as long. With 0, the
    /// official Python SDK's defaults.
    pub for_server: u32,
    /// Not 0: nothing is recorded. Decisions stay the same.
    pub tracking_off: u32,
    /// The environment that this program runs in, as named in Convert. By default experiences of every environment are
    /// decided.
    pub environment: ConvertText,
    /// Not 0: requests the CDN's low-cache mode, to see edits quickly.
    pub low_cache: u32,
    /// Not 0: hashes the visitor id alone, which gives a visitor the same bucket value in every experience.
    pub exclude_experience_id_hash: u32,
    /// Sent with config fetches only; implies `low_cache`.
    pub debug_token: ConvertText,
    /// The number of events that triggers a delivery: 1 to 10,000. By default 10, for a server 100, for a
    /// game loop 500.
    pub batch_size: u64,
    /// The longest that an event waits for a full batch. By default until a flush, for a server 5,000, for a game loop
    /// 30,000.
    pub auto_flush_interval: u64,
    /// The time between fetches of the config, at least 1,000. By default none but the first, for a server and for a
    /// game loop 300,000.
    pub refresh_interval: u64,
    /// The upper bound of the random time added to each; by default 30,000. Only together with `refresh_interval`,
    /// also for a server and for a game loop.
    pub refresh_jitter: u64,
    /// How long `convert_core_initialize` waits by default: 10,000.
    pub initialize_timeout: u64,
    /// The visitors whose state is kept in memory; by default 100,000.
    pub max_visitors: u64,
    /// The memory for them in bytes, at least 1 MiB; by default 2 KiB per visitor, but at least 64 MiB.
    pub max_visitor_bytes: u64,
    /// How long a visitor's state is kept after its last change; at least 1,000. By default no such limit.
    pub visitor_ttl: u64,
    /// The hash seed; by default 9999. Any other value buckets visitors differently from every other SDK.
    pub hash_seed: u32,
    /// The number of bucket values; by default 10,000, which layouts are designed for.
    pub max_traffic: u32,
    /// Not 0: variations of packed layouts keep the config's order, as in the Python and PHP SDKs, instead of
    /// the JavaScript SDK's.
    pub bucket_order_of_config: u32,
    /// Not 0: allows plain HTTP to loopback hosts, for tests.
    pub danger_allow_http_on_loopback: u32,
    /// Where configs come from, instead of Convert's CDN.
    pub config_base_url: ConvertText,
    /// Where events go, instead of Convert's endpoint.
    pub track_base_url: ConvertText,
    /// The SDK key's secret.
    pub auth_secret: ConvertText,
    /// The proxy's URL; by default none, whatever the environment variables say.
    pub proxy: ConvertText,
    /// Certificate authorities to trust besides Mozilla's, in PEM.
    pub root_certificates_pem: ConvertText,
    /// Headers for config fetches; deliveries have none.
    pub headers: *const ConvertHeader,
    /// The number of headers.
    pub header_count: usize,
    /// The time limit for connecting; by default 10,000.
    pub connect_timeout: u64,
    /// The time limit for a whole request; by default 10,000.
    pub total_timeout: u64,
    /// The limit on a response's body in bytes, decompressed too; by default 32 MiB.
    pub max_response_bytes: u64,
    /// Records that may wait for the tracker: 1 to 1,048,576; by default 16,384.
    pub queue_capacity: u64,
    /// Records that may wait for delivery; by default 65,536.
    pub max_pending_records: u64,
    /// Bytes of records that may wait for delivery; by default 32 MiB.
    pub max_pending_bytes: u64,
    /// Events in one request: 1 to 10,000; by default 1,000, for a game loop 500.
    pub max_request_events: u64,
    /// Bytes of records in one request; by default 1 MiB.
    pub max_request_bytes: u64,
    /// Concurrent requests: 1 to 16; by default 2.
    pub lanes: u64,
    /// The age at which an undelivered event is dropped and counted; at least 1,000, by default 24 hours.
    pub max_age: u64,
    /// The longest wait after a first failed delivery; it doubles with each further one. By default 1,000.
    pub backoff: u64,
    /// The longest wait after any; by default 60,000.
    pub backoff_ceiling: u64,
    /// Not 0: when the queue is full, the new record is refused. By default the least valuable ones are
    /// dropped.
    pub drop_newest: u32,
    /// Consecutive failed deliveries that open the circuit breaker; by default 5.
    pub breaker_threshold: u32,
    /// Not 0: the settings for a game loop, which keep requests rare and small. Not with `for_server`.
    pub for_game_loop: u32,
    /// Not 0: nothing leaves this process, and records are counted as withheld; for development and tests.
    /// Without `data_json` or `data_file` the core never becomes ready.
    pub offline: u32,
    /// A file in which the last good config is kept, so that a restart succeeds while the endpoint is down;
    /// not with a pump. By default none.
    pub config_cache: ConvertText,
    /// How long a config is used without being confirmed as current before `CONVERT_EVENT_KIND_CONFIG_STALE`
    /// comes; with `sdk_key`. It should exceed `refresh_interval` several times. By default no such limit.
    pub max_stale: u64,
    /// Not 0: a config older than `max_stale` no longer decides, which is `CONVERT_STATUS_WITHDRAWN`.
    pub withdraw_when_stale: u32,
    /// Not 0: each batch of events has an id, the header `convert-batch-id`, for an endpoint that takes a batch once for
    /// each id, as `convert-relay` does.
    pub batch_ids: u32,
    /// Asked about each config that is fetched or cached, before it is used. May be null.
    pub accept_config: ConvertAcceptCallback,
    /// Passed to `accept_config`.
    pub accept_user: *mut c_void,
    /// Called once with `accept_user`, when no core needs it any more; not if no core was created, which leaves
    /// it to the application. May be null.
    pub accept_release: ConvertRelease,
}

/// Called with a config, as served, and with what it changes compared with the current one: JSON text with
/// `added`, `removed` and `changed` for each kind of entity. `keeps_two_thirds` is 0 if more than a third of the
/// current config's experiences are gone. Returns 0 to refuse the config; the current one then stays, and
/// `CONVERT_EVENT_KIND_CONFIG_NOT_ACCEPTED` comes.
///
/// Called on a thread of the library, or in `convert_pump_turn`, whose pump is
/// busy meanwhile. The texts are valid during the call. It must not throw, unwind or `longjmp`, nor wait for
/// the core.
pub type ConvertAcceptCallback = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        config: ConvertText,
        changes: ConvertText,
        keeps_two_thirds: u32,
    ) -> u32,
>;

// SAFETY: `repr(C)`, the size first, integers and pointers after it, which may be null.
unsafe impl Versioned for ConvertConfig {
    const FIRST: usize = std::mem::offset_of!(Self, max_stale);
}

pub(crate) const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Applies a setter if the field is set.
macro_rules! set {
    ($builder:ident; $($field:expr => $setter:ident($convert:expr);)+) => {
        $(if let Some(value) = Set::set($field)? { $builder = $builder.$setter($convert(value)); })+
    };
}

/// A field that keeps its default if it is zero or no text.
trait Set: Sized {
    type Value;
    fn set(self) -> Answer<Option<Self::Value>>;
}

impl Set for u64 {
    type Value = Self;
    fn set(self) -> Answer<Option<Self>> {
        Ok((self != 0).then_some(self))
    }
}

impl Set for u32 {
    type Value = Self;
    fn set(self) -> Answer<Option<Self>> {
        Ok((self != 0).then_some(self))
    }
}

impl<'a> Set for (&'a ConvertText, &'static str) {
    type Value = &'a str;
    fn set(self) -> Answer<Option<&'a str>> {
        self.0.read(self.1)
    }
}

/// A count that does not fit is out of range anyway.
fn count(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// What a core takes over from the application once it is created.
pub(crate) struct Owned {
    place: Arc<OnceLock<User>>,
    user: *mut c_void,
    release: ConvertRelease,
}

impl Owned {
    pub(crate) fn take_over(self) {
        let _ = self.place.set(User::new(self.user, self.release));
    }
}

pub(crate) fn config(options: *const ConvertConfig) -> Answer<(SdkConfig, Owned)> {
    let options = need(read(options, "config")?, "config")?;
    let mut builder = SdkConfig::builder();
    if options.for_server != 0 {
        builder = builder.for_server();
    }
    if options.for_game_loop != 0 {
        if options.for_server != 0 {
            return Err(Fault::argument("for_server and for_game_loop are both set"));
        }
        builder = builder.for_game_loop();
    }
    if options.offline != 0 {
        builder = builder.offline();
    }
    let traffic = |values: u32| NonZeroU32::new(values).unwrap_or(NonZeroU32::MIN);
    set! { builder;
        (&options.sdk_key, "sdk_key") => sdk_key(Box::<str>::from);
        (&options.data_json, "data_json") => data_json(str::to_owned);
        (&options.data_file, "data_file") => data_file(str::to_owned);
        (&options.environment, "environment") => environment(Box::<str>::from);
        (&options.debug_token, "debug_token") => debug_token(Box::<str>::from);
        options.tracking_off => tracking(|_| false);
        options.low_cache => cache_level(|_| CacheLevel::Low);
        options.exclude_experience_id_hash => exclude_experience_id_hash(|_| true);
        options.batch_size => batch_size(count);
        options.auto_flush_interval => auto_flush_interval(milliseconds);
        options.initialize_timeout => initialize_timeout(milliseconds);
        options.max_visitors => max_visitors(count);
        options.max_visitor_bytes => max_visitor_bytes(count);
        options.visitor_ttl => visitor_ttl(milliseconds);
        options.hash_seed => hash_seed(std::convert::identity);
        options.max_traffic => max_traffic(traffic);
        options.bucket_order_of_config => bucket_order(|_| BucketOrder::Config);
        (&options.config_cache, "config_cache") => config_cache(str::to_owned);
        options.max_stale => max_stale(milliseconds);
        options.withdraw_when_stale => decide_when_stale(|_| false);
    }
    let place = Arc::default();
    builder = accepted(builder, &options, Arc::clone(&place));
    builder = refreshed(builder, &options)?;
    let builder = builder.transport(transport(&options)?).delivery(delivery(&options)?);
    Ok((builder.build()?, Owned { place, user: options.accept_user, release: options.accept_release }))
}

fn accepted(
    builder: SdkConfigBuilder,
    options: &ConvertConfig,
    owned: Arc<OnceLock<User>>,
) -> SdkConfigBuilder {
    let Some(callback) = options.accept_config else { return builder };
    builder.accept_config(move |config, changes| {
        let (Some(user), Ok(counts)) = (owned.get(), serde_json::to_string(changes)) else { return false };
        let (served, counts) = (ConvertText::of(config.served_text()), ConvertText::of(&counts));
        // SAFETY: the application guarantees a function of this type that does not unwind.
        unsafe { callback(user.pointer, served, counts, changes.keeps_two_thirds(config).into()) != 0 }
    })
}

fn refreshed(builder: SdkConfigBuilder, options: &ConvertConfig) -> Answer<SdkConfigBuilder> {
    if options.refresh_interval == 0 {
        let alone = "refresh_jitter is set without refresh_interval";
        return if options.refresh_jitter == 0 { Ok(builder) } else { Err(Fault::argument(alone)) };
    }
    let mut refresh = RefreshConfig::builder();
    set! { refresh;
        options.refresh_interval => interval(milliseconds);
        options.refresh_jitter => jitter(milliseconds);
    }
    Ok(builder.refresh(refresh.build()?))
}

fn transport(options: &ConvertConfig) -> Answer<TransportConfig> {
    let mut transport = TransportConfig::builder();
    set! { transport;
        (&options.config_base_url, "config_base_url") => config_base_url(str::to_owned);
        (&options.track_base_url, "track_base_url") => track_base_url(str::to_owned);
        (&options.auth_secret, "auth_secret") => auth_secret(Box::<str>::from);
        (&options.proxy, "proxy") => proxy(Box::<str>::from);
        (&options.root_certificates_pem, "root_certificates_pem") => root_certificate_pem(Vec::<u8>::from);
        options.connect_timeout => connect_timeout(milliseconds);
        options.total_timeout => total_timeout(milliseconds);
        options.max_response_bytes => max_response_bytes(std::convert::identity);
        options.danger_allow_http_on_loopback => danger_allow_http_on_loopback(|_| true);
        options.batch_ids => batch_ids(|_| true);
    }
    for header in list_or_empty(options.headers, options.header_count, "headers")? {
        transport = transport
            .header(header.name.need("the name of a header")?, header.value.need("the value of a header")?);
    }
    Ok(transport.build()?)
}

fn delivery(options: &ConvertConfig) -> Answer<DeliveryConfig> {
    let mut delivery = DeliveryConfig::builder();
    if options.for_server != 0 {
        delivery = delivery.first_timeout(SdkConfig::SERVER_FIRST_TIMEOUT);
    }
    if options.for_game_loop != 0 {
        delivery = delivery.max_request_events(SdkConfig::LOOP_BATCH_SIZE);
    }
    set! { delivery;
        options.queue_capacity => queue_capacity(count);
        options.max_pending_records => max_pending_records(count);
        options.max_pending_bytes => max_pending_bytes(count);
        options.max_request_events => max_request_events(count);
        options.max_request_bytes => max_request_bytes(count);
        options.lanes => lanes(count);
        options.max_age => max_age(milliseconds);
        options.backoff => backoff(milliseconds);
        options.backoff_ceiling => backoff_ceiling(milliseconds);
        options.drop_newest => overflow(|_| OverflowPolicy::DropNewest);
        options.breaker_threshold => breaker_threshold(std::convert::identity);
    }
    Ok(delivery.build()?)
}
