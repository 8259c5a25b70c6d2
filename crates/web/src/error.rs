//! Why a request has no context.

use convert_sdk::ContextError;
use thiserror::Error;

/// Why a request has no context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VisitorError {
    /// The core is not ready, or closed.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The operating system returned no random bytes for a new visitor's id.
    #[error("no random bytes for a new visitor's id")]
    NoRandomness,
    /// The helper's layer, middleware or fairing is not installed for this handler.
    #[error("the Convert helper is not installed in front of this handler")]
    NotInstalled,
}

impl VisitorError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Context(error) => error.code(),
            Self::NoRandomness => "no_randomness",
            Self::NotInstalled => "not_installed",
        }
    }

    /// The matching HTTP status: 503 for a temporary error, 500 for a mistake in the program.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Context(_) | Self::NoRandomness => 503,
            Self::NotInstalled => 500,
        }
    }

    /// Whether a handler may continue without a context: any error except a mistake in the program.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        self.status() == 503
    }
}
