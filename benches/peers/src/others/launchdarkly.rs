use std::collections::HashMap;
use std::hint::black_box;
use std::time::Duration;

use launchdarkly_server_sdk::{Client, ConfigBuilder, NullEventProcessorBuilder, TestData};
use launchdarkly_server_sdk_evaluation::{
    Context, ContextBuilder, Flag, FlagValue, Segment, Store, evaluate,
};
use serde_json::json;

use super::parsed;
use crate::Evaluate;
use crate::project::{ASKED, experience_key, visitor_id};

/// Flags by key; the trait requires owned ones, so the flag is looked up once instead of being cloned on each call.
struct Nothing;

impl Store for Nothing {
    fn flag(&self, _: &str) -> Option<Flag> {
        None
    }

    fn segment(&self, _: &str) -> Option<Segment> {
        None
    }
}

pub(crate) fn evaluator(experiences: usize, visitors: usize) -> Evaluate {
    let flags: HashMap<String, Flag> =
        (0..experiences).map(experience_key).map(|key| (key.clone(), flag(&key))).collect();
    let (contexts, key) = (contexts(visitors), experience_key(ASKED));
    Box::new(move |at| {
        let Some(flag) = flags.get(black_box(key.as_str())) else { return false };
        let answer = evaluate(&Nothing, flag, &contexts[at], None).value;
        matches!(answer, Some(FlagValue::Str(variation)) if !variation.is_empty())
    })
}

pub(crate) fn client(experiences: usize, visitors: usize) -> Evaluate {
    let source = TestData::new();
    for key in (0..experiences).map(experience_key) {
        source.use_preconfigured_flag(flag(&key));
    }
    let config = ConfigBuilder::new("sdk-local")
        .data_source(&source)
        .event_processor(&NullEventProcessorBuilder::new())
        .build();
    let Some(client) = config.ok().and_then(|config| Client::build(config).ok()) else {
        unreachable!("a config of a peer")
    };
    assert!(client.start_with_runtime().is_ok(), "a client of a peer");
    while !client.initialized() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (contexts, key) = (contexts(visitors), experience_key(ASKED));
    Box::new(move |at| !client.str_variation(&contexts[at], black_box(&key), String::new()).is_empty())
}

fn flag(key: &str) -> Flag {
    parsed(json!({
        "key": key, "version": 1, "on": true, "salt": key, "variations": ["original", "variant", ""],
        "targets": [], "prerequisites": [], "offVariation": 2, "fallthrough": {"variation": 2},
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
}

fn contexts(visitors: usize) -> Vec<Context> {
    let context = |n: usize| {
        let mut builder = ContextBuilder::new(visitor_id(n));
        builder.set_value("plan", "pro".into()).set_value("age", 30.0.into());
        let Ok(context) = builder.build() else { unreachable!("a context of a peer") };
        context
    };
    (0..visitors).map(context).collect()
}
