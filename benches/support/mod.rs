//! What the benches share: a generated project, cores on it, visitors, and the floor program.

pub(crate) mod cases;
pub(crate) mod endpoint;
pub(crate) mod floor;
pub(crate) mod plain;
pub(crate) mod project;
pub(crate) mod request;

use convert_sdk::{Attributes, Context, Core, RunOptions, SdkConfig, attributes, delivery::DeliveryConfig};
use endpoint::Endpoint;

/// A core with an initial config, whose records go nowhere.
pub(crate) fn unready(json: String) -> Core {
    let delivery = DeliveryConfig::builder().queue_capacity(1 << 20).build().unwrap_or_default();
    let config = SdkConfig::builder().data_json(json).delivery(delivery);
    let nowhere = Endpoint::default();
    let built = config.build().ok().and_then(|config| Core::builder(config).transport(nowhere).build().ok());
    let Some(core) = built else { unreachable!("the generated config is valid") };
    core
}

/// A ready core on a config, whose records go nowhere.
pub(crate) fn core(json: String) -> Core {
    let core = unready(json);
    assert!(core.initialize().is_ok(), "the generated config");
    core
}

/// Every visitor's attributes: the audience's two and one more.
pub(crate) fn attributes() -> Attributes {
    attributes! { "age" => 30, "country_code" => "GR", "plan" => "pro" }
}

pub(crate) fn context(core: &Core, id: &str) -> Context {
    let Ok(context) = core.create_context(id, attributes()) else { unreachable!("the core is ready") };
    context
}

/// Neither records nor remembers.
pub(crate) fn quiet() -> RunOptions {
    RunOptions::new().enable_tracking(false).enable_storage(false)
}
