//! Malformed configs and duplicate names decide as in JavaScript, and never for everybody.

use convert_sdk::{
    Attributes, Context, ConversionStatus, Core, FeatureHandle, FeatureOff, GoalHandle, SdkConfig, Undecided,
    attributes,
};
use serde_json::{Value, json};

use crate::support::{start, start_scripted};

/// A config with these sections.
fn config(sections: &Value) -> Value {
    let mut config = json!({"account_id": "1", "project": {"id": "2"}});
    config.as_object_mut().unwrap().extend(sections.as_object().unwrap().clone());
    config
}

fn core(sections: &Value) -> Core {
    start(SdkConfig::builder().data(&config(sections)).environment("production"))
}

/// An experience whose only variation takes everybody.
fn experience(id: Value, key: Value, variation: &str) -> Value {
    json!({"id": id, "key": key, "variations": [{"id": variation, "key": variation, "traffic_allocation": 100}]})
}

/// A variation's change that enables a feature.
fn turns_on(feature: &str) -> Value {
    json!({"type": "fullStackFeature", "data": {"feature_id": feature, "variables_data": {"n": "7"}}})
}

fn visitor(core: &Core) -> Context {
    core.create_context("visitor", ()).unwrap()
}

fn listed(context: &Context) -> Vec<(&str, &str)> {
    let results = context.run_experiences();
    results.iter().map(|result| (result.experience_key(), result.variation_id())).collect()
}

fn rules(item: &Value) -> Value {
    json!({"OR": [{"AND": [{"OR_WHEN": [item]}]}]})
}

#[test]
fn an_environment_that_is_not_text_admits_nobody() {
    let mut open = experience(json!("1"), json!("open"), "11");
    for nowhere in [json!(true), json!(5), json!([]), json!({}), json!(["production"])] {
        open["environment"] = nowhere;
        let sections = json!({"experiences": [open]});
        assert_eq!(visitor(&core(&sections)).run_experiences().len(), 0, "{}", open["environment"]);
        let without = start(SdkConfig::builder().data(&config(&sections)));
        assert_eq!(visitor(&without).run_experiences().len(), 0, "{}", open["environment"]);
    }
    for anywhere in [json!(null), json!(""), json!(0), json!(false), json!("production")] {
        open["environment"] = anywhere;
        assert_eq!(visitor(&core(&json!({"experiences": [open]}))).run_experiences().len(), 1);
    }
}

#[test]
fn a_duplicate_previewed_key_is_listed_once() {
    let twice = experience(json!("1"), json!("twice"), "11");
    let experiences = json!([
        experience(json!("2"), json!("a"), "21"),
        twice,
        experience(json!("3"), json!("b"), "31"),
        twice
    ]);
    let core = core(&json!({"experiences": experiences}));
    let mut context = visitor(&core);
    assert_eq!(context.run_experiences().len(), 4);
    context.set_preview("1", "11").unwrap();
    assert_eq!(listed(&context), [("a", "21"), ("twice", "11"), ("b", "31")]);
}

#[test]
fn features_with_the_same_key_are_found_together() {
    let mut first = experience(json!("1"), json!("first"), "11");
    first["variations"][0]["changes"] = json!([turns_on("f2")]);
    let features = json!([{"id": "f1", "key": "banner"}, {"id": "f2", "key": "banner"}]);
    let core = core(&json!({"experiences": [first], "features": features}));
    let context = visitor(&core);
    assert_eq!(context.run_feature("banner").unwrap().feature_id(), "f2");
    assert_eq!(context.run_feature(&FeatureHandle::new("banner")).unwrap().feature_id(), "f2");
    assert!(context.diagnose_feature("banner").experience_key.is_some());
    // Even if only what can carry it is decided.
    let quiet = convert_sdk::RunOptions::new().enable_storage(false).enable_tracking(false);
    assert_eq!(context.run_feature_with("banner", &quiet).unwrap().feature_id(), "f2");
}

