//! Cores that never touch the network.

use convert_sdk::{
    ConfigRequest, ConfigResponse, Core, SdkConfig, TrackingRequest, TrackingResponse, Transport,
    TransportError,
};

use crate::args::VisitorArgs;
use crate::error::{Failure, Flaw};
use crate::input;

/// A transport that refuses everything, behind cores that track nothing.
struct Nowhere;

impl Transport for Nowhere {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        Err(TransportError::Unsupported)
    }

    fn send_tracking(&self, _: &TrackingRequest<'_>) -> Result<TrackingResponse, TransportError> {
        Err(TransportError::Unsupported)
    }
}

/// The core of a config file, which decides and does nothing else.
pub(crate) fn core(args: &VisitorArgs, max_visitors: usize) -> Result<Core, Failure> {
    let text = input::read_json(&args.config)?;
    let mut config = SdkConfig::builder().data_json(text).max_visitors(max_visitors).tracking(false);
    if let Some(environment) = &args.environment {
        config = config.environment(environment.as_str());
    }
    let config = config.build();
    // The options of this command have the names of the SDK's.
    let config = config.map_err(|error| Flaw::of(format!("--{}", error.field()), error.reason()))?;
    let unusable = |error: String| Flaw::of(args.config.display().to_string(), error);
    let core = Core::builder(config).transport(Nowhere).build();
    let core = core.map_err(|error| unusable(error.to_string()))?;
    core.initialize().map_err(|error| unusable(error.to_string()))?;
    Ok(core)
}
