//! The requirements of the specification's sections on providers (2) and tracking (6), by number. The README
//! lists those that are not a provider's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convert_sdk::ports::{DeliveryFailure, EventBatch, EventSink, Receipt};
use convert_sdk::testing::{TestData, TestExperience};
use convert_sdk::{AsyncCore, ContextError, Core, GoalDataKey, SdkConfig};
use convert_sdk_openfeature::{ConvertProvider, TrackingEventDetails};
use open_feature::provider::{FeatureProvider, ProviderStatus};
use open_feature::{
    EvaluationContext, EvaluationErrorCode, EvaluationReason, FlagMetadataValue, OpenFeature,
};

use crate::{adult, child, client, provider, shop};

fn not_started(config: &str) -> ConvertProvider {
    let config = SdkConfig::builder().data_json(config).offline().build().unwrap();
    ConvertProvider::new(AsyncCore::new(config))
}

/// Counts the batches that reach it.
#[derive(Default)]
struct Delivered(AtomicUsize);

impl EventSink for Delivered {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Receipt::default())
    }
}

#[tokio::test]
async fn requirement_2_1_1_the_metadata_has_a_name() {
    let mut api = OpenFeature::default();
    api.set_provider(provider(&shop())).await;
    assert_eq!(api.provider_metadata().await.name, ConvertProvider::NAME);
}

#[tokio::test]
async fn requirement_2_2_1_flags_are_resolved_by_key_and_context() {
    let provider = provider(&shop());
    assert!(provider.resolve_bool_value("form", &adult()).await.unwrap().value);
    assert!(!provider.resolve_bool_value("form", &child()).await.unwrap().value);
}

#[tokio::test]
async fn requirement_2_2_2_1_each_type_has_its_own_method() {
    let (provider, visitor) = (provider(&shop()), adult());
    assert!(provider.resolve_bool_value("form.sticky", &visitor).await.unwrap().value);
    assert_eq!(provider.resolve_int_value("form.steps", &visitor).await.unwrap().value, 2);
    assert_eq!(provider.resolve_float_value("form.rate", &visitor).await.unwrap().value, 0.25);
    assert_eq!(provider.resolve_string_value("form.title", &visitor).await.unwrap().value, "Pay");
    let style = provider.resolve_struct_value("form.style", &visitor).await.unwrap().value;
    assert_eq!(style.fields["color"].as_str(), Some("red"));
}

#[tokio::test]
async fn requirement_2_2_3_the_value_is_the_resolved_one() {
    let shop = shop();
    shop.force("checkout", "one-page").unwrap();
    let shown = provider(&shop).resolve_string_value("experience:checkout", &child()).await;
    assert_eq!(shown.unwrap().value, "one-page");
}

#[tokio::test]
async fn requirement_2_2_4_the_variant_is_the_variations_key() {
    let provider = provider(&shop());
    let variant = async |visitor| provider.resolve_bool_value("form", &visitor).await.unwrap().variant;
    assert_eq!(variant(adult()).await.as_deref(), Some("one-page"));
    assert_eq!(variant(child()).await.as_deref(), Some("off"));
    let steps = provider.resolve_int_value("form.steps", &adult()).await.unwrap();
    assert_eq!(steps.variant.as_deref(), Some("one-page"));
}

#[tokio::test]
async fn requirement_2_2_5_the_reason_says_how_it_was_decided() {
    let shop = shop();
    let provider = provider(&shop);
    let reason = async |visitor| provider.resolve_bool_value("form", &visitor).await.unwrap().reason;
    assert_eq!(reason(child()).await, Some(EvaluationReason::Default));
    assert_eq!(reason(adult()).await, Some(EvaluationReason::Split));
    assert_eq!(reason(adult()).await, Some(EvaluationReason::Cached));
    shop.force("checkout", "one-page").unwrap();
    let other = adult().with_targeting_key("visitor-2");
    assert_eq!(reason(other.clone()).await, Some(EvaluationReason::TargetingMatch));
    let disabled = provider.resolve_string_value("experience:empty", &other).await.unwrap_err();
    assert_eq!(disabled.code.to_string(), EvaluationReason::Disabled.to_string());
}

#[tokio::test]
async fn requirement_2_2_6_and_2_3_2_no_error_comes_with_a_value() {
    let client = client(&provider(&shop())).await;
    let details = client.get_bool_details("form", Some(&adult()), None).await.unwrap();
    assert_ne!(details.reason, Some(EvaluationReason::Error));
    assert!(!details.flag_metadata.values.keys().any(|name| name.contains("error")));
}

