//! Routes, queries, headers and payloads, verbatim.

use std::sync::Arc;

use convert_emulator::{ReceivedRequest, RouteKind};
use convert_sdk::{
    ConversionOptions, GoalDataKey, SdkConfigBuilder, adapters::InMemoryDataStore, attributes,
    config::CacheLevel,
};
use serde_json::{Value, json};

use crate::support::{
    KEY, PATIENCE, bodies, convert, direct, direct_to, keyed, keyed_over, network, pro, serve, start,
    start_scripted, visitor,
};

fn config_request(configure: impl FnOnce(SdkConfigBuilder) -> SdkConfigBuilder) -> ReceivedRequest {
    let emulator = serve();
    start(configure(keyed(&emulator)));
    let received = emulator.received();
    assert_eq!(received.requests.len(), 1);
    received.requests[0].clone()
}

/// The pairs of a query, in any order.
fn pairs(request: &ReceivedRequest) -> Vec<&str> {
    let mut pairs: Vec<_> = request.query.as_deref().unwrap().split('&').collect();
    pairs.sort_unstable();
    pairs
}

#[test]
fn a_plain_config_fetch_has_its_route_and_no_query() {
    let request = config_request(|config| config);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/api/v1/config/shop/key-of-7"));
    assert_eq!(request.query, None);
    assert_eq!(request.header("user-agent"), Some("ConvertAgent/1.0"));
    assert_eq!(request.header("accept"), Some("application/json"));
    assert_eq!(request.header("authorization"), None);
    assert_eq!(request.header("if-none-match"), None);
    assert!(request.header("accept-encoding").unwrap().contains("gzip"));
}

#[test]
fn query_parameters_are_joined_and_encoded() {
    let request = config_request(|config| config.environment("staging & more/ü+").debug_token("t=1&a b"));
    assert_eq!(
        pairs(&request),
        ["_conv_low_cache=1", "debug_token=t%3D1%26a%20b", "environment=staging%20%26%20more%2F%C3%BC%2B"]
    );
    let request = config_request(|config| config.cache_level(CacheLevel::Low));
    assert_eq!(pairs(&request), ["_conv_low_cache=1"]);
    let request = config_request(|config| config.environment("staging"));
    assert_eq!(pairs(&request), ["environment=staging"]);
}

#[test]
fn extra_headers_are_sent_only_with_config_fetches() {
    let emulator = serve();
    let core = start(keyed_over(network(&emulator).header("X-Team", "seven").header("x-second", "2")));
    convert(&core, 0..1);
    core.flush(PATIENCE).unwrap();
    let received = emulator.received();
    let of = |route, name: &str| received.requests_on(route).next().unwrap().header(name).map(str::to_owned);
    assert_eq!(of(RouteKind::Config, "x-team").as_deref(), Some("seven"));
    assert_eq!(of(RouteKind::Config, "x-second").as_deref(), Some("2"));
    assert_eq!(of(RouteKind::Track, "x-team"), None);
    assert_eq!(of(RouteKind::Track, "x-second"), None);
}

#[test]
fn a_tracking_request_has_its_route_headers_and_envelope() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let known = core.create_context("v-1", attributes! { "country" => "GR", "plan" => "pro" }).unwrap();
    known.run_experience("banner").unwrap();
    visitor(&core, "v-2").run_experience("banner").unwrap();
    let order = ConversionOptions::new()
        .revenue(49.9)
        .data(GoalDataKey::ProductsCount, 2)
        .data(GoalDataKey::TransactionId, "tx-1")
        .data(GoalDataKey::CustomDimension5, "red");
    assert!(known.track_conversion_with("purchase", &order).tracked());
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 3);

    let received = emulator.received();
    let request = received.requests_on(RouteKind::Track).next().unwrap();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/v1/track/shop/key-of-7"));
    assert_eq!(request.query, None);
    assert_eq!(request.header("user-agent"), Some("ConvertAgent/1.0"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("authorization"), None);
    let bucketing = json!({"eventType": "bucketing", "data": {"experienceId": "1", "variationId": "11"}});
    let goal_data = json!([
        {"key": "amount", "value": 49.9}, {"key": "productsCount", "value": 2},
        {"key": "transactionId", "value": "tx-1"}, {"key": "customDimension5", "value": "red"},
    ]);
    assert_eq!(
        bodies(&received),
        [json!({
            "accountId": "100", "projectId": "200", "enrichData": true, "source": "js-sdk",
            "visitors": [
                {
                    "visitorId": "v-1", "segments": {"country": "GR"},
                    "events": [
                        bucketing,
                        {"eventType": "conversion", "data": {"goalId": "71", "bucketingData": {"1": "11"}}},
                        {"eventType": "conversion", "data": {
                            "goalId": "71", "goalData": goal_data, "bucketingData": {"1": "11"},
                        }},
                    ],
                },
                {"visitorId": "v-2", "events": [bucketing]},
            ],
        })]
    );
}

