//! Parity with the JavaScript SDK, vector by vector. `tests/parity/README.md` describes the files.
//! The tests run natively; `scripts/wasm` runs the same comparison in WebAssembly.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a comparison that cannot go on must fail where it stands"
)]

mod public;
mod scripts;
#[cfg(vectors)]
mod wasm;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::goal_matches;
use crate::attributes::{AttributeValue, Attributes};
use crate::config::{CompileOptions, ConfigSnapshot, SnapshotExt, compile};
use crate::js::cast::{VariableType, cast};
use crate::js::number::number;
use crate::js::regex::{Pattern, Steps};
use crate::js::text::text;

type Check = fn(Vec<Value>) -> Tally;

/// Each file, the function that checks it, and how many answers it compares.
const FILES: [(&str, Check, usize); 8] = [
    ("rules", rules, 6_200),
    ("hashes", hashes, 2_000),
    ("layouts", layouts, 6_505),
    ("misc", casts_texts_numbers_and_preview_parameters, 2_082),
    ("regex", regular_expressions, 11_206),
    ("public", public::whole_requests, 35_189),
    ("odd", public::whole_requests, 23_634),
    ("scripts", scripts::sequences_of_calls_on_one_context, 5_036),
];

/// How many answers were compared, by part, and which of them differ.
#[derive(Default)]
struct Tally {
    checked: BTreeMap<&'static str, usize>,
    failures: Vec<String>,
}

impl Tally {
    fn check(&mut self, part: &'static str, equal: bool, difference: impl FnOnce() -> String) {
        *self.checked.entry(part).or_default() += 1;
        if !equal {
            self.failures.push(difference());
        }
    }
}

/// Compares the answers of a file, given as its unpacked text.
fn check(file: &str, text: &str) -> Tally {
    let (_, check, expected) =
        FILES.iter().find(|(known, ..)| *known == file).unwrap_or_else(|| panic!("no file {file}"));
    let mut tally = check(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect());
    let checked: usize = tally.checked.values().sum();
    if checked != *expected {
        tally.failures.push(format!("{checked} answers were compared, and not {expected}"));
    }
    tally
}

fn snapshot(config: &Value, options: &CompileOptions) -> ConfigSnapshot {
    compile(config.to_string(), options).unwrap().snapshot
}

/// A complete config around the given parts.
fn config(parts: Value) -> Value {
    let mut config = json!({"account_id": "1", "project": {"id": "2"}});
    config.as_object_mut().unwrap().extend(parts.as_object().unwrap().clone());
    config
}

/// Equality as the vectors need it: numbers as doubles, however they are written.
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

/// A double as the vectors write it.
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

fn rules(lines: Vec<Value>) -> Tally {
    // One goal per rule, so that the whole path from the served text to the answer is tested.
    let goals: Vec<Value> = lines
        .iter()
        .map(|line| json!({"id": line["id"], "key": line["id"], "rules": line["rule"]}))
        .collect();
    let snapshot = snapshot(&config(json!({"goals": goals})), &CompileOptions::default());
    let mut tally = Tally::default();
    for line in &lines {
        let data: Attributes = line["data"].as_object().unwrap().clone().into();
        let goal = snapshot.goal_index(line["id"].as_str().unwrap()).unwrap();
        let matched = goal_matches(&snapshot, goal, &data);
        // Where JavaScript throws there is no answer to compare; not panicking is enough.
        let equal = line["expected"].as_bool().is_none_or(|expected| expected == matched);
        tally.check("rules", equal, || line.to_string());
    }
    tally
}

fn hashes(lines: Vec<Value>) -> Tally {
    let mut tally = Tally::default();
    for line in &lines {
        let (experience, visitor) =
            (line["experience_id"].as_str().unwrap(), line["visitor_id"].as_str().unwrap());
        let hash = crate::murmur::Murmur3::new(9999)
            .update(experience.as_bytes())
            .update(visitor.as_bytes())
            .finish();
        let bucket = super::bucketing::bucket(hash, 10_000);
        let answer = json!({"murmur3": hash, "bucket": bucket});
        tally.check("hashes", answer == line["expected"], || line.to_string());
    }
    tally
}

