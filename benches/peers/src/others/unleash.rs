use std::collections::HashMap;
use std::hint::black_box;

use serde_json::{Value, json};
use unleash_types::client_features::ClientFeatures;
use unleash_yggdrasil::{EngineState, UpdateMessage};

use super::parsed;
use crate::Evaluate;
use crate::project::{ASKED, experience_key, visitor_id};

pub(crate) fn evaluator(experiences: usize, visitors: usize) -> Evaluate {
    let toggle = |n: usize| {
        json!({
            "name": experience_key(n), "enabled": true,
            "strategies": [{
                "name": "flexibleRollout",
                "parameters": {"rollout": "100", "stickiness": "userId", "groupId": experience_key(n)},
                "constraints": [
                    {"contextName": "plan", "operator": "IN", "values": ["pro"]},
                    {"contextName": "age", "operator": "NUM_GTE", "value": "18"}
                ],
                "variants": [
                    {"name": "original", "weight": 500, "stickiness": "userId"},
                    {"name": "variant", "weight": 500, "stickiness": "userId"}
                ]
            }]
        })
    };
    let features: Vec<Value> = (0..experiences).map(toggle).collect();
    let engine = EngineState::default();
    let state: ClientFeatures = parsed(json!({"version": 2, "features": features}));
    engine.take_state(UpdateMessage::FullResponse(state));
    let context = |n: usize| unleash_yggdrasil::Context {
        user_id: Some(visitor_id(n)),
        session_id: None,
        environment: None,
        app_name: None,
        current_time: None,
        remote_address: None,
        properties: Some(HashMap::from([
            ("plan".to_owned(), "pro".to_owned()),
            ("age".to_owned(), "30".to_owned()),
        ])),
    };
    let contexts: Vec<_> = (0..visitors).map(context).collect();
    let key = experience_key(ASKED);
    Box::new(move |at| engine.get_variant(black_box(&key), &contexts[at], &None).enabled)
}