#[test]
fn without_a_key_the_route_names_account_and_project() {
    let emulator = serve();
    let core = start(direct_to(&emulator));
    convert(&core, 0..1);
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 1);
    assert_eq!(emulator.received().requests[0].path, "/v1/track/100/200");
    let (core, script) = start_scripted(direct());
    convert(&core, 0..1);
    script.answer(200);
    core.flush(PATIENCE).unwrap();
    let posted = script.posted();
    assert_eq!((posted.route_key.as_str(), posted.project_id.as_str()), ("100/200", "200"));
    assert_eq!(posted.timeout, convert_sdk::config::TransportConfig::DEFAULT_TOTAL_TIMEOUT);
}

#[test]
fn the_project_id_is_inserted_into_the_tracking_url() {
    let emulator = serve();
    let track = format!("{}/p-[project_id]/[project_id]/", emulator.https_url());
    let core = start(keyed_over(network(&emulator).track_base_url(track)));
    convert(&core, 0..1);
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 1);
    let received = emulator.received();
    let path = &received.requests_on(RouteKind::Track).next().unwrap().path;
    assert_eq!(*path, format!("/p-200/200/track/{KEY}"));
}

#[test]
fn data_is_enriched_unless_there_is_a_store() {
    let envelope = |config| {
        let (core, script) = start_scripted(config);
        convert(&core, 0..1);
        script.answer(200);
        core.flush(PATIENCE).unwrap();
        script.posted().body["enrichData"].clone()
    };
    assert_eq!(envelope(direct()), true);
    assert_eq!(envelope(direct().data_store(InMemoryDataStore::new())), false);
    assert_eq!(envelope(direct().shared_data_store(Arc::new(InMemoryDataStore::new()))), false);
}

#[test]
fn segments_contain_only_report_keys_with_a_value() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let about = attributes! {
        "country" => f64::NAN, "browser" => None::<&str>, "devices" => vec!["phone", "watch"],
        "source" => 7, "campaign" => f64::INFINITY, "visitorType" => true, "plan" => "pro",
        "email" => "secret@example.com",
    };
    core.create_context("v", about).unwrap().run_experience("banner").unwrap();
    let report = core.flush(PATIENCE).unwrap();
    assert_eq!(report.delivered, 1, "one odd attribute must not cost a batch");
    let segments = bodies(&emulator.received())[0]["visitors"][0]["segments"].clone();
    assert_eq!(segments, json!({"devices": ["phone", "watch"], "source": 7, "visitorType": true}));
}

#[test]
fn numbers_are_sent_as_javascript_prints_them() {
    let emulator = serve();
    let core = start(keyed(&emulator).batch_size(100));
    let values = [0.1 + 0.2, 1e21, -0.0, 3.0, f64::MAX, 5e-324, 9_007_199_254_740_993.0];
    for (index, value) in values.into_iter().enumerate() {
        let sent = visitor(&core, &index.to_string())
            .track_conversion_with("purchase", &ConversionOptions::new().revenue(value));
        assert!(sent.tracked());
    }
    core.flush(PATIENCE).unwrap();
    let body = &bodies(&emulator.received())[0];
    for (index, value) in values.into_iter().enumerate() {
        let sent = &body["visitors"][index]["events"][1]["data"]["goalData"][0]["value"];
        assert_eq!(sent.as_f64(), Some(value), "{sent}");
    }
    let text = emulator.received().requests_on(RouteKind::Track).next().unwrap().body.clone();
    assert!(text.contains(r#""value":3}"#) && text.contains(r#""value":0.30000000000000004}"#));
}

#[test]
fn decisions_of_every_kind_are_sent_with_a_conversion() {
    let (core, script) = start_scripted(direct());
    let visitor = pro(&core, "v");
    assert_eq!(visitor.run_experiences().len(), 3);
    assert!(visitor.track_conversion("signup").tracked());
    script.answer(200);
    core.flush(PATIENCE).unwrap();
    let body = script.posted().body;
    let events = body["visitors"][0]["events"].as_array().unwrap();
    assert_eq!(events.len(), 4, "three exposures and a conversion");
    let expected: Value = json!({"1": "11", "2": "21", "4": "41"});
    assert_eq!(events[3]["data"]["bucketingData"], expected);
}
