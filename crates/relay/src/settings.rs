//! The operator's settings: a file, overridden by environment variables, overridden by flags.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tokio::sync::Semaphore;

use crate::configs::{MAX_NAME, MAX_VARIANTS};
use crate::link::COMMAND_TIMEOUT;
use crate::routes::RESERVE;
use crate::{PASSING, StartError};

/// The longest SDK key, secret and prefix, and the most keys.
const MAX_KEY: usize = 256;
const MAX_SECRET: usize = 4096;
const MAX_PREFIX: usize = 128;
const MAX_KEYS: usize = 1000;
/// The most concurrent requests that the SDK's part makes.
const MAX_LANES: usize = 16;
/// For what else blocks a thread, such as a look at a name.
const SPARE_THREADS: usize = 16;
/// What a secret that is no string is refused with, as serde's own error would show it.
const NOT_A_STRING: &str = "redis, client_secret and secret: must be strings in quotes";

/// A string that is never shown.
#[derive(Clone)]
pub struct Secret(String);

/// When an append counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Redis has replied. How durable that is depends on its `appendfsync`.
    Appended,
    /// In addition, this many replicas have it.
    Replicated {
        /// How many replicas.
        replicas: u32,
        /// How long they may take. Redis delays later appends for as long.
        within: Duration,
    },
}

/// All settings. Times are in milliseconds, sizes in bytes.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The address for SDKs.
    pub listen: SocketAddr,
    /// The address for health, metrics and the status page; keep it private.
    pub admin_listen: SocketAddr,
    /// `redis://` or, with the feature `tls`, `rediss://`.
    pub redis: Secret,
    /// A certificate authority to trust for `rediss://` instead of Mozilla's, as PEM.
    pub redis_ca_file: Option<PathBuf>,
    /// The prefix of all names in Redis.
    pub prefix: String,
    /// Where configs come from. Default: Convert.
    pub config_base_url: Option<String>,
    /// Where events go; `[project_id]` stands for the project's id. Default: Convert.
    pub track_base_url: Option<String>,
    /// A certificate authority to trust for these, as PEM.
    pub ca_file: Option<PathBuf>,
    /// Allows plain HTTP for these on a loopback host, for tests.
    pub http_on_loopback: bool,
    /// The certificate chain for SDKs, as PEM. Needs the feature `tls`.
    pub tls_certificate: Option<PathBuf>,
    /// Its private key, as PEM.
    pub tls_key: Option<PathBuf>,
    /// What clients must send as `Authorization: Bearer` on the config route; not empty.
    pub client_secret: Option<Secret>,
    /// Whether clients must send it with events too; needs `client_secret`.
    pub client_secret_for_events: bool,
    /// The time between two config requests to Convert, per key and environment.
    pub config_interval_ms: u64,
    /// The bound of each key's stream; the last tenth is reserved for requests with conversions.
    pub stream_bytes: u64,
    /// The largest request body.
    pub max_body_bytes: usize,
    /// What the bodies of all requests in progress may take; at least `max_body_bytes`.
    pub bodies_bytes: usize,
    /// Concurrent connections of SDKs.
    pub max_connections: usize,
    /// How long a request's head may take to arrive, and then its body.
    pub request_ms: u64,
    /// How long batch ids are remembered.
    pub remember_ids_ms: u64,
    /// How long a visitor's conversion keeps further ones of the same goal without goal data out of the
    /// stream; 0 does not.
    pub remember_conversions_ms: u64,
    /// Replicas that must have an append before it is acknowledged.
    pub replicas: u32,
    /// How long they may take; less than 5,000.
    pub replicas_ms: u64,
    /// Entries that their relay has not touched for this long are taken over.
    pub takeover_ms: u64,
    /// The most rejected events that are set aside per key.
    pub refusals: u64,
    /// How much a relay reads ahead, per key.
    pub held_bytes: usize,
    /// Concurrent requests to Convert, per key.
    pub lanes: usize,
    /// The most events in one of them.
    pub max_request_events: usize,
    /// The most bytes in one of them.
    pub max_request_bytes: usize,
    /// The time limit for one of them, which a stopping relay waits for: from 100 to 60,000.
    pub delivery_ms: u64,
    /// The longest wait after a first failure.
    pub backoff_ms: u64,
    /// The longest wait after any.
    pub backoff_ceiling_ms: u64,
    /// The SDK keys to serve.
    pub keys: Vec<KeySettings>,
}

