//! Random visitors and calls, each for both the SDK and the interpreter.

use std::collections::BTreeMap;

use convert_sdk::RunOptions;
use serde_json::{Map, Value, json};

use super::configs::ENVIRONMENTS;
use super::random::Random;
use super::rules;
use crate::naive::{Call, Settings};

type Data = Map<String, Value>;

/// What is known about a visitor before the first call.
pub(super) struct Given {
    pub(super) id: String,
    pub(super) bucketing: BTreeMap<String, String>,
    pub(super) segments: Data,
    pub(super) attributes: Data,
    pub(super) location: Data,
}

impl Given {
    pub(super) fn new(random: &mut Random, config: &Value, at: usize) -> Self {
        let scripts = ["visitor", "\u{3b4}\u{3ce}\u{3c1}\u{3bf}", "\u{1f600}", " spaced ", "9"];
        let id = format!("{}{}-{at}", random.pick(&scripts), random.below(1_000_000));
        let mut bucketing = BTreeMap::new();
        for experience in config["experiences"].as_array().unwrap() {
            if random.percent(15) {
                let stored = any_variation(random, experience).unwrap_or_else(|| "gone".to_owned());
                bucketing.insert(id_of(experience), stored);
            }
        }
        let mut segments = Data::new();
        if random.percent(30) {
            segments.insert("country".to_owned(), rules::value(random));
            segments.insert("customSegments".to_owned(), json!([random.pick(&["s0", "s1", "s9"])]));
        }
        let (attributes, location) = (rules::data(random), rules::data(random));
        Self { id, bucketing, segments, attributes, location }
    }

    /// In the form a data store keeps.
    pub(super) fn envelope(&self) -> Value {
        json!({"attributes": {}, "segments": self.segments, "bucketing": self.bucketing})
    }
}

pub(super) fn settings(random: &mut Random) -> Settings {
    Settings {
        environment: random.percent(50).then(|| random.pick(&ENVIRONMENTS).to_owned()),
        exclude_experience_id_hash: random.percent(15),
        seed: if random.percent(15) { random.next() as u32 } else { 9999 },
        max_traffic: if random.percent(15) { 1 + random.below(20_000) as u32 } else { 10_000 },
        config_order: random.percent(20),
    }
}

pub(super) fn call(random: &mut Random, config: &Value) -> Call {
    let experiences = config["experiences"].as_array().unwrap();
    let keys = ["e0", "e1", "e2", "e3", "nowhere"];
    let count = random.below(4);
    Call {
        attributes: if random.percent(50) { rules::data(random) } else { Data::new() },
        environment: random.percent(15).then(|| random.pick(&ENVIRONMENTS).to_owned()),
        forced: if random.percent(15) {
            let experience = random.below(experiences.len());
            any_variation(random, &experiences[experience])
        } else {
            None
        },
        store: random.percent(85),
        experience_keys: if random.percent(25) {
            random.several(count, |random, _| random.pick(&keys).to_owned())
        } else {
            Vec::new()
        },
    }
}

/// The same call for the SDK.
pub(super) fn options(call: &Call) -> RunOptions {
    let mut options = RunOptions::new()
        .attributes(call.attributes.clone())
        .enable_storage(call.store)
        .experience_keys(call.experience_keys.iter().map(String::as_str));
    if let Some(environment) = &call.environment {
        options = options.environment(environment.as_str());
    }
    match &call.forced {
        Some(forced) => options.force_variation_id(forced.as_str()),
        None => options,
    }
}

fn any_variation(random: &mut Random, experience: &Value) -> Option<String> {
    let variations = experience["variations"].as_array().unwrap();
    if variations.is_empty() || random.percent(10) {
        return None;
    }
    let at = random.below(variations.len());
    Some(id_of(&variations[at]))
}

/// Ids are text, whatever was served.
fn id_of(entity: &Value) -> String {
    let id = &entity["id"];
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
