//! Decisions that the vectors do not reach, and the contents of explanations.

use serde_json::{Value, json};

use super::{
    Decision, DecisionSource, Explanation, Facts, Step, Stored, StoredDecisions, Undecided,
    decide_experience, explain_experience, explain_experience_with_values, goal_matches, owned_buckets,
};
use crate::attributes::{AttributeValue, Attributes};
use crate::config::{BucketOrder, CompileOptions, ConfigSnapshot, SnapshotExt, compile};

/// The stored decisions for the first experiences.
struct Decisions(Vec<Option<&'static str>>);

struct OnSnapshot<'a>(&'a ConfigSnapshot, &'a Decisions);

impl StoredDecisions for OnSnapshot<'_> {
    fn stored(&self, experience: usize) -> Stored {
        match self.1.0.get(experience).copied().flatten() {
            None => Stored::None,
            Some(id) => match self.0.experiences()[experience].variation_index(id) {
                Some(variation) => Stored::Variation(variation),
                None if id.is_empty() => Stored::Empty,
                None => Stored::Stale,
            },
        }
    }
}

fn snapshot(experience: &Value, options: &CompileOptions) -> ConfigSnapshot {
    let mut first = json!({"id": "1", "key": "first", "variations": [
        {"id": "20", "key": "b", "traffic_allocation": 50},
        {"id": "10", "key": "a", "traffic_allocation": 50},
        {"id": "30", "key": "off", "traffic_allocation": 0, "status": "stopped"},
    ]});
    first.as_object_mut().unwrap().extend(experience.as_object().unwrap().clone());
    let item = |key: &str, negated: bool| json!({"rule_type": "generic", "key": key, "value": "yes", "matching": {"match_type": "equals", "negated": negated}});
    let set = |items: Value| json!({"OR": [{"AND": [{"OR_WHEN": items}]}]});
    let excluded = json!({"rule_type": "bucketed_into_experience_key", "value": "second", "matching": {"negated": true}});
    let config = json!({
        "account_id": "1", "project": {"id": "2"},
        "experiences": [first, {"id": "2", "key": "second", "variations": [{"id": "40", "key": "x"}]}],
        "audiences": [
            {"id": "a", "key": "asked", "rules": set(json!([item("absent", false), item("secret", true)]))},
            {"id": "p", "key": "permanent", "type": "permanent", "rules": set(json!([item("secret", true)]))},
            {"id": "x", "key": "exclusion", "rules": set(json!([excluded]))},
        ],
        "segments": [{"id": "s", "key": "segment"}, {"id": 0, "key": "none"}, {"id": "0", "key": "zero"}],
    });
    compile(config.to_string(), options).unwrap().snapshot
}

#[test]
fn every_bucket_is_owned_by_at_most_one_variation() {
    let options = CompileOptions::default();
    assert_eq!(owned_buckets(&snapshot(&json!({}), &options), 0), [5000, 5000, 0]);
    let anchored = json!({"version": 12, "variations": [
        {"id": "10", "key": "a", "traffic_allocation": 80}, {"id": "20", "key": "b", "traffic_allocation": 80},
    ]});
    // Anchored variations overlap: the first takes 8,000 buckets, so the second gets none from
    // 5,000 to 7,999.
    assert_eq!(owned_buckets(&snapshot(&anchored, &options), 0), [8000, 2000]);
    assert!(owned_buckets(&snapshot(&json!({}), &options), 9).is_empty());
}

struct Case<'a> {
    attributes: Attributes,
    decisions: Decisions,
    environment: Option<&'a str>,
    segments: Vec<AttributeValue>,
    forced: Option<&'a str>,
}

impl Default for Case<'_> {
    fn default() -> Self {
        let decisions = Decisions(Vec::new());
        Self {
            attributes: Attributes::new(),
            decisions,
            environment: None,
            segments: Vec::new(),
            forced: None,
        }
    }
}

impl Case<'_> {
    fn explain(&self, snapshot: &ConfigSnapshot) -> (Result<Decision, Undecided>, Explanation) {
        let facts = Facts {
            visitor_id: "visitor",
            attributes: &self.attributes,
            segments: &Attributes::new(),
            answers: None,
            location: &Attributes::new(),
            environment: self.environment,
            custom_segments: &self.segments,
            decisions: &OnSnapshot(snapshot, &self.decisions),
            forced_variation: self.forced,
        };
        let explained = explain_experience(snapshot, 0, &facts);
        assert_eq!(decide_experience(snapshot, 0, &facts), explained.0);
        explained
    }

    fn decide(&self, experience: &Value) -> Result<Decision, Undecided> {
        self.explain(&snapshot(experience, &CompileOptions::default())).0
    }
}