/// One SDK key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeySettings {
    /// As used by SDKs.
    pub sdk_key: String,
    /// The secret that Convert requires for this key's config.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// Environments that are polled from the start; others once a client first requests them.
    #[serde(default)]
    pub environments: Vec<String>,
}

/// The flags. What they leave open, the file says.
#[derive(Debug, Parser)]
#[command(name = "convert-relay", version, about)]
struct Flags {
    /// The settings file
    #[arg(long, env = "CONVERT_RELAY_FILE")]
    file: Option<PathBuf>,
    /// Where SDKs are served
    #[arg(long, env = "CONVERT_RELAY_LISTEN")]
    listen: Option<SocketAddr>,
    /// Where health, metrics and the status page are served
    #[arg(long, env = "CONVERT_RELAY_ADMIN_LISTEN")]
    admin_listen: Option<SocketAddr>,
    /// The URL of Redis; with a password in it, better in the environment or the file
    #[arg(long, env = "CONVERT_RELAY_REDIS", hide_env_values = true)]
    redis: Option<String>,
    /// An SDK key to serve besides those of the file; may be repeated. Replaces the environment's keys
    #[arg(long = "key", env = "CONVERT_RELAY_KEYS", value_delimiter = ',', hide_env_values = true)]
    keys: Vec<String>,
    /// What clients must send as bearer secret; better in the environment or the file, as a flag shows in `ps`
    #[arg(long, env = "CONVERT_RELAY_CLIENT_SECRET", hide = true, hide_env_values = true)]
    client_secret: Option<String>,
}

impl Settings {
    /// The settings of the process: flags override its environment, the environment overrides the file, and
    /// the file the defaults. Exits the process for `--help` and `--version`.
    ///
    /// # Errors
    /// [`StartError::File`] and [`StartError::Settings`]: the file cannot be read, or something in it is
    /// invalid.
    pub fn of_process() -> Result<Self, StartError> {
        let settings = Self::with(Flags::try_parse().map_err(|error| refused_flag(&error))?)?;
        settings.check()?;
        Ok(settings)
    }

