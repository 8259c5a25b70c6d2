//! How flag keys and contexts are interpreted.

use std::sync::Arc;

use convert_sdk::{Attributes, attributes};
use open_feature::provider::FeatureProvider;
use open_feature::{EvaluationContext, EvaluationContextFieldValue, EvaluationErrorCode, StructValue, Value};
use serde_json::json;

use crate::{adult, child, client, provider, shop};

fn structure<T: Send + Sync + 'static>(value: T) -> EvaluationContextFieldValue {
    EvaluationContextFieldValue::Struct(Arc::new(value))
}

fn shopper() -> EvaluationContext {
    EvaluationContext::default().with_targeting_key("visitor-1")
}

fn default_asked<T: std::fmt::Debug>(answer: open_feature::EvaluationResult<T>) -> EvaluationErrorCode {
    answer.unwrap_err().code
}

#[tokio::test]
async fn each_type_of_variable_is_read_as_that_type() {
    let client = client(&provider(&shop())).await;
    let visitor = adult();
    let visitor = Some(&visitor);
    assert_eq!(client.get_bool_value("form", visitor, None).await, Ok(true));
    assert_eq!(client.get_bool_value("form.sticky", visitor, None).await, Ok(true));
    assert_eq!(client.get_int_value("form.steps", visitor, None).await, Ok(2));
    assert_eq!(client.get_float_value("form.steps", visitor, None).await, Ok(2.0));
    assert_eq!(client.get_float_value("form.rate", visitor, None).await, Ok(0.25));
    assert_eq!(client.get_string_value("form.title", visitor, None).await.as_deref(), Ok("Pay"));
    let style = client.get_struct_value::<StructValue>("form.style", visitor, None).await.unwrap();
    let expected = StructValue::default()
        .with_field("color", "red")
        .with_field("sizes", vec![1, 2])
        .with_field("ratio", 0.5);
    assert_eq!(style, expected);
}

#[tokio::test]
async fn a_feature_is_a_structure_of_its_variables() {
    let client = client(&provider(&shop())).await;
    let visitor = adult();
    let price = client.get_struct_value::<StructValue>("new.price", Some(&visitor), None).await.unwrap();
    assert_eq!(price, StructValue::default().with_field("eu.net", 9));
    let whole = client.get_struct_value::<StructValue>("form", Some(&visitor), None).await;
    assert_eq!(default_asked(whole), EvaluationErrorCode::TypeMismatch, "a list has a null in it");
}

#[tokio::test]
async fn keys_may_have_dots_in_them() {
    let client = client(&provider(&shop())).await;
    let visitor = adult();
    assert_eq!(client.get_int_value("new.price.eu.net", Some(&visitor), None).await, Ok(9));
    assert_eq!(client.get_bool_value("new.price", Some(&visitor), None).await, Ok(true));
    let far = format!("{}new", "a.".repeat(100_000));
    let answer = client.get_int_value(&far, Some(&visitor), None).await;
    assert_eq!(default_asked(answer), EvaluationErrorCode::FlagNotFound);
}

#[tokio::test]
async fn an_experience_is_a_string_and_nothing_else() {
    let client = client(&provider(&shop())).await;
    let visitor = adult();
    let visitor = Some(&visitor);
    let shown = client.get_string_value("experience:checkout", visitor, None).await;
    assert_eq!(shown.as_deref(), Ok("one-page"));
    let mismatch = EvaluationErrorCode::TypeMismatch;
    assert_eq!(default_asked(client.get_bool_value("experience:checkout", visitor, None).await), mismatch);
    assert_eq!(default_asked(client.get_int_value("experience:checkout", visitor, None).await), mismatch);
}

