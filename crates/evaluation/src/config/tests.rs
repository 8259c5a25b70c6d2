//! Configs that are malformed, odd, or replaced.

use serde_json::{Value, json};

use super::{CompileOptions, Compiled, ConfigError, ConfigSnapshot, EntityKind, Place, SnapshotExt};
use crate::attributes::Attributes;
use crate::decide::{
    Decision, Facts, NoDecisions, Undecided, decide_experience, goal_matches, match_custom_segments,
};

fn compile(text: impl Into<String>) -> Result<Compiled, ConfigError> {
    super::compile(text.into(), &CompileOptions::default())
}

fn with(parts: Value) -> Value {
    let mut config = json!({"account_id": "1", "project": {"id": "2"}});
    config.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    config
}

fn rules(item: &Value) -> Value {
    json!({"OR": [{"AND": [{"OR_WHEN": [item]}]}]})
}

fn plan_is_pro() -> Value {
    let matching = json!({"match_type": "equals", "negated": false});
    rules(&json!({"rule_type": "generic", "key": "plan", "value": "pro", "matching": matching}))
}

/// A config in which everything refers to something.
fn rich() -> Value {
    with(json!({
        "archived_experiences": ["e9"],
        "experiences": [{
            "id": "e1", "key": "first", "name": "First", "audiences": ["a1"], "locations": ["l1"],
            "settings": {"matching_options": {"audiences": "all"}}, "version": 12,
            "variations": [
                {"id": "v1", "key": "one", "traffic_allocation": 50, "is_baseline": true, "changes": [
                    {"type": "fullStackFeature", "data": {"feature_id": 7, "variables_data": {"n": "12", "x": null}}},
                    {"type": "defaultCode", "data": {"js": "void 0;"}},
                ]},
                {"id": "v2", "key": "two", "traffic_allocation": 50.5, "status": "running", "changes": []},
            ],
        }],
        "audiences": [{"id": "a1", "key": "pro", "type": "permanent", "rules": plan_is_pro()}],
        "locations": [{"id": "l1", "key": "home", "rules": plan_is_pro()}],
        "segments": [{"id": "s1", "key": "seg", "rules": plan_is_pro()}],
        "features": [{"id": "7", "key": "feature", "variables": [{"key": "n", "type": "integer"}]}],
        "goals": [{"id": "g1", "key": "goal", "rules": plan_is_pro()}, {"id": "g2", "key": "bare"}],
    }))
}

fn decide(snapshot: &ConfigSnapshot, key: &str) -> Result<Decision, Undecided> {
    let data = Attributes::new().with("plan", "pro");
    let facts = Facts {
        visitor_id: "visitor",
        attributes: &data,
        segments: &Attributes::new(),
        answers: None,
        location: &data,
        environment: None,
        custom_segments: &[],
        decisions: &NoDecisions,
        forced_variation: None,
    };
    decide_experience(snapshot, snapshot.experience_index(key).unwrap(), &facts)
}

