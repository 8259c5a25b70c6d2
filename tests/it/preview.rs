//! Previews: one variation forced, without a trace, local or fetched.

use convert_emulator::{Emulator, Fault, FaultKind, ReceivedRequest, RouteKind};
use convert_sdk::{
    ConversionStatus, DecisionSource, RunOptions,
    adapters::InMemoryDataStore,
    attributes,
    error::{LoadError, PreviewError},
    parse_preview_param,
    ports::TransportError,
};
use std::sync::Arc;

use crate::support::{KEY, PATIENCE, Script, direct, keyed, pro, serve, shop, start, visitor};

fn preview_requests(emulator: &Emulator) -> Vec<ReceivedRequest> {
    let received = emulator.received();
    received
        .requests_on(RouteKind::Config)
        .filter(|request| request.query_value("exp").is_some())
        .cloned()
        .collect()
}

#[test]
fn a_local_preview_forces_any_variation() {
    let core = start(direct());
    let mut context = visitor(&core, "v");
    for (experience, variation, key) in [("1", "12", "banner"), ("2", "22", "price"), ("9", "91", "draft")] {
        context.set_preview(experience, variation).unwrap();
        assert!(context.is_preview());
        let forced = context.run_experience(key).unwrap();
        assert_eq!((forced.variation_id(), forced.source()), (variation, DecisionSource::Forced));
        assert!(context.run_experiences().iter().any(|it| it.variation_id() == variation));
    }
    context.clear_preview();
    assert!(!context.is_preview());
    assert!(context.run_experience("price").is_err());
}

#[test]
fn a_preview_leaves_no_trace() {
    let store = Arc::new(InMemoryDataStore::new());
    let core = start(direct().shared_data_store(store.clone()));
    let events = core.subscribe();
    let mut context = visitor(&core, "v");
    context.set_preview("1", "12").unwrap();
    assert!(context.run_experience("banner").is_ok());
    assert!(context.run_experience("lab").is_ok(), "others decide as usual");
    assert!(context.run_feature("banner-text").is_ok(), "features follow the visitor's own decisions");
    assert_eq!(context.run_experiences().len(), 2);
    let sent = context.track_conversion("purchase");
    assert_eq!((sent.status, sent.tracked()), (ConversionStatus::Deduplicated, false));
    let confirmed = context.track_conversion_confirmed("purchase", &Default::default(), PATIENCE);
    assert_eq!(confirmed.status, ConversionStatus::Deduplicated);
    context.set_attributes(attributes! { "tier" => "gold" });
    context.set_segments(attributes! { "country" => "GR" });
    assert!(context.run_custom_segments(&["vip"]).matched());
    assert_eq!(core.close().recorded, 0);
    assert_eq!(events.count(), 0);
    assert!(store.is_empty());
}

#[test]
fn state_set_during_a_preview_is_not_stored_later() {
    for stored in [false, true] {
        let config = if stored { direct().data_store(InMemoryDataStore::new()) } else { direct() };
        let core = start(config);
        let mut context = visitor(&core, "v");
        context.set_segments(attributes! { "source" => "ad" });
        context.set_preview("1", "12").unwrap();
        context.set_attributes(attributes! { "plan" => "pro" });
        context.set_segments(attributes! { "country" => "GR" });
        context.clear_preview();
        assert!(context.run_experience("banner").is_ok());
        context.set_segments(attributes! { "browser" => "FF" });
        let _ = core.flush(std::time::Duration::ZERO);
        let later = visitor(&core, "v");
        assert!(later.attributes().is_empty(), "stored: {stored}");
        assert!(later.segments().get("country").is_none(), "stored: {stored}");
        assert!(later.segments().get("source").is_some() && later.segments().get("browser").is_some());
    }
}

