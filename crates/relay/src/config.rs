//! A config as it is served, and where those who wait for one find it.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use serde::Deserialize;
use tokio::sync::watch;
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
    pub(crate) account_id: String,
    pub(crate) project_id: String,
    pub(crate) upstream_etag: Option<String>,
    /// When Convert last confirmed this config, in milliseconds since 1970.
    pub(crate) confirmed_ms: u64,
}

#[derive(Deserialize)]
struct Identity {
    account_id: String,
    project: ProjectIdentity,
}

#[derive(Deserialize)]
struct ProjectIdentity {
    id: String,
}

/// The config of one key and environment, and the task that refreshes it.
pub(crate) struct Variant {
    pub(crate) config: watch::Sender<Option<Arc<Config>>>,
}

impl Config {
    /// `None` if it is not a config.
    pub(crate) fn read(body: String, upstream_etag: Option<String>, confirmed_ms: u64) -> Option<Self> {
        let Identity { account_id, project } = serde_json::from_str(&body).ok()?;
        Some(Self {
            tag: tag(&body),
            gzip: gzip(body.as_bytes()),
            body: Bytes::from(body),
            account_id,
            project_id: project.id,
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
            account_id: self.account_id.clone(),
            project_id: self.project_id.clone(),
            upstream_etag: self.upstream_etag.clone(),
            confirmed_ms,
        }
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
pub(crate) fn gzip(text: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).ok()?;
    encoder.finish().ok().map(Bytes::from)
}
