use std::hint::black_box;

use growthbook_rust::client::{GrowthBookClientBuilder, GrowthBookClientTrait};
use growthbook_rust::model_public::GrowthBookAttribute;
use serde_json::{Value, json};

use super::at_once;
use crate::Evaluate;
use crate::project::{ASKED, experience_key, visitor_id};

pub(crate) fn client(experiences: usize, visitors: usize) -> Evaluate {
    let feature = |key: &str| {
        json!({
            "defaultValue": "",
            "rules": [{
                "key": key, "variations": ["original", "variant"], "weights": [0.5, 0.5], "coverage": 1.0,
                "hashAttribute": "id", "hashVersion": 2,
                "condition": {"plan": "pro", "age": {"$gte": 18}}
            }]
        })
    };
    let features: serde_json::Map<String, Value> =
        (0..experiences).map(experience_key).map(|key| (key.clone(), feature(&key))).collect();
    let Ok(builder) = GrowthBookClientBuilder::new().features_json(Value::Object(features)) else {
        unreachable!("a config of a peer")
    };
    let Ok(client) = at_once(builder.build()) else { unreachable!("a client of a peer") };
    let user = |n: usize| {
        let attributes = json!({"id": visitor_id(n), "plan": "pro", "age": 30});
        let Ok(user) = GrowthBookAttribute::from(attributes) else { unreachable!("a user of a peer") };
        user
    };
    let users: Vec<_> = (0..visitors).map(user).collect();
    let key = experience_key(ASKED);
    Box::new(move |at| {
        // A call takes its attributes by value, and copies the whole config to look into it.
        let result = client.feature_result(black_box(&key), Some(users[at].clone()));
        result.experiment_result.is_some_and(|experiment| experiment.in_experiment)
    })
}