#[test]
fn an_unknown_experience_is_fetched_once_and_kept() {
    let emulator = serve();
    let core = start(keyed(&emulator).environment("staging").debug_token("t 1"));
    for id in ["v", "w"] {
        let mut context = visitor(&core, id);
        assert!(context.run_experience("draft").is_err(), "the config does not have it");
        context.set_preview("9", "91").unwrap();
        assert_eq!(context.run_experience("draft").unwrap().variation_key(), "sketch");
        assert!(context.run_experiences().iter().any(|it| it.experience_key() == "draft"));
    }
    let requests = preview_requests(&emulator);
    assert_eq!(requests.len(), 1, "kept for 60 s");
    let request = &requests[0];
    let mut pairs: Vec<_> = request.query.as_deref().unwrap().split('&').collect();
    pairs.sort_unstable();
    assert_eq!(pairs, ["_conv_low_cache=1", "debug_token=t%201", "environment=staging", "exp=9"]);
    assert_eq!(request.path, "/api/v1/config/shop/key-of-7");
    assert_eq!(request.header("if-none-match"), None, "the config's ETag is not the experience's");
}

#[test]
fn a_preview_fetch_carries_no_etag_of_the_config() {
    let script = Script::new();
    let config = convert_sdk::SdkConfig::builder().sdk_key(KEY).build().unwrap();
    let core = convert_sdk::Core::builder(config).transport(script.transport()).build().unwrap();
    script.give_config(&shop(), "\"1\"");
    core.initialize().unwrap();
    script.give_config(&shop(), "\"2\"");
    let _ = visitor(&core, "v").set_preview("77", "1");
    assert_eq!(script.fetched().experience, None);
    let fetched = script.fetched();
    assert_eq!((fetched.experience.as_deref(), fetched.etag), (Some("77"), None));
}

#[test]
fn failures_are_reported_and_only_a_miss_is_cached_briefly() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let mut context = visitor(&core, "v");
    emulator.inject(Fault::config(FaultKind::status(500)).times(1));
    let fetch = PreviewError::Fetch(LoadError::Fetch(TransportError::Status(500)));
    assert_eq!(context.set_preview("9", "91"), Err(fetch));
    assert!(!context.is_preview());
    emulator.inject(Fault::config(FaultKind::EmptyBody).times(1));
    assert!(matches!(context.set_preview("9", "91"), Err(PreviewError::Fetch(LoadError::Config(_)))));
    for _ in 0..20 {
        assert_eq!(context.set_preview("555", "1"), Err(PreviewError::ExperienceNotFound));
    }
    assert_eq!(preview_requests(&emulator).len(), 3);
    assert_eq!(context.set_preview("9", "92"), Err(PreviewError::VariationNotFound));
    context.set_preview("9", "91").unwrap();
    assert_eq!(preview_requests(&emulator).len(), 4);
    assert_eq!(context.set_preview("", "91"), Err(PreviewError::EmptyId));
    assert!(!context.is_preview(), "an active preview is off after a failure");
    assert_eq!(context.set_preview("1", ""), Err(PreviewError::EmptyId));
}

#[test]
fn direct_data_and_a_closed_core_fetch_nothing() {
    let core = start(direct());
    assert_eq!(visitor(&core, "v").set_preview("77", "1"), Err(PreviewError::ExperienceNotFound));
    let emulator = serve();
    let core = start(keyed(&emulator));
    let mut context = visitor(&core, "v");
    core.close();
    assert_eq!(context.set_preview("9", "91"), Err(PreviewError::ExperienceNotFound));
    context.set_preview("1", "12").unwrap();
    assert_eq!(context.run_experience("banner").unwrap().variation_id(), "12");
    assert!(preview_requests(&emulator).is_empty());
}

#[test]
fn diagnosis_is_not_affected_by_a_preview() {
    let core = start(direct());
    let mut context = pro(&core, "v");
    context.set_preview("2", "22").unwrap();
    let diagnostic = context.diagnose_experience_with("price", &RunOptions::new());
    assert_eq!(diagnostic.variation_key.as_deref(), Some("low"));
}

#[test]
fn a_preview_parameter_is_two_numbers_with_a_dot() {
    let parsed = parse_preview_param("1001.2002").unwrap();
    assert_eq!((&*parsed.experience_id, &*parsed.variation_id), ("1001", "2002"));
    for text in ["", ".", "1.", ".2", "1.2.3", " 1.2", "1.2 ", "1,2", "a.2", "1.b", "١.٢", "-1.2", "1..2"] {
        assert!(parse_preview_param(text).is_none(), "{text}");
    }
}
