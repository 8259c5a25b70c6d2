//! Cores over a store, and what an emulator has of their events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use convert_emulator::{Emulator, EventData, Project};
use convert_sdk::{Context, Core, DataStore, SdkConfig, SdkConfigBuilder, TransportConfig};

/// Long enough that only a hang can exhaust it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const DEMO: &str = include_str!("../../../emulator/projects/demo.json");

pub(crate) fn serve() -> Emulator {
    Emulator::builder().project(Project::from_json(DEMO)).start().unwrap()
}

/// The sample project, whose events go to an emulator.
pub(crate) fn to(emulator: &Emulator) -> SdkConfigBuilder {
    let network = TransportConfig::builder()
        .track_base_url(emulator.track_url())
        .root_certificate_pem(emulator.ca_pem())
        .build()
        .unwrap();
    SdkConfig::builder().data_json(DEMO).transport(network)
}

pub(crate) fn start(config: SdkConfigBuilder) -> Core {
    let core = Core::new(config.build().unwrap());
    core.initialize().unwrap();
    core
}

pub(crate) fn host(emulator: &Emulator, store: &Arc<impl DataStore>) -> Core {
    start(to(emulator).shared_data_store(store.clone()))
}

pub(crate) fn visitor(core: &Core, id: &str) -> Context {
    core.create_context(id, ()).unwrap()
}

/// Offers one conversion for each of these visitors, and waits until what became of them is decided.
pub(crate) fn convert(core: &Core, group: &str, visitors: u32) {
    for number in 0..visitors {
        let sent = visitor(core, &format!("{group}-{number}")).track_conversion("purchase");
        assert!(sent.tracked(), "{sent:?}");
    }
    core.flush(PATIENCE).unwrap();
}

/// How often each visitor of a group has converted, as the emulator has it.
pub(crate) fn converted(emulator: &Emulator, group: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in emulator.received().events {
        if matches!(event.event, EventData::Conversion { .. }) && event.visitor_id.starts_with(group) {
            *counts.entry(event.visitor_id).or_default() += 1;
        }
    }
    counts
}

/// Fails unless so many visitors of a group have converted, each at least once and at most so often.
pub(crate) fn assert_converted(emulator: &Emulator, group: &str, visitors: u32, at_most: usize) {
    let counts = converted(emulator, group);
    assert_eq!(counts.len(), visitors as usize, "visitors of {group}");
    let worst = counts.iter().max_by_key(|(_, count)| **count);
    assert!(counts.values().all(|count| *count <= at_most), "of {group} the worst is {worst:?}");
}
