//! Why a request to the network failed, whoever made it.

use thiserror::Error;

/// Why no usable answer came. Never shows a URL's query, a key, a secret or a visitor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The host name does not resolve, nothing accepts connections there, or the connection ended before any
    /// of a delivery was sent.
    #[error("could not connect")]
    Connect,
    /// The server's certificate is not trusted, or the handshake failed.
    #[error("TLS failed: {0}")]
    Tls(Box<str>),
    /// The request ran out of time.
    #[error("timed out ({0})")]
    Timeout(&'static str),
    /// The connection broke before the answer was complete, or a compressed body ended early.
    #[error("the connection broke ({0})")]
    Broken(std::io::ErrorKind),
    /// The config endpoint answered with this status.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// The body, decompressed, is longer than
    /// [`max_response_bytes`](crate::config::TransportConfigBuilder::max_response_bytes).
    #[error("the body is longer than {0} bytes")]
    TooLarge(u64),
    /// The body is not UTF-8 text.
    #[error("the body is not UTF-8")]
    NotText,
    /// The answer is not valid HTTP.
    #[error("the answer is not valid HTTP")]
    Protocol,
    /// The account, project or key cannot be part of a URL; retrying cannot help.
    #[error("the request cannot be made into a URL")]
    InvalidRequest,
    /// The request was cancelled because the SDK is closing.
    #[error("interrupted by close")]
    Interrupted,
    /// This source or sink cannot do that.
    #[error("not supported by this transport")]
    Unsupported,
    /// A custom source or sink panicked.
    #[error("the transport panicked")]
    Panicked,
    /// A custom source's or sink's own reason, of which 1 KiB is kept.
    #[error("{0}")]
    Other(Box<str>),
}

impl TransportError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout(_) => "timeout",
            Self::Broken(_) => "broken",
            Self::Status(_) => "status",
            Self::TooLarge(_) => "too_large",
            Self::NotText => "not_text",
            Self::Protocol => "protocol",
            Self::InvalidRequest => "invalid_request",
            Self::Interrupted => "interrupted",
            Self::Unsupported => "unsupported",
            Self::Panicked => "panicked",
            Self::Other(_) => "other",
        }
    }

    /// The HTTP status, where one was received.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        if let Self::Status(status) = self { Some(*status) } else { None }
    }
}
