//! One SDK key: its route to Convert, its configs, its account.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use convert_sdk::adapters::HttpsClient;
use convert_sdk::config::TransportConfig;
use convert_sdk::delivery::DeliveryConfig;
use tokio::task::JoinSet;

use crate::StartError;
use crate::config::Variant;
use crate::settings::{KeySettings, Settings};
use crate::shared::Alarm;
use crate::store::Standing;

/// For a fetch of a config.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Points of the chart: ten minutes.
const POINTS: usize = 300;

pub(crate) struct Key {
    pub(crate) sdk_key: Box<str>,
    pub(crate) delivery: DeliveryConfig,
    pub(crate) upstream: HttpsClient,
    /// The polled configs by environment; the empty string stands for none.
    pub(crate) variants: Mutex<HashMap<String, Arc<Variant>>>,
    /// The tasks that poll them.
    pub(crate) pollers: Mutex<JoinSet<()>>,
    /// Raised by a panic of them.
    pub(crate) alarm: Alarm,
    pub(crate) meters: Meters,
    /// Whether the stream was at its bound when an append was last tried.
    pub(crate) is_full: AtomicBool,
    pub(crate) history: Mutex<History>,
}

/// The lag of one key's stream, newest last.
#[derive(Default)]
pub(crate) struct History {
    /// `None` until Redis has told it.
    pub(crate) latest: Option<Standing>,
    pub(crate) entries: VecDeque<u64>,
}

impl History {
    pub(crate) fn add(&mut self, standing: Standing) {
        self.entries.push_back(standing.entries);
        self.latest = Some(standing);
        if self.entries.len() > POINTS {
            self.entries.pop_front();
        }
    }
}

/// Counters since this relay started.
#[derive(Default)]
pub(crate) struct Meters {
    /// Events appended to the stream.
    pub(crate) accepted: AtomicU64,
    /// Requests not appended because their batch id was already known.
    pub(crate) repeated: AtomicU64,
    /// Conversions removed because the visitor's was already sent.
    pub(crate) conversions_repeated: AtomicU64,
    /// Requests answered 503 because of the bound, Redis or its replicas.
    pub(crate) turned_away: AtomicU64,
    /// Event requests answered 400, 408, 413 or 415.
    pub(crate) malformed: AtomicU64,
    /// Events answered with 2xx by Convert.
    pub(crate) delivered: AtomicU64,
    /// Rejected events that were set aside.
    pub(crate) unaccepted: AtomicU64,
    /// Rejected events that Redis would not keep aside.
    pub(crate) unkept: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) failed_requests: AtomicU64,
    /// Requests to Convert that ended without a response.
    pub(crate) fate_unknown: AtomicU64,
    pub(crate) taken_over: AtomicU64,
    pub(crate) in_hand: AtomicU64,
    pub(crate) store_errors: AtomicU64,
    pub(crate) config_fetches: AtomicU64,
    pub(crate) config_failures: AtomicU64,
    /// Config requests passed through to Convert.
    pub(crate) passed_through: AtomicU64,
}

impl Key {
    pub(crate) fn new(settings: &Settings, key: &KeySettings, alarm: Alarm) -> Result<Self, StartError> {
        let delivery = DeliveryConfig::builder()
            .lanes(settings.lanes)
            .max_request_events(settings.max_request_events)
            .max_request_bytes(settings.max_request_bytes)
            .backoff(settings.backoff())
            .backoff_ceiling(settings.backoff_ceiling());
        Ok(Self {
            sdk_key: key.sdk_key.as_str().into(),
            delivery: delivery.build()?,
            upstream: HttpsClient::new(network(settings, key)?),
            variants: Mutex::default(),
            pollers: Mutex::default(),
            alarm,
            meters: Meters::default(),
            is_full: AtomicBool::new(false),
            history: Mutex::default(),
        })
    }
}

fn network(settings: &Settings, key: &KeySettings) -> Result<TransportConfig, StartError> {
    // Each request has a limit of its own, which this one only bounds.
    let mut network = TransportConfig::builder()
        .danger_allow_http_on_loopback(settings.http_on_loopback)
        .total_timeout(FETCH_TIMEOUT.max(Duration::from_millis(settings.delivery_ms)));
    if let Some(url) = &settings.config_base_url {
        network = network.config_base_url(url);
    }
    if let Some(url) = &settings.track_base_url {
        network = network.track_base_url(url);
    }
    if let Some(path) = &settings.ca_file {
        network = network.root_certificate_pem(read(path)?);
    }
    if let Some(secret) = &key.secret {
        network = network.auth_secret(secret.expose());
    }
    Ok(network.build()?)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|error| StartError::File(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_may_take_longer_than_a_fetch() {
        let limit = |delivery_ms| {
            let settings = Settings { delivery_ms, ..Settings::default() };
            network(&settings, &KeySettings::new("a")).unwrap().total_timeout()
        };
        assert_eq!((limit(60_000), limit(100)), (Duration::from_secs(60), FETCH_TIMEOUT));
    }
}
