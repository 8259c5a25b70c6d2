//! What differs between two configs, in the terms of the served JSON.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::Value;

use crate::chart::{NAME, short};

/// How a new config changes an experience.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Added,
    Stopped,
    /// Only the weights differ.
    Reweighted,
    Changed,
    Unchanged,
}

/// What differs about one experience.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Change {
    pub(super) kind: Kind,
    /// The fields and entities that differ.
    pub(super) details: Vec<String>,
}

/// A served config, indexed by what lookups need.
pub(super) struct Served<'a> {
    /// By key, the first of each, without archived ones.
    experiences: HashMap<&'a str, &'a Value>,
    /// By section and id.
    entities: HashMap<(&'static str, String), &'a Value>,
}

/// The sections that experiences reference.
const SECTIONS: [&str; 3] = ["audiences", "locations", "segments"];

impl<'a> Served<'a> {
    pub(super) fn new(config: &'a Value) -> Self {
        let archived: HashSet<String> = list(&config["archived_experiences"]).map(text).collect();
        let mut experiences = HashMap::new();
        for experience in list(&config["experiences"]) {
            if let Some(key) = experience["key"].as_str() {
                experiences.entry(key).or_insert(experience);
            }
        }
        experiences.retain(|_, experience| !archived.contains(&text(&experience["id"])));
        let mut entities = HashMap::new();
        for section in SECTIONS {
            for entity in list(&config[section]) {
                entities.entry((section, text(&entity["id"]))).or_insert(entity);
            }
        }
        Self { experiences, entities }
    }

    /// How this config changes an experience compared to `old`.
    pub(super) fn change(&self, old: &Self, key: &str) -> Change {
        let plain = |kind| Change { kind, details: Vec::new() };
        match (old.experiences.get(key), self.experiences.get(key)) {
            (None, None) => plain(Kind::Unchanged),
            (None, Some(_)) => plain(Kind::Added),
            (Some(_), None) => plain(Kind::Stopped),
            (Some(before), Some(after)) => {
                let weights = weights(before, after);
                let mut details = fields(before, after);
                details.extend(self.rules(old, before, after));
                let kind = match (details.is_empty(), weights.is_empty()) {
                    (true, true) => Kind::Unchanged,
                    (true, false) => Kind::Reweighted,
                    (false, _) => Kind::Changed,
                };
                details.splice(0..0, weights);
                Change { kind, details }
            }
        }
    }

    /// The entities that the experience references before and after and whose rules differ.
    fn rules(&self, old: &Self, before: &Value, after: &Value) -> Vec<String> {
        let mut details = Vec::new();
        for section in SECTIONS {
            let before: HashSet<String> = list(&before[section]).map(text).collect();
            for id in list(&after[section]).map(text).filter(|id| before.contains(id)) {
                let place = (section, id);
                if let (Some(then), Some(now)) = (old.entities.get(&place), self.entities.get(&place))
                    && (then["rules"] != now["rules"] || then["type"] != now["type"])
                {
                    details.push(format!("{} {}", section.trim_end_matches('s'), name(now)));
                }
            }
        }
        details
    }
}

fn variation<'a>(experience: &'a Value, id: &Value) -> Option<&'a Value> {
    list(&experience["variations"]).find(|variation| &variation["id"] == id)
}

/// The weights that differ, for variations that are in both.
fn weights(before: &Value, after: &Value) -> Vec<String> {
    let mut details = Vec::new();
    for variation_after in list(&after["variations"]) {
        let Some(variation_before) = variation(before, &variation_after["id"]) else { continue };
        let weight = |variation: &Value| variation.get("traffic_allocation").map_or("100".to_owned(), text);
        let (from, to) = (weight(variation_before), weight(variation_after));
        if from != to {
            details.push(format!("{} {from} \u{2192} {to}", name(variation_after)));
        }
    }
    details
}

