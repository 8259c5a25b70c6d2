//! Visitors whom the rules of a config have something to say about.

use convert_sdk::Attributes;
use serde_json::Value;

/// How many items of rules are looked at.
const MOST: usize = 64;

/// A visitor, whose attributes are also the location.
#[derive(Clone)]
pub struct Visitor {
    /// Any text.
    pub id: String,
    /// What rules see.
    pub attributes: Attributes,
}

/// One who gives every rule item what it asks for, one who gives it something near, one without any
/// attribute, and nobody.
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

/// Of another type, or a little more.
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
