use std::hint::black_box;
use std::sync::Arc;

use eppo_core::eval::get_assignment;
use eppo_core::ufc::UniversalFlagConfig;
use eppo_core::{AttributeValue, Configuration, SdkMetadata, Str};
use serde_json::{Value, json};

use crate::project::{ASKED, experience_key, visitor_id};
use crate::request::{Request, asked_keys};
use crate::{Ask, Evaluate};

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
    let meta = SdkMetadata { name: "peers", version: "0.1.0" };
    let Ok(flags) = UniversalFlagConfig::from_json(meta, config.to_string().into_bytes()) else {
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

/// It remembers no visitor; the events of assignments go to the application, and there are no conversions.
pub(crate) fn requests(experiences: usize) -> Ask {
    let (configuration, keys) = (configuration(experiences, true), asked_keys());
    Box::new(move |request: &Request| {
        let attributes = Arc::new(eppo_core::Attributes::from_iter([
            (Str::from("country"), AttributeValue::categorical(request.country.as_str())),
            (Str::from("age"), AttributeValue::numeric(f64::from(request.age))),
            (Str::from("browser"), AttributeValue::categorical(request.browser.as_str())),
            (Str::from("plan"), AttributeValue::categorical(request.plan.as_str())),
            (Str::from("beta"), AttributeValue::categorical(request.beta)),
        ]));
        let (subject, now) = (Str::from(request.id.as_str()), chrono::Utc::now());
        keys.iter().all(|key| {
            let answer =
                get_assignment(Some(&configuration), black_box(key), &subject, &attributes, None, now);
            black_box(answer).is_ok_and(|it| it.is_some_and(|it| it.event.is_some()))
        })
    })
}
