//! Cores that never touch the network.

use std::path::Path;

use convert_sdk::{
    Core, SdkConfigBuilder,
    ports::{ConfigRequest, ConfigResponse, TrackingRequest, TrackingResponse, Transport, TransportError},
};

use crate::args::VisitorArgs;
use crate::error::{Failure, FieldFlaw, Flaw};
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

/// A core that decides and does nothing else.
pub(crate) fn core(config: SdkConfigBuilder) -> Result<Core, FieldFlaw> {
    let config = config.tracking(false).build();
    let config = config.map_err(|error| FieldFlaw::new(error.field(), error.reason().to_string()))?;
    let core = Core::builder(config).transport(Nowhere).build();
    let core = core.map_err(|error| FieldFlaw::new("", error.to_string()))?;
    core.initialize().map_err(|error| FieldFlaw::new("", error.to_string()))?;
    Ok(core)
}

/// The core of a config file.
pub(crate) fn core_of_file(args: &VisitorArgs, max_visitors: usize) -> Result<Core, Failure> {
    let text = input::read_json(&args.config)?;
    let mut config = convert_sdk::SdkConfig::builder().data_json(text).max_visitors(max_visitors);
    if let Some(environment) = &args.environment {
        config = config.environment(environment.as_str());
    }
    core(config).map_err(|flaw| match flaw.field.as_str() {
        "" => flaw.at(&display(&args.config), None),
        field => Flaw { file: format!("--{field}"), reason: flaw.reason, ..Flaw::default() }.into(),
    })
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
