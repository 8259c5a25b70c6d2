//! Converts values between OpenFeature and the SDK.

use convert_sdk::{AttributeValue, Attributes};
use open_feature::{StructValue, Value};
use serde_json::Value as Json;

/// A structure of JSON fields. OpenFeature has no null: null fields are left out, and a list that contains
/// one gives `None`.
pub(crate) fn structure<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Json)>) -> Option<StructValue> {
    let fields = fields.into_iter().filter(|(_, json)| !json.is_null());
    let fields = fields.map(|(name, json)| Some((name.to_owned(), value(json)?)));
    Some(StructValue { fields: fields.collect::<Option<_>>()? })
}

fn value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64()?),
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(values) => Value::Array(values.iter().map(value).collect::<Option<_>>()?),
        Json::Object(fields) => {
            Value::Struct(structure(fields.iter().map(|(name, json)| (name.as_str(), json)))?)
        }
    })
}

/// A structure's fields as attributes.
pub(crate) fn attributes(structure: &StructValue) -> Attributes {
    structure.fields.iter().map(|(name, value)| (name.as_str(), attribute(value))).collect()
}

fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) => text.into(),
        Value::Array(values) => AttributeValue::Array(values.iter().map(attribute).collect()),
        Value::Struct(structure) => attributes(structure).into(),
    }
}
