//! Features: what the visitor's variations carry, cast to the declared types.

use serde_json::Value;

use super::js::{has_text, parse_float, parse_int, string, truthy};
use super::{Call, Data, Naive, Visitor, find, listed, text_of};

/// One feature of one variation.
#[derive(Debug, PartialEq)]
pub(crate) struct Carried {
    pub(crate) feature_id: String,
    pub(crate) experience_key: String,
    pub(crate) variation_id: String,
    pub(crate) variables: Data,
}

impl Naive<'_> {
    /// Each declared feature that is carried, in declaration order, as its first carrier has it.
    pub(crate) fn features(&self, visitor: &mut Visitor, call: &Call) -> Vec<Carried> {
        let mut carried = self.carried(visitor, call);
        let features = listed(self.config, "features");
        let last = features
            .iter()
            .filter(|one| self.declared(&text_of(one, "id")).is_some_and(|it| std::ptr::eq(it, *one)));
        let declared = last.map(|feature| text_of(feature, "id"));
        let first =
            |id: String| carried.iter().position(|it| it.feature_id == id).map(|at| carried.remove(at));
        declared.filter_map(first).collect()
    }

    /// Every carried feature, in config order. All experiences are decided before any is examined.
    fn carried(&self, visitor: &mut Visitor, call: &Call) -> Vec<Carried> {
        let all = call.experience_keys.is_empty();
        let asked = |key: &str| call.experience_keys.iter().any(|asked| asked == key);
        let wanted = |it: &&Value| all || it["key"].as_str().is_some_and(asked);
        let keys = listed(self.config, "experiences").iter().filter(wanted).map(|it| text_of(it, "key"));
        let decisions: Vec<_> = keys.filter_map(|key| self.run(visitor, &key, call)).collect();
        let mut features = Vec::new();
        for decision in decisions {
            let experience = find(self.config, "experiences", "key", &decision.experience_key).unwrap();
            let first = find(self.config, "experiences", "id", &text_of(experience, "id")).unwrap();
            let variation = listed(first, "variations")
                .iter()
                .find(|variation| text_of(variation, "id") == decision.variation_id)
                .unwrap();
            for change in iterated(&variation["changes"]) {
                if change["type"] != "fullStackFeature" || !truthy(change["data"].get("feature_id")) {
                    continue;
                }
                let feature_id = text_of(&change["data"], "feature_id");
                // What the config does not declare has no key, and no result here.
                let Some(feature) = self.declared(&feature_id) else { continue };
                features.push(Carried {
                    feature_id,
                    experience_key: decision.experience_key.clone(),
                    variation_id: decision.variation_id.clone(),
                    variables: variables(feature, &change["data"]["variables_data"]),
                });
            }
        }
        features
    }

    /// The first of them whose feature has this key.
    pub(crate) fn feature(&self, visitor: &mut Visitor, key: &str, call: &Call) -> Option<Carried> {
        find(self.config, "features", "key", key)?;
        let has_key = |id: &str| self.declared(id).is_some_and(|feature| feature["key"] == key);
        self.carried(visitor, call).into_iter().find(|carried| has_key(&carried.feature_id))
    }

    /// The feature with an id: the last one.
    fn declared(&self, id: &str) -> Option<&Value> {
        listed(self.config, "features").iter().rev().find(|feature| text_of(feature, "id") == id)
    }
}

/// What `for in` iterates: a list, or the values of an object, array indexes first.
fn iterated(value: &Value) -> Vec<&Value> {
    let Value::Object(map) = value else { return value.as_array().into_iter().flatten().collect() };
    let mut entries: Vec<_> = map.iter().map(|(key, value)| (key.parse::<u32>().ok(), value)).collect();
    entries.sort_by_key(|(index, _)| (index.is_none(), *index));
    entries.into_iter().map(|(_, value)| value).collect()
}

/// The same value with every number as a double, the only kind JavaScript has.
pub(crate) fn in_doubles(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().map_or(Value::Null, Value::from),
        Value::Array(elements) => elements.iter().map(in_doubles).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), in_doubles(value))).collect(),
        other => other.clone(),
    }
}

fn variables(feature: &Value, served: &Value) -> Data {
    let declared = |name: &str| listed(feature, "variables").iter().find(|it| text_of(it, "key") == name);
    let cast_one = |(name, value): (&String, &Value)| {
        let kind = declared(name).and_then(|variable| variable["type"].as_str());
        (name.clone(), in_doubles(&cast(value, kind.unwrap_or_default())))
    };
    served.as_object().map(|pairs| pairs.iter().map(cast_one).collect()).unwrap_or_default()
}

/// The cast value; if JavaScript gets NaN or an infinity, the value as served.
fn cast(value: &Value, declared: &str) -> Value {
    let number = |parse: fn(&str) -> f64| {
        let parsed = value.as_bool().map_or_else(|| parse(&string(value)), |it| f64::from(u8::from(it)));
        if parsed.is_finite() { Value::from(parsed) } else { value.clone() }
    };
    match declared {
        "boolean" => match value.as_str() {
            Some("true") => true.into(),
            Some("false") => false.into(),
            _ => truthy(Some(value)).into(),
        },
        "integer" | "float" | "string" if !has_text(value) => value.clone(),
        "integer" => number(parse_int),
        "float" => number(parse_float),
        "string" => string(value).into(),
        "json" if value.is_null() || value.is_array() || value.is_object() => value.clone(),
        "json" => serde_json::from_str(&string(value)).unwrap_or_else(|_| string(value).into()),
        _ => value.clone(),
    }
}
