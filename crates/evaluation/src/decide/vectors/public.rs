//! Whole requests and scripts, run by a minimal driver that does what a context does around decisions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Tally, same, snapshot};
use crate::attributes::{AttributeValue, Attributes, AttributesExt};
use crate::config::{Answers, CarriedFeature, CompileOptions, ConfigSnapshot, Experience, SnapshotExt};
use crate::decide::{
    Decision, DecisionSource, Facts, Stored, StoredDecisions, Undecided, carried_features, decide_experience,
    explain_experience, match_custom_segments,
};
use crate::js::text::text;

const REPORT_KEYS: [&str; 7] =
    ["country", "browser", "devices", "source", "campaign", "visitorType", "customSegments"];

/// Stored variation ids by experience id.
#[derive(Clone)]
pub(super) struct Memory<'a> {
    snapshot: &'a ConfigSnapshot,
    decisions: BTreeMap<String, String>,
}

impl StoredDecisions for Memory<'_> {
    fn stored(&self, experience: usize) -> Stored {
        let experience = &self.snapshot.experiences()[experience];
        match self.decisions.get(experience.id.as_str()) {
            None => Stored::None,
            Some(id) if id.is_empty() => Stored::Empty,
            Some(id) => experience.variation_index(id).map_or(Stored::Stale, Stored::Variation),
        }
    }
}

pub(super) struct Visitor<'a> {
    pub(super) snapshot: &'a ConfigSnapshot,
    pub(super) id: &'a str,
    environment: &'a str,
    pub(super) memory: Memory<'a>,
    pub(super) segments: Attributes,
    context: Attributes,
    pub(super) call: Attributes,
    pub(super) location: Attributes,
    pub(super) forced: Option<String>,
}

pub(super) fn map(value: Option<&Value>) -> Attributes {
    value.and_then(Value::as_object).cloned().unwrap_or_default().into()
}

/// A map that JavaScript merges before a rule sees it, which loses the name `__proto__`.
pub(super) fn merged(value: Option<&Value>) -> Attributes {
    let mut map = map(value);
    map.remove("__proto__");
    map
}

pub(super) fn report_keys(attributes: &Attributes, wanted: bool) -> Attributes {
    attributes
        .iter()
        .filter(|(name, _)| REPORT_KEYS.contains(name) == wanted)
        .map(|(name, value)| (name, value.clone()))
        .collect()
}

