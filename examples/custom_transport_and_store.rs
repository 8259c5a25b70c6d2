//! Replaces the built-in transport and data store with the application's own.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use convert_sdk::ports::{
    ConfigRequest, ConfigResponse, ConfigSource, DataStore, DeliveryFailure, EventBatch, EventSink, Receipt,
    StoreError, TransportError,
};
use convert_sdk::{Core, SdkConfig, attributes};
use serde_json::Value;

/// Serves a config from memory and prints what would be delivered.
struct Printer;

impl ConfigSource for Printer {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        Ok(ConfigResponse::Fetched { body: include_str!("shop.json").to_owned(), etag: None })
    }
}

impl EventSink for Printer {
    fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        println!("POST /track/{}\n{}", batch.route_key, String::from_utf8_lossy(batch.body));
        Ok(Receipt::default())
    }
}

/// Keeps everything in a map that outlives the core.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<BTreeMap<String, Value>>>);

/// Used by one process only. A store that several share must honour the time to live of each value.
impl DataStore for Shelf {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn set(&self, key: &str, value: Value, _ttl: Option<Duration>) -> Result<(), StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), value);
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let shelf = Shelf::default();
    let config = SdkConfig::builder().sdk_key("10035569/10034190").data_store(shelf.clone()).build()?;
    let core = Core::builder(config).transport(Printer).build()?;
    core.initialize()?;
    let visitor = core.create_context("visitor-1", attributes! { "age" => 30, "country" => "GR" })?;
    match visitor.run_experience("checkout") {
        Ok(shown) => println!("visitor-1 sees {}", shown.variation_key()),
        Err(why) => println!("visitor-1 sees no variation: {why}"),
    }
    visitor.track_conversion("purchase");
    core.shutdown(Duration::from_secs(5))?;
    for (key, value) in &*shelf.0.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("{key}: {value}");
    }
    Ok(())
}
