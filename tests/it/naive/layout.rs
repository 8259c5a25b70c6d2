//! A visitor's bucket value, and the variation that it falls into.

use serde_json::Value;

use super::js::{number, number_text, parse_int, truthy};
use super::{Naive, listed, text_of};

impl Naive<'_> {
    /// The bucket value, truncated like JavaScript: by printing and parsing.
    pub(super) fn bucket(&self, experience_id: &str, visitor_id: &str) -> u32 {
        let prefix = if self.settings.exclude_experience_id_hash { "" } else { experience_id };
        let text = format!("{prefix}{visitor_id}");
        let hash = murmur3::murmur3_32(&mut text.as_bytes(), self.settings.seed).unwrap();
        let value = f64::from(hash) / 4_294_967_296.0 * f64::from(self.settings.max_traffic);
        parse_int(&number_text(value)) as u32
    }

    /// The id of the variation that owns a bucket.
    pub(super) fn selected(&self, experience: &Value, bucket: u32) -> Option<String> {
        let value = f64::from(bucket);
        let anchored = experience.get("version").is_some_and(|version| number(version) > 11.0);
        if anchored { anchored_at(experience, value) } else { self.packed_at(experience, value) }
    }

    fn packed_at(&self, experience: &Value, value: f64) -> Option<String> {
        let mut weights: Vec<(String, f64)> = Vec::new();
        for variation in variations(experience).filter(|variation| is_on(variation)) {
            let id = text_of(variation, "id");
            let weight = variation.get("traffic_allocation").map_or(100.0, number);
            match weights.iter_mut().find(|(known, _)| *known == id) {
                Some((_, known)) => *known = weight,
                None => weights.push((id, weight)),
            }
        }
        if !self.settings.config_order {
            let (mut indexes, names): (Vec<_>, Vec<_>) =
                weights.into_iter().partition(|(id, _)| is_array_index(id));
            indexes.sort_by_key(|(id, _)| id.parse::<u32>().unwrap());
            weights = indexes.into_iter().chain(names).collect();
        }
        let mut top = 0.0;
        for (id, weight) in weights {
            top += weight * 100.0;
            if value < top {
                return Some(id);
            }
        }
        None
    }
}

fn anchored_at(experience: &Value, value: f64) -> Option<String> {
    let weight = |variation: &Value| {
        let weight = variation.get("traffic_allocation").map_or(f64::NAN, number);
        if weight.is_nan() { 100.0 } else { weight }
    };
    let mut total = 0.0;
    for variation in variations(experience) {
        total += weight(variation);
    }
    if total <= 0.0 {
        return None;
    }
    let mut before = 0.0;
    for variation in variations(experience) {
        let anchor = before / total * 10_000.0;
        let width = if is_on(variation) { weight(variation) * 100.0 } else { 0.0 };
        if anchor <= value && value < anchor + width {
            return Some(text_of(variation, "id"));
        }
        before += weight(variation);
    }
    None
}

fn variations(experience: &Value) -> impl Iterator<Item = &Value> {
    listed(experience, "variations").iter().filter(|variation| truthy(variation.get("id")))
}

fn is_on(variation: &Value) -> bool {
    let status = variation.get("status");
    let active = !truthy(status) || status.is_some_and(|status| status == "running");
    let weight = variation.get("traffic_allocation").map_or(f64::NAN, number);
    active && (weight > 0.0 || weight.is_nan())
}

/// Whether JavaScript objects order this key as a number: canonical, and below 2^32 - 1.
fn is_array_index(id: &str) -> bool {
    id.parse::<u32>().is_ok_and(|index| index.to_string() == id && index < u32::MAX)
}
