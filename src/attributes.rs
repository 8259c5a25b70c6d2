//! Visitor and location attributes: every JSON type, built without ceremony, never printed.

use std::borrow::Cow;
use std::fmt;

use smol_str::SmolStr;

use crate::short::same;

/// Where the ids of the custom segments that a visitor is in are kept among the segments.
pub(crate) const CUSTOM_SEGMENTS: &str = "customSegments";

/// One attribute value. Numbers are doubles, as in the official JavaScript SDK: an integer beyond
/// 2^53 is rounded to the nearest double before a rule sees it.
///
/// `NaN` and the infinities are kept as they are: as text they compare as `"NaN"` and
/// `"Infinity"`, they are not numeric for `less` and `lessEqual`, and they are written as `null`
/// where a value leaves as JSON.
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
    /// Text; up to 23 bytes are stored without an allocation.
    String(SmolStr),
    /// A list.
    Array(Vec<AttributeValue>),
    /// A nested map.
    Object(Attributes),
}

/// A map from attribute name to value, sorted by name. Names are case-sensitive; setting a name
/// again replaces its value.
///
/// ```
/// use convert_sdk::{Attributes, attributes};
///
/// let inline = attributes! { "plan" => "pro", "age" => 31, "tags" => ["a", "b"] };
/// let stepwise = Attributes::new().with("age", 31).with("tags", ["a", "b"]).with("plan", "pro");
/// assert_eq!(inline, stepwise);
/// assert_eq!(format!("{inline:?}"), "Attributes(3 entries)");
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Attributes {
    entries: Vec<(SmolStr, AttributeValue)>,
}

/// Builds [`Attributes`] from `name => value` pairs; names are texts, and not copied if they are written
/// out; values are anything that converts into [`AttributeValue`].
///
/// ```
/// let location = convert_sdk::attributes! { "url" => "https://example.com/", "depth" => 2 };
/// assert_eq!(location.len(), 2);
/// let name = format!("{}_code", "country");
/// let visitor = convert_sdk::attributes! { "age" => 30, name => "GR" };
/// assert!(visitor.get("country_code").is_some());
/// ```
#[macro_export]
macro_rules! attributes {
    () => { $crate::Attributes::new() };
    // Names that are written out are not copied.
    ($($name:literal => $value:expr),+ $(,)?) => {
        $crate::Attributes::new()$(.with($crate::SmolStr::new_static($name), $value))+
    };
    ($($name:expr => $value:expr),+ $(,)?) => {
        $crate::Attributes::new()$(.with($name, $value))+
    };
}

/// Up to so many entries are searched in a row.
const FEW: usize = 8;

impl Attributes {
    /// An empty map; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// This map with one more entry.
    #[must_use]
    pub fn with(mut self, name: impl Into<SmolStr>, value: impl Into<AttributeValue>) -> Self {
        self.insert(name, value);
        self
    }

    /// Sets one entry and returns the value that it replaced.
    pub fn insert(
        &mut self,
        name: impl Into<SmolStr>,
        value: impl Into<AttributeValue>,
    ) -> Option<AttributeValue> {
        let (name, value) = (name.into(), value.into());
        match self.position(&name) {
            Ok(at) => Some(std::mem::replace(&mut self.entries[at].1, value)),
            Err(at) => {
                if self.entries.capacity() == 0 {
                    self.entries = Vec::with_capacity(4);
                }
                self.entries.insert(at, (name, value));
                None
            }
        }
    }