/// The fields that differ, and how the variations differ.
fn fields(before: &Value, after: &Value) -> Vec<String> {
    let mut details = Vec::new();
    for field in ["id", "version", "environment", "status"] {
        if before[field] != after[field] {
            details.push(format!("{field} {}", replaced(&before[field], &after[field])));
        }
    }
    for field in ["audiences", "locations", "site_area", "settings"] {
        if before[field] != after[field] {
            details.push(field.replace('_', " "));
        }
    }
    for gone in list(&before["variations"]).filter(|it| variation(after, &it["id"]).is_none()) {
        details.push(format!("without variation {}", name(gone)));
    }
    for variation_after in list(&after["variations"]) {
        let Some(variation_before) = variation(before, &variation_after["id"]) else {
            details.push(format!("new variation {}", name(variation_after)));
            continue;
        };
        for field in ["key", "status"] {
            let (then, now) = (&variation_before[field], &variation_after[field]);
            if then != now {
                details.push(format!("{field} of {} {}", name(variation_before), replaced(then, now)));
            }
        }
        if variation_before["changes"] != variation_after["changes"] {
            details.push(format!("changes of {}", name(variation_before)));
        }
    }
    details
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A value before and after.
fn replaced(before: &Value, after: &Value) -> String {
    let shown = |value: &Value| match value {
        Value::Null => "none".to_owned(),
        value => short(&text(value), NAME),
    };
    format!("{} \u{2192} {}", shown(before), shown(after))
}

/// The key, or the id if there is none.
fn name(entity: &Value) -> String {
    entity["key"].as_str().filter(|key| !key.is_empty()).map_or_else(|| text(&entity["id"]), str::to_owned)
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn small() -> Value {
        serde_json::from_str(include_str!("../../../../tests/it/small.json")).unwrap()
    }

    fn after(edit: impl FnOnce(&mut Value)) -> Change {
        let mut new = small();
        edit(&mut new);
        Served::new(&new).change(&Served::new(&small()), "checkout")
    }

    #[test]
    fn a_change_is_named() {
        assert_eq!(after(|_| {}).kind, Kind::Unchanged);
        assert_eq!(after(|new| new["experiences"] = json!([])).kind, Kind::Stopped);
        assert_eq!(after(|new| new["archived_experiences"] = json!([1001])).kind, Kind::Stopped);
        assert_eq!(Served::new(&small()).change(&Served::new(&json!({})), "checkout").kind, Kind::Added);
        let weights = after(|new| new["experiences"][0]["variations"][0]["traffic_allocation"] = json!(20));
        assert_eq!(
            (weights.kind, weights.details),
            (Kind::Reweighted, vec!["original 50 \u{2192} 20".to_owned()])
        );
    }

    #[test]
    fn every_field_that_decides_is_looked_at() {
        type Edit = fn(&mut Value);
        let edits: [(Edit, &str); 13] = [
            (|new| new["experiences"][0]["id"] = json!("1009"), "id 1001 → 1009"),
            (|new| new["experiences"][0]["locations"] = json!(["6001"]), "locations"),
            (|new| new["experiences"][0]["settings"] = json!({}), "settings"),
            (|new| new["experiences"][0]["environment"] = json!("staging"), "environment none → staging"),
            (|new| new["experiences"][0]["status"] = json!("paused"), "status none → paused"),
            (|new| new["experiences"][0]["version"] = json!(11), "version 12 → 11"),
            (|new| new["experiences"][0]["audiences"] = json!([]), "audiences"),
            (|new| new["experiences"][0]["site_area"] = json!({}), "site area"),
            (
                |new| new["experiences"][0]["variations"][1]["key"] = json!("x"),
                "key of one-page one-page → x",
            ),
            (
                |new| new["experiences"][0]["variations"][1]["status"] = json!("stopped"),
                "status of one-page running → stopped",
            ),
            (|new| new["experiences"][0]["variations"][1]["changes"] = json!([]), "changes of one-page"),
            (|new| new["experiences"][0]["variations"][1]["id"] = json!("9"), "without variation one-page"),
            (|new| new["audiences"][0]["rules"] = json!({}), "audience pro-plan"),
        ];
        for (edit, detail) in edits {
            let found = after(edit);
            assert_eq!(found.kind, Kind::Changed, "{detail}");
            assert_eq!(found.details.first().map(String::as_str), Some(detail));
        }
    }
}
