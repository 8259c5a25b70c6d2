//! Why a network request failed, whichever client made it.

use thiserror::Error;

/// Why there was no usable response. Never shows a URL's query, a key, a secret or visitor data.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The host name did not resolve, the connection was refused, or it closed before any of a delivery was sent.
    #[error("could not connect")]
    Connect,
    /// [`Connect`](Self::Connect) with the host and the port, from a client that names them.
    #[error("could not connect to {0}")]
    Unreachable(Box<str>),
    /// The server's certificate is not trusted, or the handshake failed.
    #[error("TLS failed: {0}")]
    Tls(Box<str>),
    /// The request timed out.
    #[error("timed out ({0})")]
    Timeout(&'static str),
    /// The connection broke before the response was complete, or a compressed body was truncated.
    #[error("the connection broke ({0})")]
    Broken(std::io::ErrorKind),
    /// The config endpoint responded with this status.
    #[error("the server answered with status {0}")]
    Status(u16),
    /// The decompressed body is longer than
    /// [`max_response_bytes`](crate::config::TransportConfigBuilder::max_response_bytes).
    #[error("the body is longer than {0} bytes")]
    TooLarge(u64),
    /// The body is not UTF-8 text.
    #[error("the body is not UTF-8")]
    NotText,
    /// The response is not valid HTTP.
    #[error("the answer is not valid HTTP")]
    Protocol,
    /// The account, project or key cannot be part of a URL, or the bearer secret of a header; retrying will not help.
    #[error("the request cannot be made")]
    InvalidRequest,
    /// The request was cut off by the close, while it still had time of its own.
    #[error("no answer came before the core was closed")]
    Interrupted,
    /// This source or sink does not support the operation.
    #[error("not supported by this transport")]
    Unsupported,
    /// There is no built-in client without the feature `https`, and the application gave none of its own.
    #[error("there is no HTTP client: enable the feature `https`, or give the core a source and a sink")]
    NoClient,
    /// A custom source or sink panicked.
    #[error("the transport panicked")]
    Panicked,
    /// A custom source's or sink's own message, truncated to 1 KiB.
    #[error("{0}")]
    Other(Box<str>),
}

impl TransportError {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connect | Self::Unreachable(_) => "connect",
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
            Self::NoClient => "no_client",
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