fn decided(variation: usize, source: DecisionSource) -> Result<Decision, Undecided> {
    Ok(Decision { variation, source })
}

#[test]
fn a_forced_variation_ignores_status_but_repeats_no_stored_one() {
    let all = json!({});
    let forced = |forced, stored| {
        Case { forced: Some(forced), decisions: Decisions(vec![stored]), ..Case::default() }.decide(&all)
    };
    assert_eq!(forced("30", None), decided(2, DecisionSource::Forced));
    assert_eq!(forced("30", Some("20")), decided(2, DecisionSource::Forced));
    assert_eq!(forced("30", Some("30")), decided(2, DecisionSource::Stored));
    assert_eq!(forced("99", Some("20")), decided(0, DecisionSource::Stored));
    assert!(matches!(forced("99", None), Ok(Decision { source: DecisionSource::Hashed { .. }, .. })));
}

#[test]
fn a_permanent_audience_is_checked_until_a_decision() {
    let restricted = json!({"audiences": ["p"]});
    let asked = |stored| Case { decisions: Decisions(vec![stored]), ..Case::default() }.decide(&restricted);
    assert_eq!(asked(None), Err(Undecided::Audience));
    assert_eq!(asked(Some("10")), decided(1, DecisionSource::Stored));
    // A variation that no longer exists is not a decision.
    assert_eq!(asked(Some("99")), Err(Undecided::Audience));
}

#[test]
fn an_exclusion_counts_stored_ids_of_removed_variations_too() {
    let exclusive = json!({"audiences": ["x"]});
    let bucketed = |id| Case { decisions: Decisions(vec![None, id]), ..Case::default() }.decide(&exclusive);
    assert!(matches!(bucketed(None), Ok(Decision { .. })));
    assert!(matches!(bucketed(Some("")), Ok(Decision { .. })));
    assert_eq!(bucketed(Some("40")), Err(Undecided::Audience));
    assert_eq!(bucketed(Some("gone")), Err(Undecided::Audience));
}

#[test]
fn environment_and_segments_restrict_only_if_given() {
    let live = json!({"environment": "live"});
    let running = |environment| Case { environment, ..Case::default() }.decide(&live);
    assert!(matches!(running(None), Ok(Decision { .. })));
    assert!(matches!(running(Some("live")), Ok(Decision { .. })));
    assert_eq!(running(Some("Live")), Err(Undecided::Environment));

    let segmented = json!({"audiences": ["s"]});
    let recorded = |segments| Case { segments, ..Case::default() }.decide(&segmented);
    assert_eq!(recorded(vec![]), Err(Undecided::Segments));
    assert!(matches!(recorded(vec!["s".into()]), Ok(Decision { .. })));
    assert_eq!(Case::default().decide(&json!({"variations": []})), Err(Undecided::NoVariations));
}

#[test]
fn a_segment_counts_under_the_id_javascript_uses() {
    let recorded = Case { segments: vec!["0".into()], ..Case::default() };
    assert!(matches!(recorded.decide(&json!({"audiences": ["0"]})), Ok(Decision { .. })));
}

#[test]
fn an_unknown_stored_position_is_not_a_decision() {
    struct Beyond(usize);

    impl StoredDecisions for Beyond {
        fn stored(&self, _: usize) -> Stored {
            Stored::Variation(self.0)
        }
    }

    let snapshot = snapshot(&json!({}), &CompileOptions::default());
    for position in [3, usize::MAX] {
        let facts = Facts {
            visitor_id: "visitor",
            attributes: &Attributes::new(),
            segments: &Attributes::new(),
            answers: None,
            location: &Attributes::new(),
            environment: None,
            custom_segments: &[],
            decisions: &Beyond(position),
            forced_variation: None,
        };
        let outcome = decide_experience(&snapshot, 0, &facts);
        assert!(matches!(outcome, Ok(Decision { source: DecisionSource::Hashed { .. }, .. })), "{outcome:?}");
        // An experience that the snapshot does not have has no answer either.
        assert_eq!(decide_experience(&snapshot, 2, &facts), Err(Undecided::NotInConfig));
    }
}

