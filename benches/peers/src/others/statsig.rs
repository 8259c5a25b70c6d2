use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use serde_json::{Value, json};
use statsig_rust::hashing::djb2;
use statsig_rust::output_logger::LogLevel;
use statsig_rust::{
    DynamicValue, ExperimentEvaluationOptions, Statsig, StatsigLocalFileSpecsAdapter, StatsigOptions,
    StatsigUserBuilder,
};

use crate::Evaluate;
use crate::project::{ASKED, experience_key, visitor_id};

const SDK_KEY: &str = "secret-local";

pub(crate) fn client(experiences: usize, visitors: usize) -> Evaluate {
    let client = initialized(&specs(experiences));
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

/// Its offline adapter reads a file.
fn initialized(specs: &Value) -> Statsig {
    let folder = std::env::temp_dir().join(format!("peers-{}", std::process::id()));
    let file = folder.join(format!("{}_specs.json", djb2(SDK_KEY)));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(file, specs.to_string()));
    assert!(written.is_ok(), "{}: {written:?}", folder.display());
    let adapter = StatsigLocalFileSpecsAdapter::new(SDK_KEY, &folder.to_string_lossy(), None, false, true);
    let options = StatsigOptions {
        specs_adapter: Some(Arc::new(adapter)),
        disable_network: Some(true),
        disable_all_logging: Some(true),
        output_log_level: Some(LogLevel::None),
        ..StatsigOptions::default()
    };
    let client = Statsig::new(SDK_KEY, Some(Arc::new(options)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ready = runtime.map(|runtime| runtime.block_on(client.initialize()).is_ok());
    assert!(matches!(ready, Ok(true)), "a client of a peer");
    let _ = std::fs::remove_dir_all(&folder);
    client
}
