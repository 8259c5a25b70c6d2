//! Why a command failed, with the file, line and field if known.

use std::fmt;
use std::io;

use thiserror::Error;

/// Ends a command with exit status 2.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// A file, a line or an option has invalid content.
    #[error("{0}")]
    Input(Box<Flaw>),
    /// The output cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// The SDK failed at something that cannot fail offline.
    #[error("the SDK failed: {0}")]
    Sdk(String),
}

impl Failure {
    /// The line of the input, where one is at fault.
    pub(crate) fn line(&self) -> Option<u64> {
        if let Self::Input(flaw) = self { flaw.line } else { None }
    }
}

/// A defect in the input, and where it is.
#[derive(Debug, Default)]
pub(crate) struct Flaw {
    /// The file, `standard input`, or an option such as `--attributes`.
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) line: Option<u64>,
    /// The path of the field, such as `attributes.plan`.
    pub(crate) field: String,
    pub(crate) reason: String,
}

impl Flaw {
    /// A defect in a whole file or option.
    pub(crate) fn of(file: impl Into<String>, reason: impl ToString) -> Self {
        Self { file: file.into(), reason: reason.to_string(), ..Self::default() }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl From<Flaw> for Failure {
    fn from(flaw: Flaw) -> Self {
        Self::Input(Box::new(flaw))
    }
}
