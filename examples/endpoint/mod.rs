//! The server that an example's SDK talks to: the one named by environment variables, or an emulator.
//!
//! With `CONVERT_SDK_KEY` it is `CONVERT_CONFIG_ENDPOINT` and `CONVERT_TRACK_ENDPOINT` (Convert's own by default),
//! trusting `CONVERT_CA_FILE` too.

use std::env;
use std::error::Error;

use convert_emulator::{Emulator, Project};
use convert_sdk::{SdkConfig, SdkConfigBuilder, config::TransportConfig};

/// An emulator, unless variables name a server.
pub(crate) fn emulator() -> Result<Option<Emulator>, Box<dyn Error>> {
    match env::var("CONVERT_SDK_KEY") {
        Ok(_) => Ok(None),
        Err(_) => Ok(Some(Emulator::builder().project(Project::demo()).start()?)),
    }
}

pub(crate) fn configure(emulator: Option<&Emulator>) -> Result<SdkConfigBuilder, Box<dyn Error>> {
    let mut transport = TransportConfig::builder();
    let key = if let Some(emulator) = emulator {
        transport = transport
            .config_base_url(emulator.config_url())
            .track_base_url(emulator.track_url())
            .root_certificate_pem(emulator.ca_pem());
        Project::DEMO_SDK_KEY.to_owned()
    } else {
        if let Ok(url) = env::var("CONVERT_CONFIG_ENDPOINT") {
            transport = transport.config_base_url(url);
        }
        if let Ok(url) = env::var("CONVERT_TRACK_ENDPOINT") {
            transport = transport.track_base_url(url);
        }
        if let Ok(path) = env::var("CONVERT_CA_FILE") {
            transport = transport.root_certificate_pem(std::fs::read(path)?);
        }
        env::var("CONVERT_SDK_KEY")?
    };
    Ok(SdkConfig::builder().sdk_key(key).transport(transport.build()?))
}
