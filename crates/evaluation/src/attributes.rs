//! Visitor and location attributes: every JSON type, built without ceremony, never printed.

mod entries;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;

use smol_str::SmolStr;

use self::entries::Entries;
pub(crate) use self::entries::Hint;

/// How many values a list of attributes keeps when it is merged.
const LONGEST_LIST: usize = 10_000;

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
/// # use convert_evaluation::{Attributes, attributes};
/// let inline = attributes! { "plan" => "pro", "age" => 31, "tags" => ["a", "b"] };
/// let stepwise = Attributes::new().with("age", 31).with("tags", ["a", "b"]).with("plan", "pro");
/// assert_eq!(inline, stepwise);
/// assert_eq!(format!("{inline:?}"), "Attributes(3 entries)");
/// ```
#[derive(Clone)]
pub struct Attributes {
    entries: Entries,
}

/// Builds [`Attributes`] from `name => value` pairs; names are texts, and not copied if they are written
/// out; values are anything that converts into [`AttributeValue`].
///
/// ```
/// # use convert_evaluation::attributes;
/// let location = attributes! { "url" => "https://example.com/", "depth" => 2 };
/// assert_eq!(location.len(), 2);
/// let name = format!("{}_code", "country");
/// let visitor = attributes! { "age" => 30, name => "GR" };
/// assert!(visitor.get("country_code").is_some());
/// ```
#[macro_export]
macro_rules! attributes {
    () => { $crate::Attributes::new() };
    // Names that are written out are not copied.
    ($($name:literal => $value:expr),+ $(,)?) => {
        $crate::Attributes::of_literals(
            &[$($name),+],
            const { $crate::Attributes::order_of(&[$($name),+]) },
            [$(::core::convert::Into::<$crate::AttributeValue>::into($value)),+],
        )
    };
    ($($name:expr => $value:expr),+ $(,)?) => {
        $crate::Attributes::with_capacity(const { [$(stringify!($name)),+].len() })$(.with($name, $value))+
    };
}

impl Attributes {
    /// An empty map; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Entries::new() }
    }

    /// An empty map with room for so many entries.
    #[must_use]
    #[inline]
    pub fn with_capacity(entries: usize) -> Self {
        Self { entries: Entries::with_capacity(entries) }
    }

    /// For [`attributes!`]: with which place each place is to be swapped, one after the other, for the names to
    /// be sorted; found out at compile time. `None` where one stands twice.
    #[doc(hidden)]
    #[must_use]
    pub const fn order_of<const N: usize>(names: &[&str; N]) -> Option<[usize; N]> {
        let (mut names, mut swaps, mut place) = (*names, [0; N], 0);
        while place < N {
            let (mut least, mut at) = (place, place + 1);
            while at < N {
                match compare(names[at].as_bytes(), names[least].as_bytes()) {
                    Ordering::Less => least = at,
                    Ordering::Equal => return None,
                    Ordering::Greater => {}
                }
                at += 1;
            }
            (names[place], names[least]) = (names[least], names[place]);
            swaps[place] = least;
            place += 1;
        }
        Some(swaps)
    }

    /// For [`attributes!`].
    #[doc(hidden)]
    #[must_use]
    #[inline]
    pub fn of_literals<const N: usize>(
        names: &'static [&'static str; N],
        order: Option<[usize; N]>,
        values: [AttributeValue; N],
    ) -> Self {
        let mut names = names.iter().copied();
        let mut row = values.map(|value| (SmolStr::new_static(names.next().unwrap_or_default()), value));
        let Some(swaps) = order else { return row.into() };
        for (place, other) in swaps.into_iter().enumerate() {
            row.swap(place, other);
        }
        Self { entries: Entries::Row(Vec::from(row)) }
    }

    /// This map with one more entry.
    #[must_use]
    #[inline]
    pub fn with(mut self, name: impl Into<SmolStr>, value: impl Into<AttributeValue>) -> Self {
        self.insert(name, value);
        self
    }

    /// Sets one entry and returns the value that it replaced.
    #[inline]
    pub fn insert(
        &mut self,
        name: impl Into<SmolStr>,
        value: impl Into<AttributeValue>,
    ) -> Option<AttributeValue> {
        self.entries.insert(name.into(), value.into())
    }

    /// Removes one entry and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<AttributeValue> {
        self.entries.remove(name)
    }

    /// The value of `name`, exactly as written.
    #[must_use]
    #[inline]
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.entries.get(name)
    }

    /// As [`get`](Self::get), by a hint of where the name is.
    #[inline]
    pub(crate) fn get_by(&self, name: &str, hint: &Hint) -> Option<&AttributeValue> {
        self.entries.get_by(name, hint)
    }

    /// How many entries there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    /// The entries in the order of their names.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &AttributeValue)> {
        self.entries.iter()
    }
}