#[tokio::test]
async fn requirement_2_2_7_abnormal_execution_has_an_error_code() {
    use EvaluationErrorCode::{FlagNotFound, ProviderNotReady, TargetingKeyMissing, TypeMismatch};
    let provider = provider(&shop());
    let nobody = EvaluationContext::default();
    let unknown = adult().with_targeting_key("");
    for (key, visitor, code) in [
        ("nothing", &adult(), FlagNotFound),
        ("nothing.at-all", &adult(), FlagNotFound),
        ("form.nothing", &adult(), FlagNotFound),
        ("form.title", &adult(), TypeMismatch),
        ("form", &adult(), TypeMismatch),
        ("experience:checkout", &adult(), TypeMismatch),
        ("form.steps", &nobody, TargetingKeyMissing),
        ("form.steps", &unknown, TargetingKeyMissing),
    ] {
        assert_eq!(provider.resolve_int_value(key, visitor).await.unwrap_err().code, code, "{key}");
    }
    let unknown = provider.resolve_string_value("experience:nothing", &adult()).await;
    assert_eq!(unknown.unwrap_err().code, FlagNotFound);
    let early = not_started("{}").resolve_bool_value("form", &adult()).await;
    assert_eq!(early.unwrap_err().code, ProviderNotReady);
}

#[tokio::test]
async fn requirement_2_2_8_1_details_are_typed_by_their_value() {
    let (provider, visitor) = (provider(&shop()), adult());
    let steps: i64 = provider.resolve_int_value("form.steps", &visitor).await.unwrap().value;
    let title: String = provider.resolve_string_value("form.title", &visitor).await.unwrap().value;
    assert_eq!((steps, title.as_str()), (2, "Pay"));
}

