//! Casts of feature variables to their declared types.

use ryu_js::Buffer;
use serde_json::Value;

use super::number::{parse_float, parse_int};
use super::text::{has_text, text, truthy};
use crate::attributes::{AttributeValue, number_to_json};

/// The declared type of a feature variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VariableType {
    Boolean,
    Float,
    Integer,
    Json,
    String,
}

impl VariableType {
    /// The type with exactly this name; variables of other types are left as they are.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "boolean" => Self::Boolean,
            "float" => Self::Float,
            "integer" => Self::Integer,
            "json" => Self::Json,
            "string" => Self::String,
            _ => return None,
        })
    }
}

/// The value as its declared type, or `None` if JavaScript yields NaN or an infinity, or throws:
/// JSON has no such number, so the caller keeps the value as served.
pub(crate) fn cast(value: &Value, declared: VariableType) -> Option<Value> {
    let flat = AttributeValue::from(value.clone());
    let mut buffer = Buffer::new();
    match declared {
        VariableType::Boolean => Some(Value::Bool(match &flat {
            AttributeValue::String(text) if text == "false" => false,
            other => truthy(other),
        })),
        VariableType::Integer | VariableType::Float | VariableType::String if !has_text(&flat) => None,
        VariableType::Integer => finite(parsed(&flat, parse_int)),
        VariableType::Float => finite(parsed(&flat, parse_float)),
        VariableType::String => Some(Value::String(text(&flat, &mut buffer).into_owned())),
        VariableType::Json => Some(match value {
            Value::Object(_) | Value::Array(_) | Value::Null => value.clone(),
            _ => {
                let text = text(&flat, &mut buffer);
                serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()))
            }
        }),
    }
}

fn parsed(value: &AttributeValue, parse: fn(&str) -> f64) -> f64 {
    match value {
        AttributeValue::Bool(value) => f64::from(u8::from(*value)),
        other => parse(&text(other, &mut Buffer::new())),
    }
}

fn finite(number: f64) -> Option<Value> {
    number.is_finite().then(|| number_to_json(number))
}
