//! A core with the real pipeline that delivers into memory, so that tests see what a flush and a stop send.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use convert_sdk::ports::{DeliveryFailure, EventBatch, EventSink, Receipt};
use convert_sdk::{Core, SdkConfig};
use serde_json::Value;

/// The tracking requests of a [`core()`], in order. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Deliveries {
    requests: Arc<Mutex<Vec<Value>>>,
}

/// A ready core with this config. Its events arrive after a flush.
pub(crate) fn core(config_json: impl Into<String>) -> Result<(Core, Deliveries), Box<dyn Error>> {
    let deliveries = Deliveries::default();
    let config = SdkConfig::builder().data_json(config_json).build()?;
    let core = Core::builder(config).event_sink(deliveries.clone()).build()?;
    core.initialize()?;
    Ok((core, deliveries))
}

impl Deliveries {
    /// The bodies of the requests so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The events of one visitor so far.
    pub(crate) fn events_of(&self, visitor_id: &str) -> Vec<Value> {
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
