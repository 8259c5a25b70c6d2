//! Samples the state of the streams every few seconds, for metrics, readiness and the status page's chart.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::sleep;

use crate::shared::Shared;
use crate::store::Standing;

const EVERY: Duration = Duration::from_secs(2);
impl Standing {
    /// The age of the oldest entry, in milliseconds.
    pub(crate) fn oldest_age_ms(&self) -> u64 {
        self.oldest_ms.map_or(0, |oldest| self.now_ms.saturating_sub(oldest))
    }
}

/// Samples for as long as the relay runs.
pub(crate) async fn watch_streams(shared: Arc<Shared>) {
    loop {
        let mut answers = shared.store.try_write().await.is_ok();
        for key in &shared.keys {
            match shared.store.standing(&key.sdk_key).await {
                Ok(standing) => {
                    if let Ok(mut history) = key.history.lock() {
                        history.add(standing);
                    }
                }
                Err(error) => {
                    log::warn!("the standing of a stream: {error}");
                    answers = false;
                }
            }
        }
        if shared.is_ready.swap(answers, Relaxed) != answers {
            log::info!("{}", if answers { "ready" } else { "not ready: Redis takes no writes" });
        }
        sleep(EVERY).await;
    }
}
