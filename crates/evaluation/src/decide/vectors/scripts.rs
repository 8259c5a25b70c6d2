//! Sequences of calls on one context, without what they send.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::public::{Config, Visitor, compare, each_line, is_throw, keys, map, merged, report_keys, text_of};
use super::{Tally, same};
use crate::attributes::AttributesExt;
use crate::config::SnapshotExt;
use crate::decide::goal_matches;

/// The keys of experiences with a variation whose id is not a string. JavaScript may decide them
/// without returning the decision.
fn untold(served: &Value) -> BTreeSet<String> {
    let has_other_id = |variation: &Value| variation.get("id").is_some_and(|id| !id.is_string());
    let experiences = served["experiences"].as_array().into_iter().flatten();
    experiences
        .filter(|it| it["variations"].as_array().is_some_and(|all| all.iter().any(has_other_id)))
        .map(|experience| text_of(&experience["key"]))
        .collect()
}

pub(super) fn sequences_of_calls_on_one_context(lines: Vec<Value>) -> Tally {
    let mut tally = Tally::default();
    each_line(lines, "script", |config, line| check(&mut tally, config, line));
    tally
}

fn check(tally: &mut Tally, config: &Config, line: &Value) {
    let script = &line["script"];
    let (mut visitor, _) = Visitor::prepare(&config.snapshot, &config.environment, script);
    let mut converted: BTreeSet<&str> = keys(&script["state"]["goals"]).into_iter().collect();
    let untold = untold(&config.served);
    for (call, expected) in
        script["ops"].as_array().unwrap().iter().zip(line["expected"]["answers"].as_array().unwrap())
    {
        if is_throw(expected) {
            return;
        }
        visitor.call = merged(call.get("call_attributes"));
        visitor.location = map(call.get("location"));
        visitor.forced = call["force"].as_str().map(str::to_owned);
        let (op, answer) = answer(&mut visitor, &mut converted, call);
        let is_told = |pair: &&Value, at: usize| !untold.contains(pair[at].as_str().unwrap_or_default());
        let told = |list: &Value, at| -> Value {
            list.as_array().into_iter().flatten().filter(|pair| is_told(pair, at)).cloned().collect()
        };
        let equal = match op {
            "run_all" => same(&told(&answer, 0), &told(expected, 0)),
            "features" => same(&told(&answer, 1), &told(expected, 1)),
            "run" if untold.contains(call["key"].as_str().unwrap()) => {
                expected.is_null() || same(&answer, expected)
            }
            _ => same(&answer, expected),
        };
        compare(tally, op, line, &answer, expected, equal);
    }
}

fn answer<'a>(
    visitor: &mut Visitor<'a>,
    converted: &mut BTreeSet<&'a str>,
    call: &'a Value,
) -> (&'static str, Value) {
    let key = call["key"].as_str().unwrap_or_default();
    let mut memory = visitor.memory.clone();
    let answer = match call["op"].as_str().unwrap() {
        "run" => {
            let decided = visitor.decide_and_store(&mut memory, key);
            ("run", decided.map_or(Value::Null, |decided| visitor.pair(decided)[1].take()))
        }
        "run_all" => {
            let decided = visitor.decide_all(&mut memory, &[]);
            ("run_all", decided.into_iter().map(|decided| visitor.pair(decided)).collect())
        }
        "feature" => {
            // JavaScript decides no experience for an undeclared feature.
            let Some(feature) = visitor.snapshot.feature_index(key) else { return ("feature", Value::Null) };
            let carried = visitor.carried(&mut memory, &keys(&call["experience_keys"]), true);
            let first = carried.iter().find(|(carried, _)| carried.group as usize == feature);
            ("feature", first.map_or(Value::Null, |(_, entry)| json!([entry["experience_key"], entry["id"]])))
        }
        "features" => {
            let mut seen = BTreeSet::new();
            let mut carried = visitor.carried(&mut memory, &[], true);
            carried.retain(|(carried, _)| seen.insert(carried.feature));
            let mut pairs: Vec<_> =
                carried.iter().map(|(_, it)| json!([it["key"], it["experience_key"]])).collect();
            pairs.sort_by_key(Value::to_string);
            ("features", pairs.into())
        }
        "custom" => ("custom", json!(visitor.run_custom_segments(call))),
        "segments" => {
            visitor.segments.merge(&report_keys(&map(call.get("segments")), true));
            ("segments", Value::Null)
        }
        // The tracker marks goals by id; JavaScript, and so this driver, by key.
        _ => ("convert", json!(convert(visitor, converted, call))),
    };
    visitor.memory = memory;
    answer
}

fn convert<'a>(visitor: &Visitor<'_>, converted: &mut BTreeSet<&'a str>, call: &'a Value) -> bool {
    let goal_key = call["goal_key"].as_str().unwrap();
    let Some(goal) = visitor.snapshot.goal_index(goal_key).filter(|_| !visitor.id.is_empty()) else {
        return false;
    };
    let data = call.get("rule_data").filter(|data| !data.is_null());
    let matches = data.is_none_or(|data| goal_matches(visitor.snapshot, goal, &map(Some(data))));
    matches && (converted.insert(goal_key) || call["force_multiple"] == true)
}
