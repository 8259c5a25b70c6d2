//! For testing applications: a core that needs no network, and what it would have sent.

use std::sync::{Arc, Mutex, PoisonError};

use convert_sdk::ports::{DeliveryFailure, EventBatch, EventSink, Receipt};
use convert_sdk::{Core, InitializeError, InvalidOption, SdkConfig};
use serde_json::Value;
use thiserror::Error;

/// Why there is no core for the test.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TestCoreError {
    /// An option was rejected.
    #[error(transparent)]
    Option(#[from] InvalidOption),
    /// A thread could not be started.
    #[error(transparent)]
    Thread(#[from] std::io::Error),
    /// The text is not a valid config.
    #[error(transparent)]
    Config(#[from] InitializeError),
}

/// The tracking requests of a [`core()`], in order. Clones share them.
#[derive(Clone, Default)]
pub struct Deliveries {
    requests: Arc<Mutex<Vec<Value>>>,
}

/// A ready core with this config that delivers into memory. Events arrive there after [`Core::flush`].
///
/// ```
/// use std::time::Duration;
///
/// let (core, deliveries) = convert_sdk_web::testing::core(include_str!("../../../examples/shop.json"))?;
/// core.create_context("visitor-1", ())?.track_conversion("purchase");
/// core.flush(Duration::from_secs(5))?;
/// assert_eq!(deliveries.events_of("visitor-1").len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The text is not a valid config.
pub fn core(config_json: impl Into<String>) -> Result<(Core, Deliveries), TestCoreError> {
    let deliveries = Deliveries::default();
    let config = SdkConfig::builder().data_json(config_json).build()?;
    let core = Core::builder(config).event_sink(deliveries.clone()).build()?;
    core.initialize()?;
    Ok((core, deliveries))
}

impl Deliveries {
    /// The bodies of the requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The events of one visitor so far.
    #[must_use]
    pub fn events_of(&self, visitor_id: &str) -> Vec<Value> {
        let requests = self.requests();
        let visitors = requests.iter().filter_map(|request| request["visitors"].as_array()).flatten();
        let events =
            visitors.filter(|it| it["visitorId"] == visitor_id).filter_map(|it| it["events"].as_array());
        events.flatten().cloned().collect()
    }
}

impl EventSink for Deliveries {
    fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        let body = serde_json::from_slice(batch.body).unwrap_or_default();
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(body);
        Ok(Receipt::default())
    }
}

impl std::fmt::Debug for Deliveries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliveries").finish_non_exhaustive()
    }
}
