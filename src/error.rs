//! The errors of the calls that can fail: one small enum for each kind of call, with stable codes. A message is
//! complete in itself: it includes its causes, which are not its `source`.

use std::fmt;

use thiserror::Error;

use crate::ports::TransportError;

pub use convert_evaluation::config::{ConfigError, UnknownEntityKind};

pub use crate::engine::UnknownGoalDataKey;
pub use crate::flush::FlushError;
pub use crate::options::{EnvironmentError, InvalidOption, InvalidReason};
#[cfg(feature = "serde")]
use crate::ports::{DeliveryFailure, StoreError};

/// Why there is no handle to an experience, feature or goal.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no config yet; a handle's `new` does not need one.
    #[error("the core is not initialized")]
    NotReady,
    /// The current config has no such key; a handle's `new` does not check.
    #[error("the config has no such key")]
    NotInConfig,
}

impl LookupError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::NotInConfig => "not_in_config",
        }
    }
}

/// Why a config was not loaded.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It could not be fetched. If the status refuses the SDK key (401, 403, 404, 410), the message says so.
    #[error("the config could not be fetched: {}", FetchFailure(.0))]
    Fetch(TransportError),
    /// It was fetched or given, but is not valid.
    #[error("the config is invalid: {0}")]
    Config(ConfigError),
    /// It belongs to another account or project than the current config.
    #[error("the config belongs to another account or project")]
    OtherProject,
    /// The application's own check did not accept it, or panicked; see
    /// [`accept_config`](crate::SdkConfigBuilder::accept_config).
    #[error("the application's check did not accept the config")]
    NotAccepted,
    /// The core is [offline](crate::SdkConfigBuilder::offline) and was given no config.
    #[error("an offline core fetches nothing, and was given no config")]
    Offline,
}

/// Why the config cache was not read or written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigCacheError {
    /// The file is cut short or changed, or another version of the SDK wrote it. The next good config replaces it.
    #[error("the config cache is damaged")]
    Damaged,
    /// The file belongs to another SDK key, environment or debug token. It is not overwritten: remove it after a change
    /// of these.
    #[error("the config cache belongs to another SDK key, environment or debug token")]
    Foreign,
    /// The file is not a regular one, belongs to another user (other than root), or others may write to it.
    #[error("the config cache may be written by others")]
    Unsafe,
    /// The file is longer than `max_response_bytes` allows, which is this many bytes.
    #[error("the config cache is larger than {0} bytes")]
    TooLarge(u64),
    /// The file could not be read.
    #[error("the config cache could not be read ({0})")]
    Read(std::io::ErrorKind),
    /// The file could not be written. A process that fetched for others leaves that to them.
    #[error("the config cache could not be written ({0})")]
    Write(std::io::ErrorKind),
    /// The lock file beside it is not a regular one, or could not be opened or locked: this process fetches by itself
    /// and writes nothing.
    #[error("the config cache could not be locked ({0})")]
    Lock(std::io::ErrorKind),
}

impl ConfigCacheError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Damaged => "cache_damaged",
            Self::Foreign => "cache_foreign",
            Self::Unsafe => "cache_unsafe",
            Self::TooLarge(_) => "cache_too_large",
            Self::Read(_) => "cache_unreadable",
            Self::Write(_) => "cache_unwritable",
            Self::Lock(_) => "cache_not_locked",
        }
    }
}

/// Why the core is not ready.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InitializeError {
    /// There is no usable config.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The timeout passed first. A fetch that had started still makes the core ready when it finishes.
    #[error("timed out waiting for the config")]
    Timeout,
    /// The core is closed.
    #[error("the core is closed")]
    Closed,
    /// The core is driven by a pump, for whose turns this call would wait: use [`Pump`](crate::pump::Pump).
    #[error("the call would wait for the pump")]
    WouldBlock,
    /// A thread could not be started.
    #[error("a thread could not be started ({0})")]
    Thread(std::io::ErrorKind),
}

/// Why there is no pump.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PumpError {
    /// A data store is configured, whose calls would block the loop.
    #[error("a pump has no thread to call a data store on")]
    DataStore,
    /// An outbox is configured, whose writes would block the loop.
    #[error("a pump has no thread to write an outbox on")]
    Outbox,
    /// A config cache is configured, whose file would block the loop. The application can keep
    /// [`served_text`](crate::config::ConfigSnapshot::served_text) itself, and start with it as direct data beside the
    /// key.
    #[error("a pump has no thread to read and write a config cache on")]
    ConfigCache,
    /// The builder has a config source or an event sink, which would block the loop; the requests are the application's
    /// to carry.
    #[error("a pump calls no source and no sink; it hands its requests out")]
    Transport,
    /// The overflow policy lets callers wait, and nobody would make space meanwhile.
    #[error("a pump cannot let callers wait for space")]
    Waits,
}

/// Why the config was not refreshed. The previous one stays in use.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// There is no usable new config.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The config was given directly, so there is nowhere to fetch it from.
    #[error("a config given directly cannot be refreshed")]
    DirectConfig,
    /// The timeout passed first. A fetch that had started continues; otherwise none is made.
    #[error("timed out waiting for the config")]
    Timeout,
    /// The core is closed.
    #[error("the core is closed")]
    Closed,
    /// The core is driven by a pump, for whose turns this call would wait: use [`Pump`](crate::pump::Pump).
    #[error("the call would wait for the pump")]
    WouldBlock,
    /// A thread could not be started.
    #[error("a thread could not be started ({0})")]
    Thread(std::io::ErrorKind),
}

