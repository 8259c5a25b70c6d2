//! Decisions that the vectors do not reach, and what explanations say.

use serde_json::{Value, json};

use super::{
    Decision, DecisionSource, Explanation, Facts, Step, Stored, StoredDecisions, Undecided,
    decide_experience, explain_experience, goal_matches,
};
use crate::attributes::{AttributeValue, Attributes};
use crate::config::{BucketOrder, CompileOptions, ConfigSnapshot, SnapshotExt, compile};

/// The stored decisions of the first experiences.
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
fn a_forced_variation_wins_whatever_its_status_but_repeats_no_stored_one() {
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
fn a_permanent_audience_is_asked_until_there_is_a_decision() {
    let restricted = json!({"audiences": ["p"]});
    let asked = |stored| Case { decisions: Decisions(vec![stored]), ..Case::default() }.decide(&restricted);
    assert_eq!(asked(None), Err(Undecided::Audience));
    assert_eq!(asked(Some("10")), decided(1, DecisionSource::Stored));
    // A variation that is gone is no decision.
    assert_eq!(asked(Some("99")), Err(Undecided::Audience));
}

#[test]
fn an_exclusion_counts_stored_ids_even_of_variations_that_are_gone() {
    let exclusive = json!({"audiences": ["x"]});
    let bucketed = |id| Case { decisions: Decisions(vec![None, id]), ..Case::default() }.decide(&exclusive);
    assert!(matches!(bucketed(None), Ok(Decision { .. })));
    assert!(matches!(bucketed(Some("")), Ok(Decision { .. })));
    assert_eq!(bucketed(Some("40")), Err(Undecided::Audience));
    assert_eq!(bucketed(Some("gone")), Err(Undecided::Audience));
}

#[test]
fn environment_and_segments_restrict_when_they_are_given() {
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
fn a_segment_counts_by_whichever_of_its_id_javascript_counts() {
    let recorded = Case { segments: vec!["0".into()], ..Case::default() };
    assert!(matches!(recorded.decide(&json!({"audiences": ["0"]})), Ok(Decision { .. })));
}

#[test]
fn a_stored_position_that_the_experience_does_not_have_is_no_decision() {
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
            location: &Attributes::new(),
            environment: None,
            custom_segments: &[],
            decisions: &Beyond(position),
            forced_variation: None,
        };
        let outcome = decide_experience(&snapshot, 0, &facts);
        assert!(matches!(outcome, Ok(Decision { source: DecisionSource::Hashed { .. }, .. })), "{outcome:?}");
        // Nor is there an answer for an experience that the snapshot does not have.
        assert_eq!(decide_experience(&snapshot, 2, &facts), Err(Undecided::NotInConfig));
    }
}

#[test]
fn numbers_that_json_does_not_have_are_ordered_as_numbers() {
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
    // A list is of another type than a number, which nothing negates.
    assert!(!matched("less", true, json!([5]), f64::INFINITY));
}

#[test]
fn numeric_ids_come_first_unless_the_config_order_is_asked_for() {
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
fn an_explanation_names_the_item_that_decided_and_no_value_of_the_visitor() {
    let attributes = Attributes::new().with("secret", "hunter2");
    let restricted = snapshot(&json!({"audiences": ["a", "p"]}), &CompileOptions::default());
    let (outcome, explanation) = Case { attributes, ..Case::default() }.explain(&restricted);
    let json = serde_json::to_value(&explanation).unwrap();
    assert!(!json.to_string().contains("hunter2"));
    assert_eq!(json["outcome"], json!("hashed"));
    assert_eq!(json["variation_id"].is_string(), matches!(outcome, Ok(Decision { .. })));
    let audiences = &json["steps"][4];
    assert_eq!(audiences["step"], json!("audiences"));
    // The first of "any" that matches ends the question.
    assert_eq!(audiences["evaluated"].as_array().unwrap().len(), 1);
    let items = &audiences["evaluated"][0]["items"];
    assert_eq!(
        items[0],
        json!({
            "path": "OR[0].AND[0].OR_WHEN[0]", "key": "absent", "match_type": "equals", "negated": false,
            "operand_type": "string", "attribute_type": "absent", "result": "absent",
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
fn an_item_without_an_answer_is_false_negated_or_not_and_the_explanation_says_why() {
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
