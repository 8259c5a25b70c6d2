//! Ways to ask that must give the same result: many visitors at once, a handle, a key.

use std::sync::Arc;

use convert_sdk::{
    Attributes, ExperienceHandle, ExperienceResult, FeatureHandle, SdkConfig, adapters::InMemoryDataStore,
    ports::DataStore,
};

use serde_json::Value;

use super::check;
use super::configs::{self, Kinds};
use super::interpreter::ascii;
use super::visitors::{self, Given};
use crate::support::start;

const CONFIGS: u64 = 200;
const VISITORS: usize = 12;

#[test]
fn decide_many_and_handles_agree_with_single_calls() {
    check(CONFIGS, |random| {
        let config = configs::config(random, Kinds { stored: true, odd: true });
        let store = Arc::new(InMemoryDataStore::new());
        let core = start(
            SdkConfig::builder()
                .data(&config)
                .tracking(false)
                .shared_data_store(Arc::clone(&store) as Arc<dyn DataStore>),
        );
        let everybody: Vec<Given> = (0..VISITORS).map(|at| Given::new(random, &config, at)).collect();
        for given in everybody.iter().filter(|_| random.percent(60)) {
            store.set(&format!("state:[{}]", ascii(&given.id)), given.envelope(), None).unwrap();
        }
        let asked = visitors::call(random, &config);
        let options = visitors::options(&asked).enable_storage(false);
        let attributes: Vec<Attributes> =
            everybody.iter().map(|given| given.attributes.clone().into()).collect();
        let snapshot = core.current_config().unwrap();
        let seen = |result: ExperienceResult<'_>| {
            (result.experience_id().to_owned(), result.variation_id().to_owned(), result.source())
        };
        let keys = ["e0", "e1", "e2", "e3", "e4", "nowhere"];
        let mut together = Vec::new();
        for key in keys {
            let handle = ExperienceHandle::new(key);
            let visitors =
                everybody.iter().zip(&attributes).map(|(given, attributes)| (&given.id, attributes));
            let mut results = Vec::new();
            core.decide_many(&snapshot, &handle, visitors.clone(), &options, &mut results);
            #[cfg(feature = "async")]
            {
                let (tasks, mut in_a_task) = (core.to_async(), Vec::new());
                let deciding = tasks.decide_many(&snapshot, &handle, visitors, &options, &mut in_a_task);
                futures_executor::block_on(deciding);
                let seen =
                    |results: &[Result<_, _>]| results.iter().map(|it| it.map(seen)).collect::<Vec<_>>();
                assert_eq!(seen(&in_a_task), seen(&results), "{key} {config}");
            }
            together.push(results);
        }
        // Contexts remember segments, so they come later.
        for (at, given) in everybody.iter().enumerate() {
            let context = core.create_context(&given.id, attributes[at].clone()).unwrap();
            for (key, results) in keys.into_iter().zip(&together) {
                let alone = context.run_experience_with(&ExperienceHandle::new(key), &options);
                assert_eq!(results[at].map(seen), alone.map(seen), "{key} {config}");
                assert_eq!(alone.map(seen), context.run_experience_with(key, &options).map(seen));
            }
            for feature in ["f0", "f1", "f2"] {
                let seen = |result: convert_sdk::FeatureResult<'_>| {
                    (result.experience_id().to_owned(), result.variation_id().to_owned())
                };
                let by_handle = context.run_feature_with(&FeatureHandle::new(feature), &options).ok();
                let by_key = context.run_feature_with(feature, &options).ok();
                // A call that may leave traces decides everything, this one only what can carry it.
                let among_all = context.run_features_with(&options);
                let found: Vec<_> = among_all
                    .into_iter()
                    .filter(|result| result.feature_key() == feature)
                    .map(seen)
                    .collect();
                // Of features with the same key the first carried is returned, not the first declared.
                let given: Vec<_> = by_key.into_iter().map(seen).collect();
                assert!(given.is_empty() == found.is_empty(), "{feature} {config}");
                assert!(given.iter().all(|given| found.contains(given)), "{feature} {config}");
                assert!(found.len() < 2 || given.len() == 1 && is_key_twice(&config, feature), "{config}");
                assert_eq!(by_handle.map(seen), by_key.map(seen));
            }
        }
    });
}

fn is_key_twice(config: &Value, key: &str) -> bool {
    config["features"].as_array().is_some_and(|all| all.iter().filter(|it| it["key"] == key).count() > 1)
}
