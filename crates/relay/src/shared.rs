//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderMap};
use tokio::sync::Semaphore;

use crate::config::Variant;
use crate::keys::Key;
use crate::settings::Settings;
use crate::store::Store;

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) keys: Vec<Arc<Key>>,
    pub(crate) store: Store,
    /// A connection of its own for appends, since each waits there for replicas.
    pub(crate) appends: Store,
    /// Bounds the config requests that wait for Convert.
    pub(crate) passing: Arc<Semaphore>,
    /// Whether Redis took a write last time and the relay is not stopping.
    pub(crate) is_ready: AtomicBool,
}

impl Shared {
    /// Whether the client has the secret, if one is required. Hashes are compared, so that timing reveals
    /// nothing.
    pub(crate) fn is_known(&self, headers: &HeaderMap) -> bool {
        let Some(secret) = &self.settings.client_secret else { return true };
        let sent = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        let sent = sent.strip_prefix(b"Bearer ").unwrap_or_default();
        hmac_sha256::Hash::hash(sent) == hmac_sha256::Hash::hash(secret.expose().as_bytes())
    }

    pub(crate) fn variant(&self, key: &Arc<Key>, environment: &str) -> Option<Arc<Variant>> {
        let interval = Duration::from_millis(self.settings.config_interval_ms);
        key.variant(environment, &self.store, interval)
    }
}
