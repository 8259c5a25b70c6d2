//! Visitors that a config's rules apply to.

use convert_sdk::Attributes;
use serde_json::Value;

/// The number of rule items considered.
const MOST: usize = 64;

/// A visitor, whose attributes are also the location.
#[derive(Clone)]
pub struct Visitor {
    /// Any text.
    pub id: String,
    /// The data that rules see.
    pub attributes: Attributes,
}

/// One who satisfies every rule item, one who nearly does, one without attributes, and one with an empty id.
pub(crate) fn visitors_of(config: &Value) -> Vec<Visitor> {
    let mut asked = Vec::new();
    collect(config, &mut asked);
    let exact = asked.iter().map(|(key, value)| (*key, (*value).clone())).collect();
    let near = asked.iter().map(|(key, value)| (*key, near(value))).collect();
    vec![
        Visitor { id: "visitor-1".to_owned(), attributes: exact },
        Visitor { id: "besucher-\u{e4}\u{1f600}".to_owned(), attributes: near },
        Visitor { id: "visitor-2".to_owned(), attributes: Attributes::new() },
        Visitor { id: String::new(), attributes: Attributes::new() },
    ]
}

fn collect<'a>(node: &'a Value, asked: &mut Vec<(&'a str, &'a Value)>) {
    match node {
        Value::Array(nodes) => nodes.iter().for_each(|node| collect(node, asked)),
        Value::Object(fields) => {
            if let (Some(key), true) = (node["key"].as_str(), fields.contains_key("matching"))
                && asked.len() < MOST
            {
                asked.push((key, &node["value"]));
            }
            fields.values().for_each(|node| collect(node, asked));
        }
        _ => {}
    }
}

/// Of another type, or slightly more.
fn near(value: &Value) -> Value {
    match value {
        Value::Null => Value::Array(vec![Value::Null]),
        Value::Bool(value) => Value::from(i32::from(*value)),
        Value::Number(number) => Value::from(number.to_string()),
        Value::String(text) => Value::from(format!("{text} ")),
        Value::Array(values) => values.first().cloned().unwrap_or_default(),
        Value::Object(_) => Value::from("[object Object]"),
    }
}