/// Why there is no context.
#[derive(Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The core has no config yet; call [`Core::initialize`](crate::Core::initialize) first.
    #[error("the core is not initialized")]
    NotReady,
    /// The core is closed.
    #[error("the core is closed")]
    Closed,
}

/// Why a preview is off.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PreviewError {
    /// The experience id or the variation id is empty, which turns a preview off.
    #[error("an id is empty")]
    EmptyId,
    /// Neither the config nor the server has the experience, or the config does not and there is no server to ask
    /// (with direct data, or on a closed core).
    #[error("the experience was not found")]
    ExperienceNotFound,
    /// The experience has no such variation.
    #[error("the experience has no such variation")]
    VariationNotFound,
    /// The server could not be asked for the experience.
    #[error("the experience could not be fetched: {}", Bare(.0))]
    Fetch(LoadError),
    /// The server did not answer in time, the core was closed meanwhile, or a thread could not be started.
    #[error("timed out waiting for the experience")]
    Timeout,
    /// The core is driven by a pump, which fetches the experience in its next turns: try again once its request was
    /// answered.
    #[error("the experience is being fetched")]
    WouldBlock,
}

/// What a failed fetch says about the SDK key, without showing the key.
struct FetchFailure<'a>(&'a TransportError);

impl fmt::Display for FetchFailure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match self.0.status() {
            Some(401) => "the SDK key's secret is missing or wrong",
            Some(403) => "the SDK key or its secret was refused",
            Some(404) => "the SDK key was not found",
            Some(410) => "the SDK key is no longer valid",
            _ => return self.0.fmt(f),
        };
        write!(f, "{key} ({})", self.0)
    }
}

/// A failed fetch of one experience, whose status may concern the experience rather than the SDK key.
struct Bare<'a>(&'a LoadError);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let LoadError::Fetch(error) = self.0 { error.fmt(f) } else { self.0.fmt(f) }
    }
}

/// A thread could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a thread could not be started ({0})")]
pub(crate) struct StartError(pub(crate) std::io::ErrorKind);

impl LoadError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Fetch(_) => "config_load_failed",
            Self::Config(_) => "invalid_config",
            Self::OtherProject => "other_project",
            Self::NotAccepted => "not_accepted",
            Self::Offline => "offline",
        }
    }
}

impl InitializeError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::Timeout => "initialize_timeout",
            Self::Closed => "closed",
            Self::WouldBlock => "would_block",
            Self::Thread(_) => "thread",
        }
    }
}

impl RefreshError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Load(error) => error.code(),
            Self::DirectConfig => "direct_config",
            Self::Timeout => "refresh_timeout",
            Self::Closed => "closed",
            Self::WouldBlock => "would_block",
            Self::Thread(_) => "thread",
        }
    }
}

impl PumpError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DataStore => "pump_data_store",
            Self::Outbox => "pump_outbox",
            Self::ConfigCache => "pump_config_cache",
            Self::Transport => "pump_transport",
            Self::Waits => "pump_waits",
        }
    }
}

impl ContextError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::Closed => "closed",
        }
    }
}

impl PreviewError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EmptyId => "preview_empty_id",
            Self::ExperienceNotFound => "preview_unresolvable_experience",
            Self::VariationNotFound => "preview_unknown_variation",
            Self::Fetch(_) => "preview_fetch_failed",
            Self::Timeout => "preview_timeout",
            Self::WouldBlock => "would_block",
        }
    }
}

impl From<TransportError> for LoadError {
    fn from(error: TransportError) -> Self {
        Self::Fetch(error)
    }
}

impl From<ConfigError> for LoadError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<StartError> for InitializeError {
    fn from(error: StartError) -> Self {
        Self::Thread(error.0)
    }
}

impl From<StartError> for RefreshError {
    fn from(error: StartError) -> Self {
        Self::Thread(error.0)
    }
}

impl From<StartError> for std::io::Error {
    fn from(error: StartError) -> Self {
        Self::new(error.0, error)
    }
}

/// As `main` shows the error that it returns: its stable name and its message.
macro_rules! readable {
    ($($error:ty),+ $(,)?) => {$(
        impl fmt::Debug for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}: {self}", self.code())
            }
        }
    )+};
}
readable!(
    ContextError,
    EnvironmentError,
    FlushError,
    InitializeError,
    InvalidOption,
    LoadError,
    LookupError,
    PreviewError,
    PumpError,
    RefreshError,
);

/// An error serializes as its stable name and its message.
#[cfg(feature = "serde")]
macro_rules! serialized {
    ($($error:ty),+ $(,)?) => {$(
        impl serde::Serialize for $error {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct;

                let mut fields = serializer.serialize_struct("Error", 2)?;
                fields.serialize_field("code", self.code())?;
                fields.serialize_field("message", &self.to_string())?;
                fields.end()
            }
        }
    )+};
}

/// A reason has no stable name of its own: it serializes as its message.
#[cfg(feature = "serde")]
impl serde::Serialize for InvalidReason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
serialized!(
    ConfigCacheError,
    ContextError,
    DeliveryFailure,
    EnvironmentError,
    FlushError,
    InitializeError,
    InvalidOption,
    LoadError,
    LookupError,
    PreviewError,
    PumpError,
    RefreshError,
    StoreError,
    TransportError,
);
