//! The life and death of the process: forks, exits, signals. Each case runs in its own process.

mod exit;
mod fork;
pub(crate) mod forked;
mod killed;
mod shared_cache;
mod signals;

use std::process::Child;

use convert_emulator::Emulator;
use convert_sdk::{SdkConfig, SdkConfigBuilder, config::TransportConfig};

use crate::child;
use crate::support::KEY;

const URL: &str = "CONVERT_TEST_URL";
const CA: &str = "CONVERT_TEST_CA";

/// Starts a case whose SDK talks to an emulator in this process, which sees how the case ends.
fn spawn_before(emulator: &Emulator, entry: &str, case: &str, more: &[(&str, String)]) -> Child {
    let own = [(URL, emulator.https_url()), (CA, emulator.ca_pem())];
    child::spawn(entry, case, &[&own, more].concat())
}

/// Within such a case: a config for that emulator.
fn outside() -> SdkConfigBuilder {
    let url = std::env::var(URL).unwrap();
    let network = TransportConfig::builder()
        .config_base_url(url.clone())
        .track_base_url(format!("{url}/v1"))
        .root_certificate_pem(std::env::var(CA).unwrap());
    SdkConfig::builder().sdk_key(KEY).transport(network.build().unwrap())
}
