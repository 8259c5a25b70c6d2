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
    /// The operating system gave no random bits for a new visitor's id.
    #[error("no random bits for a new visitor")]
    NoRandomness,
    /// The helper is not installed where the request was handled: the layer, middleware or fairing is
    /// missing.
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

    /// The HTTP status that says so: 503 for what passes, 500 for a mistake in the program.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Context(_) | Self::NoRandomness => 503,
            Self::NotInstalled => 500,
        }
    }

    /// Whether a handler may go on without a context: all but a mistake in the program.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        self.status() == 503
    }
}
