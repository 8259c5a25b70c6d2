//! A served config with a few defects, of kinds that byte-wise mutation of JSON text rarely reaches.

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use serde_json::Value;

use crate::SHOP;
use crate::values::json;

const SERVED: [&str; 4] = [
    SHOP,
    include_str!("../../tests/it/shop.json"),
    include_str!("../../tests/it/small.json"),
    include_str!("../../crates/emulator/projects/demo.json"),
];

/// Names with a meaning somewhere in a config, and texts with a meaning as a value.
const WORDS: [&str; 54] = [
    "OR",
    "AND",
    "OR_WHEN",
    "rules",
    "rule_type",
    "matching",
    "match_type",
    "negated",
    "value",
    "key",
    "id",
    "audiences",
    "locations",
    "site_area",
    "segments",
    "features",
    "goals",
    "experiences",
    "variations",
    "changes",
    "data",
    "feature_id",
    "variables_data",
    "variables",
    "type",
    "status",
    "version",
    "environment",
    "environments",
    "traffic_allocation",
    "settings",
    "matching_options",
    "any",
    "all",
    "running",
    "stopped",
    "draft",
    "fullStackFeature",
    "bucketed_into_experience_key",
    "equals",
    "equalsNumber",
    "less",
    "lessEqual",
    "contains",
    "startsWith",
    "endsWith",
    "isIn",
    "regexMatches",
    "exists",
    "doesNotExist",
    "json",
    "integer",
    "permanent",
    "account_id",
];

/// One of a few configs after a few edits.
///
/// # Errors
/// The bytes are used up.
pub fn edited(u: &mut Unstructured<'_>) -> Result<Value> {
    let mut config = served(u)?;
    for _ in 0..u.int_in_range(1..=6)? {
        edit(descend(&mut config, u)?, u)?;
    }
    Ok(config)
}

fn served(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(serde_json::from_str(u.choose(&SERVED)?).expect("a fixture is JSON"))
}

/// A node of the tree, preferably a leaf.
fn descend<'a>(node: &'a mut Value, u: &mut Unstructured<'_>) -> Result<&'a mut Value> {
    let inside = match node {
        Value::Array(nodes) => nodes.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if inside == 0 || u.ratio(1, 6)? {
        return Ok(node);
    }
    let at = u.choose_index(inside)?;
    match node {
        Value::Array(nodes) => descend(&mut nodes[at], u),
        Value::Object(fields) => descend(fields.values_mut().nth(at).expect("below its length"), u),
        leaf => Ok(leaf),
    }
}

fn edit(node: &mut Value, u: &mut Unstructured<'_>) -> Result<()> {
    match (u.int_in_range(0..=5)?, node) {
        (0, node) => *node = json(u, 2)?,
        (1, node) => *node = (*u.choose(&WORDS)?).into(),
        (2, node) => *node = descend(&mut served(u)?, u)?.take(),
        (3, node) => {
            for _ in 0..u.int_in_range(1..=100)? {
                *node = Value::Array(vec![node.take()]);
            }
        }
        (4, Value::Array(nodes)) if !nodes.is_empty() => {
            nodes.remove(u.choose_index(nodes.len())?);
        }
        (4, Value::Object(fields)) if !fields.is_empty() => {
            let name = fields.keys().nth(u.choose_index(fields.len())?).cloned();
            fields.remove(&name.expect("below its length"));
        }
        (5, Value::Array(nodes)) if !nodes.is_empty() => {
            let again = nodes[u.choose_index(nodes.len())?].clone();
            nodes.insert(u.choose_index(nodes.len())?, again);
        }
        (_, Value::Object(fields)) => {
            fields.insert((*u.choose(&WORDS)?).to_owned(), json(u, 1)?);
        }
        (_, node) => *node = json(u, 0)?,
    }
    Ok(())
}
