//! What the public types promise at compile time.

use convert_sdk::adapters::*;
use convert_sdk::config::*;
use convert_sdk::diagnosis::*;
use convert_sdk::error::*;
use convert_sdk::events::*;
use convert_sdk::ports::*;
use convert_sdk::{delivery::FlushReport, *};

fn shared<T: Send + Sync + 'static>() {}
fn sent<T: Send + 'static>() {}
fn error<T: std::error::Error + Send + Sync + 'static>() {}

#[test]
fn public_types_are_send_and_sync() {
    shared::<Core>();
    shared::<Context>();
    shared::<ConfigSnapshot>();
    shared::<SdkConfig>();
    shared::<TransportConfig>();
    shared::<RefreshConfig>();
    shared::<Attributes>();
    shared::<AttributeValue>();
    shared::<RunOptions>();
    shared::<ConversionOptions>();
    shared::<ConversionResult>();
    shared::<CustomSegmentsResult>();
    shared::<ExperienceHandle>();
    shared::<FeatureHandle>();
    shared::<GoalHandle>();
    shared::<ExperienceResult<'static>>();
    shared::<FeatureResult<'static>>();
    shared::<LifecycleEvent>();
    shared::<Subscription>();
    shared::<Stats>();
    shared::<FlushReport>();
    shared::<InMemoryDataStore>();
    shared::<Explanation>();
    shared::<ExperienceDiagnostic>();
    shared::<Box<dyn DataStore>>();
    shared::<Box<dyn ConfigSource>>();
    shared::<Box<dyn EventSink>>();
    shared::<HttpsClient>();
    #[cfg(feature = "testing")]
    shared::<testing::TestCore>();
    sent::<CoreBuilder>();
}

#[test]
fn every_error_implements_error() {
    error::<InvalidOption>();
    error::<InvalidReason>();
    error::<EnvironmentError>();
    error::<InitializeError>();
    error::<RefreshError>();
    error::<LoadError>();
    error::<ConfigError>();
    error::<ConfigCacheError>();
    error::<ContextError>();
    error::<PreviewError>();
    error::<LookupError>();
    error::<Undecided>();
    error::<FeatureOff>();
    error::<FlushError>();
    error::<TransportError>();
    error::<DeliveryFailure>();
    error::<StoreError>();
    error::<OutboxError>();
    error::<PumpError>();
    error::<UnknownEntityKind>();
    error::<UnknownGoalDataKey>();
    #[cfg(feature = "testing")]
    error::<testing::TestCoreError>();
}

/// The root has the names that a program uses; everything else is in a module.
#[test]
fn the_root_has_at_most_forty_names() {
    let source = include_str!("../../src/lib.rs");
    let names: Vec<&str> = source
        .split("\npub use ")
        .skip(1)
        .flat_map(|rest| {
            let path = rest.split(';').next().unwrap_or_default();
            let list =
                path.split_once('{').map_or_else(|| path.rsplit("::").next().unwrap_or(path), |it| it.1);
            list.trim_end_matches('}').split(',').map(str::trim).filter(|name| !name.is_empty())
        })
        .collect();
    assert!(
        names.contains(&"Core") && names.contains(&"attributes") && names.contains(&"FlushError"),
        "{names:?}"
    );
    assert!(names.len() <= 40, "{}: {names:?}", names.len());
}

/// A core fits in a `static`, and a context moves with its request.
#[test]
fn a_core_can_be_a_static_and_a_context_can_be_shared() {
    static CORE: std::sync::LazyLock<Core> = std::sync::LazyLock::new(|| {
        let core = Core::new(SdkConfig::builder().data_json(include_str!("small.json")).build().unwrap());
        core.initialize().unwrap();
        core
    });
    let context = CORE.create_context("v", attributes! { "plan" => "pro" }).unwrap();
    let variation = context.run_experience("checkout").unwrap().variation_id();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let again = context.run_experience("checkout").unwrap();
                assert_eq!(again.variation_id(), variation);
                assert!(context.track_conversion("purchase").tracked());
            });
        }
    });
}