#[tokio::test]
async fn requirement_2_2_9_and_2_2_10_the_metadata_has_the_ids() {
    let shop = shop();
    let (provider, visitor) = (provider(&shop), adult());
    let expected = shop.create_context("visitor-1", convert_sdk::attributes! { "age" => 30 }).unwrap();
    let expected = expected.run_feature("form").unwrap().into_owned();
    let metadata = provider.resolve_bool_value("form", &visitor).await.unwrap().flag_metadata.unwrap();
    let text = |name| match &metadata.values[name] {
        FlagMetadataValue::String(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(text("featureId"), expected.feature_id);
    assert_eq!(text("experienceId"), expected.experience_id);
    assert_eq!(text("experienceKey"), "checkout");
    assert_eq!(text("variationId"), expected.variation_id);
    let off = provider.resolve_bool_value("form", &child().with_targeting_key("visitor-2")).await.unwrap();
    assert!(off.flag_metadata.unwrap().values.contains_key("undecided"));
    let shown = provider.resolve_string_value("experience:checkout", &visitor).await.unwrap();
    assert!(shown.flag_metadata.unwrap().values.contains_key("variationId"));
}

#[test]
fn requirement_2_3_1_there_are_provider_hooks_namely_none() {
    assert!(provider(&shop()).hooks().is_empty());
}

#[tokio::test]
async fn requirement_2_3_3_the_error_message_says_more() {
    let provider = provider(&shop());
    let error = provider.resolve_string_value("experience:checkout", &child()).await.unwrap_err();
    assert_eq!(error.message.as_deref(), Some("the visitor is not in the audience"));
}

#[tokio::test]
async fn requirement_2_4_1_initialize_makes_the_provider_ready() {
    let served = TestData::new().to_json().unwrap().to_string();
    let mut provider = not_started(&served);
    assert_eq!(provider.status(), ProviderStatus::NotReady);
    provider.initialize(&EvaluationContext::default()).await;
    assert_eq!(provider.status(), ProviderStatus::Ready);
}

#[tokio::test]
async fn requirement_2_4_2_1_a_failed_start_is_told() {
    let mut provider = not_started("{}");
    provider.initialize(&EvaluationContext::default()).await;
    assert_eq!(provider.status(), ProviderStatus::Error);
    let error = provider.resolve_bool_value("form", &adult()).await.unwrap_err();
    assert_eq!(error.code, EvaluationErrorCode::ProviderNotReady);
    assert!(error.message.unwrap().starts_with("the config is invalid"));
}

#[tokio::test]
async fn requirement_2_5_1_shutdown_delivers_and_closes() {
    let delivered = Arc::<Delivered>::default();
    let experience = TestExperience::new("checkout").variation("one-page");
    let served = TestData::new().experience(experience).to_json().unwrap();
    let core = Core::builder(SdkConfig::builder().data(&served).build().unwrap());
    let core = core.event_sink(Arc::clone(&delivered)).build().unwrap();
    core.initialize().unwrap();
    let provider = ConvertProvider::new(core.to_async());
    provider.resolve_string_value("experience:checkout", &adult()).await.unwrap();
    assert_eq!(delivered.0.load(Ordering::SeqCst), 0, "the batch is not full");
    provider.shutdown(Duration::from_secs(30)).await.unwrap();
    assert_eq!(delivered.0.load(Ordering::SeqCst), 1);
    assert_eq!(core.create_context("visitor-2", ()).unwrap_err(), ContextError::Closed);
}

#[tokio::test]
async fn requirement_2_5_2_after_a_shutdown_nothing_is_ready() {
    let provider = provider(&shop());
    let registered = provider.clone();
    provider.shutdown(Duration::from_secs(5)).await.unwrap();
    assert_eq!(registered.status(), ProviderStatus::NotReady);
    let late = registered.resolve_bool_value("form", &adult()).await.unwrap_err();
    assert_eq!(late.code, EvaluationErrorCode::ProviderNotReady);
}

#[tokio::test]
async fn requirement_2_7_1_and_6_1_1_1_track_returns_nothing() {
    let shop = shop();
    let provider = provider(&shop);
    provider.resolve_string_value("experience:checkout", &adult()).await.unwrap();
    let () = provider.track("purchase", Some(&adult()), None).await;
    let () = provider.track("purchase", None, None).await;
    let () = provider.track("nothing", Some(&adult()), None).await;
    let conversions = shop.conversions_of("visitor-1");
    assert_eq!(conversions, ["purchase"]);
    assert_eq!(conversions[0].variations, [("checkout".into(), "one-page".into())]);
}

#[tokio::test]
async fn condition_2_7_1_the_outcome_can_be_asked_for() {
    let provider = provider(&shop());
    let unknown = provider.track_conversion("nothing", Some(&adult()), None).await.unwrap();
    assert_eq!(unknown.reason(), Some("goal_not_found"));
    let nobody = provider.track_conversion("purchase", None, None).await.unwrap_err();
    assert_eq!(nobody.code, EvaluationErrorCode::TargetingKeyMissing);
    let odd = TrackingEventDetails::default().with_value(f64::NAN);
    let odd = provider.track_conversion("purchase", Some(&adult()), Some(&odd)).await.unwrap();
    assert_eq!(odd.reason(), Some("invalid_data"));
}

#[tokio::test]
async fn requirement_6_2_1_the_value_is_the_revenue() {
    let shop = shop();
    let order = TrackingEventDetails::default().with_value(49.5).with_custom_field("amount", 1);
    provider(&shop).track("purchase", Some(&adult()), Some(&order)).await;
    assert_eq!(shop.conversions_of("visitor-1")[0].revenue(), Some(49.5));
}

#[tokio::test]
async fn requirement_6_2_2_custom_fields_are_goal_data() {
    let shop = shop();
    let provider = provider(&shop);
    let order = |id: &str| {
        TrackingEventDetails::default()
            .with_custom_field("transactionId", id)
            .with_custom_field("productsCount", 2)
            .with_custom_field("customDimension1", 0.5)
            .with_custom_field("forceMultiple", true)
            .with_custom_field("other", true)
    };
    for id in ["tx-1", "tx-2"] {
        provider.track("purchase", Some(&adult()), Some(&order(id))).await;
    }
    let conversions = shop.conversions_of("visitor-1");
    assert_eq!(conversions.len(), 2, "both orders");
    assert_eq!(conversions[1].data(GoalDataKey::TransactionId), Some(&"tx-2".into()));
    assert_eq!(conversions[1].data(GoalDataKey::ProductsCount), Some(&2.into()));
    assert_eq!(conversions[1].data(GoalDataKey::CustomDimension1), Some(&0.5.into()));
    assert_eq!(conversions[1].goal_data.len(), 3, "the other field has no place");
}
