//! A served project, and cores that talk to it.

use std::ops::Range;
use std::time::Duration;

use convert_emulator::{Emulator, Project};
use convert_sdk::config::{TransportConfig, TransportConfigBuilder};
use convert_sdk::delivery::FlushOptions;
use convert_sdk::{Core, SdkConfig, SdkConfigBuilder};
use serde_json::Value;

/// An SDK key with a slash that is not account and project id.
pub(crate) const KEY: &str = "shop/key-of-7";
/// Long enough that only a hang exceeds it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// A flush that the first failure ends.
pub(crate) const ONCE: FlushOptions = FlushOptions::within(PATIENCE).single_attempt(true);

pub(crate) fn shop() -> Value {
    serde_json::from_str(include_str!("../../../../tests/it/shop.json")).unwrap()
}

pub(crate) fn serve() -> Emulator {
    serve_project(Project::from_json(shop()))
}

pub(crate) fn serve_project(project: Project) -> Emulator {
    Emulator::builder().project(project.sdk_key(KEY)).start().unwrap()
}

pub(crate) fn network(emulator: &Emulator) -> TransportConfigBuilder {
    TransportConfig::builder()
        .config_base_url(emulator.config_url())
        .track_base_url(emulator.track_url())
        .root_certificate_pem(emulator.ca_pem())
}

pub(crate) fn direct() -> SdkConfigBuilder {
    SdkConfig::builder().data(&shop())
}

/// Records one conversion for each of these visitors.
pub(crate) fn convert(core: &Core, ids: Range<u32>) {
    for id in ids {
        let visitor = core.create_context(format!("visitor-{id}"), ()).unwrap();
        assert!(visitor.track_conversion("purchase").tracked());
    }
}
