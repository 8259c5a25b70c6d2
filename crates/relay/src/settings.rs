//! The operator's settings: a file, overridden by environment variables, overridden by flags.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::StartError;
use crate::link::COMMAND_TIMEOUT;

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
    /// the file the defaults. Exits the process for `--help` and for unknown flags.
    ///
    /// # Errors
    /// [`StartError::File`] and [`StartError::Settings`]: the file cannot be read, or something in it is
    /// invalid.
    pub fn of_process() -> Result<Self, StartError> {
        Self::with(Flags::parse())
    }

    /// The settings in the text of a file.
    ///
    /// # Errors
    /// [`StartError::Settings`]: something in it is invalid.
    pub fn from_toml(text: &str) -> Result<Self, StartError> {
        // The error's full text would show the line, which may contain a secret.
        toml::from_str(text).map_err(|error| StartError::Settings(error.message().to_owned()))
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
        settings.keys.extend(flags.keys.into_iter().map(KeySettings::new));
        Ok(settings)
    }

    /// Checks what must hold between settings.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let mut keys: Vec<&str> = self.keys.iter().map(|key| key.sdk_key.as_str()).collect();
        keys.sort_unstable();
        let is_plain = |key: &&str| {
            !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        };
        let rules = [
            (!keys.is_empty(), "no SDK key: give --key, or [[keys]] in the file"),
            (keys.iter().all(is_plain), "an SDK key has characters other than letters, digits and -_./"),
            (keys.windows(2).all(|pair| pair[0] != pair[1]), "an SDK key is there twice"),
            (
                self.tls_certificate.is_some() == self.tls_key.is_some(),
                "tls_certificate and tls_key go together",
            ),
            (
                self.client_secret.as_ref().is_none_or(|secret| !secret.expose().is_empty()),
                "client_secret: is empty; without a secret, leave it out",
            ),
            (
                !self.client_secret_for_events || self.client_secret.is_some(),
                "client_secret_for_events: needs client_secret",
            ),
            (self.config_interval_ms >= 100, "config_interval_ms: at least 100"),
            (self.takeover_ms >= 100, "takeover_ms: at least 100"),
            (self.request_ms >= 100, "request_ms: at least 100"),
            (self.max_connections >= 1, "max_connections: at least 1"),
            (
                self.max_body_bytes >= 1 && self.max_body_bytes as u64 <= self.stream_bytes,
                "max_body_bytes: from 1 to stream_bytes",
            ),
            (self.remember_ids_ms >= 1000, "remember_ids_ms: at least 1000"),
            (
                self.replicas == 0 || Duration::from_millis(self.replicas_ms) < COMMAND_TIMEOUT,
                "replicas_ms: less than 5000",
            ),
            (self.held_bytes >= 1, "held_bytes: at least 1"),
            ((100..=60_000).contains(&self.delivery_ms), "delivery_ms: from 100 to 60000"),
        ];
        let broken = rules.into_iter().find(|(holds, _)| !holds);
        broken.map_or(Ok(()), |(_, rule)| Err(StartError::Settings(rule.to_owned())))
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
        // Serde's own error would show the value.
        let refused = |_| D::Error::custom("redis, client_secret and secret: must be strings in quotes");
        String::deserialize(deserializer).map(Self).map_err(refused)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
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
    fn wrong_settings_are_told_without_secrets() {
        for (wrong, told) in
            [("client_secret = 'hidden'\nlanez = 3", "lanez"), ("client_secret = hidden", "string")]
        {
            let refused = Settings::from_toml(wrong).unwrap_err().to_string();
            assert!(refused.contains(told) && !refused.contains("hidden"), "{refused}");
        }
        for (wrong, told) in [
            ("", "no SDK key"),
            ("[[keys]]\nsdk_key = 'a{b}'", "characters"),
            ("[[keys]]\nsdk_key = 'a'\n[[keys]]\nsdk_key = 'a'", "twice"),
            ("tls_key = 'k'\n[[keys]]\nsdk_key = 'a'", "together"),
            ("config_interval_ms = 1\n[[keys]]\nsdk_key = 'a'", "config_interval_ms"),
            ("client_secret = ''\n[[keys]]\nsdk_key = 'a'", "client_secret"),
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
