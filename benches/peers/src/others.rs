//! The same question in the configs and calls of other vendors.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use eppo_core::eval::get_assignment;
use eppo_core::ufc::UniversalFlagConfig;
use eppo_core::{AttributeValue, Configuration, SdkMetadata, Str};
use launchdarkly_server_sdk_evaluation::{ContextBuilder, Flag, Segment, Store, evaluate};
use serde_json::{Value, json};
use unleash_types::client_features::ClientFeatures;
use unleash_yggdrasil::{EngineState, UpdateMessage};

use crate::Evaluate;
use crate::project::{ASKED, experience_key, visitor_id};

fn parsed<T: serde::de::DeserializeOwned>(config: Value) -> T {
    match serde_json::from_value(config) {
        Ok(parsed) => parsed,
        Err(error) => unreachable!("a config of a peer: {error}"),
    }
}

pub(crate) fn eppo(experiences: usize, visitors: usize) -> Evaluate {
    let flag = |key: &str| {
        let shards = |start: u32, end: u32| json!([{"salt": format!("{key}-split"), "ranges": [{"start": start, "end": end}]}]);
        json!({
            "key": key, "enabled": true, "variationType": "STRING", "totalShards": 10_000,
            "variations": {
                "original": {"key": "original", "value": "original"},
                "variant": {"key": "variant", "value": "variant"}
            },
            "allocations": [{
                "key": "allocation", "doLog": false,
                "rules": [{"conditions": [
                    {"attribute": "plan", "operator": "ONE_OF", "value": ["pro"]},
                    {"attribute": "age", "operator": "GTE", "value": 18}
                ]}],
                "splits": [
                    {"variationKey": "original", "shards": shards(0, 5_000)},
                    {"variationKey": "variant", "shards": shards(5_000, 10_000)}
                ]
            }]
        })
    };
    let flags: serde_json::Map<String, Value> =
        (0..experiences).map(experience_key).map(|key| (key.clone(), flag(&key))).collect();
    let config = json!({
        "createdAt": "2024-04-17T19:40:53.716Z", "format": "SERVER",
        "environment": {"name": "Test"}, "flags": flags, "bandits": {}
    });
    let meta = SdkMetadata { name: "peers", version: "0.1.0" };
    let Ok(flags) = UniversalFlagConfig::from_json(meta, config.to_string().into_bytes()) else {
        unreachable!("a config of a peer")
    };
    let configuration = Configuration::from_server_response(flags, None);
    let attributes = || {
        Arc::new(eppo_core::Attributes::from_iter([
            (Str::from("plan"), AttributeValue::categorical("pro")),
            (Str::from("age"), AttributeValue::numeric(30.0)),
        ]))
    };
    let subjects: Vec<_> = (0..visitors).map(|n| (Str::from(visitor_id(n)), attributes())).collect();
    let (key, now) = (experience_key(ASKED), chrono::Utc::now());
    Box::new(move |at| {
        let (subject, attributes) = &subjects[at];
        let answer = get_assignment(Some(&configuration), black_box(&key), subject, attributes, None, now);
        matches!(answer, Ok(Some(_)))
    })
}

/// Flags by key; the trait asks for owned ones, so the flag is found once and not cloned by each call.
struct Nothing;

impl Store for Nothing {
    fn flag(&self, _: &str) -> Option<Flag> {
        None
    }

    fn segment(&self, _: &str) -> Option<Segment> {
        None
    }
}

pub(crate) fn launchdarkly(experiences: usize, visitors: usize) -> Evaluate {
    let flag = |key: &str| {
        parsed::<Flag>(json!({
            "key": key, "version": 1, "on": true, "salt": key, "variations": ["original", "variant"],
            "targets": [], "prerequisites": [], "offVariation": 0, "fallthrough": {"variation": 0},
            "clientSideAvailability": {"usingMobileKey": false, "usingEnvironmentId": false},
            "rules": [{
                "id": "rule", "trackEvents": false,
                "clauses": [
                    {"attribute": "plan", "op": "in", "values": ["pro"], "negate": false},
                    {"attribute": "age", "op": "greaterThanOrEqual", "values": [18], "negate": false}
                ],
                "rollout": {"variations": [
                    {"variation": 0, "weight": 50_000}, {"variation": 1, "weight": 50_000}
                ]}
            }]
        }))
    };
    let flags: HashMap<String, Flag> =
        (0..experiences).map(experience_key).map(|key| (key.clone(), flag(&key))).collect();
    let context = |n: usize| {
        let mut builder = ContextBuilder::new(visitor_id(n));
        builder.set_value("plan", "pro".into()).set_value("age", 30.0.into());
        let Ok(context) = builder.build() else { unreachable!("a context of a peer") };
        context
    };
    let contexts: Vec<_> = (0..visitors).map(context).collect();
    let key = experience_key(ASKED);
    Box::new(move |at| {
        let Some(flag) = flags.get(black_box(key.as_str())) else { return false };
        evaluate(&Nothing, flag, &contexts[at], None).value.is_some()
    })
}

pub(crate) fn yggdrasil(experiences: usize, visitors: usize) -> Evaluate {
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
