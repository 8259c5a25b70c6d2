use std::hint::black_box;
use std::sync::Arc;

use eppo_core::configuration_store::ConfigurationStore;
use eppo_core::eval::{Evaluator, EvaluatorConfig, get_assignment};
use eppo_core::events::AssignmentEvent;
use eppo_core::ufc::{UniversalFlagConfig, VariationType};
use eppo_core::{AttributeValue, Configuration, SdkMetadata, Str};
use serde_json::{Value, json};

use crate::project::{ASKED, experience_key, visitor_id};
use crate::request::{Request, asked_keys};
use crate::{Evaluate, Server};

const META: SdkMetadata = SdkMetadata { name: "peers", version: "0.1.0" };

/// `logs`: whether an assignment comes with the event that an application is to send.
fn configuration(experiences: usize, logs: bool) -> Configuration {
    let flag = |key: &str| {
        let shards = |start: u32, end: u32| json!([{"salt": format!("{key}-split"), "ranges": [{"start": start, "end": end}]}]);
        json!({
            "key": key, "enabled": true, "variationType": "STRING", "totalShards": 10_000,
            "variations": {
                "original": {"key": "original", "value": "original"},
                "variant": {"key": "variant", "value": "variant"}
            },
            "allocations": [{
                "key": "allocation", "doLog": logs,
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
    let Ok(flags) = UniversalFlagConfig::from_json(META, config.to_string().into_bytes()) else {
        unreachable!("a config of a peer")
    };
    Configuration::from_server_response(flags, None)
}

pub(crate) fn evaluator(experiences: usize, visitors: usize) -> Evaluate {
    let configuration = configuration(experiences, false);
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

/// What the client around this core does: it evaluates, and hands each event to the application's callback. It remembers
/// no visitor, and has no conversions.
pub(crate) fn requests(experiences: usize) -> impl Server {
    let configuration_store = Arc::new(ConfigurationStore::new());
    configuration_store.set_configuration(Arc::new(configuration(experiences, true)));
    let evaluator = Evaluator::new(EvaluatorConfig { configuration_store, sdk_metadata: META });
    let log: Box<dyn Fn(AssignmentEvent)> = Box::new(|event| drop(black_box(event)));
    let keys = asked_keys();
    move |request: &Request| {
        let subject = Str::from(request.id.as_str());
        let attributes = Arc::new(eppo_core::Attributes::from_iter([
            (Str::from("country"), AttributeValue::categorical(request.country.as_str())),
            (Str::from("age"), AttributeValue::numeric(f64::from(request.age))),
            (Str::from("browser"), AttributeValue::categorical(request.browser.as_str())),
            (Str::from("plan"), AttributeValue::categorical(request.plan.as_str())),
            (Str::from("beta"), AttributeValue::categorical(request.beta)),
        ]));
        keys.iter().all(|key| {
            let kind = Some(VariationType::String);
            let answer = evaluator.get_assignment(black_box(key), &subject, &attributes, kind);
            let Ok(Some(assignment)) = answer else { return false };
            let Some(event) = assignment.event else { return false };
            log(event);
            assignment.value.as_str().is_some_and(|value| !value.is_empty())
        })
    }
}