fn layouts(lines: Vec<Value>) -> Tally {
    let mut tally = Tally::default();
    for line in &lines {
        let mut experience =
            json!({"id": line["experience_id"], "key": "e", "variations": line["variations"]});
        if let Some(version) = line.get("version") {
            experience["version"] = version.clone();
        }
        let snapshot = snapshot(&config(json!({"experiences": [experience]})), &CompileOptions::default());
        let experience = &snapshot.experiences()[0];
        for case in line["expected"].as_array().unwrap() {
            let visitor = case[0].as_str().unwrap();
            let hash = experience.hash.update(visitor.as_bytes()).finish();
            let bucket = super::bucketing::bucket(hash, 10_000);
            let selected = super::bucketing::select(&experience.layout, bucket);
            let id = selected.map(|edge| experience.variations[edge.variation as usize].id.as_str());
            // Where JavaScript loses a numeric id, the right answer is the variation.
            let as_expected = match case[2].as_str() {
                Some(expected) => id.unwrap_or("not_decided") == expected,
                None => id.is_some(),
            };
            let equal = json!(bucket) == case[1] && as_expected;
            tally.check("layouts", equal, || format!("{case} is {id:?} in {line}"));
        }
    }
    tally
}

fn casts_texts_numbers_and_preview_parameters(lines: Vec<Value>) -> Tally {
    let mut tally = Tally::default();
    for line in &lines {
        let (value, expected) = (&line["value"], &line["expected"]);
        let flat = AttributeValue::from(value.clone());
        let (part, answer) = match line["kind"].as_str().unwrap() {
            "cast" => match VariableType::named(line["type"].as_str().unwrap()) {
                // The vectors name the NaN or infinity; here both are `None`.
                Some(declared) => match cast(value, declared) {
                    Some(cast) => ("casts", cast),
                    None if expected.get("$js").is_some() => ("casts", expected.clone()),
                    None => ("casts", json!("not cast")),
                },
                None => ("casts", value.clone()),
            },
            "string" => ("texts", json!(text(&flat, &mut ryu_js::Buffer::new()))),
            "number" => ("numbers", spelled(number(&flat))),
            "preview_param" => {
                let param = value.as_str().and_then(crate::preview::parse_preview_param);
                let ids = param.map_or(
                    Value::Null,
                    |param| json!({"experienceId": param.experience_id, "variationId": param.variation_id}),
                );
                ("preview parameters", ids)
            }
            other => panic!("unknown kind {other}"),
        };
        tally.check(part, same(&answer, expected), || format!("{answer} in {line}"));
    }
    tally
}

fn regular_expressions(lines: Vec<Value>) -> Tally {
    let mut tally = Tally::default();
    for line in &lines {
        let pattern = Pattern::compile(line["pattern"].as_str().unwrap());
        tally.check("patterns", json!(pattern.is_some()) == line["valid"], || line.to_string());
        for case in line["texts"].as_array().unwrap() {
            let matched = pattern
                .as_ref()
                .and_then(|one| one.is_match(case[0].as_str().unwrap(), &mut Steps::of_a_decision()));
            let equal = matched == case[1].as_bool();
            tally.check("searches", equal, || format!("{matched:?} for {case} in {line}"));
        }
    }
    tally
}

#[cfg(test)]
mod natively {
    use std::fs::File;
    use std::io::Read;
    use std::path::PathBuf;

    use super::*;

    fn passes(file: &str) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/vectors");
        let path = folder.join(file).with_extension("jsonl.gz");
        let packed = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
        let Tally { checked, failures } = check(file, &text);
        println!("compared {checked:?}");
        let shown = failures.iter().take(20).map(|failure| failure.chars().take(600).collect::<String>());
        assert!(failures.is_empty(), "{} differ, such as {:#?}", failures.len(), shown.collect::<Vec<_>>());
    }

    macro_rules! every {
        ($($file:ident),+) => {
            $(#[test]
            fn $file() {
                passes(stringify!($file));
            })+

            #[test]
            fn no_vector_file_is_left_out() {
                assert_eq!(FILES.map(|(file, ..)| file), [$(stringify!($file)),+]);
            }
        };
    }
    every!(rules, hashes, layouts, misc, regex, public, odd, scripts);
}
