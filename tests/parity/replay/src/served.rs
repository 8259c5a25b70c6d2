//! What a replay has to know about a config independently of the SDK: the goal with a given key, and the declaration of
//! a feature that applies.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::json::{text, truthy};

/// The served config, as far as a replay reads it itself.
pub(crate) struct Served {
    goals: HashMap<String, String>,
    features: Vec<(String, String)>,
    /// The keys of experiences with a variation whose id is not text.
    untold: HashSet<String>,
}

impl Served {
    pub(crate) fn new(config: &Value) -> Self {
        let mut goals = HashMap::new();
        for goal in objects(config, "goals") {
            goals.entry(text(goal.get("key"))).or_insert_with(|| goal.get("id"));
        }
        let mut last = HashMap::new();
        for (at, feature) in objects(config, "features").enumerate() {
            if !feature["id"].is_null() {
                last.insert(text(feature.get("id")), (at, text(feature.get("key"))));
            }
        }
        let mut features: Vec<_> = last.into_iter().collect();
        features.sort_by_key(|(_, (at, _))| *at);
        let has_other_id = |variation: &Value| variation.get("id").is_some_and(|id| !id.is_string());
        let untold = objects(config, "experiences")
            .filter(|it| it["variations"].as_array().is_some_and(|all| all.iter().any(has_other_id)))
            .map(|experience| text(experience.get("key")));
        let named = |(key, id): (String, Option<&Value>)| truthy(id).then(|| (key, text(id)));
        Self {
            goals: goals.into_iter().filter_map(named).collect(),
            features: features.into_iter().map(|(id, (_, key))| (id, key)).collect(),
            untold: untold.collect(),
        }
    }

    /// The id of the first goal with this key.
    pub(crate) fn goal_id(&self, key: &str) -> Option<&str> {
        self.goals.get(key).map(String::as_str)
    }

    /// Whether JavaScript may decide an experience without returning it: it fails to find a variation whose id is not
    /// text.
    pub(crate) fn is_untold(&self, experience_key: &Value) -> bool {
        experience_key.as_str().is_some_and(|key| self.untold.contains(key))
    }

    /// Ids and keys of the features, in config order; the last one of a duplicate id.
    pub(crate) fn features(&self) -> &[(String, String)] {
        &self.features
    }
}

fn objects<'a>(config: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    config[list].as_array().into_iter().flatten().filter(|entity| entity.is_object())
}
