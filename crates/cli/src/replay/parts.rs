//! The answers to give: JavaScript's, or the recommended ones where there are some.

use serde_json::{Value, json};

use super::line::RequestLine;
use crate::error::FieldFlaw;
use crate::json::{Object, is_throw};

/// The expected parts that are not yet compared.
pub(crate) struct Parts {
    left: Object,
}

impl Parts {
    /// Lays the recommended answers over JavaScript's: whole parts, or only keys of them.
    pub(crate) fn new(line: &RequestLine<'_>) -> Self {
        let mut left = line.expected.clone();
        for (part, recommended) in &line.recommended {
            match (left.get_mut(part), recommended) {
                (Some(Value::Object(whole)), Value::Object(keys)) if !whole.contains_key("throws") => {
                    whole.extend(keys.clone());
                }
                // What an oracle did not answer is not compared.
                (None, _) => {}
                (Some(whole), _) => *whole = recommended.clone(),
            }
        }
        Self { left }
    }

    /// Whether any of these is to be compared.
    pub(crate) fn has_any(&self, parts: &[&str]) -> bool {
        parts.iter().any(|part| self.left.contains_key(*part))
    }

    /// A part to compare. Where JavaScript throws and nothing is recommended there is no answer to
    /// compare with; that the SDK does not panic is seen all the same.
    pub(crate) fn take(&mut self, part: &str) -> Option<Value> {
        self.left.remove(part).filter(|expected| !is_throw(expected))
    }

    /// As [`take`](Self::take), for a part that is an object.
    pub(crate) fn take_object(&mut self, part: &str) -> Result<Option<Object>, FieldFlaw> {
        match self.take(part) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(FieldFlaw::new(format!("expected.{part}"), "is not an object")),
        }
    }

    /// Makes sure that nothing was left uncompared.
    pub(crate) fn finish(self) -> Result<(), FieldFlaw> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(part) => {
                Err(FieldFlaw::new(format!("expected.{part}"), "is no part that this request can have"))
            }
        }
    }
}

/// Whether an answer says that the visitor id is empty.
pub(crate) fn is_no_visitor(expected: &Value) -> bool {
    *expected == json!({"none": "no_visitor"})
}

/// An expected list, which without a visitor is an empty one.
pub(crate) fn list(part: &str, expected: Value) -> Result<Vec<Value>, FieldFlaw> {
    match expected {
        Value::Array(entries) => Ok(entries),
        expected if is_no_visitor(&expected) => Ok(Vec::new()),
        _ => Err(FieldFlaw::new(format!("expected.{part}"), "is not a list")),
    }
}
