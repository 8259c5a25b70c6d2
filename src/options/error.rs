//! The error of building a configuration: the field, and what is wrong with it.

use std::io::ErrorKind;
use std::path::PathBuf;

use thiserror::Error;

/// A configuration value was rejected. Never shows the value itself, except for a file path.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct InvalidOption {
    field: &'static str,
    reason: InvalidReason,
}

/// What is wrong with a configuration value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidReason {
    /// Neither an SDK key nor direct data was given.
    #[error("an SDK key or direct data is required, none was given")]
    NoSource,
    /// Direct data was given more than once.
    #[error("direct data may be given once, it was given more often")]
    SeveralSources,
    /// The text is empty or blank.
    #[error("must not be empty")]
    Empty,
    /// The text contains a character that is invalid where it would be sent.
    #[error("contains an invalid character")]
    IllegalCharacter,
    /// The URL does not parse, has no host, or a port outside 1 to 65535.
    #[error("is not an absolute URL with a host and, if any, a port from 1 to 65535")]
    NotAUrl,
    /// The URL is not `https`.
    #[error(
        "must use https; plain http is allowed only for loopback addresses, with danger_allow_http_on_loopback"
    )]
    NotHttps,
    /// The URL carries a query, a fragment or user information.
    #[error("must not carry a query, a fragment or user information")]
    ExtraUrlParts,
    /// A number or duration is out of range.
    #[error("must be {0}")]
    OutOfRange(&'static str),
    /// No certificate in the PEM text, or one that does not parse.
    #[error("contains no valid PEM certificate")]
    NotACertificate,
    /// The header is one that the SDK sets itself.
    #[error("names a header that the SDK sets itself")]
    ReservedHeader,
    /// The path does not end in the name of a file.
    #[error("must be the path of a file")]
    NotAFile,
    /// The config file could not be read.
    #[error("{} could not be read ({kind})", path.display())]
    UnreadableFile {
        /// The path, as given.
        path: PathBuf,
        /// The kind of I/O error.
        kind: ErrorKind,
    },
    /// The config reader could not be read.
    #[error("could not be read ({0})")]
    Unreadable(ErrorKind),
}

impl InvalidOption {
    pub(crate) const fn new(field: &'static str, reason: InvalidReason) -> Self {
        Self { field, reason }
    }

    /// The option, by the name of its setter: `"sdk_key"`, `"transport.config_base_url"`.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        self.field
    }

    /// What is wrong with it.
    #[must_use]
    pub const fn reason(&self) -> &InvalidReason {
        &self.reason
    }

    /// A stable name for logs and dashboards: always `"invalid_option"`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "invalid_option"
    }
}