impl<'a> Visitor<'a> {
    /// The prepared visitor, and the ids of the custom segments recorded on the way.
    pub(super) fn prepare(
        snapshot: &'a ConfigSnapshot,
        environment: &'a str,
        request: &'a Value,
    ) -> (Self, Vec<String>) {
        let state = &request["state"];
        let decisions = state["bucketing"].as_object().cloned().unwrap_or_default().into_iter();
        let decisions =
            decisions.map(|(id, variation)| (id, variation.as_str().unwrap().to_owned())).collect();
        let attributes = merged(request.get("attributes"));
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
            call: merged(request.get("call_attributes")),
            location: map(request.get("location")),
            forced: None,
        };
        let matched = request.get("custom_segments").map(|run| visitor.run_custom_segments(run));
        (visitor, matched.unwrap_or_default())
    }

    /// Records the segments that match, and returns their ids.
    pub(super) fn run_custom_segments(&mut self, run: &Value) -> Vec<String> {
        if self.id.is_empty() {
            return Vec::new();
        }
        let data = self.rule_data(&merged(run.get("rule_data")));
        let recorded = self.recorded();
        let ids = match_custom_segments(self.snapshot, &keys(&run["keys"]), &data, &recorded);
        let matched = ids.iter().map(ToString::to_string).collect();
        if !ids.is_empty() {
            let all: Vec<AttributeValue> =
                recorded.into_iter().chain(ids.into_iter().map(AttributeValue::from)).collect();
            self.segments.insert("customSegments", all);
        }
        matched
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

    pub(super) fn decide(
        &self,
        memory: &Memory<'_>,
        key: &str,
    ) -> Option<(usize, Result<Decision, Undecided>)> {
        let experience = self.snapshot.experience_index(key)?;
        let facts = Facts {
            visitor_id: self.id,
            attributes: &self.rule_data(&self.call),
            segments: &Attributes::new(),
            answers: None,
            location: &self.location,
            environment: Some(self.environment),
            custom_segments: &self.recorded(),
            decisions: memory,
            forced_variation: self.forced.as_deref(),
        };
        let outcome = decide_experience(self.snapshot, experience, &facts);
        let (explained, explanation) = explain_experience(self.snapshot, experience, &facts);
        assert_eq!(outcome, explained);
        // Known answers change nothing.
        let answers = &Answers::new(self.snapshot);
        for _ in 0..2 {
            let facts = Facts { answers: Some(answers), ..facts };
            assert_eq!(decide_experience(self.snapshot, experience, &facts), outcome);
        }
        assert_eq!(explanation.variation_id.is_some(), matches!(outcome, Ok(Decision { .. })));
        Some((experience, outcome))
    }

    fn decision(&self, key: &str) -> Value {
        let Some((experience, outcome)) = self.decide(&self.memory, key) else {
            let why = if self.id.is_empty() { "no_visitor" } else { "no_match" };
            return json!({ "none": why });
        };
        let id = |variation: usize| &self.snapshot.experiences()[experience].variations[variation].id;
        match outcome {
            Ok(Decision { variation, source: DecisionSource::Hashed { bucket } }) => {
                json!({"variation_id": id(variation), "bucket": bucket})
            }
            Ok(Decision { variation, .. }) => json!({"variation_id": id(variation)}),
            Err(Undecided::NoVisitor) => json!({"none": "no_visitor"}),
            Err(Undecided::NotBucketed { .. }) => json!({"none": "not_decided"}),
            Err(_) => json!({"none": "no_match"}),
        }
    }

    /// Decides one experience and stores the decision.
    pub(super) fn decide_and_store(&self, memory: &mut Memory<'_>, key: &str) -> Option<(usize, usize)> {
        let (experience, Ok(Decision { variation, .. })) = self.decide(memory, key)? else { return None };
        let subject = &self.snapshot.experiences()[experience];
        let id = subject.variations[variation].id.to_string();
        memory.decisions.insert(subject.id.to_string(), id);
        Some((experience, variation))
    }

    /// Decides the experiences with these keys, or all, in config order, storing each decision.
    pub(super) fn decide_all(&self, memory: &mut Memory<'_>, asked: &[&str]) -> Vec<(usize, usize)> {
        let is_asked =
            |it: &&Experience| asked.is_empty() || it.has_text_key && asked.contains(&it.key.as_str());
        let experiences = self.snapshot.experiences().iter().filter(is_asked);
        experiences.filter_map(|experience| self.decide_and_store(memory, &experience.key)).collect()
    }

    /// The features that the visitor's variations carry, each with its entry.
    pub(super) fn carried(
        &self,
        memory: &mut Memory<'_>,
        asked: &[&str],
        casting: bool,
    ) -> Vec<(&'a CarriedFeature, Value)> {
        let mut entries = Vec::new();
        for (experience, variation) in self.decide_all(memory, asked) {
            let key = &self.snapshot.experiences()[experience].key;
            for carried in carried_features(self.snapshot, experience, variation) {
                let feature = &self.snapshot.features()[carried.feature as usize];
                let mut entry =
                    json!({"key": feature.key, "id": feature.id, "status": "enabled", "experience_key": key});
                if let Some(variables) = variables(carried, casting) {
                    entry["variables"] = variables;
                }
                entries.push((carried, entry));
            }
        }
        entries
    }

    /// A pair of experience key and variation id.
    pub(super) fn pair(&self, (experience, variation): (usize, usize)) -> Value {
        let experience = &self.snapshot.experiences()[experience];
        json!([experience.key, experience.variations[variation].id])
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

/// Equality of feature answers. Where the vectors hold a NaN or an infinity, the value as served is
/// right; the vectors do not record that, so any value that is not a number passes there.
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

/// The right answer: the recommended one if there is one, otherwise JavaScript's.
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

pub(super) fn keys(value: &Value) -> Vec<&str> {
    value.as_array().map(|keys| keys.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// Removes features that the config does not declare, for which JavaScript answers without a key,
/// and variables that a change does not have.
fn declared_entries(entries: &mut Value) {
    let Some(entries) = entries.as_array_mut() else { return };
    entries.retain(|entry| !entry["key"].is_null() && entry["key"] != json!({"$js": "undefined"}));
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        for name in ["id", "key", "experience_key"] {
            if let Some(value) = entry.get_mut(name) {
                *value = json!(text_of(value));
            }
        }
        if entry.get("variables").is_some_and(|all| !all.is_object() || *all == json!({"$js": "undefined"})) {
            entry.remove("variables");
        }
    }
}

/// `String(value)`.
pub(super) fn text_of(value: &Value) -> String {
    text(&value.clone().into(), &mut ryu_js::Buffer::new()).into_owned()
}

/// Whether JavaScript throws and there is no recommended answer.
pub(super) fn is_throw(answer: &Value) -> bool {
    answer.get("throws").is_some()
}

/// Whether JavaScript throws for all experiences together, while the recommended list disagrees
/// with what it answers for one of them alone.
fn contradicts_itself(line: &Value) -> bool {
    let (decisions, recommended) = (&line["expected"]["decisions"], &line["recommended"]);
    let Some(all) = recommended["run_experiences"].as_array() else { return false };
    is_throw(&line["expected"]["run_experiences"])
        && decisions.as_object().into_iter().flatten().any(|(key, decision)| {
            let listed = all.iter().find(|pair| pair[0] == json!(key)).map(|pair| &pair[1]);
            let is_answer = !is_throw(decision) && recommended["decisions"].get(key).is_none();
            is_answer && decision.get("variation_id") != listed
        })
}

/// Whether a part, or each of its keys, is the answer for nobody.
fn is_all_none(part: &Value, none: &Value) -> bool {
    part == none || part.as_object().is_some_and(|keys| keys.values().all(|answer| answer == none))
}

pub(super) fn compare(
    tally: &mut Tally,
    part: &'static str,
    line: &Value,
    answer: &Value,
    expected: &Value,
    equal: bool,
) {
    tally.check(part, equal, || format!("{} {part}: {answer} for {expected}", line["id"]));
}

/// A compiled config of a file.
pub(super) struct Config {
    pub(super) served: Value,
    pub(super) snapshot: ConfigSnapshot,
    pub(super) environment: String,
}

/// Calls `check` with each line of this kind and its config.
pub(super) fn each_line(lines: Vec<Value>, kind: &str, mut check: impl FnMut(&Config, &Value)) {
    let mut configs: BTreeMap<String, Config> = BTreeMap::new();
    for mut line in lines {
        if line["kind"] == "config" {
            let options = CompileOptions {
                exclude_experience_id_hash: line["options"]["exclude_experience_id_hash"] == json!(true),
                ..CompileOptions::default()
            };
            let served = line["config"].take();
            let environment = line["options"]["environment"].as_str().unwrap().to_owned();
            let compiled = Config { snapshot: snapshot(&served, &options), served, environment };
            configs.insert(line["id"].as_str().unwrap().to_owned(), compiled);
        } else if line["kind"] == kind {
            check(&configs[line["config_ref"].as_str().unwrap()], &line);
        }
    }
}

pub(super) fn whole_requests(lines: Vec<Value>) -> Tally {
    let mut tally = Tally::default();
    each_line(lines, "request", |config, line| {
        check_request(&mut tally, &config.snapshot, &config.environment, line);
    });
    tally
}

fn check_request(tally: &mut Tally, snapshot: &ConfigSnapshot, environment: &str, line: &Value) {
    let request = &line["request"];
    let (visitor, matched) = Visitor::prepare(snapshot, environment, request);

    if request.get("custom_segments").is_some() {
        let (answer, mut expected) = (json!({ "matched": matched }), expected(line, "custom_segments"));
        // Each segment id is recorded once.
        let mut seen = BTreeSet::new();
        if let Some(ids) = expected.get_mut("matched").and_then(Value::as_array_mut) {
            ids.retain(|id| seen.insert(id.to_string()));
            compare(tally, "custom_segments", line, &answer, &expected, same(&answer, &expected));
        }
    }
    let decisions = expected(line, "decisions");
    for key in keys(&request["experience_keys"]) {
        let (answer, expected) = (visitor.decision(key), &decisions[key]);
        if is_throw(expected) {
            continue;
        }
        compare(tally, "decisions", line, &answer, expected, same(&answer, expected));
    }
    if visitor.id.is_empty() {
        let (nothing, none) =
            (visitor.decide_all(&mut visitor.memory.clone(), &[]), json!({"none": "no_visitor"}));
        for part in ["run_experiences", "features", "run_features"] {
            let expected = &line["expected"][part];
            compare(tally, part, line, &none, expected, is_all_none(expected, &none));
        }
        assert!(nothing.is_empty());
        return;
    }
    if contradicts_itself(line) {
        return;
    }
    let runs = visitor.decide_all(&mut visitor.memory.clone(), &[]);
    let runs = runs.into_iter().map(|decided| visitor.pair(decided));
    let (answer, all) = (Value::from_iter(runs), expected(line, "run_experiences"));
    if !is_throw(&all) {
        compare(tally, "run_experiences", line, &answer, &all, same(&answer, &all));
    }

    let casting = request.get("type_casting") != Some(&json!(false));
    let asked = keys(&request["feature_experience_keys"]);
    let mut features = expected(line, "features");
    features.as_object_mut().unwrap().values_mut().for_each(declared_entries);
    for key in keys(&request["feature_keys"]) {
        if is_throw(&features[key]) {
            continue;
        }
        let feature = snapshot.feature_index(key);
        let carried = visitor.carried(&mut visitor.memory.clone(), &asked, casting);
        let carried = carried.into_iter().filter(|(carried, _)| Some(carried.group as usize) == feature);
        let mut answer: Vec<Value> = carried.map(|(_, entry)| entry).collect();
        if answer.is_empty() {
            answer.push(disabled(snapshot, key));
        }
        let (answer, expected) = (Value::from(answer), &features[key]);
        compare(tally, "features", line, &answer, expected, same_features(&answer, expected));
    }

    let carried = visitor.carried(&mut visitor.memory.clone(), &[], casting);
    let recommended = &line["recommended"];
    if recommended.get("run_experiences").is_some() && recommended.get("run_features").is_none() {
        // JavaScript loses variations with numeric ids. The vectors recommend an answer for each
        // feature alone but not for all together, so the two must agree.
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
            compare(tally, "run_features of one feature", line, &answer, &expected, equal);
        }
        return;
    }
    let mut all = expected(line, "run_features");
    if is_throw(&all) {
        return;
    }
    // The last declaration of a duplicate id wins.
    let declared: BTreeMap<_, _> = snapshot.features().iter().map(|it| (&it.id, &it.key)).collect();
    let on: Vec<&Value> = carried.iter().map(|(_, entry)| &entry["id"]).collect();
    let missing = declared.into_iter().filter(|(id, _)| !on.contains(&&json!(id)));
    let mut answer: Vec<Value> =
        missing.map(|(id, key)| json!({"key": key, "id": id, "status": "disabled"})).collect();
    answer.sort_by_key(Value::to_string);
    answer.splice(0..0, carried.iter().map(|(_, entry)| entry.clone()));
    declared_entries(&mut all);
    if let Value::Array(entries) = &mut all {
        let (mut off, mut on): (Vec<Value>, Vec<Value>) =
            entries.drain(..).partition(|entry| entry["status"] == json!("disabled"));
        // In JavaScript a feature with a numeric id is both enabled and disabled.
        off.retain(|entry| on.iter().all(|enabled| enabled["id"] != entry["id"]));
        off.sort_by_key(Value::to_string);
        on.append(&mut off);
        *entries = on;
    }
    let answer = Value::from(answer);
    compare(tally, "run_features", line, &answer, &all, same_features(&answer, &all));
}