    /// The settings in the text of a file.
    ///
    /// # Errors
    /// [`StartError::Settings`]: something in it is invalid.
    pub fn from_toml(text: &str) -> Result<Self, StartError> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(0, |before| before.split('\n').count());
            StartError::Settings(format!("line {line} of the file: {}", without_values(error.message())))
        })
    }

    fn with(flags: Flags) -> Result<Self, StartError> {
        let mut settings = match &flags.file {
            Some(path) => Self::from_toml(&text(path)?)?,
            None => Self::default(),
        };
        settings.listen = flags.listen.unwrap_or(settings.listen);
        settings.admin_listen = flags.admin_listen.unwrap_or(settings.admin_listen);
        settings.redis = flags.redis.map_or(settings.redis, Secret);
        settings.client_secret = flags.client_secret.map(Secret).or(settings.client_secret);
        // A variable that is there and empty names no key.
        let keys = flags.keys.iter().map(|key| key.trim()).filter(|key| !key.is_empty());
        settings.keys.extend(keys.map(KeySettings::new));
        Ok(settings)
    }

    /// The most threads that wait for Convert at a time, which is what the relay's runtime should allow
    /// (`max_blocking_threads`): with fewer, the requests of one key can wait for those of others.
    #[must_use]
    pub fn blocking_threads(&self) -> usize {
        // Each key also polls the config without an environment, and looks its Redis up.
        let each = self.lanes.min(MAX_LANES).saturating_add(MAX_VARIANTS + 2);
        self.keys.len().saturating_mul(each).saturating_add(PASSING + SPARE_THREADS)
    }

    /// Checks every setting by itself, and what must hold between them. Shows no value.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let refused = |rule: String| Err(StartError::Settings(rule));
        let broken = self.ranges().into_iter().find(|(_, value, range)| !range.contains(value));
        if let Some((name, _, range)) = broken {
            return refused(format!("{name}: from {} to {}", range.start(), range.end()));
        }
        let mut keys: Vec<&str> = self.keys.iter().map(|key| key.sdk_key.as_str()).collect();
        keys.sort_unstable();
        let is_plain = |key: &&str| {
            (1..=MAX_KEY).contains(&key.len())
                && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        };
        let fits_a_header = |secret: &Secret| {
            (1..=MAX_SECRET).contains(&secret.0.len()) && secret.0.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let rules = [
            (!keys.is_empty(), "no SDK key: give --key, CONVERT_RELAY_KEYS, or [[keys]] in the file"),
            (keys.len() <= MAX_KEYS, "keys: at most 1000"),
            (keys.iter().all(is_plain), "sdk_key: from 1 to 256 characters, only letters, digits and -_./"),
            (keys.windows(2).all(|pair| pair[0] != pair[1]), "sdk_key: one is there twice"),
            (
                self.keys.iter().filter_map(|key| key.secret.as_ref()).all(fits_a_header),
                "secret: from 1 to 4096 visible ASCII characters, without blanks",
            ),
            (
                self.keys.iter().all(|key| key.secret.is_none())
                    || self.config_base_url.as_ref().is_none_or(|url| !url.starts_with("http://")),
                "secret: needs https in config_base_url, as it is sent over nothing else",
            ),
            (
                self.keys.iter().all(|key| key.environments.len() <= MAX_VARIANTS),
                "environments: at most 16 for each key",
            ),
            (
                self.keys
                    .iter()
                    .flat_map(|key| &key.environments)
                    .all(|it| (1..=MAX_NAME).contains(&it.len())),
                "environments: names from 1 to 64 bytes",
            ),
            (
                self.prefix.len() <= MAX_PREFIX
                    && self.prefix.bytes().all(|byte| byte.is_ascii_graphic() && !b"{}".contains(&byte)),
                "prefix: at most 128 visible ASCII characters, without blanks and braces",
            ),
            (
                self.tls_certificate.is_some() == self.tls_key.is_some(),
                "tls_certificate and tls_key go together",
            ),
            (
                self.client_secret.as_ref().is_none_or(fits_a_header),
                "client_secret: from 1 to 4096 visible ASCII characters, without blanks; or leave it out",
            ),
            (
                !self.client_secret_for_events || self.client_secret.is_some(),
                "client_secret_for_events: needs client_secret",
            ),
            (
                self.max_body_bytes as u64 <= self.stream_bytes - self.stream_bytes / RESERVE,
                "max_body_bytes: at most nine tenths of stream_bytes",
            ),
            (self.bodies_bytes >= self.max_body_bytes, "bodies_bytes: at least max_body_bytes"),
            (self.backoff_ceiling_ms >= self.backoff_ms, "backoff_ceiling_ms: at least backoff_ms"),
        ];
        let broken = rules.into_iter().find(|(holds, _)| !holds);
        broken.map_or(Ok(()), |(_, rule)| refused(rule.to_owned()))
    }

    /// The numbers, and between what they must be for a clock, Redis and the runtime to work with them.
    fn ranges(&self) -> [(&'static str, u64, RangeInclusive<u64>); 19] {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        const TEN_YEARS: u64 = 3650 * DAY;
        [
            ("config_interval_ms", self.config_interval_ms, 100..=DAY),
            ("stream_bytes", self.stream_bytes, RESERVE..=1 << 50),
            // Redis takes values of up to 512 MiB.
            ("max_body_bytes", self.max_body_bytes as u64, 1..=1 << 28),
            // Permits are counted in less than a word.
            ("bodies_bytes", self.bodies_bytes as u64, 1..=(Semaphore::MAX_PERMITS as u64).min(1 << 40)),
            ("max_connections", self.max_connections as u64, 1..=1 << 20),
            ("request_ms", self.request_ms, 100..=300_000),
            ("remember_ids_ms", self.remember_ids_ms, 1000..=TEN_YEARS),
            ("remember_conversions_ms", self.remember_conversions_ms, 0..=TEN_YEARS),
            ("replicas", self.replicas.into(), 0..=1000),
            ("replicas_ms", self.replicas_ms, 1..=COMMAND_TIMEOUT.as_millis() as u64 - 1),
            ("takeover_ms", self.takeover_ms, 100..=DAY),
            ("refusals", self.refusals, 0..=1 << 40),
            ("held_bytes", self.held_bytes as u64, 1..=1 << 40),
            ("lanes", self.lanes as u64, 1..=MAX_LANES as u64),
            ("max_request_events", self.max_request_events as u64, 1..=10_000),
            ("max_request_bytes", self.max_request_bytes as u64, 1..=1 << 28),
            ("delivery_ms", self.delivery_ms, 100..=60_000),
            ("backoff_ms", self.backoff_ms, 1..=DAY),
            ("backoff_ceiling_ms", self.backoff_ceiling_ms, 1..=DAY),
        ]
    }

    pub(crate) const fn durability(&self) -> Durability {
        match self.replicas {
            0 => Durability::Appended,
            replicas => Durability::Replicated { replicas, within: Duration::from_millis(self.replicas_ms) },
        }
    }

    pub(crate) const fn backoff(&self) -> Duration {
        Duration::from_millis(self.backoff_ms)
    }

    pub(crate) const fn backoff_ceiling(&self) -> Duration {
        Duration::from_millis(self.backoff_ceiling_ms)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8090)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 8091)),
            redis: Secret("redis://127.0.0.1/".to_owned()),
            redis_ca_file: None,
            prefix: "convert-relay:".to_owned(),
            config_base_url: None,
            track_base_url: None,
            ca_file: None,
            http_on_loopback: false,
            tls_certificate: None,
            tls_key: None,
            client_secret: None,
            client_secret_for_events: false,
            config_interval_ms: 30_000,
            stream_bytes: 1 << 30,
            max_body_bytes: 1 << 20,
            bodies_bytes: 64 << 20,
            max_connections: 4096,
            request_ms: 10_000,
            remember_ids_ms: 24 * 60 * 60 * 1000,
            remember_conversions_ms: 0,
            replicas: 0,
            replicas_ms: 1000,
            takeover_ms: 30_000,
            refusals: 10_000,
            held_bytes: 4 << 20,
            lanes: 4,
            max_request_events: 1000,
            max_request_bytes: 1 << 20,
            delivery_ms: 10_000,
            backoff_ms: 1000,
            backoff_ceiling_ms: 60_000,
            keys: Vec::new(),
        }
    }
}

