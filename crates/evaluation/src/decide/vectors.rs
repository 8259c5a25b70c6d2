//! Parity with the JavaScript SDK, vector by vector. `tests/parity/README.md` describes the files.

mod public;
mod scripts;

use std::io::Read;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::rules::matches;
use super::trace::Untraced;
use crate::attributes::{AttributeValue, Attributes};
use crate::config::{CompileOptions, ConfigSnapshot, SnapshotExt, compile};
use crate::js::cast::{VariableType, cast};
use crate::js::number::number;
use crate::js::regex::{Pattern, Steps};
use crate::js::text::text;

/// Every line of one vector file, parsed.
fn lines(file: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/vectors").join(file);
    let packed = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut json = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut json).unwrap();
    json.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn snapshot(config: &Value, options: &CompileOptions) -> ConfigSnapshot {
    compile(config.to_string(), options).unwrap().snapshot
}

/// A whole config around the parts given.
fn config(parts: Value) -> Value {
    let mut config = json!({"account_id": "1", "project": {"id": "2"}});
    config.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    config
}

/// Equality as the vectors ask for it: numbers as doubles, whatever their spelling.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        (left, right) => left == right,
    }
}

/// A double as the vectors spell it.
fn spelled(number: f64) -> Value {
    if number.is_finite() { json!(number) } else { json!({"$js": number_name(number)}) }
}

fn number_name(number: f64) -> &'static str {
    match number {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    }
}

fn report(checked: usize, failures: &[String]) {
    let shown: Vec<_> =
        failures.iter().map(|failure| failure.chars().take(600).collect::<String>()).take(20).collect();
    assert!(failures.is_empty(), "{} of {checked} differ, such as {shown:#?}", failures.len());
}

#[test]
fn rules() {
    let lines = lines("rules.jsonl.gz");
    assert_eq!(lines.len(), 6200);
    // One goal per rule, so that the whole way from the served text to the answer is tested.
    let goals: Vec<Value> = lines
        .iter()
        .map(|line| json!({"id": line["id"], "key": line["id"], "rules": line["rule"]}))
        .collect();
    let snapshot = snapshot(&config(json!({"goals": goals})), &CompileOptions::default());
    let mut failures = Vec::new();
    for line in &lines {
        let data: Attributes = line["data"].as_object().unwrap().clone().into();
        let goal = snapshot.goal_index(line["id"].as_str().unwrap()).unwrap();
        let rules = snapshot.goals()[goal].rules.as_ref();
        let matched =
            rules.is_some_and(|rules| matches(rules, &data, &mut Steps::of_a_decision(), &mut Untraced));
        // Where JavaScript throws there is no answer to equal; reaching this line is the answer.
        if line["expected"].as_bool().is_some_and(|expected| expected != matched) {
            failures.push(line.to_string());
        }
    }
    report(lines.len(), &failures);
}

#[test]
fn hashes() {
    let lines = lines("hashes.jsonl.gz");
    assert_eq!(lines.len(), 2000);
    let mut failures = Vec::new();
    for line in &lines {
        let (experience, visitor) =
            (line["experience_id"].as_str().unwrap(), line["visitor_id"].as_str().unwrap());
        let hash = crate::murmur::Murmur3::new(9999)
            .update(experience.as_bytes())
            .update(visitor.as_bytes())
            .finish();
        let bucket = super::bucketing::bucket(hash, 10_000);
        if json!({"murmur3": hash, "bucket": bucket}) != line["expected"] {
            failures.push(line.to_string());
        }
    }
    report(lines.len(), &failures);
}

#[test]
fn layouts() {
    let (mut cases, mut failures) = (0, Vec::new());
    for line in lines("layouts.jsonl.gz") {
        let mut experience =
            json!({"id": line["experience_id"], "key": "e", "variations": line["variations"]});
        if let Some(version) = line.get("version") {
            experience["version"] = version.clone();
        }
        let snapshot = snapshot(&config(json!({"experiences": [experience]})), &CompileOptions::default());
        let experience = &snapshot.experiences()[0];
        for case in line["expected"].as_array().unwrap() {
            cases += 1;
            let visitor = case[0].as_str().unwrap();
            let hash = experience.hash.update(visitor.as_bytes()).finish();
            let bucket = super::bucketing::bucket(hash, 10_000);
            let selected = super::bucketing::select(&experience.layout, bucket);
            let id = selected.map(|edge| experience.variations[edge.variation as usize].id.as_str());
            // Where JavaScript loses a numeric id, the variation is the answer to give.
            let as_expected = match case[2].as_str() {
                Some(expected) => id.unwrap_or("not_decided") == expected,
                None => id.is_some(),
            };
            if json!(bucket) != case[1] || !as_expected {
                failures.push(format!("{case} is {id:?} in {line}"));
            }
        }
    }
    assert_eq!(cases, 6505);
    report(cases, &failures);
}

#[test]
fn casts_texts_numbers_and_preview_parameters() {
    let lines = lines("misc.jsonl.gz");
    assert_eq!(lines.len(), 2082);
    let mut failures = Vec::new();
    for line in &lines {
        let (value, expected) = (&line["value"], &line["expected"]);
        let flat = AttributeValue::from(value.clone());
        let answer = match line["kind"].as_str().unwrap() {
            "cast" => match VariableType::named(line["type"].as_str().unwrap()) {
                // The vectors name the NaN or infinity; here both are "no such value".
                Some(declared) => match cast(value, declared) {
                    Some(cast) => cast,
                    None if expected.get("$js").is_some() => expected.clone(),
                    None => json!("not cast"),
                },
                None => value.clone(),
            },
            "string" => json!(text(&flat, &mut ryu_js::Buffer::new())),
            "number" => spelled(number(&flat)),
            "preview_param" => {
                let param = value.as_str().and_then(crate::preview::parse_preview_param);
                param.map_or(
                    Value::Null,
                    |param| json!({"experienceId": param.experience_id, "variationId": param.variation_id}),
                )
            }
            other => panic!("unknown kind {other}"),
        };
        if !same(&answer, expected) {
            failures.push(format!("{answer} in {line}"));
        }
    }
    report(lines.len(), &failures);
}

#[test]
fn regular_expressions() {
    let (mut cases, mut failures) = (0, Vec::new());
    for line in lines("regex.jsonl.gz") {
        let pattern = Pattern::compile(line["pattern"].as_str().unwrap());
        cases += 1;
        if json!(pattern.is_some()) != line["valid"] {
            failures.push(line.to_string());
        }
        for case in line["texts"].as_array().unwrap() {
            cases += 1;
            let matched = pattern
                .as_ref()
                .and_then(|one| one.is_match(case[0].as_str().unwrap(), &mut Steps::of_a_decision()));
            if matched != case[1].as_bool() {
                failures.push(format!("{matched:?} for {case} in {line}"));
            }
        }
    }
    assert!(cases > 10_000, "{cases}");
    report(cases, &failures);
}
