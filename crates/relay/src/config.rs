//! A config as it is served, and where those who wait for one find it.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use convert_evaluation::config::{CompileOptions, compile};
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::store::KeptConfig;

/// How long a client waits for a config that no relay has fetched yet.
const FIRST_CONFIG: Duration = Duration::from_secs(5);

/// A config as it is served.
pub(crate) struct Config {
    /// Identifies the content: half of its SHA-256.
    pub(crate) tag: String,
    pub(crate) body: Bytes,
    pub(crate) gzip: Option<Bytes>,
    pub(crate) project: Project,
    /// Whether Redis knows of no other project of the key.
    pub(crate) is_vouched: bool,
    pub(crate) upstream_etag: Option<String>,
    /// When Convert last confirmed this config, in milliseconds since 1970.
    pub(crate) confirmed_ms: u64,
}

/// Whose a config is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Project {
    pub(crate) account_id: String,
    pub(crate) id: String,
}

/// As an operator writes it in Redis.
impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account_id, self.id)
    }
}

/// The config of one key and environment, and the task that refreshes it.
pub(crate) struct Variant {
    pub(crate) config: watch::Sender<Option<Arc<Config>>>,
}

impl Config {
    /// `None` if no SDK could decide with it. Compiling and compressing it take milliseconds, which other tasks need not
    /// wait for.
    pub(crate) async fn read(body: String, upstream_etag: Option<String>, confirmed_ms: u64) -> Option<Self> {
        spawn_blocking(move || Self::compiled(body, upstream_etag, confirmed_ms)).await.ok().flatten()
    }

    fn compiled(body: String, upstream_etag: Option<String>, confirmed_ms: u64) -> Option<Self> {
        let snapshot = compile(body, &CompileOptions::default()).ok()?.snapshot;
        let body = snapshot.served_text();
        let project =
            Project { account_id: snapshot.account_id().to_owned(), id: snapshot.project_id().to_owned() };
        Some(Self {
            tag: tag(body),
            gzip: gzip(body.as_bytes()),
            body: Bytes::copy_from_slice(body.as_bytes()),
            project,
            is_vouched: false,
            upstream_etag,
            confirmed_ms,
        })
    }

    pub(crate) fn kept(&self) -> KeptConfig {
        KeptConfig {
            tag: self.tag.clone(),
            upstream_etag: self.upstream_etag.clone(),
            confirmed_ms: self.confirmed_ms,
            body: String::from_utf8_lossy(&self.body).into_owned(),
        }
    }

    pub(crate) fn confirmed(&self, confirmed_ms: u64) -> Self {
        Self {
            tag: self.tag.clone(),
            body: self.body.clone(),
            gzip: self.gzip.clone(),
            project: self.project.clone(),
            is_vouched: self.is_vouched,
            upstream_etag: self.upstream_etag.clone(),
            confirmed_ms,
        }
    }

    pub(crate) fn vouched(self) -> Self {
        Self { is_vouched: true, ..self }
    }
}

impl Variant {
    /// The config, if there is one.
    pub(crate) fn current(&self) -> Option<Arc<Config>> {
        self.config.borrow().clone()
    }

    /// The config, waiting for the first one if necessary.
    pub(crate) async fn first(&self) -> Option<Arc<Config>> {
        let mut receiver = self.config.subscribe();
        let found = timeout(FIRST_CONFIG, receiver.wait_for(Option::is_some)).await;
        found.ok()?.ok()?.clone()
    }
}

/// Identifies a text by its content.
pub(crate) fn tag(text: &str) -> String {
    hmac_sha256::Hash::hash(text.as_bytes())[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The compressed text; writing to memory cannot fail.
fn gzip(text: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_sdk_could_decide_with_is_no_config() {
        let read = |text: &str| Config::compiled(text.to_owned(), None, 1);
        let good = r#"{"account_id":"1","project":{"id":"2"},"experiences":[]}"#;
        assert_eq!(read(good).unwrap().project.to_string(), "1/2");
        assert_eq!(&*read(good).unwrap().body, good.as_bytes());
        for bad in [
            r#"{"account_id":"1","project":{"id":"2"},"experiences":"Welcome to our wireless network"}"#,
            r#"{"account_id":"1","project":{"id":"2"},"error":"sign in first"}"#,
            r#"{"account_id":"","project":{"id":"2"}}"#,
            r#"{"account_id":"1","project":{}}"#,
            "<html>",
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }
}