/// What an engine does with a visitor's [`Attributes`]. Kept off the type, so that a crate that re-exports
/// the type does not promise these methods.
pub trait AttributesExt {
    /// The longest list that [`merge`](Self::merge) makes, in values.
    const LONGEST_LIST: usize = LONGEST_LIST;

    /// The JavaScript SDK's deep merge, `later` winning: objects merge by key, arrays unite with
    /// the later one first and equal elements dropped, an array that meets an object counts as an
    /// object whose keys are the positions, anything else is replaced. Of an array that is united the
    /// first `longest` values are kept; returns how many are left out.
    fn merge_up_to(&mut self, longest: usize, later: &Self) -> usize;

    /// [`merge_up_to`](Self::merge_up_to) with [`LONGEST_LIST`](Self::LONGEST_LIST).
    fn merge(&mut self, later: &Self) {
        self.merge_up_to(Self::LONGEST_LIST, later);
    }

    /// Whether any entry satisfies `wanted`.
    fn any(&self, wanted: impl FnMut(&str, &AttributeValue) -> bool) -> bool;

    /// Takes the entries with wanted names out, of which there are `count`.
    #[must_use]
    fn extract(&mut self, count: usize, wanted: impl FnMut(&str) -> bool) -> Self;

    /// Keeps the entries with wanted names.
    fn retain(&mut self, wanted: impl FnMut(&str) -> bool);

    /// About how many bytes the map takes on the heap.
    fn heap_bytes(&self) -> usize;
}

impl AttributesExt for Attributes {
    fn merge_up_to(&mut self, longest: usize, later: &Self) -> usize {
        let mut left_out = 0;
        for (name, value) in later.iter() {
            match self.entries.get_mut(name) {
                Some(mine) => left_out += mine.merge_up_to(longest, value),
                None => drop(self.insert(name, value.clone())),
            }
        }
        left_out
    }

    #[inline]
    fn any(&self, wanted: impl FnMut(&str, &AttributeValue) -> bool) -> bool {
        self.entries.any(wanted)
    }

    fn extract(&mut self, count: usize, wanted: impl FnMut(&str) -> bool) -> Self {
        Self { entries: self.entries.extract(count, wanted) }
    }

    fn retain(&mut self, wanted: impl FnMut(&str) -> bool) {
        self.entries.retain(wanted);
    }

    fn heap_bytes(&self) -> usize {
        let entries = self.iter().map(|(name, value)| long_text(name.len()) + value.heap_bytes());
        self.entries.row_bytes() + entries.sum::<usize>()
    }
}

