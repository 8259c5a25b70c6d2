use std::hint::black_box;

use feature_probe_server_sdk::{FPUser, FeatureProbe, Repository};
use serde_json::{Value, json};

use super::parsed;
use crate::project::{ASKED, experience_key, visitor_id};
use crate::request::{Request, asked_keys};
use crate::{Evaluate, Server};

fn started(experiences: usize) -> FeatureProbe {
    let toggle = |key: &str| {
        json!({
            "key": key, "enabled": true, "forClient": false, "version": 1,
            "disabledServe": {"select": 0}, "defaultServe": {"select": 0},
            "rules": [{
                "serve": {"split": {"distribution": [[], [[0, 5_000]], [[5_000, 10_000]]]}},
                "conditions": [
                    {"type": "string", "subject": "plan", "predicate": "is one of", "objects": ["pro"]},
                    {"type": "number", "subject": "age", "predicate": ">=", "objects": ["18"]}
                ]
            }],
            "variations": ["", "original", "variant"]
        })
    };
    let toggles: serde_json::Map<String, Value> =
        (0..experiences).map(experience_key).map(|key| (key.clone(), toggle(&key))).collect();
    let repository: Repository = parsed(json!({"segments": {}, "toggles": toggles}));
    FeatureProbe::new_with("local".to_owned(), repository)
}

pub(crate) fn client(experiences: usize, visitors: usize) -> Evaluate {
    let client = started(experiences);
    let user = |n: usize| FPUser::new().stable_rollout(visitor_id(n)).with("plan", "pro").with("age", "30");
    let users: Vec<_> = (0..visitors).map(user).collect();
    let key = experience_key(ASKED);
    Box::new(move |at| !client.string_value(black_box(&key), &users[at], String::new()).is_empty())
}

/// It remembers no visitor. Its events are left out, exposures and conversion: only a client that fetches its toggles
/// from a server makes any.
pub(crate) fn requests(experiences: usize) -> impl Server {
    let (client, keys) = (started(experiences), asked_keys());
    move |request: &Request| {
        let user = FPUser::new()
            .stable_rollout(request.id.clone())
            .with("country", request.country.as_str())
            .with("age".to_owned(), request.age.to_string())
            .with("browser", request.browser.as_str())
            .with("plan", request.plan.as_str())
            .with("beta", if request.beta { "true" } else { "false" });
        keys.iter().all(|key| !client.string_value(black_box(key), &user, String::new()).is_empty())
    }
}