#[test]
fn an_unusable_config_says_why() {
    let cases = [
        ("", "config_not_json"),
        ("{", "config_not_json"),
        ("{} x", "config_not_json"),
        ("null", "config_not_an_object"),
        ("[]", "config_not_an_object"),
        ("\"text\"", "config_not_an_object"),
        ("{}", "config_missing_field"),
        (r#"{"account_id":"","project":{"id":"2"}}"#, "config_missing_field"),
        (r#"{"account_id":"1","project":null}"#, "config_missing_field"),
        (r#"{"account_id":"1","project":{"id":null}}"#, "config_missing_field"),
        (r#"{"account_id":"1","project":{"id":"2"},"error":"no"}"#, "config_served_error"),
        (r#"{"account_id":"1","project":{"id":"2"},"goals":{"1":{}}}"#, "config_list_expected"),
        (r#"{"account_id":"1","project":{"id":"2"},"goals":true}"#, "config_list_expected"),
    ];
    for (text, code) in cases {
        assert_eq!(compile(text).unwrap_err().code(), code, "{text}");
    }
    assert_eq!(compile("{\n  oops").unwrap_err(), ConfigError::NotJson { line: 2, column: 3 });
}

#[test]
fn odd_json_is_read_as_javascript_reads_it() {
    let text = "\u{feff}{\"goals\":[{\"id\":\"g1\",\"key\":\"old\"}],\"account_id\":\"1\",\"features\":null,\
                \"project\":{\"id\":2},\"error\":false,\"goals\":[{\"id\":\"g2\",\"key\":\"new\"}]}";
    let snapshot = compile(text).unwrap().snapshot;
    assert_eq!(snapshot.project_id(), "2");
    assert_eq!(snapshot.goal_keys().collect::<Vec<_>>(), ["new"]);
    assert_eq!(snapshot.entity(EntityKind::Goal, "new"), Some(json!({"id": "g2", "key": "new"})));
}

#[test]
fn a_section_that_is_not_a_list_is_empty_with_a_warning() {
    for blank in [json!(false), json!(0), json!(""), json!({})] {
        let compiled = compile(with(json!({"goals": blank})).to_string()).unwrap();
        let warnings: Vec<_> = compiled.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings, ["goals: read as empty: it is not a list"], "{blank}");
    }
}

#[test]
fn no_text_panics() {
    let whole = rich().to_string();
    for end in 0..whole.len() {
        assert!(compile(&whole[..end]).is_err());
    }
    // Replaces each byte with ones that change types and structure.
    for at in 0..whole.len() {
        for with in ["0", "\"", "{", "]", "null", ",", "-", "\\u0000", "[[["] {
            let text = format!("{}{with}{}", &whole[..at], &whole[at + 1..]);
            if let Ok(compiled) = compile(text) {
                for key in compiled.snapshot.experience_keys().map(str::to_owned).collect::<Vec<_>>() {
                    if compiled.snapshot.experience_index(&key).is_some() {
                        let _ = decide(&compiled.snapshot, &key);
                    }
                }
            }
        }
    }
}

#[test]
fn an_item_nested_too_deeply_fails_alone() {
    let deep = format!("{}1{}", "[".repeat(300_000), "]".repeat(300_000));
    let mut config = rich();
    config["unknown"] = json!("@deep");
    config["experiences"][0]["global_js"] = json!("@deep");
    config["experiences"][0]["variations"][0]["changes"][1]["data"] = json!("@deep");
    let ignored = config.to_string().replace("\"@deep\"", &deep);
    let compiled = compile(ignored).unwrap();
    assert_eq!(compiled.warnings, []);
    assert!(matches!(decide(&compiled.snapshot, "first"), Ok(Decision { .. })));
    // Such a part cannot be returned, and need not be.
    assert_eq!(compiled.snapshot.experiences()[0].variations[0].raw(&compiled.snapshot), Value::Null);

    let mut config = rich();
    config["goals"][0]["rules"] = rules(&json!({"value": "@deep"}));
    let compiled = compile(config.to_string().replace("\"@deep\"", &deep)).unwrap();
    let paths: Vec<_> = compiled.warnings.iter().map(super::ConfigWarning::path).collect();
    assert_eq!(paths, ["goals[0]"]);
    assert_eq!(compiled.snapshot.counts().goals, 2);
    assert!(!goal_matches(&compiled.snapshot, 0, &Attributes::new().with("plan", "pro")));

    let text = format!("{{\"account_id\":{deep}}}");
    assert_eq!(compile(text).unwrap_err().code(), "config_not_json");
}

#[test]
fn a_broken_audience_closes_its_experience() {
    let mut config = rich();
    config["experiences"][0]["settings"] = json!({});
    config["audiences"] = json!([{"id": "a1", "key": "pro", "rules": "@twice"}]);
    let twice = config.to_string().replace("\"@twice\"", "{\"OR\":[],\"OR\":[]}");
    let compiled = compile(twice).unwrap();
    assert_eq!(compiled.warnings.len(), 1, "{:?}", compiled.warnings);
    assert_eq!(compiled.warnings[0].path(), "audiences[0]");
    assert_eq!(decide(&compiled.snapshot, "first"), Err(Undecided::Audience));
}

#[test]
fn a_broken_variation_moves_nobody_to_another() {
    let mut config = rich();
    config["experiences"][0]["variations"][1] = json!("@twice");
    let twice = config.to_string().replace("\"@twice\"", "{\"id\":\"v2\",\"id\":\"v2\"}");
    let compiled = compile(twice).unwrap();
    assert_eq!(compiled.warnings[0].path(), "experiences[0].variations[1]");
    assert!(compiled.warnings[0].message().starts_with("not used: duplicate field"));
    assert!(matches!(decide(&compiled.snapshot, "first"), Err(Undecided::NotBucketed { .. })));
}

#[test]
fn a_non_object_variation_leaves_the_others_their_buckets() {
    for stranger in [json!(null), json!(5), json!("v2"), json!([])] {
        let mut config = rich();
        let whole = compile(config.to_string()).unwrap().snapshot;
        config["experiences"][0]["variations"].as_array_mut().unwrap().insert(0, stranger);
        let compiled = compile(config.to_string()).unwrap();
        assert_eq!(compiled.warnings[0].path(), "experiences[0].variations[0]");
        assert_eq!(compiled.warnings[0].message(), "not used: it is not an object");
        assert!(matches!(decide(&whole, "first"), Ok(Decision { .. })));
        assert_eq!(decide(&compiled.snapshot, "first"), decide(&whole, "first"));
        let first = &compiled.snapshot.experiences()[0].variations[0];
        assert_eq!((first.id.as_str(), &first.raw(&compiled.snapshot)["key"]), ("v1", &json!("one")));
    }
}

#[test]
fn malformed_items_are_reported_and_never_match() {
    let item =
        json!({"key": "plan", "value": "(", "matching": {"match_type": "regexMatches", "negated": true}});
    let mut config = rich();
    config["segments"][0]["rules"] = rules(&item);
    config["features"] = json!([5, {"key": "no id"}]);
    config["experiences"] = json!([]);
    let compiled = compile(config.to_string()).unwrap();
    let warnings: Vec<_> = compiled.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "features[0]: not used: it is not an object",
            "features[1]: not used: it has no `id`",
            "segments[0].rules.OR[0].AND[0].OR_WHEN[0]: never matches: the regular expression is not valid",
        ]
    );
    let data = Attributes::new().with("plan", "pro");
    assert!(match_custom_segments(&compiled.snapshot, &["seg"], &data, &[]).is_empty());
}

#[test]
fn a_reference_to_nothing_is_a_warning() {
    let mut config = rich();
    let experience = &mut config["experiences"][0];
    experience["audiences"] = json!(["a1", "s1", 9]);
    experience["locations"] = json!(["gone\n", "l1"]);
    experience["variations"][0]["changes"][0]["data"]["feature_id"] = json!("8".repeat(50));
    let item = json!({"rule_type": "bucketed_into_experience_key", "value": "old"});
    config["audiences"] = json!([5, {"id": "a1", "key": "pro", "rules": rules(&item)}]);
    let compiled = compile(config.to_string()).unwrap();
    let warnings: Vec<_> = compiled.warnings.iter().map(ToString::to_string).collect();
    let cut = format!("{:?}\u{2026}", "8".repeat(40));
    assert_eq!(
        warnings,
        [
            "audiences[0]: not used: it is not an object",
            r#"experiences[0].locations[0]: matches nowhere: no location has the id "gone\n""#,
            r#"experiences[0].audiences[2]: restricts nobody: no audience or segment has the id "9""#,
            &format!("experiences[0].variations[0].changes[0]: not used: no feature has the id {cut}"),
        ]
    );
}

#[test]
fn every_defect_of_an_item_is_distinct_and_never_matches() {
    let matching = json!({"match_type": "equals", "negated": true});
    let cases = [
        (json!(5), "the item is not an object"),
        (json!({"key": "plan", "value": "x"}), "`matching.match_type` is missing or not text"),
        (
            json!({"key": "plan", "value": "x", "matching": {"match_type": 5, "negated": true}}),
            "`matching.match_type` is missing or not text",
        ),
        (
            json!({"key": "plan", "value": "x", "matching": {"match_type": "equals", "negated": 1}}),
            "`matching.negated` is missing or not a boolean",
        ),
        (json!({"key": "plan", "matching": matching}), "`value` is missing"),
        (
            json!({"key": "plan", "matching": {"match_type": "not_exists", "negated": true}}),
            "`value` is missing",
        ),
        (
            json!({"key": "plan", "value": "x", "matching": {"match_type": "like", "negated": true}}),
            "the match type is unknown",
        ),
    ];
    for (item, message) in cases {
        let mut config = rich();
        config["goals"][0]["rules"] = rules(&item);
        let compiled = compile(config.to_string()).unwrap();
        let warnings: Vec<_> = compiled.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [format!("goals[0].rules.OR[0].AND[0].OR_WHEN[0]: never matches: {message}")],
            "{item}"
        );
        assert!(!goal_matches(&compiled.snapshot, 0, &Attributes::new().with("plan", "pro")), "{item}");
    }
}

#[test]
fn a_custom_segment_is_recorded_once() {
    let snapshot = compile(rich().to_string()).unwrap().snapshot;
    let data = Attributes::new().with("plan", "PRO");
    assert_eq!(match_custom_segments(&snapshot, &["seg", "none", "seg"], &data, &[]), ["s1"]);
    assert!(match_custom_segments(&snapshot, &["seg"], &data, &["s1".into()]).is_empty());
    assert!(match_custom_segments(&snapshot, &["seg"], &Attributes::new(), &[]).is_empty());
}

#[test]
fn goals_match_only_by_their_rules() {
    let snapshot = compile(rich().to_string()).unwrap().snapshot;
    let data = Attributes::new().with("plan", "pro");
    let matched = |key: &str| goal_matches(&snapshot, snapshot.goal_index(key).unwrap(), &data);
    assert!(matched("goal"));
    assert!(!matched("bare"));
}

#[test]
fn entities_are_returned_as_served() {
    let config = rich();
    let snapshot = compile(config.to_string()).unwrap().snapshot;
    let experience = &config["experiences"][0];
    assert_eq!(snapshot.entity(EntityKind::Experience, "first").as_ref(), Some(experience));
    assert_eq!(snapshot.entity_by_id(EntityKind::Experience, "e1").as_ref(), Some(experience));
    assert_eq!(snapshot.entity(EntityKind::Variation, "two").as_ref(), Some(&experience["variations"][1]));
    assert_eq!(snapshot.entity_by_id(EntityKind::Location, "l1").as_ref(), Some(&config["locations"][0]));
    assert_eq!(snapshot.entity_by_id(EntityKind::Goal, "goal"), None);
    assert_eq!(snapshot.experiences()[0].variations[0].raw(&snapshot)["is_baseline"], json!(true));
    for (name, kind) in [("goals", EntityKind::Goal), ("segment", EntityKind::Segment)] {
        assert_eq!(name.parse(), Ok(kind));
    }
    assert!("goalz".parse::<EntityKind>().is_err());
}

#[test]
fn variables_are_cast_once_and_keep_what_was_served() {
    let snapshot = compile(rich().to_string()).unwrap().snapshot;
    let carried = &snapshot.experiences()[0].variations[0].features;
    let variables = carried[0].variables.as_ref().unwrap();
    assert_eq!((carried.len(), carried[0].feature, variables.len()), (1, 0, 2));
    assert_eq!((variables[0].key.as_str(), &variables[0].value), ("n", &json!(12)));
    assert_eq!(variables[0].uncast(), &json!("12"));
    assert_eq!((&variables[1].value, variables[1].uncast()), (&Value::Null, &Value::Null));
}

#[test]
fn a_new_config_is_compared_entity_by_entity() {
    let mut config = rich();
    let before = compile(config.to_string()).unwrap().snapshot;
    assert!(before.changes_from(&before).is_empty());
    config["experiences"][0]["variations"][0]["traffic_allocation"] = json!(20);
    config["goals"] = json!([{"id": "g2", "key": "bare"}, {"id": "g3", "key": "new"}]);
    let after = compile(config.to_string()).unwrap().snapshot;
    let changes = after.changes_from(&before);
    assert_eq!(changes.experiences.changed, 1);
    assert_eq!((changes.goals.added, changes.goals.removed, changes.goals.changed), (1, 1, 0));
    assert_eq!(changes.audiences, super::ChangeCounts::default());
}

#[test]
fn a_config_that_is_only_written_otherwise_has_no_changes() {
    let before = compile(rich().to_string()).unwrap().snapshot;
    let indented = serde_json::to_string_pretty(&rich()).unwrap();
    assert!(compile(indented).unwrap().snapshot.changes_from(&before).is_empty());
}

#[test]
fn debug_shows_ids_and_counts_only() {
    let shown = format!("{:?}", compile(rich().to_string()).unwrap().snapshot);
    assert!(shown.contains("account_id: \"1\"") && shown.contains("experiences: 1"), "{shown}");
    assert!(!shown.contains("void 0") && !shown.contains("plan"), "{shown}");
}

#[test]
fn references_to_one_id_take_no_more_memory_than_their_text() {
    let many = |entity: &Value| Value::Array(vec![entity.clone(); 3_000]);
    let mut config = rich();
    config["audiences"] = many(&json!({"id": "a", "key": "pro", "rules": rules(&json!(5))}));
    config["audiences"][2_999]["rules"] = plan_is_pro();
    config["locations"] = many(&json!({"id": "l", "key": "home", "rules": rules(&json!(5))}));
    config["locations"][2_999]["rules"] = plan_is_pro();
    config["segments"] = many(&json!({"id": "s", "key": "seg"}));
    let experience = &mut config["experiences"][0];
    experience["settings"] = json!({});
    experience["audiences"] = many(&json!("a"));
    experience["locations"] = many(&json!("l"));
    let snapshot = compile(config.to_string()).unwrap().snapshot;
    let experience = &snapshot.experiences()[0];
    assert_eq!(*experience.audiences.audiences, [0]);
    assert!(matches!(&experience.place, Place::Locations(locations) if **locations == [0]));
    // All of them are checked, and only the last one admits a visitor.
    assert_eq!(snapshot.audiences_alike(0).count(), 3_000);
    assert!(matches!(decide(&snapshot, "first"), Ok(Decision { .. })));
}

#[test]
fn entities_with_the_same_id_are_linked_in_config_order() {
    let mut config = rich();
    let audience = |id: &str, key: &str| json!({"id": id, "key": key});
    config["audiences"] = json!([
        audience("a", "1"),
        audience("b", "2"),
        audience("a", "3"),
        audience("c", "4"),
        audience("a", "5")
    ]);
    config["experiences"][0]["audiences"] = json!(["c", "a", "none", "a"]);
    let snapshot = compile(config.to_string()).unwrap().snapshot;
    let keys = |first| snapshot.audiences_alike(first).map(|it| it.key.as_str()).collect::<Vec<_>>();
    assert_eq!(*snapshot.experiences()[0].audiences.audiences, [0, 3]);
    assert_eq!([keys(0), keys(1), keys(3)], [vec!["1", "3", "5"], vec!["2"], vec!["4"]]);
}

#[test]
fn ten_warnings_per_config_are_given_and_the_rest_counted() {
    let mut config = rich();
    let items = vec![json!({}); 5_000];
    config["goals"][0]["rules"] = json!({"OR": [{"AND": [{"OR_WHEN": items}]}]});
    config["features"] = json!(vec![json!(5); 500]);
    config["experiences"] = json!([]);
    let compiled = compile(config.to_string()).unwrap();
    assert_eq!((compiled.warnings.len(), compiled.more_warnings), (10, 5_490));
    assert_eq!(compiled.warnings[9].path(), "features[9]");
}

#[test]
fn a_variable_declared_twice_keeps_its_first_type() {
    let mut config = rich();
    config["features"][0]["variables"] = json!([{"key": "n", "type": "string"}, {"key": "a", "type": "integer"}, {"key": "n", "type": "integer"}]);
    let snapshot = compile(config.to_string()).unwrap().snapshot;
    let variables = snapshot.experiences()[0].variations[0].features[0].variables.as_ref().unwrap();
    let n = variables.iter().find(|variable| variable.key == "n").unwrap();
    assert_eq!(n.value, json!("12"));
}
