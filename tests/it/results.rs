//! Results and contexts that outlive their origin, and which of them are JSON.

use convert_sdk::config::EntityKind;
use convert_sdk::{
    Context, Core, DecisionSource, ExperienceHandle, FeatureOff, RunOptions, SdkConfig, SmolStr, Undecided,
    attributes,
};

use serde_json::json;

use crate::support::{direct, start};

fn shop() -> Core {
    start(SdkConfig::builder().data_json(include_str!("../../examples/shop.json")).tracking(false))
}

fn adult(core: &Core) -> Context {
    core.create_context("visitor-4", attributes! { "age" => 30 }).unwrap()
}

#[test]
fn any_text_or_handle_names_an_experience() {
    let core = shop();
    let visitor = adult(&core);
    let (key, handle) = (String::from("checkout"), ExperienceHandle::new("checkout"));
    let expected = visitor.run_experience("checkout").unwrap().variation_id();
    assert_eq!(visitor.run_experience(&key).unwrap().variation_id(), expected);
    assert_eq!(visitor.run_experience(&SmolStr::new("checkout")).unwrap().variation_id(), expected);
    assert_eq!(visitor.run_experience(&std::borrow::Cow::from("checkout")).unwrap().variation_id(), expected);
    assert_eq!(visitor.run_experience(&handle).unwrap().variation_id(), expected);
    assert!(visitor.diagnose_experience(&handle).resolved());
    assert_eq!(visitor.run_experience("nowhere").unwrap_err(), Undecided::NotInConfig);
    assert_eq!(visitor.run_feature("nowhere").unwrap_err(), FeatureOff::NotInConfig);
}

#[test]
fn an_owned_result_outlives_its_context_and_core() {
    let (experience, feature) = {
        let core = shop();
        let visitor = adult(&core);
        let experience = visitor.run_experience("checkout").unwrap().into_owned();
        (experience, visitor.run_feature("checkout-form").unwrap().into_owned())
    };
    assert_eq!(
        (experience.experience_key.as_str(), experience.variation_key.as_str()),
        ("checkout", "one-page")
    );
    assert_eq!(experience.source, DecisionSource::Hashed { bucket: 9229 });
    assert_eq!(
        (feature.feature_key.as_str(), &feature.experience_id),
        ("checkout-form", &experience.experience_id)
    );
    assert_eq!(feature.variables["steps"], 1);
}

#[test]
fn a_cloned_context_starts_equal_and_is_independent() {
    let core = start(direct());
    let mut first = core.create_context("v", attributes! { "plan" => "pro" }).unwrap();
    first.run_experience("price").unwrap();
    let mut second = first.clone();
    assert_eq!(second.run_experience("price").unwrap().source(), DecisionSource::Stored);
    let recorded = core.stats().recorded;
    second.run_experience("price").unwrap();
    assert_eq!(core.stats().recorded, recorded, "its exposure was handed over");
    second.set_attributes(attributes! { "plan" => "free" });
    first.set_segments(attributes! { "country" => "GR" });
    assert_eq!(first.attributes(), &attributes! { "plan" => "pro" });
    assert_eq!(second.attributes(), &attributes! { "plan" => "free" });
    assert!(second.segments().is_empty());
    assert!(first.get_config_entity(EntityKind::Experience, "price").is_some());
}

#[cfg(feature = "serde")]
mod json {
    use convert_sdk::error::{ConfigError, InvalidReason};
    use convert_sdk::events::LifecycleEventKind;
    use convert_sdk::ports::{Refusal, RefusalReason};
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn results_reasons_and_diagnoses_are_json() {
        let core = shop();
        let visitor = adult(&core);
        let result = to_value(visitor.run_experience("checkout").unwrap()).unwrap();
        assert_eq!(result["variation_key"], "one-page");
        assert_eq!((&result["source"], &result["bucket"]), (&json!("hashed"), &json!(9229)));
        let result = to_value(visitor.run_experience("checkout").unwrap()).unwrap();
        assert_eq!((&result["source"], result.get("bucket")), (&json!("stored"), None));
        assert_eq!(to_value(visitor.run_feature("checkout-form").unwrap()).unwrap()["variables"]["steps"], 1);
        assert_eq!(to_value(visitor.run_experience("nowhere").unwrap_err()).unwrap(), "not_in_config");
        let tracked = to_value(visitor.track_conversion("purchase")).unwrap();
        assert_eq!(tracked["status"], "tracking_disabled");
        assert_eq!(to_value(visitor.diagnose_goal("nowhere")).unwrap()["reason"], "goal_not_found");
    }

