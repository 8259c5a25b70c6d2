//! Features: one by one, each from the prepared state, and all together.

use std::collections::BTreeSet;

use convert_sdk::{Context, FeatureResult, RunOptions, config::EntityKind};
use serde_json::{Map, Value, json};

use crate::error::Trouble;
use crate::findings::Findings;
use crate::json::{Object, is_special_number, is_throw, same, special, text};
use crate::line::RequestLine;
use crate::parts::{Parts, is_no_visitor, list};
use crate::prepared::Fresh;
use crate::served::Served;
use crate::subject::Ready;
use crate::surface::Visitor;

/// The contexts for one feature.
struct Asked {
    key: String,
    expected: Vec<Value>,
    /// For the whole list.
    all: Visitor,
    /// For the single result, where the SDK gives one result for several (F2).
    first: Visitor,
}

/// Compares the parts `features` and `run_features`.
pub(crate) fn compare(
    ready: &mut Ready,
    fresh: &Fresh<'_>,
    line: &RequestLine<'_>,
    parts: &mut Parts,
    findings: &mut Findings,
) -> Result<(), Trouble> {
    let request = &line.request;
    let mut asked = Vec::new();
    for (key, expected) in parts.take_object("features")?.unwrap_or_default() {
        // If JavaScript throws and nothing is recommended, there is nothing to compare with.
        if !is_throw(&expected) {
            let expected = list(&format!("features.{key}"), expected)?;
            asked.push(Asked { key, expected, all: fresh.context()?, first: fresh.context()? });
        }
    }
    let together = match parts.take("run_features") {
        Some(expected) => Some((expected, fresh.context()?)),
        None => None,
    };
    ready.unsettle(&request.visitor_id);

    let options =
        fresh.options.clone().enable_tracking(false).type_casting(request.type_casting.unwrap_or(true));
    let named = request.feature_experience_keys.clone().unwrap_or_default();
    let single = options.clone().experience_keys(named.iter().map(String::as_str));
    for Asked { key, expected, all, first } in &asked {
        let results = of_each_experience(all, key, &options, &named);
        let expected = first_of(enabled(expected), "experience_key");
        // No list of keys can name an experience whose key is not text.
        let asked: Vec<_> = expected.iter().copied().filter(|it| it["experience_key"].is_string()).collect();
        check_entries(&format!("features.{key}"), &asked, all, &results, findings);
        let single: Vec<_> = first.run_feature_with(key, &single).into_iter().collect();
        let part = format!("features.{key}.first");
        check_entries(&part, &expected[..expected.len().min(1)], first, &single, findings);
    }
    let Some((expected, context)) = together else { return Ok(()) };
    if line.recommended.contains_key("run_experiences") && !line.recommended.contains_key("run_features") {
        check_by_feature(&asked, &context, &options, &named, findings);
        return Ok(());
    }
    if is_no_visitor(&expected) {
        check_entries("run_features", &[], &context, &context.run_features_with(&options), findings);
        return Ok(());
    }
    check_together(&list("run_features", expected)?, &context, &options, &ready.served, findings);
    Ok(())
}

/// A feature as each experience carries it, run for one experience after the other: the SDK gives one result for all of
/// them (F2).
fn of_each_experience<'a>(
    context: &'a Context,
    key: &str,
    options: &RunOptions,
    named: &[String],
) -> Vec<FeatureResult<'a>> {
    let mut asked = BTreeSet::new();
    let keys = context.config().experience_keys();
    keys.filter(|experience| named.is_empty() || named.iter().any(|named| named == experience))
        .filter(|experience| asked.insert(*experience))
        .filter_map(|experience| {
            context.run_feature_with(key, &options.clone().experience_keys([experience])).ok()
        })
        .collect()
}

/// The first entry for each value of a field.
fn first_of<'a>(entries: Vec<&'a Value>, field: &str) -> Vec<&'a Value> {
    let mut seen = BTreeSet::new();
    entries.into_iter().filter(|entry| seen.insert(entry[field].to_string())).collect()
}

/// All features: the enabled ones in order, the disabled ones as the rest of the declared ones.
fn check_together(
    expected: &[Value],
    context: &Context,
    options: &RunOptions,
    served: &Served,
    findings: &mut Findings,
) {
    let results = context.run_features_with(options);
    let mut enabled = first_of(enabled(expected), "id");
    let declared = served.features();
    enabled.sort_by_key(|entry| {
        let id = text(entry.get("id"));
        declared.iter().position(|(known, _)| *known == id)
    });
    check_entries("run_features", &enabled, context, &results, findings);
    // In JavaScript a feature with a numeric id is enabled and disabled at once.
    let on: BTreeSet<String> = enabled.iter().map(|entry| text(entry.get("id"))).collect();
    let disabled = expected.iter().filter(|entry| entry["status"] == "disabled");
    let disabled = disabled.filter(|entry| !has_no_key(entry) && !on.contains(&text(entry.get("id"))));
    let expected: BTreeSet<String> = disabled.map(|entry| text(entry.get("key"))).collect();
    let ours: BTreeSet<&str> = results.iter().map(FeatureResult::feature_id).collect();
    let rest = declared.iter().filter(|(id, _)| !ours.contains(id.as_str()));
    let actual: BTreeSet<&String> = rest.map(|(_, key)| key).collect();
    findings.check("run_features.disabled", &json!(expected), &json!(actual));
}

