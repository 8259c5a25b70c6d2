//! Rule sets against a map, item by item.

use std::cmp::Ordering;

use regress::Regex;
use serde_json::Value;

use super::js::{has_text, is_white, lower, numeric, order, strictly_equal, string};
use super::{Data, listed};

/// Whether a rule set matches. Anything malformed is false at its level.
pub(super) fn matches(set: &Value, data: &Data) -> bool {
    listed(set, "OR").iter().any(|branch| {
        let blocks = listed(branch, "AND");
        !blocks.is_empty()
            && blocks.iter().all(|block| listed(block, "OR_WHEN").iter().any(|item| holds(item, data)))
    })
}

/// All items of a tree, in order.
pub(super) fn items(set: &Value) -> impl Iterator<Item = &Value> {
    let blocks = listed(set, "OR").iter().flat_map(|branch| listed(branch, "AND"));
    blocks.flat_map(|block| listed(block, "OR_WHEN"))
}

fn holds(item: &Value, data: &Data) -> bool {
    let matching = &item["matching"];
    let (Some(kind), Some(negated)) = (matching["match_type"].as_str(), matching["negated"].as_bool()) else {
        return false;
    };
    let value = item.get("value");
    let needs_value = !matches!(kind, "exists" | "doesNotExist");
    if needs_value && value.is_none() {
        return false;
    }
    let found = item["key"].as_str().and_then(|key| data.get(key));
    if found.is_none() && needs_value {
        return false;
    }
    let answer = match found {
        None => Some(kind == "doesNotExist"),
        Some(found) => compare(kind, found, value.unwrap_or(&Value::Null)),
    };
    answer.is_some_and(|answer| answer != negated)
}

/// One comparison; `None` is false, negated or not.
fn compare(kind: &str, data: &Value, value: &Value) -> Option<bool> {
    let blank = data.is_null() || data == "";
    // Where JavaScript throws.
    let writes = match kind {
        "equals" | "equalsNumber" | "matches" => match data {
            Value::Array(_) => true,
            Value::Object(map) if !map.is_empty() => has_text(value),
            _ => has_text(data) && has_text(value),
        },
        "isIn" => has_text(data) && (!value.is_array() || has_text(value)),
        "exists" | "not_exists" | "doesNotExist" => true,
        _ => has_text(data) && has_text(value),
    };
    if !writes {
        return None;
    }
    Some(match kind {
        "equals" | "equalsNumber" | "matches" => match data {
            Value::Array(elements) => elements.iter().any(|one| strictly_equal(one, value)),
            Value::Object(map) if !map.is_empty() => map.contains_key(&string(value)),
            _ => lower(data) == lower(value),
        },
        "less" => ordered(data, value)? == Some(Ordering::Less),
        "lessEqual" => matches!(ordered(data, value)?, Some(Ordering::Less | Ordering::Equal)),
        "contains" => string(value).chars().all(is_white) || lower(data).contains(&lower(value)),
        "startsWith" => lower(data).starts_with(&lower(value)),
        "endsWith" => lower(data).ends_with(&lower(value)),
        "isIn" => {
            let wanted: Vec<String> = match value {
                Value::String(list) => list.split('|').map(str::to_lowercase).collect(),
                Value::Array(elements) => elements.iter().map(lower).collect(),
                _ => Vec::new(),
            };
            string(data).split('|').any(|token| wanted.iter().any(|one| one == token))
        }
        "regexMatches" => {
            let pattern = Regex::with_flags(&string(value), "i").ok()?;
            pattern.find(&lower(data)).is_some()
        }
        "exists" => !blank,
        "not_exists" | "doesNotExist" => blank,
        _ => return None,
    })
}

/// The order of two sides of the same type; the outer `None` if their types differ.
fn ordered(data: &Value, value: &Value) -> Option<Option<Ordering>> {
    let side = |value: &Value| numeric(value).map_or_else(|| value.clone(), Value::from);
    let (data, value) = (side(data), side(value));
    let kind = |value: &Value| match value {
        Value::Number(_) => "number",
        Value::Bool(_) => "boolean",
        Value::String(_) => "string",
        Value::Null | Value::Array(_) | Value::Object(_) => "object",
    };
    (kind(&data) == kind(&value)).then(|| order(&data, &value))
}
