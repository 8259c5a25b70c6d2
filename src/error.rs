//! The errors of the calls that can fail: one small enum per operation, each with a stable code. A message
//! is complete by itself; what it tells is not told again as its source.

use std::fmt;

use thiserror::Error;

use crate::config::ConfigError;
use crate::ports::TransportError;

/// Why there is no handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandleError {
    /// There is no config yet; a handle's `new` needs none.
    #[error("the core is not initialized")]
    NotReady,
    /// The config of this moment has no such key; a handle's `new` does not mind.
    #[error("the config has no such key")]
    NotInConfig,
}

impl HandleError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::NotInConfig => "not_in_config",
        }
    }
}

/// Why a config was not put in place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It could not be fetched. The message of a status that refuses the SDK key (401, 403, 404, 410)
    /// says so.
    #[error("the config could not be fetched: {}", Refusal(.0))]
    Fetch(TransportError),
    /// It was fetched or given, and is no config.
    #[error("the config is invalid: {0}")]
    Config(ConfigError),
    /// It belongs to another account or project than the config in place.
    #[error("the config belongs to another account or project")]
    OtherProject,
}

/// Why the core is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InitializeError {
    /// There is no usable config.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The deadline passed first. A fetch that had begun and ends later still makes the core ready.
    #[error("timed out waiting for the config")]
    Timeout,
    /// The core is closed.
    #[error("the core is closed")]
    Closed,
    /// The operating system gave no thread.
    #[error("a thread could not be started ({0})")]
    Thread(std::io::ErrorKind),
}

/// Why the config was not refreshed. The one before stays in place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// There is no usable new config.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The config was given directly: there is nowhere to fetch it from.
    #[error("a config given directly cannot be refreshed")]
    DirectConfig,
    /// The deadline passed first. A fetch that had begun goes on; else none is made.
    #[error("timed out waiting for the config")]
    Timeout,
    /// The core is closed.
    #[error("the core is closed")]
    Closed,
    /// The operating system gave no thread.
    #[error("a thread could not be started ({0})")]
    Thread(std::io::ErrorKind),
}

/// Why there is no context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
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
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PreviewError {
    /// The experience id or the variation id is empty; that switches a preview off.
    #[error("an id is empty")]
    EmptyId,
    /// Neither the config nor the server has the experience, or the config does not and there is no server
    /// to ask: with direct data, and on a closed core.
    #[error("the experience was not found")]
    ExperienceNotFound,
    /// The experience has no such variation.
    #[error("the experience has no such variation")]
    VariationNotFound,
    /// The server could not be asked for the experience.
    #[error("the experience could not be fetched: {}", Bare(.0))]
    Fetch(LoadError),
    /// The server did not answer in time, the core was closed meanwhile, or the operating system gave no
    /// thread to ask it by.
    #[error("timed out waiting for the experience")]
    Timeout,
}

/// Why a conversion was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfirmError {
    /// The deadline passed before the tracker's verdict. The conversion was handed over and is
    /// counted.
    #[error("timed out waiting for the tracker")]
    Timeout,
}

/// Why a handler was not added.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandlerError {
    /// The operating system gave no thread.
    #[error("a thread could not be started ({0})")]
    Thread(std::io::ErrorKind),
}

/// Why there will be no flush at exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExitFlushError {
    /// The system does not tell of the exit: it is no Unix, or has no memory left for that.
    #[error("the system does not tell of the exit")]
    Unavailable,
}

/// What a failed fetch means for the SDK key, which it does not show.
struct Refusal<'a>(&'a TransportError);

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match self.0.status() {
            Some(401) => "the SDK key needs a secret, or has another one",
            Some(403) => "the SDK key or its secret was refused",
            Some(404) => "the SDK key was not found",
            Some(410) => "the SDK key is no longer valid",
            _ => return self.0.fmt(f),
        };
        write!(f, "{key} ({})", self.0)
    }
}

/// A failed fetch of one experience, whose status may be the experience's and not the SDK key's.
struct Bare<'a>(&'a LoadError);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let LoadError::Fetch(error) = self.0 { error.fmt(f) } else { self.0.fmt(f) }
    }
}

/// The operating system gave no thread.
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
            Self::Thread(_) => "thread",
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
        }
    }
}

impl ConfirmError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Timeout => "confirm_timeout",
        }
    }
}

impl HandlerError {
    /// A stable name for logs and dashboards: always `"thread"`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Thread(_) => "thread",
        }
    }
}

impl ExitFlushError {
    /// A stable name for logs and dashboards: always `"exit_flush_unavailable"`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable => "exit_flush_unavailable",
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

impl From<StartError> for HandlerError {
    fn from(error: StartError) -> Self {
        Self::Thread(error.0)
    }
}