/// If the vectors recommend an answer for single features but none for all together, the two must agree.
fn check_by_feature(
    asked: &[Asked],
    context: &Context,
    options: &RunOptions,
    named: &[String],
    findings: &mut Findings,
) {
    let results = context.run_features_with(options);
    for Asked { key, expected, .. } in asked {
        let from_named = |result: &&FeatureResult<'_>| {
            named.is_empty() || named.iter().any(|experience| experience == result.experience_key())
        };
        let of_feature = results.iter().filter(|result| result.feature_key() == key);
        let results: Vec<_> = of_feature.copied().collect();
        // The recommended answer is for the named experiences, whose first need not be the first of all.
        if named.is_empty() || results.iter().all(|result| from_named(&result)) {
            let expected = first_of(enabled(expected), "id");
            check_entries(&format!("run_features.{key}"), &expected, context, &results, findings);
        }
    }
}

/// The entries that the SDK gives too: it has no result for a disabled feature, nor for one that the config does not
/// declare, which JavaScript returns without a key.
fn enabled(expected: &[Value]) -> Vec<&Value> {
    expected.iter().filter(|entry| entry["status"] != "disabled" && !has_no_key(entry)).collect()
}

fn has_no_key(entry: &Value) -> bool {
    entry["key"].is_null() || special(&entry["key"]) == Some("undefined")
}

fn check_entries(
    part: &str,
    expected: &[&Value],
    context: &Context,
    results: &[FeatureResult<'_>],
    findings: &mut Findings,
) {
    let equal = expected.len() == results.len()
        && expected.iter().zip(results).all(|(expected, result)| is_entry(expected, context, result));
    if !equal {
        let actual = results.iter().map(entry).collect();
        findings.differ(part, expected.iter().copied().cloned().collect(), actual);
    }
}

/// The status that the official SDKs give a visitor's feature; without it there is no result here.
const ENABLED: &str = "enabled";

fn entry(result: &FeatureResult<'_>) -> Value {
    let variables: Map<_, _> =
        result.variables().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    json!({
        "key": result.feature_key(),
        "id": result.feature_id(),
        "status": ENABLED,
        "experience_key": result.experience_key(),
        "variables": variables,
    })
}

/// Compares the fields that the expectation has.
fn is_entry(expected: &Value, context: &Context, result: &FeatureResult<'_>) -> bool {
    let Value::Object(fields) = expected else { return false };
    fields.iter().all(|(field, expected)| match field.as_str() {
        "key" => text(Some(expected)) == result.feature_key(),
        "id" => text(Some(expected)) == result.feature_id(),
        "status" => expected == ENABLED,
        "experience_key" => text(Some(expected)) == result.experience_key(),
        "variables" => are_variables(expected, context, result),
        _ => false,
    })
}

fn are_variables(expected: &Value, context: &Context, result: &FeatureResult<'_>) -> bool {
    let nothing = Object::new();
    let expected = match expected {
        Value::Object(variables) if special(expected).is_none() => variables,
        // A change without variables.
        _ => &nothing,
    };
    let defined = expected.iter().filter(|(_, value)| special(value) != Some("undefined"));
    result.variables().count() == defined.clone().count()
        && defined.into_iter().all(|(name, expected)| {
            result.variable(name).is_some_and(|actual| {
                if is_special_number(expected) {
                    // JSON has no such number: the result is the value as served (F1).
                    served(context, result, name).any(|served| same(&served, actual))
                } else {
                    same(expected, actual)
                }
            })
        })
}

/// The config's value for a variable of the result.
fn served(context: &Context, result: &FeatureResult<'_>, name: &str) -> impl Iterator<Item = Value> + use<> {
    let experience = context.get_config_entity_by_id(EntityKind::Experience, result.experience_id());
    let mut values = Vec::new();
    for variation in entries(experience.as_ref(), "variations") {
        if text(variation.get("id")) != result.variation_id() {
            continue;
        }
        for change in entries(Some(variation), "changes") {
            let data = &change["data"];
            if text(data.get("feature_id")) == result.feature_id() {
                values.extend(data["variables_data"].get(name).cloned());
            }
        }
    }
    values.into_iter()
}

fn entries<'a>(entity: Option<&'a Value>, list: &str) -> impl Iterator<Item = &'a Value> {
    entity.and_then(|entity| entity[list].as_array()).into_iter().flatten()
}