#[test]
fn the_last_feature_with_a_duplicate_id_wins() {
    let mut first = experience(json!("1"), json!("first"), "11");
    first["variations"][0]["changes"] = json!([turns_on("f")]);
    let typed =
        |key: &str, kind: &str| json!({"id": "f", "key": key, "variables": [{"key": "n", "type": kind}]});
    let features = json!([typed("old", "string"), typed("new", "integer")]);
    let core = core(&json!({"experiences": [first], "features": features}));
    let context = visitor(&core);
    assert_eq!(context.run_feature(&FeatureHandle::new("old")).unwrap_err(), FeatureOff::NotCarried);
    assert_eq!(context.run_feature("new").unwrap().integer("n"), Some(7));
    let on: Vec<_> = context.run_features().iter().map(|feature| feature.feature_key()).collect();
    assert_eq!(on, ["new"]);
}

#[test]
fn experiences_with_one_id_share_the_firsts_variations() {
    let mut second = experience(json!("1"), json!("second"), "12");
    let first = experience(json!("1"), json!("first"), "11");
    let alone = core(&json!({"experiences": [first, second]}));
    let context = visitor(&alone);
    // Its own variation is not among the first one's.
    let second_handle = convert_sdk::ExperienceHandle::new("second");
    assert!(matches!(context.run_experience(&second_handle).unwrap_err(), Undecided::OtherVariations { .. }));
    // A decision for the one is stored for both.
    assert_eq!(context.run_experience("first").unwrap().variation_id(), "11");
    assert_eq!(context.run_experience("second").unwrap().variation_id(), "11");
    assert_eq!(visitor(&alone).run_experience("second").unwrap().variation_id(), "11");
    let stats = alone.close();
    assert_eq!(stats.recorded - stats.deduplicated, 1, "one exposure for the id");
    // Without variations of its own it decides nobody.
    second["variations"] = json!([]);
    assert_eq!(listed(&visitor(&core(&json!({"experiences": [first, second]})))), [("first", "11")]);
}