/// The order of two texts, also at compile time.
const fn compare(left: &[u8], right: &[u8]) -> Ordering {
    let mut at = 0;
    while at < left.len() && at < right.len() {
        if left[at] != right[at] {
            return if left[at] < right[at] { Ordering::Less } else { Ordering::Greater };
        }
        at += 1;
    }
    match (at < left.len(), at < right.len()) {
        (false, true) => Ordering::Less,
        (true, false) => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

/// What a text of this length takes on the heap.
const fn long_text(length: usize) -> usize {
    if length > 23 { length } else { 0 }
}

impl Default for Attributes {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
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

    fn merge_up_to(&mut self, longest: usize, later: &Self) -> usize {
        match (self, later) {
            (Self::Object(mine), Self::Object(theirs)) => mine.merge_up_to(longest, theirs),
            (Self::Array(mine), Self::Array(theirs)) => {
                let (union, left_out) = united(theirs, mine, longest);
                *mine = union;
                left_out
            }
            (mine @ Self::Array(_), Self::Object(theirs)) => {
                let mut merged = mine.by_position();
                let left_out = merged.merge_up_to(longest, theirs);
                *mine = Self::Object(merged);
                left_out
            }
            (Self::Object(mine), theirs @ Self::Array(_)) => mine.merge_up_to(longest, &theirs.by_position()),
            (mine, theirs) => {
                *mine = theirs.clone();
                0
            }
        }
    }

    /// What tells scalars apart in a set; `NaN` is one value there, and so are both zeros.
    fn scalar(&self) -> Option<Scalar<'_>> {
        match self {
            Self::Null => Some(Scalar::Null),
            Self::Bool(value) => Some(Scalar::Bool(*value)),
            Self::Number(value) if value.is_nan() => Some(Scalar::Number(f64::NAN.to_bits())),
            Self::Number(value) => Some(Scalar::Number((value + 0.0).to_bits())),
            Self::String(text) => Some(Scalar::Text(text)),
            Self::Array(_) | Self::Object(_) => None,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => 0,
            Self::String(text) => long_text(text.len()),
            Self::Array(values) => {
                values.capacity() * size_of::<Self>() + values.iter().map(Self::heap_bytes).sum::<usize>()
            }
            Self::Object(map) => map.heap_bytes(),
        }
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

#[derive(PartialEq, Eq, Hash)]
enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(u64),
    Text(&'a str),
}

/// The values of both lists, each scalar once, up to so many; and how many are left out.
fn united(
    first: &[AttributeValue],
    second: &[AttributeValue],
    longest: usize,
) -> (Vec<AttributeValue>, usize) {
    let mut seen = HashSet::with_capacity(first.len() + second.len());
    let mut union: Vec<AttributeValue> = Vec::with_capacity((first.len() + second.len()).min(longest));
    let mut left_out = 0;
    for value in first.iter().chain(second) {
        if value.scalar().is_some_and(|scalar| !seen.insert(scalar)) {
            continue;
        }
        if union.len() < longest {
            union.push(value.clone());
        } else {
            left_out += 1;
        }
    }
    (union, left_out)
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
        self.entries.into_row().into_iter()
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

    #[test]
    fn names_that_are_written_out_are_sorted_and_the_last_of_one_counts() {
        let map = crate::attributes! { "plan" => "pro", "b" => 1, "age" => 2, "ba" => 3, "" => true };
        let names: Vec<&str> = map.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["", "age", "b", "ba", "plan"]);
        let values = [true.into(), 2.into(), 1.into(), 3.into(), "pro".into()];
        assert!(map.iter().map(|(_, value)| value).eq(&values));
        assert!(crate::attributes! { "b" => 1, "a" => 2, "b" => 3 } == [("a", 2), ("b", 3)].into());
    }

    #[test]
    fn a_hint_that_is_wrong_for_a_map_changes_nothing() {
        let hint = Hint::default();
        let small = |name: &'static str| Attributes::new().with(name, 1).with("n", 2);
        let large: Attributes =
            (0..500).map(|at| (at.to_string(), at)).chain([("n".to_owned(), 2)]).collect();
        for map in [small("a"), small("z"), large, Attributes::new().with("n", 2), Attributes::new()] {
            for _ in 0..2 {
                assert_eq!(map.get_by("n", &hint), map.get("n"));
                assert_eq!(map.get_by("absent", &hint), None);
            }
        }
    }

    #[test]
    fn names_in_any_order_make_the_same_map() {
        let names = |step: usize| (0..20_000).map(move |at| (at * step % 20_000).to_string());
        let sorted: Attributes = {
            let mut names: Vec<_> = names(1).collect();
            names.sort();
            names.into_iter().map(|name| (name, 1)).collect()
        };
        assert!(matches!(sorted.entries, Entries::Row(_)));
        let mut mixed: Attributes = names(7_919).map(|name| (name, 1)).collect();
        assert!(matches!(mixed.entries, Entries::Tree(_)), "20,000 are not shifted for each of them");
        assert_eq!(size_of::<Attributes>(), size_of::<Vec<u8>>());
        assert_eq!((mixed.len(), mixed.iter().len()), (20_000, 20_000));
        assert!(mixed == sorted);
        assert!(sorted == mixed);
        assert!(mixed.iter().is_sorted_by_key(|(name, _)| name));
        assert_eq!(mixed.insert("5", 2), Some(AttributeValue::Number(1.0)));
        assert!(mixed != sorted && mixed.get("5") == Some(&AttributeValue::Number(2.0)));
        let (mut removed, mut clone) = (sorted.clone(), mixed.clone());
        for name in names(7_919).filter(|name| name.len() < 5) {
            assert_eq!(removed.remove(&name), Some(AttributeValue::Number(1.0)));
            assert!(clone.remove(&name).is_some() && clone.get(&name).is_none());
        }
        assert!(removed == clone && removed.len() == 10_000);
        assert!(removed.heap_bytes() > 0 && removed.into_iter().map(|(name, _)| name).is_sorted());
    }

    #[test]
    fn lists_unite_up_to_their_bound_and_the_rest_is_counted() {
        let list = |range: std::ops::Range<i32>| Attributes::new().with("k", range.collect::<Vec<_>>());
        let mut map = list(0..600);
        assert_eq!(map.merge_up_to(1_000, &list(300..900)), 0);
        assert_eq!(map.merge_up_to(1_000, &list(5_000..5_300)), 200);
        let Some(AttributeValue::Array(values)) = map.get("k") else { panic!("a list") };
        assert_eq!((values.len(), &values[0]), (1_000, &AttributeValue::Number(5_000.0)));
    }

    #[test]
    fn a_union_has_each_scalar_once_and_every_list_and_object() {
        use serde_json::json;
        let nan = || AttributeValue::Number(f64::NAN);
        let earlier = AttributeValue::Array(vec![nan(), 0.0.into(), "0".into(), json!({}).into()]);
        let later = AttributeValue::Array(vec![nan(), (-0.0).into(), AttributeValue::Null, json!({}).into()]);
        let mut map = Attributes::new().with("k", earlier);
        map.merge(&Attributes::new().with("k", later));
        assert_eq!(serde_json::Value::from(&map), json!({"k": [null, 0, null, {}, "0", {}]}));
        assert_eq!(merged(json!([1, 1, true]), json!([true, "1", false])), json!([true, "1", false, 1]));
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