    /// Removes one entry and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<AttributeValue> {
        self.position(name).ok().map(|at| self.entries.remove(at).1)
    }

    /// The value of `name`, exactly as written.
    #[must_use]
    #[inline]
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        // Comparing lengths tells most names apart, so few of them are found faster one by one.
        if self.entries.len() <= FEW {
            return self.entries.iter().find(|(entry, _)| same(entry, name)).map(|(_, value)| value);
        }
        self.position(name).ok().map(|at| &self.entries[at].1)
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &AttributeValue)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The JavaScript SDK's deep merge, `later` winning: objects merge by key, arrays unite with
    /// the later one first and equal elements dropped, an array that meets an object counts as an
    /// object whose keys are the positions, anything else is replaced.
    pub(crate) fn merge(&mut self, later: &Attributes) {
        for (name, value) in &later.entries {
            match self.position(name) {
                Ok(at) => self.entries[at].1.merge(value),
                Err(at) => self.entries.insert(at, (name.clone(), value.clone())),
            }
        }
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        // Names often come in their order.
        if self.entries.last().is_none_or(|(last, _)| last.as_str() < name) {
            return Err(self.entries.len());
        }
        self.entries.binary_search_by(|(entry, _)| entry.as_str().cmp(name))
    }
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

    fn merge(&mut self, later: &Self) {
        match (self, later) {
            (Self::Object(mine), Self::Object(theirs)) => mine.merge(theirs),
            (Self::Array(mine), Self::Array(theirs)) => {
                let mut union: Vec<Self> = Vec::with_capacity(theirs.len() + mine.len());
                for value in theirs.iter().chain(mine.iter()) {
                    if !union.iter().any(|kept| kept.strict_eq(value) || kept.is_nan() && value.is_nan()) {
                        union.push(value.clone());
                    }
                }
                *mine = union;
            }
            (mine @ Self::Array(_), Self::Object(theirs)) => {
                let mut merged = mine.by_position();
                merged.merge(theirs);
                *mine = Self::Object(merged);
            }
            (Self::Object(mine), theirs @ Self::Array(_)) => mine.merge(&theirs.by_position()),
            (mine, theirs) => *mine = theirs.clone(),
        }
    }

    const fn is_nan(&self) -> bool {
        matches!(self, Self::Number(number) if number.is_nan())
    }

    /// The elements of an array, each under the text of its position.
    fn by_position(&self) -> Attributes {
        match self {
            Self::Array(values) => values
                .iter()
                .enumerate()
                .map(|(at, value)| (SmolStr::from(at.to_string()), value.clone()))
                .collect(),
            _ => Attributes::new(),
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
}

impl fmt::Debug for AttributeValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({} entries)", self.entries.len())
    }
}

impl<K: Into<SmolStr>, V: Into<AttributeValue>> FromIterator<(K, V)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut map = Self::new();
        map.extend(pairs);
        map
    }
}

impl<K: Into<SmolStr>, V: Into<AttributeValue>> Extend<(K, V)> for Attributes {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        for (name, value) in pairs {
            self.insert(name, value);
        }
    }
}

impl<K: Into<SmolStr>, V: Into<AttributeValue>, const N: usize> From<[(K, V); N]> for Attributes {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

/// No attributes, so that a call may pass `()`.
impl From<()> for Attributes {
    fn from((): ()) -> Self {
        Self::new()
    }
}

impl From<serde_json::Map<String, serde_json::Value>> for Attributes {
    fn from(map: serde_json::Map<String, serde_json::Value>) -> Self {
        map.into_iter().collect()
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
    fn from(value: &str) -> Self {
        Self::String(value.into())
    }
}

impl From<String> for AttributeValue {
    fn from(value: String) -> Self {
        Self::String(value.into())
    }
}

impl From<&String> for AttributeValue {
    fn from(value: &String) -> Self {
        Self::String(value.into())
    }
}

impl From<Cow<'_, str>> for AttributeValue {
    fn from(value: Cow<'_, str>) -> Self {
        Self::String(value.as_ref().into())
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

impl From<&Attributes> for serde_json::Value {
    fn from(map: &Attributes) -> Self {
        Self::Object(map.iter().map(|(name, value)| (name.to_owned(), value.into())).collect())
    }
}

/// A double as JSON: whole numbers without a fraction, as JavaScript prints them; `null` where JSON
/// has no number.
pub(crate) fn number_to_json(value: f64) -> serde_json::Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        return serde_json::Value::from(value as i64);
    }
    serde_json::Number::from_f64(value).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

impl IntoIterator for Attributes {
    type Item = (SmolStr, AttributeValue);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(earlier: serde_json::Value, later: serde_json::Value) -> serde_json::Value {
        let mut map = Attributes::new().with("k", earlier);
        map.merge(&Attributes::new().with("k", later));
        serde_json::Value::from(&map)["k"].take()
    }

    /// Each answer is that of the JavaScript SDK 4.4.3 for attributes of a context and of a call.
    #[test]
    fn values_of_one_name_merge_as_in_javascript() {
        use serde_json::json;
        assert_eq!(merged(json!(["a", "b"]), json!(["b", "c"])), json!(["b", "c", "a"]));
        assert_eq!(
            merged(json!({"x": {"a": 1}}), json!({"x": {"b": 2}, "y": 3})),
            json!({"x": {"a": 1, "b": 2}, "y": 3})
        );
        assert_eq!(merged(json!(["a"]), json!({"x": 1})), json!({"0": "a", "x": 1}));
        assert_eq!(merged(json!({"0": "z", "x": 1}), json!(["a"])), json!({"0": "a", "x": 1}));
        assert_eq!(merged(json!({"x": 1}), json!(5)), json!(5));
        assert_eq!(merged(json!([1]), json!(null)), json!(null));
    }
}
