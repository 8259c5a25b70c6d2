//! The cost of an evaluation through OpenFeature next to the SDK's own call, with allocations.

#![expect(clippy::expect_used, reason = "nothing to measure without them")]

use convert_sdk::testing::{Rule, TestCore, TestData, TestExperience};
use convert_sdk::{AsyncCore, attributes};
use convert_sdk_openfeature::ConvertProvider;
use divan::{AllocProfiler, Bencher, black_box};
use open_feature::provider::FeatureProvider;
use open_feature::{Client, EvaluationContext, OpenFeature};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static ALLOC: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const FLAG: &str = "experience:checkout";

fn core() -> AsyncCore {
    let checkout =
        TestExperience::new("checkout").audience("adults").variation("original").variation("one-page");
    let data = TestData::new().audience("adults", Rule::at_least("age", 18)).experience(checkout);
    let test: TestCore = data.start().expect("a valid config");
    test.to_async()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime")
}

fn visitor() -> EvaluationContext {
    EvaluationContext::default().with_targeting_key("visitor-1").with_custom_field("age", 30)
}

/// The decision alone, as in a request that reuses its context.
#[divan::bench]
fn own_context(bencher: Bencher) {
    let core = core();
    let visitor = core.to_sync().create_context("visitor-1", attributes! { "age" => 30 }).expect("a context");
    bencher.bench_local(|| visitor.run_experience(black_box("checkout")).is_ok());
}

/// With a new context for each call, as OpenFeature's evaluations need.
#[divan::bench]
fn own_context_each_time(bencher: Bencher) {
    let core = core().to_sync();
    bencher.bench_local(|| {
        let visitor = core.create_context(black_box("visitor-1"), attributes! { "age" => 30 });
        visitor.expect("a context").run_experience("checkout").is_ok()
    });
}

#[divan::bench]
fn provider(bencher: Bencher) {
    let (provider, visitor, runtime) = (ConvertProvider::new(core()), visitor(), runtime());
    bencher
        .bench_local(|| runtime.block_on(provider.resolve_string_value(black_box(FLAG), &visitor)).is_ok());
}

/// Through the crate's client.
#[divan::bench]
fn client(bencher: Bencher) {
    let (visitor, runtime) = (visitor(), runtime());
    let client: Client = runtime.block_on(async {
        let mut api = OpenFeature::default();
        api.set_provider(ConvertProvider::new(core())).await;
        api.create_client()
    });
    bencher.bench_local(|| {
        runtime.block_on(client.get_string_value(black_box(FLAG), Some(&visitor), None)).is_ok()
    });
}
