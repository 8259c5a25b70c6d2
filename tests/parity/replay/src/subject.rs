//! The SDK instances under replay: one per config, reused by its requests.

use std::collections::HashSet;
use std::sync::Arc;

use convert_sdk::{Core, InvalidOption, SdkConfig, delivery::DeliveryConfig};
use serde_json::{Map, Value, json};

use crate::error::{FieldFlaw, Trouble};
use crate::findings::Findings;
use crate::json;
use crate::line::{ConfigLine, State};
use crate::served::Served;
use crate::store::Store;
use crate::surface::{PATIENCE, Sdk, Surface};
use crate::wire::Wire;

/// More events than a request causes, so that its sequence is sent in one body.
const BATCH: usize = 10_000;
/// Fewer bytes than an experience takes in a config.
const EXPERIENCE_BYTES: usize = 32;

/// One config and its core.
pub(crate) enum Subject {
    Ready(Ready),
    /// The SDK rejects the config.
    Refused(String),
}

/// A ready core, with the replay's own store and transport.
pub(crate) struct Ready {
    pub(crate) core: Sdk,
    pub(crate) store: Arc<Store>,
    pub(crate) wire: Arc<Wire>,
    pub(crate) served: Served,
    /// Visitors whose state may not have reached the store yet.
    unsettled: HashSet<String>,
}

impl Subject {
    /// Makes the SDK instance of a config line.
    pub(crate) fn new(line: &ConfigLine<'_>, surface: Surface) -> Result<Self, Trouble> {
        let refused = |error: InvalidOption| {
            FieldFlaw::new(error.field(), error.reason().to_string()).within("options")
        };
        let records = capacity(line.config.get());
        let delivery = DeliveryConfig::builder().queue_capacity(records).max_pending_records(records);
        let (store, wire) = (Arc::new(Store::default()), Arc::new(Wire::default()));
        let mut config = SdkConfig::builder()
            .data_json(line.config.get())
            .exclude_experience_id_hash(line.options.exclude_experience_id_hash)
            .hash_seed(line.options.hash_seed.unwrap_or_default())
            .batch_size(BATCH)
            .delivery(delivery.lanes(1).build().map_err(refused)?)
            .shared_data_store(Arc::clone(&store) as Arc<_>)
            // Memory must not decide instead on a busy machine.
            .store_timeout(PATIENCE);
        if let Some(environment) = &line.options.environment {
            config = config.environment(environment.as_str());
        }
        if let Some(values) = line.options.max_traffic {
            config = config.max_traffic(values);
        }
        let config = config.build().map_err(refused)?;
        let core = Core::builder(config).event_sink(Arc::clone(&wire)).build();
        let core = Sdk::new(core.map_err(|error| Trouble::Sdk(error.to_string()))?, surface);
        if let Err(error) = core.initialize() {
            return Ok(Self::Refused(error.to_string()));
        }
        let served = Served::new(&json::parse(line.config.get()).map_err(|flaw| flaw.within("config"))?);
        Ok(Self::Ready(Ready { core, store, wire, served, unsettled: HashSet::new() }))
    }

    /// The core; a rejected config is a finding.
    pub(crate) fn ready(&mut self, findings: &mut Findings) -> Option<&mut Ready> {
        match self {
            Self::Ready(ready) => Some(ready),
            Self::Refused(reason) => {
                findings.differ("config", json!("a config that the SDK accepts"), json!(reason));
                None
            }
        }
    }
}

impl Ready {
    /// Resets a visitor to this stored state.
    pub(crate) fn seed(&mut self, visitor: &str, state: &State) -> Result<(), Trouble> {
        if self.unsettled.contains(visitor) {
            self.settle()?;
        }
        let segments = segments(state);
        let empty = segments.as_object().is_none_or(Map::is_empty);
        let envelope = (!empty || !state.bucketing.is_empty())
            .then(|| json!({"attributes": {}, "segments": segments, "bucketing": state.bucketing}));
        // The SDK marks goals by id, the vectors by key.
        let goal_ids = state.goals.iter().filter_map(|key| self.served.goal_id(key));
        self.store.seed(visitor, envelope, goal_ids);
        Ok(())
    }

    /// Notes that something may be stored for the visitor.
    pub(crate) fn unsettle(&mut self, visitor: &str) {
        if !self.unsettled.contains(visitor) {
            self.unsettled.insert(visitor.to_owned());
        }
    }

    /// Waits until every record has been sent and every change is in the store.
    pub(crate) fn settle(&mut self) -> Result<(), Trouble> {
        self.core.flush()?;
        self.unsettled.clear();
        Ok(())
    }
}

/// Capacity for the exposures of every experience at once, as none may be rejected; allocating the default capacity for
/// thousands of records would take longer than replaying most configs.
fn capacity(config: &str) -> usize {
    (config.len() / EXPERIENCE_BYTES).clamp(256, 1 << 20)
}

/// The stored segments, including recorded custom segments.
pub(crate) fn segments(state: &State) -> Value {
    let mut segments = state.segments.clone();
    if let Some(ids) = &state.custom_segments {
        segments.insert("customSegments".to_owned(), Value::Array(ids.clone()));
    }
    Value::Object(segments)
}