#[test]
fn a_stored_decision_does_not_match_a_null_id() {
    let mut odd = experience(json!("1"), json!("odd"), "11");
    odd["variations"].as_array_mut().unwrap().push(json!({"id": null, "key": "none"}));
    let store = std::sync::Arc::new(convert_sdk::adapters::InMemoryDataStore::new());
    let envelope = json!({"attributes": {}, "segments": {}, "bucketing": {"1": "null"}});
    convert_sdk::ports::DataStore::set(&*store, r#"state:["visitor"]"#, envelope, None).unwrap();
    let core =
        start(SdkConfig::builder().data(&config(&json!({"experiences": [odd]}))).shared_data_store(store));
    let context = visitor(&core);
    let result = context.run_experience("odd").unwrap();
    assert_eq!((result.variation_id(), result.bucket_value().is_some()), ("11", true));
}

#[test]
fn an_object_with_its_own_tostring_matches_no_rule() {
    let kinds = ["equals", "contains", "startsWith", "endsWith", "isIn", "regexMatches", "less", "lessEqual"];
    let (object, list) = (json!({"toString": "pro"}), json!(["pro", {"toString": 1}]));
    let audience = |kind: &str, value: &Value, negated: bool| {
        let item =
            json!({"key": "plan", "value": value, "matching": {"match_type": kind, "negated": negated}});
        let mut asked = experience(json!("1"), json!("asked"), "11");
        asked["audiences"] = json!(["a"]);
        json!({"experiences": [asked], "audiences": [{"id": "a", "key": "a", "rules": rules(&item)}]})
    };
    let decided = |sections: &Value, plan: &Value| {
        let plan: Attributes = attributes! { "plan" => plan.clone() };
        let core = core(sections);
        core.create_context("visitor", plan).unwrap().run_experience("asked").is_ok()
    };
    for kind in kinds {
        for negated in [false, true] {
            // In the config: JavaScript does not convert an object to text for `isIn`.
            let value = if kind == "isIn" { &list } else { &object };
            assert!(!decided(&audience(kind, value, negated), &json!("pro")), "{kind} {negated}");
            // In the visitor: list elements, and names in an object, are compared without conversion.
            if kind != "equals" {
                assert!(!decided(&audience(kind, &json!([{}]), negated), &object), "{kind} {negated}");
                assert!(!decided(&audience(kind, &json!([{}]), negated), &list), "{kind} {negated}");
            }
        }
    }
    // No list contains it, which is a definite result.
    assert!(decided(&audience("equals", &object, true), &json!(["pro"])));
    assert!(decided(&audience("equals", &json!("toString"), false), &object));
}

#[test]
fn a_segment_key_that_is_not_text_is_in_no_list() {
    let all = rules(&json!({"key": "plan", "matching": {"match_type": "doesNotExist", "negated": false}}));
    let core = core(&json!({"segments": [
        {"id": "s1", "key": 5, "rules": all}, {"id": "s2", "key": "5", "rules": all},
    ]}));
    let matched = visitor(&core).run_custom_segments(&["5"]);
    assert_eq!(matched.matched_segment_ids().collect::<Vec<_>>(), ["s2"]);
}

#[test]
fn an_empty_key_is_found_by_the_empty_key() {
    let mut first = experience(json!("1"), json!(""), "11");
    first["variations"][0]["changes"] = json!([turns_on("f")]);
    let core = core(&json!({
        "experiences": [first], "features": [{"id": "f", "key": ""}], "goals": [{"id": "g", "key": ""}],
    }));
    let context = visitor(&core);
    assert_eq!(context.run_experience("").unwrap().variation_id(), "11");
    assert!(context.run_feature("").is_ok());
    assert_eq!(context.track_conversion("").status, ConversionStatus::Queued);
    assert_eq!(listed(&context), [("", "11")]);
}

#[test]
fn an_id_that_is_falsy_in_javascript_counts_as_none() {
    for none in [json!(0), json!(""), json!(false)] {
        let core = core(&json!({
            "experiences": [experience(none.clone(), json!("no-id"), "11")],
            "goals": [{"id": none, "key": "goal"}],
        }));
        let context = visitor(&core);
        let handle = convert_sdk::ExperienceHandle::new("no-id");
        assert_eq!(context.run_experience(&handle).unwrap_err(), Undecided::NoId, "{none}");
        assert_eq!(context.diagnose_experience("no-id").explanation.unwrap().outcome, "no_id");
        assert_eq!(context.track_conversion("goal").status, ConversionStatus::GoalNotFound);
        assert_eq!(context.track_conversion(&GoalHandle::new("goal")).status, ConversionStatus::GoalNotFound);
        assert_eq!(core.close().recorded, 0);
    }
}

#[test]
fn changes_given_as_an_object_are_iterated() {
    let mut first = experience(json!("1"), json!("first"), "11");
    let with = |feature: &str, n: i32| json!({"type": "fullStackFeature", "data": {"feature_id": feature, "variables_data": {"n": n}}});
    // Array indexes come first, ascending.
    first["variations"][0]["changes"] = json!({"b": with("f", 3), "10": with("f", 2), "9": with("f", 1)});
    let core = core(&json!({"experiences": [first], "features": [{"id": "f", "key": "feature"}]}));
    assert_eq!(visitor(&core).run_feature("feature").unwrap().integer("n"), Some(1));
}

#[test]
fn equal_objects_among_custom_segments_are_kept_once() {
    let all = rules(&json!({"key": "plan", "matching": {"match_type": "doesNotExist", "negated": false}}));
    let sections =
        json!({"segments": [{"id": "s1", "key": "a", "rules": all}, {"id": "s2", "key": "b", "rules": all}]});
    let (core, _script) = start_scripted(SdkConfig::builder().data(&config(&sections)));
    let given = attributes! { "customSegments" => json!([["x"], {}, "y", "y"]), "source" => ["a", "a"] };
    let mut context = core.create_context("visitor", given).unwrap();
    assert!(context.run_custom_segments(&["a"]).matched());
    assert!(context.run_custom_segments(&["b"]).matched());
    let mut later = core.create_context("visitor", ()).unwrap();
    for context in [&context, &later] {
        let segments = Value::from(context.segments());
        assert_eq!(segments["customSegments"], json!([["x"], {}, "y", "s1", "s2"]));
    }
    assert_eq!(Value::from(context.segments())["source"], json!(["a"]));
    assert!(!later.run_custom_segments(&["a", "b"]).matched());
}

#[test]
fn a_root_list_that_javascript_ignores_is_empty() {
    for blank in [json!(false), json!(""), json!(0), json!({}), json!(null)] {
        let first = experience(json!("1"), json!("first"), "11");
        let core =
            core(&json!({"experiences": [first], "goals": blank, "features": blank, "segments": blank}));
        assert_eq!(core.current_config().unwrap().counts().goals, 0);
        assert_eq!(visitor(&core).run_experiences().len(), 1, "{blank}");
    }
}
