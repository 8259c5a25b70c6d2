//! What the SDK costs its caller: an evaluation, a context, a record. Compare within one run.
//!
//!     cargo bench

use std::time::Duration;

use convert_sdk::{
    ConfigRequest, ConfigResponse, Context, Core, DeliveryConfig, RunOptions, SdkConfig, TrackingRequest,
    TrackingResponse, Transport, TransportError, attributes,
};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// Takes everything at once, so that the pipeline never fills.
struct Nowhere;

impl Transport for Nowhere {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        Err(TransportError::Unsupported)
    }

    fn send_tracking(&self, _: &TrackingRequest<'_>) -> Result<TrackingResponse, TransportError> {
        Ok(TrackingResponse::new(200))
    }
}

fn ready(core: Core) -> Core {
    core.initialize().ok();
    assert!(core.is_ready(), "the example config");
    core
}

fn shop() -> Core {
    let delivery = DeliveryConfig::builder().queue_capacity(1 << 20).build().unwrap_or_default();
    let config = SdkConfig::builder().data_json(include_str!("../examples/shop.json")).delivery(delivery);
    let built = config.build().ok().and_then(|config| Core::builder(config).transport(Nowhere).build().ok());
    let Some(core) = built else { unreachable!("the example config is valid") };
    ready(core)
}

fn visitor(core: &Core, id: &str) -> Context {
    let attributes = attributes! { "age" => 30, "plan" => "pro", "member" => true };
    let Ok(context) = core.create_context(id, attributes) else { unreachable!("the core is ready") };
    context
}

#[divan::bench]
fn evaluation_by_key_hashed(bencher: Bencher<'_, '_>) {
    let core = shop();
    let context = visitor(&core, "visitor-4");
    let quiet = RunOptions::new().enable_tracking(false).enable_storage(false);
    bencher.bench(|| context.run_experience_with(black_box("checkout"), &quiet).is_some());
}

#[divan::bench]
fn evaluation_by_key_remembered(bencher: Bencher<'_, '_>) {
    let core = shop();
    let context = visitor(&core, "visitor-4");
    bencher.bench(|| context.run_experience(black_box("checkout")).is_some());
}

#[divan::bench]
fn context_and_evaluation(bencher: Bencher<'_, '_>) {
    let core = shop();
    let quiet = RunOptions::new().enable_tracking(false).enable_storage(false);
    bencher
        .bench(|| visitor(&core, black_box("visitor-4")).run_experience_with("checkout", &quiet).is_some());
}

#[divan::bench]
fn conversion(bencher: Bencher<'_, '_>) {
    let core = shop();
    let context = visitor(&core, "visitor-4");
    context.run_experience("checkout");
    bencher.bench(|| context.track_conversion(black_box("purchase")));
    core.flush(Duration::from_secs(10)).ok();
}

#[divan::bench]
fn feature_with_five_variables(bencher: Bencher<'_, '_>) {
    let core = shop();
    let context = visitor(&core, "visitor-4");
    bencher.bench(|| {
        context.run_feature(black_box("checkout-form")).map(|feature| {
            let flags = (feature.boolean("sticky"), feature.integer("steps"), feature.float("discount"));
            (flags, feature.string("title").map(str::len), feature.json("methods").is_some())
        })
    });
}
