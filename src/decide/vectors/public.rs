//! Whole requests against a minimal driver: what a context does around the decisions.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{lines, report, same, snapshot};
use crate::attributes::{AttributeValue, Attributes};
use crate::config::{CarriedFeature, CompileOptions, ConfigSnapshot};
use crate::decide::{
    Facts, Miss, Outcome, Source, Stored, StoredDecisions, carried_features, decide_experience,
    explain_experience, match_custom_segments,
};

const REPORT_KEYS: [&str; 7] =
    ["country", "browser", "devices", "source", "campaign", "visitorType", "customSegments"];

/// Stored variation ids by experience id.
#[derive(Clone)]
struct Memory<'a> {
    snapshot: &'a ConfigSnapshot,
    decisions: BTreeMap<String, String>,
}

impl StoredDecisions for Memory<'_> {
    fn stored(&self, experience: usize) -> Stored<'_> {
        let experience = &self.snapshot.experiences()[experience];
        match self.decisions.get(experience.id.as_str()) {
            None => Stored::None,
            Some(id) => experience.variation_index(id).map_or(Stored::Stale(id), Stored::Variation),
        }
    }
}

struct Visitor<'a> {
    snapshot: &'a ConfigSnapshot,
    id: &'a str,
    environment: &'a str,
    memory: Memory<'a>,
    segments: Attributes,
    context: Attributes,
    call: Attributes,
    location: Attributes,
}

fn map(value: Option<&Value>) -> Attributes {
    value.and_then(Value::as_object).cloned().unwrap_or_default().into()
}

fn report_keys(attributes: &Attributes, wanted: bool) -> Attributes {
    attributes
        .iter()
        .filter(|(name, _)| REPORT_KEYS.contains(name) == wanted)
        .map(|(name, value)| (name, value.clone()))
        .collect()
}

impl<'a> Visitor<'a> {
    /// The visitor as prepared, and the ids of the custom segments recorded on the way.
    fn prepare(
        snapshot: &'a ConfigSnapshot,
        environment: &'a str,
        request: &'a Value,
    ) -> (Self, Vec<String>) {
        let state = &request["state"];
        let decisions = state["bucketing"].as_object().cloned().unwrap_or_default().into_iter();
        let decisions =
            decisions.map(|(id, variation)| (id, variation.as_str().unwrap().to_owned())).collect();
        let attributes = map(request.get("attributes"));
        let mut segments = map(state.get("segments"));
        if let Some(ids) = state.get("custom_segments") {
            segments.insert("customSegments", AttributeValue::from(ids.clone()));
        }
        segments.merge(&report_keys(&attributes, true));
        segments.merge(&report_keys(&map(request.get("default_segments")), true));
        let mut visitor = Visitor {
            snapshot,
            id: request["visitor_id"].as_str().unwrap(),
            environment,
            memory: Memory { snapshot, decisions },
            segments,
            context: report_keys(&attributes, false),
            call: map(request.get("call_attributes")),
            location: map(request.get("location")),
        };
        let mut matched = Vec::new();
        if let Some(run) = request.get("custom_segments").filter(|_| !visitor.id.is_empty()) {
            let keys: Vec<&str> = run["keys"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let data = visitor.rule_data(&map(run.get("rule_data")));
            let recorded = visitor.recorded();
            let ids = match_custom_segments(snapshot, &keys, &data, &recorded);
            matched = ids.iter().map(ToString::to_string).collect();
            if !ids.is_empty() {
                let all: Vec<AttributeValue> =
                    recorded.into_iter().chain(ids.into_iter().map(AttributeValue::from)).collect();
                visitor.segments.insert("customSegments", all);
            }
        }
        (visitor, matched)
    }

    fn recorded(&self) -> Vec<AttributeValue> {
        match self.segments.get("customSegments") {
            Some(AttributeValue::Array(ids)) => ids.clone(),
            _ => Vec::new(),
        }
    }

    fn rule_data(&self, call: &Attributes) -> Attributes {
        let mut own = self.context.clone();
        own.merge(call);
        let mut data = self.segments.clone();
        data.merge(&own);
        data
    }

    fn decide(&self, memory: &Memory<'_>, key: &str) -> Option<(usize, Outcome)> {
        let experience = self.snapshot.experience_index(key)?;
        let facts = Facts {
            visitor_id: self.id,
            attributes: &self.rule_data(&self.call),
            location: &self.location,
            environment: Some(self.environment),
            custom_segments: &self.recorded(),
            decisions: memory,
            forced_variation: None,
        };
        let outcome = decide_experience(self.snapshot, experience, &facts);
        let (explained, explanation) = explain_experience(self.snapshot, experience, &facts);
        assert_eq!(outcome, explained);
        assert_eq!(explanation.variation_id.is_some(), matches!(outcome, Outcome::Decided { .. }));
        Some((experience, outcome))
    }

    fn decision(&self, key: &str) -> Value {
        let Some((experience, outcome)) = self.decide(&self.memory, key) else {
            let why = if self.id.is_empty() { "no_visitor" } else { "no_match" };
            return json!({ "none": why });
        };
        let id = |variation: usize| &self.snapshot.experiences()[experience].variations[variation].id;
        match outcome {
            Outcome::Decided { variation, source: Source::Hashed { bucket } } => {
                json!({"variation_id": id(variation), "bucket": bucket})
            }
            Outcome::Decided { variation, .. } => json!({"variation_id": id(variation)}),
            Outcome::Undecided(Miss::NoVisitor) => json!({"none": "no_visitor"}),
            Outcome::Undecided(Miss::NotDecided { .. }) => json!({"none": "not_decided"}),
            Outcome::Undecided(_) => json!({"none": "no_match"}),
        }
    }

    /// Decides in config order, storing on the way, as far as `wanted` says.
    fn decide_all(&self, memory: &mut Memory<'_>, wanted: impl Fn(&str) -> bool) -> Vec<(usize, usize)> {
        let mut decided = Vec::new();
        for key in self.snapshot.experience_keys().filter(|key| wanted(key)) {
            if let Some((experience, Outcome::Decided { variation, .. })) = self.decide(memory, key) {
                let subject = &self.snapshot.experiences()[experience];
                let id = subject.variations[variation].id.to_string();
                memory.decisions.insert(subject.id.to_string(), id);
                decided.push((experience, variation));
            }
        }
        decided
    }

    fn carried(&self, wanted: impl Fn(&str) -> bool, casting: bool) -> Vec<(usize, Value)> {
        let mut entries = Vec::new();
        for (experience, variation) in self.decide_all(&mut self.memory.clone(), wanted) {
            let key = &self.snapshot.experiences()[experience].key;
            for carried in carried_features(self.snapshot, experience, variation) {
                let feature = &self.snapshot.features()[carried.feature as usize];
                let mut entry =
                    json!({"key": feature.key, "id": feature.id, "status": "enabled", "experience_key": key});
                if let Some(variables) = variables(carried, casting) {
                    entry["variables"] = variables;
                }
                entries.push((carried.feature as usize, entry));
            }
        }
        entries
    }
}

fn variables(carried: &CarriedFeature, casting: bool) -> Option<Value> {
    let variables = carried.variables.as_ref()?.iter();
    let pairs = variables.map(|one| {
        let value = if casting { &one.value } else { one.uncast() };
        (one.key.to_string(), value.clone())
    });
    Some(pairs.collect::<Map<_, _>>().into())
}

fn disabled(snapshot: &ConfigSnapshot, key: &str) -> Value {
    let Some(feature) = snapshot.feature_index(key) else { return json!({"key": key, "status": "disabled"}) };
    json!({"key": key, "id": snapshot.features()[feature].id, "status": "disabled"})
}

/// Equality of feature answers: where the vectors hold a NaN or an infinity the value as served is
/// right, which no vector holds, so any value that is not a number passes there.
fn same_features(answer: &Value, expected: &Value) -> bool {
    match (answer, expected) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| same_features(left, right))
        }
        (Value::Object(left), Value::Object(right)) if !right.contains_key("$js") => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, value)| right.get(key).is_some_and(|expected| same_features(value, expected)))
        }
        (answer, Value::Object(special)) if special.contains_key("$js") => !answer.is_number(),
        (answer, expected) => same(answer, expected),
    }
}

