//! Cores that never touch the network.

use convert_sdk::{Core, SdkConfig};

use crate::args::VisitorArgs;
use crate::error::{Failure, Flaw};
use crate::input;

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
    let core = Core::new(config);
    core.initialize().map_err(|error| Flaw::of(args.config.display().to_string(), error.to_string()))?;
    Ok(core)
}