#[tokio::test]
async fn without_a_value_the_default_is_asked_for() {
    let client = client(&provider(&shop())).await;
    let child = child();
    let child = Some(&child);
    let (default, disabled) = (
        EvaluationErrorCode::General("DEFAULT".to_owned()),
        EvaluationErrorCode::General("DISABLED".to_owned()),
    );
    assert_eq!(default_asked(client.get_int_value("form.steps", child, None).await), default);
    assert_eq!(default_asked(client.get_string_value("experience:checkout", child, None).await), default);
    let whole = client.get_struct_value::<StructValue>("form", child, None).await;
    assert_eq!(default_asked(whole), default);
    assert_eq!(default_asked(client.get_string_value("experience:empty", child, None).await), disabled);
}

#[tokio::test]
async fn a_location_is_a_structure_of_any_known_type() {
    let client = client(&provider(&shop())).await;
    for location in [
        structure(StructValue::default().with_field("url", "https://shop.example/cart")),
        structure(attributes! { "url" => "https://shop.example/cart" }),
        structure(json!({"url": "https://shop.example/cart"})),
    ] {
        let visitor = shopper().with_custom_field("location", location);
        let shown = client.get_string_value("experience:cart", Some(&visitor), None).await;
        assert_eq!(shown.as_deref(), Ok("big"));
    }
    let elsewhere = shopper().with_custom_field("location", "https://shop.example/cart");
    let shown = client.get_string_value("experience:cart", Some(&elsewhere), None).await;
    assert!(shown.is_err(), "text is an attribute like any other");
}

#[tokio::test]
async fn segments_are_remembered_for_the_visitor() {
    let shop = shop();
    let client = client(&provider(&shop)).await;
    let greek = shopper().with_custom_field("segments", structure(attributes! { "country" => "GR" }));
    assert!(client.get_string_value("experience:greek", Some(&greek), None).await.is_ok());
    let later = shop.create_context("visitor-1", ()).unwrap();
    assert_eq!(later.segments(), &attributes! { "country" => "GR" });
}

#[tokio::test]
async fn an_unknown_structure_is_an_invalid_context() {
    let client = client(&provider(&shop())).await;
    let odd = adult().with_custom_field("account", structure(std::time::Duration::ZERO));
    let error = client.get_bool_value("form", Some(&odd), None).await.unwrap_err();
    assert_eq!(error.code, EvaluationErrorCode::InvalidContext);
    assert!(error.message.unwrap().contains("account"));
}

#[tokio::test]
async fn every_kind_of_field_becomes_an_attribute() {
    use convert_sdk::testing::{Rule, TestData, TestExperience};
    let at = time::OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
    for (value, rule) in [
        (EvaluationContextFieldValue::from(true), Rule::equals("it", true)),
        (7.into(), Rule::equals("it", 7)),
        (0.5.into(), Rule::less("it", 0.6)),
        ("pro".into(), Rule::equals("it", "pro")),
        (EvaluationContextFieldValue::DateTime(at), Rule::equals("it", 1_700_000_000_000_i64)),
    ] {
        let experience = TestExperience::new("one").audience("those").variation("shown");
        let data = TestData::new().audience("those", rule).experience(experience);
        let provider = provider(&data.start().unwrap());
        let visitor = shopper().with_custom_field("it", value);
        let answer = provider.resolve_string_value("experience:one", &visitor).await;
        assert_eq!(answer.unwrap().value, "shown");
    }
}

#[tokio::test]
async fn neither_debug_nor_an_error_shows_the_visitor() {
    let provider = provider(&shop());
    let odd = Attributes::new().with("secret-name", "secret");
    let visitor = EvaluationContext::default()
        .with_targeting_key("secret")
        .with_custom_field("age", 9)
        .with_custom_field("odd", structure(odd));
    for key in ["form.steps", "experience:checkout", "nothing"] {
        let error = provider.resolve_string_value(key, &visitor).await.unwrap_err();
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
    assert!(!format!("{provider:?}").contains("secret"));
    let details = convert_sdk_openfeature::TrackingEventDetails::default();
    let details = details.with_custom_field("transactionId", Value::from("secret"));
    assert!(!format!("{details:?}").contains("secret"));
}
