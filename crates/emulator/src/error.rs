//! What can go wrong before the emulator serves, and while a config is replaced. A message is complete by
//! itself; what it tells is not told again as its source.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio_rustls::rustls;

/// Why [`EmulatorBuilder::start`](crate::EmulatorBuilder::start) gave up; nothing is left running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A project's config cannot be served.
    #[error("project {project}: {cause}")]
    Project {
        /// The file, the first SDK key, or the place among the projects.
        project: String,
        /// What is wrong with its config.
        cause: ConfigError,
    },
    /// Two projects were given one SDK key, so a request could mean either.
    #[error("the SDK key {0:?} belongs to two projects")]
    DuplicateKey(String),
    /// A listener could not take its port.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// The system's answer.
        cause: std::io::Error,
    },
    /// The authority or a certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(rcgen::Error),
    /// The certificate could not be put to use.
    #[error("cannot set TLS up: {0}")]
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
        /// The system's answer.
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

/// Returned by the waiting calls when the deadline came first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed; arrived so far: {requests} requests, {events} events")]
pub struct WaitTimeout {
    /// Requests that had arrived by then.
    pub requests: u64,
    /// Events that had been recorded by then.
    pub events: u64,
}
