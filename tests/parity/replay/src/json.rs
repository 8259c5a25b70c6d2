//! JSON as JavaScript understands it: parsing that names the field, equality of doubles, special values.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::FieldFlaw;

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// Parses a text; an error names the field and the problem.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, FieldFlaw> {
    // The plain parser is faster; only an error needs the path, and only errors in the data have one.
    serde_json::from_str(text).map_err(|error| {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
            Err(traced) if error.is_data() => {
                let path = traced.path().to_string();
                FieldFlaw::new(if path == "." { "" } else { &path }, reason(&error))
            }
            _ => FieldFlaw::new("", reason(&error)),
        }
    })
}

/// The message without serde's line number: the line in the file is the one that helps.
pub(crate) fn reason(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    match text.strip_suffix(&format!(" at line {line} column {column}")) {
        Some(reason) => format!("{reason} (column {column})"),
        None => text,
    }
}

/// Equality in which numbers are doubles and objects are maps.
pub(crate) fn same(left: &Value, right: &Value) -> bool {
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

/// `String(value)` of an id or a key; a missing one is `undefined`.
pub(crate) fn text(value: Option<&Value>) -> String {
    match value {
        None => "undefined".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => (number.as_f64().unwrap_or(f64::NAN) + 0.0).to_string(),
        Some(other) => other.to_string(),
    }
}

/// Whether a value is truthy in JavaScript.
pub(crate) fn truthy(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Bool(true) | Value::Array(_) | Value::Object(_)) => true,
    }
}

/// The name in `{"$js": name}`, which stands for a value that JSON lacks.
pub(crate) fn special(value: &Value) -> Option<&str> {
    value.as_object().filter(|object| object.len() == 1)?.get("$js")?.as_str()
}

/// Whether a value stands for a number that JSON lacks.
pub(crate) fn is_special_number(value: &Value) -> bool {
    matches!(special(value), Some("NaN" | "Infinity" | "-Infinity"))
}

/// The number that a value stands for.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match special(value) {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => value.as_f64(),
    }
}

/// A number as written in the vectors.
pub(crate) fn from_number(value: f64) -> Value {
    let spelled = match value {
        value if value.is_nan() => "NaN",
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        value => return Value::from(value),
    };
    serde_json::json!({ "$js": spelled })
}

/// Whether JavaScript threw here.
pub(crate) fn is_throw(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.contains_key("throws"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_compare_as_doubles_and_objects_as_maps() {
        assert!(same(&json!({"a": 1, "b": [2.0]}), &json!({"b": [2], "a": 1.0})));
        assert!(same(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992.0)));
        assert!(!same(&json!([1, 2]), &json!([2, 1])));
        assert!(!same(&json!({"a": 1}), &json!({"a": 1, "b": 1})));
        assert!(!same(&json!("1"), &json!(1)));
    }

    #[test]
    fn an_error_names_its_field() {
        #[derive(Deserialize, Debug)]
        #[expect(dead_code, reason = "only the parsing is looked at")]
        struct Line {
            list: Vec<Inner>,
        }
        #[derive(Deserialize, Debug)]
        #[expect(dead_code, reason = "only the parsing is looked at")]
        struct Inner {
            id: String,
        }
        let field = |text| parse::<Line>(text).err().map(|flaw| flaw.field);
        assert_eq!(field(r#"{"list":[{"id":"a"},{"id":1}]}"#).as_deref(), Some("list[1].id"));
        assert_eq!(field("nonsense").as_deref(), Some(""));
    }

    #[test]
    fn ids_are_written_as_in_javascript() {
        let text = |json: &str| text(Some(&serde_json::from_str(json).unwrap()));
        assert_eq!(
            ["5.0", "-0", "1e3", "9007199254740993", "true"].map(text),
            ["5", "0", "1000", "9007199254740992", "true"]
        );
    }

    #[test]
    fn special_numbers_are_recognized() {
        assert!(number(&from_number(f64::NAN)).is_some_and(f64::is_nan));
        assert_eq!(number(&json!({"$js": "-Infinity"})), Some(f64::NEG_INFINITY));
        assert_eq!(number(&json!({"$js": "undefined"})), None);
        assert!(!is_special_number(&json!({"$js": "NaN", "more": 1})));
    }
}
