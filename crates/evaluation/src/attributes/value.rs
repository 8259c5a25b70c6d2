//! One attribute value, and what converts into it.

use std::borrow::Cow;
use std::fmt;

use smol_str::SmolStr;

use super::{Attributes, AttributesExt};
use crate::short::copied;

/// One attribute value. Numbers are doubles, as in the official JavaScript SDK: an integer beyond
/// 2^53 is rounded to the nearest double before a rule sees it.
///
/// `NaN` and the infinities are kept: as strings they compare as `"NaN"` and `"Infinity"`, they are
/// not numeric for `less` and `lessEqual`, and they serialize to JSON as `null`.
///
/// The value never appears in `Debug`.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum AttributeValue {
    /// JSON `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// A string; up to 23 bytes are stored without an allocation.
    String(SmolStr),
    /// A list.
    Array(Vec<AttributeValue>),
    /// A nested map.
    Object(Attributes),
}

impl AttributeValue {
    /// JavaScript's `===`: no conversion, and two lists or two maps are never the same object.
    pub(crate) fn strict_eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            _ => false,
        }
    }

    /// The JSON type, for messages that must not show the value.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Whether it certainly has nothing on the heap.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => true,
            Self::String(text) => !text.is_heap_allocated(),
            Self::Array(_) | Self::Object(_) => false,
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(text) => long_text(text.len()),
            Self::Array(values) => {
                values.capacity() * size_of::<Self>() + values.iter().map(Self::heap_bytes).sum::<usize>()
            }
            Self::Object(map) => map.heap_bytes(),
        }
    }
}

/// How many heap bytes a string of this length takes.
pub(super) const fn long_text(length: usize) -> usize {
    if length > 23 { length } else { 0 }
}

impl fmt::Debug for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

macro_rules! from_number {
    ($($number:ty),+) => {$(
        impl From<$number> for AttributeValue {
            fn from(value: $number) -> Self {
                Self::Number(value as f64)
            }
        }
    )+};
}
from_number!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize, f32, f64);

impl From<bool> for AttributeValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for AttributeValue {
    #[inline]
    fn from(value: &str) -> Self {
        Self::String(copied(value))
    }
}

impl From<String> for AttributeValue {
    fn from(value: String) -> Self {
        Self::String(copied(&value))
    }
}

impl From<&String> for AttributeValue {
    #[inline]
    fn from(value: &String) -> Self {
        value.as_str().into()
    }
}

impl From<Cow<'_, str>> for AttributeValue {
    fn from(value: Cow<'_, str>) -> Self {
        Self::String(copied(&value))
    }
}

impl From<SmolStr> for AttributeValue {
    fn from(value: SmolStr) -> Self {
        Self::String(value)
    }
}

/// `None` is `null`, which is not the same as an absent attribute.
impl<T: Into<AttributeValue>> From<Option<T>> for AttributeValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<AttributeValue>> From<Vec<T>> for AttributeValue {
    fn from(values: Vec<T>) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<AttributeValue>, const N: usize> From<[T; N]> for AttributeValue {
    fn from(values: [T; N]) -> Self {
        Self::Array(values.into_iter().map(Into::into).collect())
    }
}

impl From<Attributes> for AttributeValue {
    fn from(map: Attributes) -> Self {
        Self::Object(map)
    }
}

impl From<serde_json::Value> for AttributeValue {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(value) => Self::Number(value.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(value) => Self::String(value.into()),
            serde_json::Value::Array(values) => Self::Array(values.into_iter().map(Into::into).collect()),
            serde_json::Value::Object(map) => Self::Object(map.into()),
        }
    }
}

impl From<&AttributeValue> for serde_json::Value {
    fn from(value: &AttributeValue) -> Self {
        match value {
            AttributeValue::Null => Self::Null,
            AttributeValue::Bool(value) => Self::Bool(*value),
            AttributeValue::Number(value) => number_to_json(*value),
            AttributeValue::String(value) => Self::String(value.to_string()),
            AttributeValue::Array(values) => Self::Array(values.iter().map(Into::into).collect()),
            AttributeValue::Object(map) => map.into(),
        }
    }
}

/// A double as JSON: whole numbers without a fraction, as JavaScript prints them, and `null` for
/// what JSON cannot represent.
pub(crate) fn number_to_json(value: f64) -> serde_json::Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        return serde_json::Value::from(value as i64);
    }
    serde_json::Number::from_f64(value).map_or(serde_json::Value::Null, serde_json::Value::Number)
}
