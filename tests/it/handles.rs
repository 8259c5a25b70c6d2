//! Handles: as good as keys, across refreshes, contexts and threads.

use convert_sdk::{
    ConversionStatus, ExperienceHandle, FeatureHandle, FeatureOff, GoalHandle, SdkConfig, Undecided,
    attributes, config::RefreshOutcome, error::LookupError,
};
use serde_json::Value;

use crate::support::{KEY, PATIENCE, Script, direct, pro, shop, start, start_scripted, unready, visitor};

/// The shop with another experience first, and without `price`, its feature and its goal.
fn moved() -> Value {
    let mut config = shop();
    let mut first = config["experiences"][0].clone();
    (first["id"], first["key"]) = ("0".into(), "zeroth".into());
    let experiences = config["experiences"].as_array_mut().unwrap();
    experiences.retain(|experience| experience["key"] != "price");
    experiences.insert(0, first);
    config["goals"] = Value::Array(Vec::new());
    config["features"] = Value::Array(Vec::new());
    config
}

/// A core with the shop, whose next refresh returns `next`.
fn refreshed_to(next: &Value) -> (convert_sdk::Core, Script) {
    let script = Script::new();
    let config = SdkConfig::builder().sdk_key(KEY).tracking(false).build().unwrap();
    let core = convert_sdk::Core::builder(config).transport(script.transport()).build().unwrap();
    script.give_config(&shop(), "\"one\"");
    core.initialize().unwrap();
    script.give_config(next, "\"two\"");
    (core, script)
}

#[test]
fn a_handle_gives_the_same_result_as_its_key() {
    let core = start(direct().tracking(false));
    let (price, banner) = (core.experience("price").unwrap(), core.feature("banner-text").unwrap());
    let context = pro(&core, "v");
    assert_eq!(context.run_experience(&price).unwrap().variation_id(), "21");
    assert_eq!(context.run_feature(&banner).unwrap().string("text"), Some("Hello"));
    let refused = visitor(&core, "w").run_experience(&price).unwrap_err();
    assert_eq!((refused, refused.code()), (Undecided::Audience, "audience_mismatch"));
    assert_eq!(visitor(&core, "").run_experience(&price).unwrap_err(), Undecided::NoVisitor);
}

#[test]
fn a_goals_handle_records_its_conversion() {
    let (core, script) = start_scripted(direct().batch_size(1));
    let purchase = core.goal("purchase").unwrap();
    let result = visitor(&core, "v").track_conversion(&purchase);
    assert_eq!(result.status, ConversionStatus::Queued);
    assert_eq!(script.posted().visitors(), ["v"]);
    script.answer(200);
    let unknown = visitor(&core, "v").track_conversion(&GoalHandle::new("no-such-goal"));
    assert_eq!(unknown.status, ConversionStatus::GoalNotFound);
}

#[test]
fn an_unknown_key_is_reported_at_once_or_on_request() {
    let core = unready(direct().tracking(false));
    assert_eq!(core.experience("price").unwrap_err(), LookupError::NotReady);
    let (early, nowhere) = (ExperienceHandle::new("price"), FeatureHandle::new("nowhere"));
    core.initialize().unwrap();
    assert_eq!(core.experience("nowhere").unwrap_err(), LookupError::NotInConfig);
    assert_eq!(core.goal("nowhere").unwrap_err().code(), "not_in_config");
    let context = pro(&core, "v");
    assert!(context.run_experience(&early).is_ok());
    assert_eq!(
        context.run_experience(&ExperienceHandle::new("nowhere")).unwrap_err(),
        Undecided::NotInConfig
    );
    assert_eq!(context.run_feature(&nowhere).unwrap_err(), FeatureOff::NotInConfig);
}

#[test]
fn a_handle_follows_moved_entities_and_reports_removed_ones() {
    let (core, _script) = refreshed_to(&moved());
    let (price, members) = (core.experience("price").unwrap(), core.experience("members").unwrap());
    let banner = core.feature("banner-text").unwrap();
    let attributes = || attributes! { "plan" => "pro" };
    let before = core.create_context("v", attributes()).unwrap();
    assert!(before.run_experience(&price).is_ok());
    let in_segment = |refused| refused == Undecided::Segments;
    assert!(before.run_experience(&members).is_err_and(in_segment));
    assert!(matches!(core.refresh_now_within(PATIENCE), Ok(RefreshOutcome::Updated(_))));
    let after = core.create_context("v", attributes()).unwrap();
    for _ in 0..3 {
        // Contexts of both configs use the handle alternately.
        assert_eq!(after.run_experience(&price).unwrap_err(), Undecided::NotInConfig);
        assert_eq!(after.run_feature(&banner).unwrap_err(), FeatureOff::NotInConfig);
        assert!(after.run_experience(&members).is_err_and(in_segment));
        assert_eq!(before.run_experience(&price).unwrap().variation_id(), "21");
        assert!(before.run_experience(&members).is_err_and(in_segment));
    }
}

#[test]
fn contexts_of_different_configs_can_share_a_handle() {
    let (core, _script) = refreshed_to(&moved());
    let banner = core.experience("banner").unwrap();
    let before = visitor(&core, "v");
    core.refresh_now_within(PATIENCE).unwrap();
    let after = visitor(&core, "v");
    std::thread::scope(|scope| {
        for context in [&before, &after, &before, &after] {
            let banner = &banner;
            scope.spawn(move || {
                for _ in 0..10_000 {
                    assert_eq!(context.run_experience(banner).unwrap().experience_key(), "banner");
                }
            });
        }
    });
}

#[test]
fn a_preview_applies_to_a_handle_too() {
    let core = start(direct().tracking(false));
    let price = core.experience("price").unwrap();
    let mut context = visitor(&core, "v");
    assert!(context.run_experience(&price).is_err());
    context.set_preview("2", "22").unwrap();
    assert_eq!(context.run_experience(&price).unwrap().variation_id(), "22");
}
