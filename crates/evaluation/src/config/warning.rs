//! What a config says that is not used as served, and why a config is refused.

use std::fmt;

/// A part of a config that is malformed and therefore never matches or is left out, while the rest
/// of the config goes on.
///
/// It names places and JSON types of the config, never a visitor's data and never a secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ConfigWarning {
    path: String,
    message: String,
}

impl ConfigWarning {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }

    /// Where in the config, such as `experiences[3].variations[1]`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there and what follows from it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Why a text is not a usable config. None of its parts is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is not JSON, or a value that must be small is nested too deeply.
    #[error("the config is not valid JSON (line {line}, column {column})")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// The text is JSON, but no object.
    #[error("the config is not a JSON object")]
    NotAnObject,
    /// A field without which no event can be sent is missing or empty.
    #[error("the config has no `{0}`")]
    MissingField(&'static str),
    /// The server answered with an error document in place of a config.
    #[error("the config is an error document")]
    ServedError,
    /// A section that must be a list is something else.
    #[error("`{0}` in the config is not a list")]
    ListExpected(&'static str),
    /// The text is longer than 4 GiB.
    #[error("the config is larger than 4 GiB")]
    TooLarge,
}

impl ConfigError {
    /// A stable name for logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "config_not_json",
            Self::NotAnObject => "config_not_an_object",
            Self::MissingField(_) => "config_missing_field",
            Self::ServedError => "config_served_error",
            Self::ListExpected(_) => "config_list_expected",
            Self::TooLarge => "config_too_large",
        }
    }
}
