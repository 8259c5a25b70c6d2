//! Cores on a store, and the events that an emulator has from them.

use std::collections::BTreeMap;
use std::time::Duration;

use convert_emulator::{Emulator, EventData, Project};
use convert_sdk::config::TransportConfig;
use convert_sdk::{Context, Core, SdkConfig, SdkConfigBuilder};
use serde_json::Value;

/// Long enough that only a hang exceeds it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn demo() -> Value {
    serde_json::from_str(include_str!("../../../emulator/projects/demo.json")).unwrap()
}

pub(crate) fn serve() -> Emulator {
    Emulator::builder().project(Project::from_json(demo())).start().unwrap()
}

/// The sample project, whose events go to an emulator.
pub(crate) fn to(emulator: &Emulator) -> SdkConfigBuilder {
    with(emulator, &demo())
}

/// The same with a different config of the project.
pub(crate) fn with(emulator: &Emulator, config: &Value) -> SdkConfigBuilder {
    let network = TransportConfig::builder()
        .track_base_url(emulator.track_url())
        .root_certificate_pem(emulator.ca_pem())
        .build()
        .unwrap();
    SdkConfig::builder().data(config).transport(network)
}

pub(crate) fn start(config: SdkConfigBuilder) -> Core {
    let core = Core::new(config.build().unwrap());
    core.initialize().unwrap();
    core
}

pub(crate) fn visitor(core: &Core, id: &str) -> Context {
    core.create_context(id, ()).unwrap()
}

/// The number of conversions of each visitor of a group, according to the emulator.
pub(crate) fn converted(emulator: &Emulator, group: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in emulator.received().events {
        if matches!(event.event, EventData::Conversion { .. }) && event.visitor_id.starts_with(group) {
            *counts.entry(event.visitor_id).or_default() += 1;
        }
    }
    counts
}

/// Fails unless this many visitors of a group have converted, each at least once and at most `at_most` times.
pub(crate) fn assert_converted(emulator: &Emulator, group: &str, visitors: u32, at_most: usize) {
    let counts = converted(emulator, group);
    assert_eq!(counts.len(), visitors as usize, "visitors of {group}");
    let worst = counts.iter().max_by_key(|(_, count)| **count);
    assert!(counts.values().all(|count| *count <= at_most), "of {group} the worst is {worst:?}");
}