    #[test]
    fn statistics_and_errors_are_json() {
        let core = shop();
        assert_eq!(to_value(core.stats()).unwrap()["pending"], 0);
        core.close();
        let closed = core.create_context("v", ()).unwrap_err();
        assert_eq!(to_value(closed).unwrap(), json!({"code": "closed", "message": "the core is closed"}));
        let flushed = core.flush(std::time::Duration::ZERO).unwrap_err();
        assert_eq!(to_value(flushed).unwrap()["code"], "closed");
        let refusal = to_value(Refusal::new(RefusalReason::TooLarge)).unwrap();
        assert_eq!(refusal, json!({"reason": "too_large", "retry_after": null, "status": null}));
        let unused = to_value(ConfigError::NotAnObject).unwrap();
        assert_eq!(unused["code"], "config_not_an_object");
        assert_eq!(to_value(InvalidReason::Empty).unwrap(), "must not be empty");
    }

    #[test]
    fn an_event_as_json_shows_no_visitor() {
        let core = start(direct());
        let mut events = core.subscribe();
        let visitor = core.create_context("visitor-of-the-test", ()).unwrap();
        visitor.track_conversion("purchase");
        let event = events.find(|event| event.kind() == LifecycleEventKind::Conversion).unwrap();
        let text = to_value(&event).unwrap();
        assert_eq!(text["event"], "conversion");
        assert!(!text.to_string().contains("visitor-of-the-test"));
        let diagnosed = visitor.diagnose_feature("nowhere");
        assert_eq!(text["visitor_id"], diagnosed.visitor_ref.as_str());
    }
}

/// A config whose experiences 1 and 2 ask for `plan`, 3 and 4 for `country`, 5 and 6 for a custom segment.
fn with_shared_conditions() -> String {
    let rules = |key: &str, value: &str| {
        let matching = json!({"match_type": "equals", "negated": false});
        let item = json!({"rule_type": "generic", "key": key, "value": value, "matching": matching});
        json!({"OR": [{"AND": [{"OR_WHEN": [item]}]}]})
    };
    let asked = |n: usize| match n {
        1 | 2 => rules("plan", "pro"),
        3 | 4 => rules("country", "GR"),
        _ => rules("customSegments", "70"),
    };
    let audience = |n: usize| json!({"id": n.to_string(), "key": n.to_string(), "rules": asked(n)});
    let experience = |n: usize| {
        let variation = json!({"id": (10 + n).to_string(), "key": "only", "traffic_allocation": 100});
        json!({"id": n.to_string(), "key": n.to_string(), "audiences": [n.to_string()], "variations": [variation]})
    };
    json!({
        "account_id": "1", "project": {"id": "2"},
        "audiences": (1..=6).map(audience).collect::<Vec<_>>(),
        "experiences": (1..=6).map(experience).collect::<Vec<_>>(),
        "segments": [{"id": "70", "key": "payers", "rules": rules("plan", "pro")}],
    })
    .to_string()
}

#[test]
fn conditions_that_audiences_share_see_every_change() {
    let core = Core::new(SdkConfig::builder().data_json(with_shared_conditions()).build().unwrap());
    core.initialize().unwrap();
    let quiet = RunOptions::new().enable_storage(false).enable_tracking(false);
    let shown_with = |context: &Context, options: &RunOptions| -> Vec<usize> {
        (1..=6).filter(|n| context.run_experience_with(&n.to_string(), options).is_ok()).collect()
    };
    let shown = |context: &Context| {
        let first = shown_with(context, &quiet);
        assert_eq!(shown_with(context, &quiet), first, "asked again");
        first
    };
    let mut visitor = core.create_context("v", attributes! { "plan" => "free", "country" => "US" }).unwrap();
    assert!(shown(&visitor).is_empty());
    visitor.set_attributes(attributes! { "plan" => "pro" });
    assert_eq!(shown(&visitor), [1, 2]);
    let call = quiet.clone().attributes(attributes! { "plan" => "free", "country" => "GR" });
    assert_eq!(shown_with(&visitor, &call), [3, 4], "of this call only");
    assert_eq!(shown(&visitor), [1, 2]);
    let mut clone = visitor.clone();
    clone.set_attributes(attributes! { "plan" => "free" });
    assert_eq!((shown(&clone), shown(&visitor)), (vec![], vec![1, 2]));
    visitor.set_segments(attributes! { "country" => "GR" });
    assert_eq!(shown(&visitor), [1, 2, 3, 4]);
    assert!(visitor.run_custom_segments(&["payers"]).matched());
    assert_eq!(shown(&visitor), [1, 2, 3, 4, 5, 6]);
}
