//! Rules of audiences, segments, locations and goals.

use serde_json::{Value, json};

use crate::attributes::AttributeValue;

/// A rule on the visitor's attributes, or on the location's. Comparisons are those of Convert: text is compared without
/// case, and a number written as text is a number. Only a list's elements ([`equals`](Self::equals)) and the attribute
/// in [`is_in`](Self::is_in) are compared as they are. A visitor without the attribute matches none of them, except
/// [`does_not_exist`](Self::does_not_exist).
///
/// ```
/// use convert_sdk::testing::Rule;
///
/// let payers = Rule::equals("plan", "pro").or(Rule::equals("plan", "team"));
/// let rule = payers.and(Rule::at_least("age", 18));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Rule {
    /// Any of these, each of which is all of its items.
    any: Vec<Vec<Value>>,
}

impl Rule {
    fn new(name: &str, match_type: &str, negated: bool, value: &Value) -> Self {
        let item = json!({
            "rule_type": "generic_text_key_value", "key": name, "value": value,
            "matching": {"match_type": match_type, "negated": negated},
        });
        Self { any: vec![vec![item]] }
    }

    /// The attribute is this value, or is a list that has exactly this value, also in case and type.
    pub fn equals(name: &str, value: impl Into<AttributeValue>) -> Self {
        Self::new(name, "equals", false, &value_of(value))
    }

    /// The attribute is another value.
    pub fn not_equals(name: &str, value: impl Into<AttributeValue>) -> Self {
        Self::new(name, "equals", true, &value_of(value))
    }

    /// The attribute is less than this.
    pub fn less(name: &str, value: impl Into<AttributeValue>) -> Self {
        Self::new(name, "less", false, &value_of(value))
    }

    /// The attribute is this much or more.
    pub fn at_least(name: &str, value: impl Into<AttributeValue>) -> Self {
        Self::new(name, "less", true, &value_of(value))
    }

    /// The attribute is this much or less.
    pub fn at_most(name: &str, value: impl Into<AttributeValue>) -> Self {
        Self::new(name, "lessEqual", false, &value_of(value))
    }

    /// The attribute is more than this.
    pub fn more(name: &str, value: impl Into<AttributeValue>) -> Self {
        Self::new(name, "lessEqual", true, &value_of(value))
    }

    /// The attribute has this text somewhere.
    pub fn contains(name: &str, text: &str) -> Self {
        Self::new(name, "contains", false, &text.into())
    }

    /// The attribute begins with this text.
    pub fn starts_with(name: &str, text: &str) -> Self {
        Self::new(name, "startsWith", false, &text.into())
    }

    /// The attribute ends with this text.
    pub fn ends_with(name: &str, text: &str) -> Self {
        Self::new(name, "endsWith", false, &text.into())
    }

    /// The attribute, or one of its parts between `|`, is one of these texts **in lower case**: Convert puts the texts
    /// into lower case, and not the attribute, so `"GR"` is never in any list.
    pub fn is_in<'a>(name: &str, texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(name, "isIn", false, &texts.into_iter().collect())
    }

    /// The attribute matches this regular expression of JavaScript.
    pub fn matches(name: &str, pattern: &str) -> Self {
        Self::new(name, "regexMatches", false, &pattern.into())
    }

    /// The visitor has the attribute, and it is not empty.
    pub fn exists(name: &str) -> Self {
        Self::new(name, "exists", false, &"".into())
    }

    /// The visitor does not have the attribute, or it is empty.
    pub fn does_not_exist(name: &str) -> Self {
        Self::new(name, "doesNotExist", false, &"".into())
    }

    /// Both rules match.
    pub fn and(self, other: Self) -> Self {
        let both = |mine: &Vec<Value>| {
            let mine = mine.clone();
            other.any.iter().map(move |theirs| [&*mine, theirs].concat()).collect::<Vec<_>>()
        };
        Self { any: self.any.iter().flat_map(both).collect() }
    }

    /// At least one of the rules matches.
    pub fn or(mut self, other: Self) -> Self {
        self.any.extend(other.any);
        self
    }

    /// As served.
    pub(super) fn served(&self) -> Value {
        let alone = |item: &Value| json!({"OR_WHEN": [item]});
        let all = |items: &Vec<Value>| json!({"AND": items.iter().map(alone).collect::<Value>()});
        json!({"OR": self.any.iter().map(all).collect::<Value>()})
    }
}

fn value_of(value: impl Into<AttributeValue>) -> Value {
    Value::from(&value.into())
}