#[test]
fn numbers_outside_json_are_ordered_as_numbers() {
    let matched = |match_type: &str, negated: bool, operand: Value, number: f64| {
        let matching = json!({"match_type": match_type, "negated": negated});
        let item = json!({"rule_type": "generic", "key": "n", "value": operand, "matching": matching});
        let rules = json!({"OR": [{"AND": [{"OR_WHEN": [item]}]}]});
        let goals = json!([{"id": "g", "key": "goal", "rules": rules}]);
        let config = json!({"account_id": "1", "project": {"id": "2"}, "goals": goals}).to_string();
        let snapshot = compile(config, &CompileOptions::default()).unwrap().snapshot;
        goal_matches(&snapshot, 0, &Attributes::new().with("n", number))
    };
    // Both sides are of type "number", so that a comparison that does not hold is negated.
    for operand in [json!(5), json!("5")] {
        assert!(matched("less", false, operand.clone(), f64::NEG_INFINITY));
        assert!(!matched("lessEqual", false, operand.clone(), f64::INFINITY));
        assert!(matched("lessEqual", true, operand.clone(), f64::INFINITY));
        assert!(!matched("lessEqual", false, operand.clone(), f64::NAN));
        assert!(matched("less", true, operand, f64::NAN));
    }
    // A list and a number cannot be compared, and that is not negated.
    assert!(!matched("less", true, json!([5]), f64::INFINITY));
}

#[test]
fn numeric_ids_come_first_unless_config_order_is_requested() {
    let edges = |bucket_order| {
        let options = CompileOptions { bucket_order, ..CompileOptions::default() };
        let (_, explanation) = Case::default().explain(&snapshot(&json!({}), &options));
        let Some(Step::Bucketing { edges, .. }) = explanation.steps.into_iter().last() else {
            panic!("no bucket")
        };
        edges.into_iter().map(|edge| (edge.variation_id, edge.lower, edge.upper)).collect::<Vec<_>>()
    };
    let (low, high) = ((0.0, 5000.0), (5000.0, 10_000.0));
    assert_eq!(edges(BucketOrder::JavaScript), [("10".into(), low.0, low.1), ("20".into(), high.0, high.1)]);
    assert_eq!(edges(BucketOrder::Config), [("20".into(), low.0, low.1), ("10".into(), high.0, high.1)]);
}

#[test]
fn an_explanation_names_the_deciding_item_and_no_visitor_value() {
    let attributes = Attributes::new().with("secret", "hunter2");
    let restricted = snapshot(&json!({"audiences": ["a", "p"]}), &CompileOptions::default());
    let (outcome, explanation) = Case { attributes, ..Case::default() }.explain(&restricted);
    let json = serde_json::to_value(&explanation).unwrap();
    assert!(!json.to_string().contains("hunter2"));
    assert_eq!(json["outcome"], json!("hashed"));
    assert_eq!(json["variation_id"].is_string(), matches!(outcome, Ok(Decision { .. })));
    let audiences = &json["steps"][4];
    assert_eq!(audiences["step"], json!("audiences"));
    // For "any", evaluation ends at the first match.
    assert_eq!(audiences["evaluated"].as_array().unwrap().len(), 1);
    let items = &audiences["evaluated"][0]["items"];
    assert_eq!(
        items[0],
        json!({
            "path": "OR[0].AND[0].OR_WHEN[0]", "key": "absent", "match_type": "equals", "negated": false,
            "operand_type": "string", "operand": "yes", "attribute_type": "absent", "result": "absent",
        })
    );
    assert_eq!((&items[1]["attribute_type"], &items[1]["result"]), (&json!("string"), &json!("matched")));
    assert_eq!(json["steps"].as_array().unwrap().last().unwrap()["step"], json!("bucketing"));
}

#[test]
fn an_explanation_ends_at_the_step_that_settled_it() {
    let restricted = snapshot(&json!({"audiences": ["p"]}), &CompileOptions::default());
    let (outcome, explanation) = Case::default().explain(&restricted);
    assert_eq!(outcome, Err(Undecided::Audience));
    assert_eq!(explanation.outcome, "audience_mismatch");
    assert!(matches!(explanation.steps.last(), Some(Step::Audiences { passed: false, matching: "any", .. })));
}

#[test]
fn an_explanation_names_the_layout_and_its_edges() {
    let bucketing = |experience: &Value| {
        let (_, explanation) = Case::default().explain(&snapshot(experience, &CompileOptions::default()));
        serde_json::to_value(explanation.steps.last()).unwrap()
    };
    let id_and_edges = |step: &Value| {
        let edges = step["edges"].as_array().unwrap().iter();
        edges.map(|edge| json!([edge["variation_id"], edge["lower"], edge["upper"]])).collect::<Vec<_>>()
    };
    let packed = bucketing(&json!({"version": 11}));
    assert_eq!(packed["layout"], json!("packed"));
    assert_eq!(id_and_edges(&packed), [json!(["10", 0.0, 5000.0]), json!(["20", 5000.0, 10_000.0])]);
    let anchored = bucketing(&json!({"version": 12}));
    assert_eq!(anchored["layout"], json!("anchored"));
    assert_eq!(id_and_edges(&anchored), [json!(["20", 0.0, 5000.0]), json!(["10", 5000.0, 10_000.0])]);
}

