//! Warnings about parts of a config, and errors that reject it as a whole.

use std::fmt;

/// A part of a config that is malformed, or refers to what is not there. It never matches or is left out; the rest
/// of the config is used.
///
/// It names paths, ids and JSON types of the config, never a visitor's data or a secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ConfigWarning {
    path: String,
    message: String,
}

impl ConfigWarning {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }

    /// The path in the config, such as `experiences[3].variations[1]`.
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

/// An id or a key as a warning shows it: quoted, control characters escaped, cut after 40 characters.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.0.char_indices().nth(40).and_then(|(end, _)| self.0.get(..end));
        match cut {
            Some(start) => write!(f, "{start:?}\u{2026}"),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// Why a text is not a usable config. No part of it is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is not valid JSON, or a field such as `account_id` is nested too deeply.
    #[error("the config is not valid JSON (line {line}, column {column})")]
    NotJson {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// The text is JSON, but not an object.
    #[error("the config is not a JSON object")]
    NotAnObject,
    /// A field without which no event can be sent is missing or empty.
    #[error("the config has no `{0}`")]
    MissingField(&'static str),
    /// The server sent an error document instead of a config.
    #[error("the config is an error document")]
    ServedError,
    /// This section is not a list: `experiences`, `features`, `goals`, `audiences`, `segments` or
    /// `locations`. A missing or empty section, or one that is falsy in JavaScript (such as `0`),
    /// is read as an empty list.
    #[error("`{0}` in the config is not a list")]
    ListExpected(&'static str),
    /// The text is longer than 4 GiB.
    #[error("the config is larger than 4 GiB")]
    TooLarge,
}

/// Its stable name and its message.
impl serde::Serialize for ConfigError {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut fields = serializer.serialize_struct("Error", 2)?;
        fields.serialize_field("code", self.code())?;
        fields.serialize_field("message", &self.to_string())?;
        fields.end()
    }
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
