//! One experience: the checks in their order, stored decisions, custom segments and goals.

use convert_sdk::DecisionSource;
use serde_json::Value;

use super::js::{string, truthy};
use super::rules::{items, matches};
use super::{Call, Data, Decision, Naive, Visitor, find, listed, merge, text_of, without_repetitions};

impl Naive<'_> {
    pub(crate) fn run(&self, visitor: &mut Visitor, key: &str, call: &Call) -> Option<Decision> {
        let experience = find(self.config, "experiences", "key", key)?;
        let id = text_of(experience, "id");
        // Only the variations of the first experience with this id can be returned.
        let variations = listed(find(self.config, "experiences", "id", &id)?, "variations");
        let has = |asked: &String| {
            variations
                .iter()
                .any(|one| !one["id"].is_null() && text_of(one, "id") == *asked && !asked.is_empty())
        };

        if visitor.id.is_empty() || self.is_archived(&id) || !self.in_environment(experience, call) {
            return None;
        }
        if !truthy(experience.get("id")) {
            return None;
        }
        let sticky = visitor.bucketing.get(&id).filter(|stored| has(stored)).cloned();
        let data = visitor.data(&call.attributes);
        let passes = self.at_location(experience, &visitor.location)
            && self.in_audiences(experience, visitor, &data, sticky.is_some())
            && self.in_segments(experience, visitor);
        if !passes || listed(experience, "variations").is_empty() {
            return None;
        }
        let forced = call.forced.clone().filter(|forced| has(forced) && sticky.as_ref() != Some(forced));
        let (variation_id, source) = if let Some(forced) = forced {
            (forced, DecisionSource::Forced)
        } else if let Some(stored) = sticky {
            (stored, DecisionSource::Stored)
        } else {
            let bucket = self.bucket(&id, &visitor.id);
            (self.selected(experience, bucket).filter(has)?, DecisionSource::Hashed { bucket })
        };
        if call.store {
            visitor.bucketing.insert(id, variation_id.clone());
        }
        Some(Decision { experience_key: key.to_owned(), variation_id, source })
    }

    /// Every experience in config order, by its key, storing decisions along the way.
    pub(crate) fn run_all(&self, visitor: &mut Visitor, call: &Call) -> Vec<Decision> {
        let keys = listed(self.config, "experiences").iter().map(|experience| text_of(experience, "key"));
        keys.filter_map(|key| self.run(visitor, &key, call)).collect()
    }

    /// The newly recorded segments. After the first match the rules of later ones are not evaluated.
    pub(crate) fn custom_segments(
        &self,
        visitor: &mut Visitor,
        keys: &[&str],
        rule_data: &Data,
    ) -> Vec<String> {
        let data = visitor.data(rule_data);
        let (mut recorded, mut matched, mut new) = (recorded(visitor), false, Vec::new());
        for segment in listed(self.config, "segments") {
            // A key that is not text is in no list.
            if !segment["key"].as_str().is_some_and(|key| keys.contains(&key)) {
                continue;
            }
            matched = matched || segment.get("rules").is_some_and(|rules| matches(rules, &data));
            let id = text_of(segment, "id");
            if matched && !recorded.contains(&id) {
                recorded.push(id.clone());
                new.push(id);
            }
        }
        if !new.is_empty() {
            let mut segments = visitor.segments.clone();
            let added = new.iter().cloned().map(Value::from);
            match segments.get_mut("customSegments") {
                Some(Value::Array(known)) => known.extend(added),
                _ => {
                    let added: Data = [("customSegments".to_owned(), added.collect())].into_iter().collect();
                    segments = merge(&segments, &added);
                }
            }
            visitor.segments = without_repetitions(&segments);
        }
        new
    }

    /// Whether a goal accepts a conversion with this rule data; `None` if there is no such goal.
    pub(crate) fn goal_takes(&self, key: &str, rule_data: &Data) -> Option<bool> {
        let goal = find(self.config, "goals", "key", key).filter(|goal| truthy(goal.get("id")))?;
        Some(goal.get("rules").is_some_and(|rules| matches(rules, rule_data)))
    }

    fn is_archived(&self, id: &str) -> bool {
        listed(self.config, "archived_experiences").iter().any(|archived| string(archived) == id)
    }

    /// Without a configured environment there is nothing to compare.
    fn in_environment(&self, experience: &Value, call: &Call) -> bool {
        let given = call.environment.as_deref().or(self.settings.environment.as_deref());
        match (&experience["environment"], given) {
            (required, _) if !truthy(Some(required)) => true,
            (Value::String(required), Some(given)) => required == given,
            (Value::String(_), None) => true,
            _ => false,
        }
    }

    fn at_location(&self, experience: &Value, location: &Data) -> bool {
        let asked = listed(experience, "locations");
        if !asked.is_empty() {
            let named = listed(self.config, "locations").iter().filter(|it| names(asked, it));
            return named.filter_map(|it| it.get("rules")).any(|rules| matches(rules, location));
        }
        let site_area = experience.get("site_area");
        !truthy(site_area) || site_area.is_some_and(|rules| matches(rules, location))
    }

    fn in_audiences(&self, experience: &Value, visitor: &Visitor, data: &Data, sticky: bool) -> bool {
        let asked = listed(experience, "audiences");
        let mut audiences: Vec<&Value> =
            listed(self.config, "audiences").iter().filter(|it| names(asked, it)).collect();
        audiences.retain(|audience| !(sticky && audience["type"] == "permanent"));
        if audiences.is_empty() {
            return true;
        }
        let matching = audiences.iter().filter(|audience| self.in_audience(audience, visitor, data)).count();
        match experience["settings"]["matching_options"]["audiences"].as_str() {
            Some("all") => matching == audiences.len(),
            _ => matching > 0,
        }
    }

    /// An exclusion anywhere in the tree decides alone, based on stored decisions.
    fn in_audience(&self, audience: &Value, visitor: &Visitor, data: &Data) -> bool {
        let Some(rules) = audience.get("rules") else { return false };
        let Some(exclusion) = items(rules).find(|it| it["rule_type"] == "bucketed_into_experience_key")
        else {
            return matches(rules, data);
        };
        let target = exclusion.get("value").map_or_else(|| "undefined".to_owned(), string);
        let bucketed = find(self.config, "experiences", "key", &target).is_some_and(|experience| {
            visitor.bucketing.get(&text_of(experience, "id")).is_some_and(|stored| !stored.is_empty())
        });
        bucketed != truthy(exclusion["matching"].get("negated"))
    }

    fn in_segments(&self, experience: &Value, visitor: &Visitor) -> bool {
        let asked = listed(experience, "audiences");
        let mut required = listed(self.config, "segments").iter().filter(|it| names(asked, it)).peekable();
        let recorded = recorded(visitor);
        required.peek().is_none()
            || required.any(|it| truthy(it.get("id")) && recorded.contains(&text_of(it, "id")))
    }
}

/// Whether a list of ids contains an entity's id.
fn names(ids: &[Value], entity: &Value) -> bool {
    ids.iter().any(|id| string(id) == text_of(entity, "id"))
}

fn recorded(visitor: &Visitor) -> Vec<String> {
    let ids = visitor.segments.get("customSegments").and_then(Value::as_array);
    ids.map_or_else(Vec::new, |ids| ids.iter().map(string).collect())
}
