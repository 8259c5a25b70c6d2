//! Nothing in a visitor or a config grows without bound.

use convert_sdk::{
    AttributeValue, Attributes, SdkConfig, attributes, delivery::DeliveryConfig, error::InvalidReason,
    events::LifecycleEventKind,
};
use serde_json::{Value, json};

use crate::support::{PATIENCE, direct, shop, start, start_scripted, until};

fn list(map: &Attributes, name: &str) -> Vec<String> {
    let Some(AttributeValue::Array(values)) = map.get(name) else { panic!("{name} is a list") };
    let text = |value: &AttributeValue| match value {
        AttributeValue::String(text) => text.to_string(),
        other => panic!("{other:?}"),
    };
    values.iter().map(text).collect()
}

fn names(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("source-{number}")).collect()
}

#[test]
fn a_segment_that_grows_with_every_context_is_bounded() {
    let core = start(direct());
    for round in 0..40 {
        let source = names(round * 100..(round + 1) * 100);
        let context = core.create_context("v", attributes! { "source" => source }).unwrap();
        assert!(list(context.segments(), "source").len() <= 1_000);
    }
    let context = core.create_context("v", ()).unwrap();
    let kept = list(context.segments(), "source");
    assert_eq!((kept.len(), kept[0].as_str()), (1_000, "source-3900"), "the latest values are kept");
}

#[test]
fn an_overlong_list_is_truncated_on_arrival() {
    let core = start(direct());
    let given = attributes! { "source" => names(0..5_000), "ids" => names(0..20_000) };
    let mut context = core.create_context("v", given).unwrap();
    let lengths =
        |it: &convert_sdk::Context| [list(it.segments(), "source").len(), list(it.attributes(), "ids").len()];
    assert_eq!(lengths(&context), [1_000, 10_000]);
    context.set_segments(attributes! { "source" => names(5_000..10_000) });
    context.set_attributes(attributes! { "ids" => names(0..30_000) });
    assert_eq!(lengths(&context), [1_000, 10_000]);
}

fn heavy(core: &convert_sdk::Core, visitor: u32) {
    let given = attributes! { "country" => "x".repeat(100_000), "plan" => "pro" };
    let context = core.create_context(format!("v{visitor}"), given).unwrap();
    assert!(context.run_experience("price").is_ok());
}

#[test]
fn segments_count_towards_the_backlogs_bytes() {
    let delivery = DeliveryConfig::builder().max_pending_bytes(1 << 20).build().unwrap();
    let (core, _script) = start_scripted(direct().batch_size(10_000).delivery(delivery));
    (0..100).for_each(|visitor| heavy(&core, visitor));
    let stats = until(&core, |stats| stats.recorded == 100 && stats.pending <= 30);
    // 1 MiB holds ten of them, and each of the two lanes holds as much.
    assert!(stats.dropped.total() >= 70, "{stats:?}");
}

#[test]
fn segments_count_towards_a_requests_bytes() {
    let (core, script) = start_scripted(direct().batch_size(10_000));
    (0..30).for_each(|visitor| heavy(&core, visitor));
    (0..30).for_each(|_| script.answer(200));
    assert!(core.flush(PATIENCE).is_ok());
    let bodies: Vec<Value> = script.posts.try_iter().map(|posted| posted.body).collect();
    assert!(bodies.len() >= 3, "{} requests", bodies.len());
    assert!(bodies.iter().all(|body| body.to_string().len() < 1_200_000));
}

#[test]
fn visitors_are_evicted_by_bytes_too_and_counted() {
    let core = start(direct().max_visitor_bytes(16 << 20).tracking(false));
    (0..400).for_each(|visitor| heavy(&core, visitor));
    let evicted = core.stats().visitors_evicted;
    assert!(evicted >= 400 - 168, "{evicted}: of 100 kB each, 16 MiB hold 167");
    let known = (0..400).filter(|visitor| {
        let context = core.create_context(format!("v{visitor}"), ()).unwrap();
        !context.segments().is_empty()
    });
    assert_eq!(known.count() as u64 + evicted, 400);
    let refused = SdkConfig::builder().data(&shop()).max_visitor_bytes(1_000).build().unwrap_err();
    assert_eq!(refused.field(), "max_visitor_bytes");
    assert!(matches!(refused.reason(), InvalidReason::OutOfRange(_)));
}

#[test]
fn each_of_many_decisions_is_remembered_once() {
    let experience = |at: usize| {
        json!({"id": at.to_string(), "key": format!("e{at}"),
            "variations": [{"id": format!("v{at}"), "key": "v", "traffic_allocation": 100}]})
    };
    let mut config = shop();
    config["experiences"] = (0..2_000).map(experience).collect();
    let core = start(SdkConfig::builder().data(&config).tracking(false));
    let context = core.create_context("v", ()).unwrap();
    assert_eq!(context.run_experiences().len(), 2_000);
    let later = core.create_context("v", ()).unwrap();
    assert!(later.run_experiences().iter().all(|it| it.bucket_value().is_none()), "all are remembered");
}

#[test]
fn features_come_once_each_in_declaration_order() {
    let feature = |at: usize| json!({"id": at.to_string(), "key": format!("f{at}")});
    let carries = |at: usize| json!({"type": "fullStackFeature", "data": {"feature_id": at.to_string()}});
    let experience = |id: &str, changes: Value| {
        json!({"id": id, "key": id,
            "variations": [{"id": id, "key": id, "traffic_allocation": 100, "changes": changes}]})
    };
    let mut config = shop();
    config["features"] = (1..500).map(feature).collect();
    let backwards: Value = (1..500).rev().map(carries).collect();
    config["experiences"] = json!([experience("a", backwards.clone()), experience("b", backwards)]);
    let core = start(SdkConfig::builder().data(&config).tracking(false));
    let context = core.create_context("v", ()).unwrap();
    let features = context.run_features();
    let keys: Vec<_> = features.iter().map(|feature| feature.feature_key().to_owned()).collect();
    assert_eq!(keys, (1..500).map(|at| format!("f{at}")).collect::<Vec<_>>());
    assert!(features.iter().all(|feature| feature.experience_key() == "a"));
}

#[test]
fn thousands_of_handlers_receive_one_event() {
    let core = start(direct());
    let (sender, receiver) = crossbeam_channel::unbounded();
    for number in 0..8_000 {
        let sender = sender.clone();
        core.on(LifecycleEventKind::Conversion, move |_| {
            let _ = sender.send(number);
        })
        .unwrap();
    }
    core.create_context("v", ()).unwrap().track_conversion("purchase");
    let received: Vec<i32> = (0..8_000).map(|_| receiver.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(received, (0..8_000).collect::<Vec<_>>());
}
