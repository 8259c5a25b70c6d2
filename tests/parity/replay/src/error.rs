//! Why a replay failed, with the file, line and field if known.

use std::io;

use thiserror::Error;

/// Ends the program with exit status 2.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// A file or a line has invalid content.
    #[error("{0}")]
    Input(String),
    /// The output cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// The SDK failed at something that cannot fail offline.
    #[error("the SDK failed: {0}")]
    Sdk(String),
}

/// A defect in one field, before its file and line are known.
#[derive(Debug)]
pub(crate) struct FieldFlaw {
    pub(crate) field: String,
    pub(crate) reason: String,
}

impl FieldFlaw {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }

    /// The same defect in a part of `parent`.
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

/// What can stop the work on a line.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The line is invalid.
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
