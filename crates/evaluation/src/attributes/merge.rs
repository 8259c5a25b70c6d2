//! The JavaScript SDK's deep merge of values.

use std::collections::HashSet;

use smol_str::SmolStr;

use super::{AttributeValue, Attributes, AttributesExt};

/// The longest list that a merge makes, in values.
pub(super) const LONGEST_LIST: usize = 10_000;

impl AttributeValue {
    pub(super) fn merge_up_to(&mut self, longest: usize, later: &Self) -> usize {
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

    /// The elements of an array, keyed by index.
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

    /// The identity of a scalar in a set: all `NaN`s are equal, and so are both zeros.
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
}

#[derive(PartialEq, Eq, Hash)]
enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(u64),
    Text(&'a str),
}

/// The values of both lists without duplicate scalars, up to a limit, and how many are dropped.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(earlier: serde_json::Value, later: serde_json::Value) -> serde_json::Value {
        let mut map = Attributes::new().with("k", earlier);
        map.merge(&Attributes::new().with("k", later));
        serde_json::Value::from(&map)["k"].take()
    }

    #[test]
    fn lists_are_united_up_to_their_bound_and_the_rest_counted() {
        let list = |range: std::ops::Range<i32>| Attributes::new().with("k", range.collect::<Vec<_>>());
        let mut map = list(0..600);
        assert_eq!(map.merge_up_to(1_000, &list(300..900)), 0);
        assert_eq!(map.merge_up_to(1_000, &list(5_000..5_300)), 200);
        let Some(AttributeValue::Array(values)) = map.get("k") else { panic!("a list") };
        assert_eq!((values.len(), &values[0]), (1_000, &AttributeValue::Number(5_000.0)));
    }

    #[test]
    fn a_union_keeps_each_scalar_once_and_all_lists_and_objects() {
        use serde_json::json;
        let nan = || AttributeValue::Number(f64::NAN);
        let earlier = AttributeValue::Array(vec![nan(), 0.0.into(), "0".into(), json!({}).into()]);
        let later = AttributeValue::Array(vec![nan(), (-0.0).into(), AttributeValue::Null, json!({}).into()]);
        let mut map = Attributes::new().with("k", earlier);
        map.merge(&Attributes::new().with("k", later));
        assert_eq!(serde_json::Value::from(&map), json!({"k": [null, 0, null, {}, "0", {}]}));
        assert_eq!(merged(json!([1, 1, true]), json!([true, "1", false])), json!([true, "1", false, 1]));
    }

    /// Each expected value is what the JavaScript SDK 4.4.3 answers for attributes of a context and
    /// of a call.
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
