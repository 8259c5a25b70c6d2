//! Samples the state of the streams every few seconds, for metrics, readiness and the status page's chart.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::keys::Key;
use crate::link::COMMAND_TIMEOUT;
use crate::shared::Shared;
use crate::store::{Standing, Store};

const EVERY: Duration = Duration::from_secs(2);
/// The most that all looks together take: a silent Redis is told soon, however many keys there are.
const LOOK: Duration = COMMAND_TIMEOUT.saturating_add(Duration::from_secs(1));

impl Standing {
    /// The age of the oldest entry, in milliseconds.
    pub(crate) fn oldest_age_ms(&self) -> u64 {
        self.oldest_ms.map_or(0, |oldest| self.now_ms.saturating_sub(oldest))
    }
}

/// Samples for as long as the relay runs.
pub(crate) async fn watch_streams(shared: Arc<Shared>) {
    let mut told = None;
    loop {
        let mut looks = JoinSet::new();
        let store = shared.store.clone();
        looks.spawn(async move { store.try_write().await.is_ok() });
        for key in &shared.keys {
            looks.spawn(look(Arc::clone(key), shared.store.clone()));
        }
        let looked = async {
            let mut answers = true;
            while let Some(answered) = looks.join_next().await {
                answers &= answered.unwrap_or(false);
            }
            answers
        };
        let answers = timeout(LOOK, looked).await.unwrap_or(false);
        shared.is_ready.store(answers, Relaxed);
        if told.replace(answers) != Some(answers) {
            let level = if answers { log::Level::Info } else { log::Level::Warn };
            log::log!(level, "{}", if answers { "ready" } else { "not ready: Redis takes no writes" });
        }
        sleep(EVERY).await;
    }
}

/// Whether Redis told the standing of a key's stream.
async fn look(key: Arc<Key>, store: Store) -> bool {
    match store.standing(&key.sdk_key).await {
        Ok(standing) => {
            if let Ok(mut history) = key.history.lock() {
                history.add(standing);
            }
            true
        }
        Err(error) => {
            log::warn!("a look at a stream: {error}");
            false
        }
    }
}
