//! Why a replay could not do its work: always with the file, the line and the field, where known.

use std::io;

use thiserror::Error;

/// Ends the program with exit status 2.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// A file or a line holds something that cannot be used.
    #[error("{0}")]
    Input(String),
    /// The output cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// The SDK did not do what a local, stubbed instance always does.
    #[error("the SDK failed: {0}")]
    Sdk(String),
}

/// A flaw of one field, before it is known in which file and line.
#[derive(Debug)]
pub(crate) struct FieldFlaw {
    pub(crate) field: String,
    pub(crate) reason: String,
}

impl FieldFlaw {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }

    /// The same flaw of a part of `parent`.
    pub(crate) fn within(mut self, parent: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => parent.to_owned(),
            field if field.starts_with('[') => format!("{parent}{field}"),
            field => format!("{parent}.{field}"),
        };
        self
    }

    pub(crate) fn at(self, file: &str, line: u64) -> Failure {
        let Self { field, reason } = self;
        let field = if field.is_empty() { field } else { format!("{field}: ") };
        Failure::Input(format!("{file}:{line}: {field}{reason}"))
    }
}

/// What can end the work on one line.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The line cannot be used.
    Field(FieldFlaw),
    /// The SDK failed.
    Sdk(String),
}

impl From<FieldFlaw> for Trouble {
    fn from(flaw: FieldFlaw) -> Self {
        Self::Field(flaw)
    }
}

impl Trouble {
    pub(crate) fn at(self, file: &str, line: u64) -> Failure {
        match self {
            Self::Field(flaw) => flaw.at(file, line),
            Self::Sdk(reason) => Failure::Sdk(format!("{file}:{line}: {reason}")),
        }
    }
}
