//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::header::{AUTHORIZATION, HeaderMap};
use tokio::sync::{Semaphore, watch};

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
    /// The bytes that request bodies may still take.
    pub(crate) bodies: Semaphore,
    pub(crate) alarm: Alarm,
    /// Whether Redis took a write last time and the relay is not stopping.
    pub(crate) is_ready: AtomicBool,
}

/// Raised by a panic of a task that must run as long as the relay does.
#[derive(Clone)]
pub(crate) struct Alarm(watch::Sender<bool>);

impl Alarm {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) async fn guard<T>(self, task: impl Future<Output = T>) -> T {
        let _raised = self.raised_by_panic();
        task.await
    }

    /// Until it is dropped, a panic of this thread raises the alarm.
    pub(crate) const fn raised_by_panic(self) -> RaisedByPanic {
        RaisedByPanic(self)
    }

    pub(crate) fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn raised(&self) {
        let _ = self.0.subscribe().wait_for(|is_raised| *is_raised).await;
    }
}

pub(crate) struct RaisedByPanic(Alarm);

impl Drop for RaisedByPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.0.send_replace(true);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_raises_the_alarm_and_an_end_does_not() {
        let alarm = Alarm::new();
        tokio::spawn(alarm.clone().guard(async {})).await.unwrap();
        assert!(!alarm.is_raised());
        assert!(tokio::spawn(alarm.clone().guard(async { panic!("as expected") })).await.is_err());
        alarm.raised().await;
        assert!(alarm.is_raised());
    }
}