/// The answer to give: the recommended one where there is one, else JavaScript's.
fn expected(line: &Value, part: &str) -> Value {
    let mut expected = line["expected"].get(part).cloned().unwrap_or(Value::Null);
    match (line["recommended"].get(part), expected.as_object_mut()) {
        (Some(Value::Object(keys)), Some(whole)) if !whole.contains_key("throws") => {
            whole.extend(keys.clone());
            expected
        }
        (Some(recommended), _) => recommended.clone(),
        (None, _) => expected,
    }
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_array().map(|keys| keys.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// Leaves out features that the config does not declare, for which JavaScript answers without a
/// key, and variables that a change does not have.
fn declared_entries(entries: &mut Value) {
    let Some(entries) = entries.as_array_mut() else { return };
    entries.retain(|entry| entry["key"].is_string());
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        if entry.get("variables").is_some_and(|all| all.is_null() || *all == json!({"$js": "undefined"})) {
            entry.remove("variables");
        }
    }
}

/// Whether a part, or every key of it, is the answer for no visitor.
fn is_all_none(part: &Value, none: &Value) -> bool {
    part == none || part.as_object().is_some_and(|keys| keys.values().all(|answer| answer == none))
}

#[derive(Default)]
struct Tally {
    checked: BTreeMap<&'static str, usize>,
    failures: Vec<String>,
}

impl Tally {
    fn check(&mut self, part: &'static str, line: &Value, answer: &Value, expected: &Value, equal: bool) {
        *self.checked.entry(part).or_default() += 1;
        if !equal {
            self.failures.push(format!("{} {part}: {answer} for {expected}", line["id"]));
        }
    }
}

#[test]
fn requests() {
    let mut tally = Tally::default();
    let mut configs: BTreeMap<String, (ConfigSnapshot, String)> = BTreeMap::new();
    for line in lines("public.jsonl.gz") {
        match line["kind"].as_str().unwrap() {
            "config" => {
                let options = CompileOptions {
                    exclude_experience_id_hash: line["options"]["exclude_experience_id_hash"] == json!(true),
                    ..CompileOptions::default()
                };
                let environment = line["options"]["environment"].as_str().unwrap().to_owned();
                let compiled = (snapshot(&line["config"], &options), environment);
                configs.insert(line["id"].as_str().unwrap().to_owned(), compiled);
            }
            "request" => {
                let (snapshot, environment) = &configs[line["config_ref"].as_str().unwrap()];
                check_request(&mut tally, snapshot, environment, &line);
            }
            _ => {}
        }
    }
    assert_eq!(tally.checked["run_experiences"], 3000);
    assert_eq!(tally.checked["custom_segments"], 1030);
    println!("checked {:?}", tally.checked);
    report(tally.checked.values().sum(), &tally.failures);
}

fn check_request(tally: &mut Tally, snapshot: &ConfigSnapshot, environment: &str, line: &Value) {
    let request = &line["request"];
    let (visitor, matched) = Visitor::prepare(snapshot, environment, request);

    if request.get("custom_segments").is_some() {
        let (answer, expected) = (json!({ "matched": matched }), expected(line, "custom_segments"));
        tally.check("custom_segments", line, &answer, &expected, same(&answer, &expected));
    }
    let decisions = expected(line, "decisions");
    for key in keys(&request["experience_keys"]) {
        let (answer, expected) = (visitor.decision(key), &decisions[key]);
        tally.check("decisions", line, &answer, expected, same(&answer, expected));
    }
    if visitor.id.is_empty() {
        let (nothing, none) =
            (visitor.decide_all(&mut visitor.memory.clone(), |_| true), json!({"none": "no_visitor"}));
        for part in ["run_experiences", "features", "run_features"] {
            tally.check(
                part,
                line,
                &none,
                &line["expected"][part],
                is_all_none(&line["expected"][part], &none),
            );
        }
        assert!(nothing.is_empty());
        return;
    }
    let runs = visitor.decide_all(&mut visitor.memory.clone(), |_| true);
    let runs = runs.into_iter().map(|(experience, variation)| {
        let experience = &snapshot.experiences()[experience];
        json!([experience.key, experience.variations[variation].id])
    });
    let (answer, all) = (Value::from_iter(runs), expected(line, "run_experiences"));
    tally.check("run_experiences", line, &answer, &all, same(&answer, &all));

    let casting = request.get("type_casting") != Some(&json!(false));
    let asked = keys(&request["feature_experience_keys"]);
    let mut features = expected(line, "features");
    features.as_object_mut().unwrap().values_mut().for_each(declared_entries);
    for key in keys(&request["feature_keys"]) {
        let feature = snapshot.feature_index(key);
        let carried = visitor.carried(|experience| asked.is_empty() || asked.contains(&experience), casting);
        let carried = carried.into_iter().filter(|(carried, _)| Some(*carried) == feature);
        let mut answer: Vec<Value> = carried.map(|(_, entry)| entry).collect();
        if answer.is_empty() {
            answer.push(disabled(snapshot, key));
        }
        let (answer, expected) = (Value::from(answer), &features[key]);
        tally.check("features", line, &answer, expected, same_features(&answer, expected));
    }

    let carried = visitor.carried(|_| true, casting);
    let recommended = &line["recommended"];
    if recommended.get("run_experiences").is_some() && recommended.get("run_features").is_none() {
        // JavaScript loses variations with numeric ids, and the vectors recommend an answer for
        // each feature, but none for all of them together: the two have to agree.
        for key in keys(&request["feature_keys"]) {
            let from = |entry: &Value| {
                asked.is_empty() || asked.iter().any(|one| entry["experience_key"] == json!(one))
            };
            let entries = carried.iter().map(|(_, entry)| entry);
            let answer: Value =
                entries.filter(|entry| entry["key"] == json!(key) && from(entry)).cloned().collect();
            let mut expected = features[key].clone();
            let enabled = |entry: &Value| entry["status"] == json!("enabled");
            if let Some(entries) = expected.as_array_mut() {
                entries.retain(enabled);
            }
            let equal = same_features(&answer, &expected);
            tally.check("run_features of one feature", line, &answer, &expected, equal);
        }
        return;
    }
    let missing = snapshot.features().iter().enumerate();
    let missing = missing.filter(|(at, _)| carried.iter().all(|(feature, _)| feature != at));
    let mut answer: Vec<Value> = missing.map(|(_, feature)| disabled(snapshot, &feature.key)).collect();
    answer.sort_by_key(Value::to_string);
    answer.splice(0..0, carried.iter().map(|(_, entry)| entry.clone()));
    let mut all = expected(line, "run_features");
    declared_entries(&mut all);
    if let Value::Array(entries) = &mut all {
        let (mut off, mut on): (Vec<Value>, Vec<Value>) =
            entries.drain(..).partition(|entry| entry["status"] == json!("disabled"));
        off.sort_by_key(Value::to_string);
        on.append(&mut off);
        *entries = on;
    }
    let answer = Value::from(answer);
    tally.check("run_features", line, &answer, &all, same_features(&answer, &all));
}
