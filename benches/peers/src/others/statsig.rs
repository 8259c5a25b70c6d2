use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use statsig_rust::hashing::djb2;
use statsig_rust::log_event_payload::LogEventRequest;
use statsig_rust::output_logger::LogLevel;
use statsig_rust::{
    DynamicValue, EventLoggingAdapter, ExperimentEvaluationOptions, Statsig, StatsigErr,
    StatsigLocalFileSpecsAdapter, StatsigOptions, StatsigRuntime, StatsigUserBuilder,
};
use tokio::runtime::Runtime;

use crate::project::{ASKED, experience_key, visitor_id};
use crate::request::{ASKED_FOR, GOAL, Request, asked_keys};
use crate::{Evaluate, Server};

const SDK_KEY: &str = "secret-local";

pub(crate) fn client(experiences: usize, visitors: usize) -> Evaluate {
    let logging = StatsigOptions { disable_all_logging: Some(true), ..StatsigOptions::default() };
    let (client, _) = initialized(&specs(experiences), logging);
    let user = |n: usize| {
        let custom = HashMap::from([
            ("plan".to_owned(), DynamicValue::from("pro")),
            ("age".to_owned(), DynamicValue::from(30)),
        ]);
        StatsigUserBuilder::new_with_user_id(visitor_id(n)).custom(Some(custom)).build()
    };
    let users: Vec<_> = (0..visitors).map(user).collect();
    let key = experience_key(ASKED);
    Box::new(move |at| {
        let options = ExperimentEvaluationOptions {
            disable_exposure_logging: true,
            ..ExperimentEvaluationOptions::default()
        };
        client.get_experiment_with_options(&users[at], black_box(&key), options).group_name.is_some()
    })
}

/// A visitor outside the audience gets the default before the groups apply, as in configs that it serves.
fn specs(experiences: usize) -> Value {
    let condition = |kind: &str, field: Value, operator: &str, target: Value, salt: &str| {
        json!({
            "type": kind, "field": field, "operator": operator, "targetValue": target,
            "additionalValues": {"salt": salt}, "idType": "userID"
        })
    };
    let rule = |id: &str, group: Value, conditions: Value, value: Value| {
        json!({
            "name": id, "id": id, "salt": id, "groupName": group, "passPercentage": 100, "idType": "userID",
            "conditions": conditions, "returnValue": value, "isExperimentGroup": !group.is_null()
        })
    };
    let mut conditions = serde_json::Map::new();
    conditions
        .insert("no-pro".to_owned(), condition("user_field", json!("plan"), "none", json!(["pro"]), ""));
    conditions.insert("minor".to_owned(), condition("user_field", json!("age"), "lt", json!(18), ""));
    let mut experiments = serde_json::Map::new();
    for key in (0..experiences).map(experience_key) {
        let half = [format!("{key}-half"), format!("{key}-whole")];
        for (name, end) in half.iter().zip([500, 1_000]) {
            conditions.insert(name.clone(), condition("user_bucket", Value::Null, "lt", json!(end), &key));
        }
        let experiment = json!({
            "type": "dynamic_config", "entity": "experiment", "idType": "userID", "salt": key, "version": 1,
            "enabled": true, "isActive": true, "hasSharedParams": false, "defaultValue": {},
            "rules": [
                rule("no-pro", Value::Null, json!(["no-pro"]), json!({})),
                rule("minor", Value::Null, json!(["minor"]), json!({})),
                rule("original", json!("Control"), json!([half[0]]), json!({"value": "original"})),
                rule("variant", json!("Test"), json!([half[1]]), json!({"value": "variant"}))
            ]
        });
        experiments.insert(key, experiment);
    }
    json!({
        "has_updates": true, "time": 1, "feature_gates": {}, "layer_configs": {}, "experiment_to_layer": {},
        "dynamic_configs": experiments, "condition_map": conditions
    })
}

/// Its offline adapter reads a file. `logging`: the options for events.
fn initialized(specs: &Value, logging: StatsigOptions) -> (Statsig, Runtime) {
    let folder = std::env::temp_dir().join(format!("peers-{}", std::process::id()));
    let file = folder.join(format!("{}_specs.json", djb2(SDK_KEY)));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(file, specs.to_string()));
    assert!(written.is_ok(), "{}: {written:?}", folder.display());
    let adapter = StatsigLocalFileSpecsAdapter::new(SDK_KEY, &folder.to_string_lossy(), None, false, true);
    let options = StatsigOptions {
        specs_adapter: Some(Arc::new(adapter)),
        disable_network: Some(true),
        output_log_level: Some(LogLevel::None),
        ..logging
    };
    let client = Statsig::new(SDK_KEY, Some(Arc::new(options)));
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        unreachable!("a runtime of one thread")
    };
    assert!(runtime.block_on(client.initialize()).is_ok(), "a client of a peer");
    let _ = std::fs::remove_dir_all(&folder);
    (client, runtime)
}

/// Takes what the event logger sends.
struct Sink;

#[async_trait]
impl EventLoggingAdapter for Sink {
    async fn start(&self, _: &Arc<StatsigRuntime>) -> Result<(), StatsigErr> {
        Ok(())
    }

    async fn log_events(&self, _: LogEventRequest) -> Result<bool, StatsigErr> {
        Ok(true)
    }

    async fn shutdown(&self) -> Result<(), StatsigErr> {
        Ok(())
    }

    fn should_schedule_background_flush(&self) -> bool {
        true
    }
}

struct Requests {
    client: Statsig,
    keys: [String; ASKED_FOR],
    runtime: Runtime,
}

/// Its own event logger takes each conversion, and each exposure that it has not seen for a minute.
pub(crate) fn requests(experiences: usize) -> impl Server {
    let logging = StatsigOptions { event_logging_adapter: Some(Arc::new(Sink)), ..StatsigOptions::default() };
    let (client, runtime) = initialized(&specs(experiences), logging);
    Requests { client, keys: asked_keys(), runtime }
}

impl Server for Requests {
    fn ask(&mut self, request: &Request) -> bool {
        let custom = HashMap::from([
            ("age".to_owned(), DynamicValue::from(i64::from(request.age))),
            ("browser".to_owned(), DynamicValue::from(request.browser.as_str())),
            ("plan".to_owned(), DynamicValue::from(request.plan.as_str())),
            ("beta".to_owned(), DynamicValue::from(request.beta)),
        ]);
        let user = StatsigUserBuilder::new_with_user_id(request.id.as_str())
            .country(Some(request.country.clone()))
            .custom(Some(custom))
            .build();
        let has_group = |key: &String| self.client.get_experiment(&user, black_box(key)).group_name.is_some();
        let decided = self.keys.iter().all(has_group);
        self.client.log_event(&user, GOAL, None, None);
        decided
    }

    fn settle(&mut self) {
        self.runtime.block_on(self.client.flush_events());
    }
}