impl KeySettings {
    /// A key without a secret.
    pub fn new(sdk_key: impl Into<String>) -> Self {
        Self { sdk_key: sdk_key.into(), secret: None, environments: Vec::new() }
    }
}

impl Secret {
    /// A secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self).map_err(|_| D::Error::custom(NOT_A_STRING))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A message about the file without values, which serde's shows. Of names that are no settings, only those that look
/// like one are told.
fn without_values(message: &str) -> String {
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let name = message.split('`').nth(1).filter(is_name);
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    match (message.split(' ').next(), name, expected) {
        _ if message == NOT_A_STRING => message.to_owned(),
        (Some("unknown"), Some(name), _) => {
            format!("`{name}` is not a setting here: those of all keys stand above [[keys]]")
        }
        (Some("unknown"), None, _) => "a name that is not a setting".to_owned(),
        (Some("missing"), Some(name), _) => format!("`{name}` is missing"),
        (Some("invalid"), _, Some(expected)) => format!("not what is expected, {expected}"),
        _ if message.contains("socket address") => "not an address such as 127.0.0.1:8090".to_owned(),
        _ => "not TOML: perhaps a string without quotes, or a name that is there twice".to_owned(),
    }
}

/// Clap's message about a wrong flag, without its value.
fn refused_flag(error: &clap::Error) -> StartError {
    let kind = error.kind();
    if matches!(kind, ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        error.exit();
    }
    let name = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) if argument.starts_with("--") => {
            argument.split(['=', ' ']).next()
        }
        _ => None,
    };
    StartError::Settings(format!("{}: {kind}; see --help", name.unwrap_or("flags")))
}