#[test]
fn an_undecidable_item_is_false_even_negated_and_explained() {
    let explained = |item: Value| {
        let config = json!({
            "account_id": "1", "project": {"id": "2"},
            "experiences": [{"id": "1", "key": "first", "audiences": ["a"], "variations": [{"id": "2"}]}],
            "audiences": [{"id": "a", "key": "only", "rules": {"OR": [{"AND": [{"OR_WHEN": [item]}]}]}}],
        });
        let options = CompileOptions::default();
        let snapshot = compile(config.to_string(), &options).unwrap().snapshot;
        let case = Case { attributes: Attributes::new().with("text", "a".repeat(60)), ..Case::default() };
        let (outcome, explanation) = case.explain(&snapshot);
        assert_eq!(outcome, Err(Undecided::Audience));
        let json = serde_json::to_value(explanation.steps.last()).unwrap();
        json["evaluated"][0]["items"][0]["result"].as_str().unwrap().to_owned()
    };
    let item = |match_type: &str, value: Value, negated: Value| json!({"key": "text", "value": value, "matching": {"match_type": match_type, "negated": negated}});
    for negated in [true, false] {
        let negated = json!(negated);
        assert_eq!(explained(item("regexMatches", json!("(a|a)*b"), negated.clone())), "exhausted");
        let malformed = item("regexMatches", json!("("), negated.clone());
        assert_eq!(explained(malformed), "the regular expression is not valid");
        assert_eq!(explained(item("less", json!([5]), negated)), "incomparable");
    }
    let malformed = item("equals", json!("x"), json!("false"));
    assert_eq!(explained(malformed), "`matching.negated` is missing or not a boolean");
}

#[test]
fn an_explanation_shows_operands_and_values_only_if_asked() {
    let config = json!({
        "account_id": "1", "project": {"id": "2"},
        "experiences": [{
            "id": "1", "key": "e", "audiences": ["a"], "locations": ["l"],
            "variations": [{"id": "10", "key": "v"}],
        }, {
            "id": "2", "key": "area", "audiences": [], "site_area": rules(&json!("/cart"), "url"),
            "variations": [{"id": "20", "key": "w"}],
        }],
        "audiences": [{"id": "a", "key": "a", "rules": rules(&json!(["pro", "team"]), "plan")}],
        "locations": [{"id": "l", "key": "l", "rules": rules(&json!("/shop"), "url")}],
    });
    fn rules(value: &Value, key: &str) -> Value {
        let item = |value: &Value| json!({"key": key, "value": value, "matching": {"match_type": "isIn", "negated": false}});
        json!({"OR": [{"AND": [{"OR_WHEN": [item(&json!("other")), item(value)]}]}]})
    }
    let snapshot = compile(config.to_string(), &CompileOptions::default()).unwrap().snapshot;
    let (attributes, location) =
        (Attributes::new().with("plan", "team"), Attributes::new().with("url", "/shop"));
    let facts = Facts { location: &location, ..Facts::new("v", &attributes) };
    let items = |explanation: &Explanation| -> Vec<(Option<Value>, Option<Value>)> {
        let rules = explanation.steps.iter().filter_map(|step| match step {
            Step::Location { evaluated, .. } | Step::Audiences { evaluated, .. } => Some(evaluated),
            _ => None,
        });
        let items = rules.flatten().flat_map(|rules| &rules.items);
        items.map(|item| (item.operand.clone(), item.attribute.clone())).collect()
    };
    let (hidden, shown) =
        (explain_experience(&snapshot, 0, &facts).1, explain_experience_with_values(&snapshot, 0, &facts).1);
    let operands = [json!("other"), json!("/shop"), json!("other"), json!(["pro", "team"])].map(Some);
    let values = [json!("/shop"), json!("/shop"), json!("team"), json!("team")].map(Some);
    let with = |values: [Option<Value>; 4]| operands.clone().into_iter().zip(values).collect::<Vec<_>>();
    assert_eq!(items(&hidden), with([None, None, None, None]));
    assert_eq!(items(&shown), with(values));
    assert!(!serde_json::to_string(&hidden).unwrap().contains("\"attribute\":"));
    let area = explain_experience(&snapshot, 1, &facts).1;
    assert_eq!(items(&area), [(Some(json!("other")), None), (Some(json!("/cart")), None)]);
}
