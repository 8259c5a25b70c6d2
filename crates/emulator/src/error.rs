//! What can go wrong before the emulator serves, and when a config is replaced. Each message is complete, and does not
//! repeat its cause as `source`.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio_rustls::rustls;

/// Why [`EmulatorBuilder::start`](crate::EmulatorBuilder::start) failed; nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A project's config cannot be served.
    #[error("project {project}: {cause}")]
    Project {
        /// The file, the first SDK key, or the project's position in the list.
        project: String,
        /// What is wrong with its config.
        cause: ConfigError,
    },
    /// Two projects have the same SDK key, so a request would be ambiguous.
    #[error("the SDK key {0:?} belongs to two projects")]
    DuplicateKey(String),
    /// A listener could not bind its port.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// The requested address.
        address: SocketAddr,
        /// The system's error.
        cause: std::io::Error,
    },
    /// The authority or a certificate could not be created.
    #[error("cannot make a certificate: {0}")]
    Certificate(rcgen::Error),
    /// The certificate could not be used.
    #[error("cannot set up TLS: {0}")]
    Tls(rustls::Error),
    /// The serving thread or its runtime could not be started.
    #[error("cannot start the serving thread: {0}")]
    Thread(std::io::Error),
}

/// Why a config cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
    /// The text is not a JSON object.
    #[error("not a JSON object: {0}")]
    Json(serde_json::Error),
    /// A field that routes need is missing.
    #[error("the config has no {0}")]
    Missing(&'static str),
    /// No project is served under this SDK key.
    #[error("no project is served under the SDK key {0:?}")]
    UnknownKey(String),
}

impl From<rcgen::Error> for StartError {
    fn from(error: rcgen::Error) -> Self {
        Self::Certificate(error)
    }
}

impl From<rustls::Error> for StartError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

impl From<serde_json::Error> for ConfigError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

/// The error of the waiting methods when the deadline passes first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("deadline exceeded; received so far: {requests} requests, {events} events")]
pub struct WaitTimeout {
    /// Requests received by then.
    pub requests: u64,
    /// Events recorded by then.
    pub events: u64,
}