fn text(path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path).map_err(|error| StartError::File(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_file_is_what_the_relay_reads() {
        let settings = Settings::from_toml(include_str!("../relay.toml")).unwrap();
        settings.check().unwrap();
        let (default, example) = (Settings::default(), settings.clone());
        let without_keys = |settings: Settings| format!("{:?}", Settings { keys: Vec::new(), ..settings });
        assert_eq!(without_keys(example), without_keys(default), "it shows the defaults");
        assert_eq!(settings.keys.len(), 1);
    }

    #[test]
    fn flags_go_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("relay.toml");
        std::fs::write(&file, "prefix = 'mine:'\nlisten = '127.0.0.1:1'\n[[keys]]\nsdk_key = 'a'\n").unwrap();
        let flags =
            ["convert-relay", "--file", file.to_str().unwrap(), "--listen", "127.0.0.1:2", "--key", "b/c"];
        let settings = Settings::with(Flags::parse_from(flags)).unwrap();
        assert_eq!((settings.prefix.as_str(), settings.listen.port()), ("mine:", 2));
        let keys: Vec<&str> = settings.keys.iter().map(|key| key.sdk_key.as_str()).collect();
        assert_eq!(keys, ["a", "b/c"]);
    }

    #[test]
    fn every_number_has_a_range_that_is_told() {
        for (name, default, range) in Settings::default().ranges() {
            assert!(range.contains(&default), "{name}");
            for number in [range.start().checked_sub(1), Some(range.end() + 1), Some(1 << 62)] {
                let Some(number) = number else { continue };
                let text = format!("{name} = {number}\n[[keys]]\nsdk_key = 'a'");
                let refused = Settings::from_toml(&text).and_then(|it| it.check()).unwrap_err().to_string();
                let told = format!("{name}: from {} to {}", range.start(), range.end());
                assert!(
                    refused.contains(&told) || number > u32::MAX.into() && name == "replicas",
                    "{refused}"
                );
            }
        }
        let numbers = include_str!("../relay.toml")
            .lines()
            .filter(|line| line.split_once(" = ").is_some_and(|(_, value)| value.parse::<u64>().is_ok()));
        assert_eq!(numbers.count(), Settings::default().ranges().len());
    }

    #[test]
    fn long_names_are_refused_at_the_start() {
        let key = |key: KeySettings| Settings { keys: vec![key], ..Settings::default() }.check();
        assert!(
            key(KeySettings::new("k".repeat(256))).is_ok() && key(KeySettings::new("k".repeat(257))).is_err()
        );
        let of_length = |length: usize| {
            let environments = vec!["e".repeat(length)];
            key(KeySettings { environments, ..KeySettings::new("a") })
        };
        assert!(of_length(64).is_ok() && of_length(65).is_err());
        let environments = |count: usize| (0..count).map(|number| number.to_string()).collect();
        let many = |count| key(KeySettings { environments: environments(count), ..KeySettings::new("a") });
        assert!(many(16).is_ok() && many(17).is_err());
    }

    #[test]
    fn an_empty_list_of_keys_is_no_key() {
        let with = |keys: &str| Settings::with(Flags::parse_from(["convert-relay", "--key", keys])).unwrap();
        for empty in ["", " ", ","] {
            let refused = with(empty).check().unwrap_err().to_string();
            assert!(refused.contains("no SDK key"), "{refused}");
        }
        let names: Vec<_> = with("a, b,").keys.into_iter().map(|key| key.sdk_key).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_wrong_flag_is_told_without_its_value() {
        for (flags, told) in [
            (["10/20", "--listen", "127.0.0.1:1"], "flags: unexpected"),
            (["--listen", "10/20", "--key"], "--listen: "),
            (["--kye=10/20", "--listen", "127.0.0.1:1"], "--kye: unexpected"),
        ] {
            let error = Flags::try_parse_from(std::iter::once("convert-relay").chain(flags)).unwrap_err();
            let refused = refused_flag(&error).to_string();
            assert!(refused.contains(told) && !refused.contains("10/20"), "{refused}");
        }
    }

    #[test]
    fn wrong_settings_are_told_without_secrets() {
        for (wrong, told) in
            [("client_secret = 'hidden'\nlanez = 3", "lanez"), ("client_secret = hidden", "string")]
        {
            let refused = Settings::from_toml(wrong).unwrap_err().to_string();
            assert!(refused.contains(told) && !refused.contains("hidden"), "{refused}");
        }
        for (wrong, told) in [
            ("keys = ['10/20']", "line 1"),
            ("\n[keys]\n'10/20' = 1", "line 2"),
            ("lanes = '10/20'", "expected, usize"),
            ("lanes = '10/20, expected'", "expected, usize"),
            ("lanes = -10", "expected, usize"),
            ("[[keys]]\nsdk_key = 10_20", "line 2"),
            ("[[keys]]\nsdk_key = '10/20'\n'10/20' = 'x'", "not a setting"),
            ("[[keys]]\nsdk_key = '10/20'\nenvironments = '10/20'", "line 3"),
            ("[[keys]]\nsecret = '10/20'", "sdk_key"),
            ("listen = '10/20'", "address"),
            ("'10/20' = 1\n'10/20' = 2", "twice"),
            ("[[keys]]\nsdk_key = 10/20", "quotes"),
        ] {
            let refused = Settings::from_toml(wrong).unwrap_err().to_string();
            let shows = ["10/20", "1020", "10_20", "-10"].iter().any(|value| refused.contains(value));
            assert!(refused.contains(told) && !shows, "{wrong}: {refused}");
        }
        for (wrong, told) in [
            ("", "no SDK key"),
            ("[[keys]]\nsdk_key = 'a{b}'", "characters"),
            ("[[keys]]\nsdk_key = 'a'\n[[keys]]\nsdk_key = 'a'", "twice"),
            ("tls_key = 'k'\n[[keys]]\nsdk_key = 'a'", "together"),
            ("config_interval_ms = 1\n[[keys]]\nsdk_key = 'a'", "config_interval_ms"),
            ("client_secret = ''\n[[keys]]\nsdk_key = 'a'", "client_secret"),
            ("client_secret = 'a b'\n[[keys]]\nsdk_key = 'a'", "client_secret"),
            ("client_secret = 'ä'\n[[keys]]\nsdk_key = 'a'", "client_secret"),
            ("[[keys]]\nsdk_key = 'a'\nsecret = ' '", "secret"),
            ("config_base_url = 'http://127.0.0.1'\n[[keys]]\nsdk_key = 'a'\nsecret = 's'", "https"),
            ("[[keys]]\nsdk_key = 'a'\nenvironments = ['']", "environments"),
            ("stream_bytes = 1000\nmax_body_bytes = 901\n[[keys]]\nsdk_key = 'a'", "nine tenths"),
            ("bodies_bytes = 1000\n[[keys]]\nsdk_key = 'a'", "bodies_bytes"),
            ("backoff_ceiling_ms = 1\n[[keys]]\nsdk_key = 'a'", "backoff_ceiling_ms"),
            ("prefix = '{a}'\n[[keys]]\nsdk_key = 'a'", "prefix"),
            ("client_secret_for_events = true\n[[keys]]\nsdk_key = 'a'", "client_secret_for_events"),
            ("replicas = 1\nreplicas_ms = 5000\n[[keys]]\nsdk_key = 'a'", "replicas_ms"),
            ("delivery_ms = 99\n[[keys]]\nsdk_key = 'a'", "delivery_ms"),
            ("delivery_ms = 60001\n[[keys]]\nsdk_key = 'a'", "delivery_ms"),
        ] {
            let refused = Settings::from_toml(wrong).unwrap().check().unwrap_err().to_string();
            assert!(refused.contains(told), "{refused}");
        }
        for unquoted in
            ["client_secret = 12345", "redis = [12345]", "[[keys]]\nsdk_key = 'a'\nsecret = 12345"]
        {
            let refused = Settings::from_toml(unquoted).unwrap_err().to_string();
            assert!(refused.contains("in quotes") && !refused.contains("12345"), "{refused}");
        }
        let shown =
            format!("{:?}", Settings { client_secret: Some(Secret::new("hidden")), ..Settings::default() });
        assert!(!shown.contains("hidden"));
    }
}
