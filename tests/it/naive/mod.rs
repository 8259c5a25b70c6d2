//! A second implementation to compare with: decisions and features straight from the served JSON, as plain as possible.
//!
//! It is written from the specification of the evaluation and shares no code with the SDK: nothing is compiled, every
//! question walks the JSON again, and regular expressions and the hash come from other crates.

mod decide;
mod features;
mod js;
mod layout;
mod rules;

use std::collections::BTreeMap;

use convert_sdk::DecisionSource;
use serde_json::{Map, Value};

pub(crate) use features::{Carried, in_doubles};

pub(crate) type Data = Map<String, Value>;

const REPORT_KEYS: [&str; 7] =
    ["country", "browser", "devices", "source", "campaign", "visitorType", "customSegments"];

/// What the application configures.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) environment: Option<String>,
    pub(crate) exclude_experience_id_hash: bool,
    pub(crate) seed: u32,
    pub(crate) max_traffic: u32,
    pub(crate) config_order: bool,
}

/// What one call specifies besides the key.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) attributes: Data,
    pub(crate) environment: Option<String>,
    pub(crate) forced: Option<String>,
    pub(crate) store: bool,
    pub(crate) experience_keys: Vec<String>,
}

/// One visitor, and everything that is remembered.
pub(crate) struct Visitor {
    id: String,
    bucketing: BTreeMap<String, String>,
    segments: Data,
    attributes: Data,
    location: Data,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) experience_key: String,
    pub(crate) variation_id: String,
    pub(crate) source: DecisionSource,
}

/// The interpreter of one config.
pub(crate) struct Naive<'a> {
    pub(crate) config: &'a Value,
    pub(crate) settings: Settings,
}

impl Visitor {
    /// Attributes with a report key move to the stored segments.
    pub(crate) fn new(
        id: &str,
        bucketing: BTreeMap<String, String>,
        segments: Data,
        given: &Data,
        location: Data,
    ) -> Self {
        let mut visitor = Self { id: id.to_owned(), bucketing, segments, attributes: Data::new(), location };
        visitor.set_segments(given);
        let rest = given.iter().filter(|(key, _)| !REPORT_KEYS.contains(&key.as_str()));
        visitor.attributes = rest.map(|(key, value)| (key.clone(), value.clone())).collect();
        visitor
    }

    /// Only report keys are kept.
    pub(crate) fn set_segments(&mut self, segments: &Data) {
        let kept = segments.iter().filter(|(key, _)| REPORT_KEYS.contains(&key.as_str()));
        let kept: Data = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        self.segments = merge(&self.segments, &kept);
    }

    /// The data that rules see in a call.
    fn data(&self, call: &Data) -> Data {
        merge(&self.segments, &merge(&self.attributes, call))
    }
}

/// Objects merge by key; lists unite with the later one first; a list beside an object counts as an object by position;
/// anything else is replaced.
fn merge(earlier: &Data, later: &Data) -> Data {
    let mut merged = earlier.clone();
    for (key, value) in later {
        let both = match (merged.get(key), value) {
            (Some(Value::Object(before)), Value::Object(after)) => Value::Object(merge(before, after)),
            (Some(Value::Array(before)), Value::Array(after)) => {
                let mut union: Vec<Value> = Vec::new();
                for element in after.iter().chain(before) {
                    if !union.iter().any(|known| js::strictly_equal(known, element)) {
                        union.push(element.clone());
                    }
                }
                Value::Array(union)
            }
            (Some(before @ Value::Array(_)), Value::Object(after)) => {
                merge(&by_position(before), after).into()
            }
            (Some(Value::Object(before)), after @ Value::Array(_)) => {
                merge(before, &by_position(after)).into()
            }
            _ => value.clone(),
        };
        merged.insert(key.clone(), both);
    }
    merged
}

fn by_position(list: &Value) -> Data {
    let elements = list.as_array().into_iter().flatten().enumerate();
    elements.map(|(at, element)| (at.to_string(), element.clone())).collect()
}

/// The entities of a section; a missing section has none.
fn listed<'a>(within: &'a Value, section: &str) -> &'a [Value] {
    within.get(section).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A field as text, even if it is missing: ids and keys compare as text.
fn text_of(entity: &Value, field: &str) -> String {
    entity.get(field).map_or_else(|| "undefined".to_owned(), js::string)
}

/// Removes duplicates from every list of a map.
fn without_repetitions(map: &Data) -> Data {
    let lists = map.iter().filter(|(_, value)| value.is_array());
    merge(map, &lists.map(|(key, _)| (key.clone(), Value::Array(Vec::new()))).collect())
}

/// The first entity of a section whose field has this text.
fn find<'a>(config: &'a Value, section: &str, field: &str, asked: &str) -> Option<&'a Value> {
    listed(config, section).iter().find(|entity| text_of(entity, field) == asked)
}
