//! Visitor state in a store, in the official Python SDK's format.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convert_sdk::{
    ConversionOptions, ConversionStatus, DecisionSource,
    adapters::InMemoryDataStore,
    attributes,
    delivery::DeliveryConfig,
    ports::{DataStore, StoreError},
};
use serde_json::{Value, json};

use crate::support::{KEY, PATIENCE, direct, direct_to, pro, serve, shop, start, until, visitor};

/// A store that works like a file: values are kept as text.
#[derive(Default)]
struct Texts(Mutex<HashMap<String, String>>);

impl Texts {
    fn value(&self, key: &str) -> Option<Value> {
        self.0.lock().unwrap().get(key).map(|text| serde_json::from_str(text).unwrap())
    }

    fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self.0.lock().unwrap().keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    fn put(&self, key: &str, text: &str) {
        self.0.lock().unwrap().insert(key.to_owned(), text.to_owned());
    }
}

impl DataStore for Texts {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        Ok(self.value(key))
    }

    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        assert_eq!(ttl, None, "Python keeps state for ever");
        self.put(key, &value.to_string());
        Ok(())
    }

    fn set_if_absent(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool, StoreError> {
        assert!(ttl.is_some_and(|lease| lease > DeliveryConfig::DEFAULT_MAX_AGE), "a claim is a lease");
        assert_eq!(value, true, "Python checks for any value");
        let free = !self.has(key)?;
        if free {
            self.put(key, "\"leased\"");
        }
        Ok(free)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }
}

#[test]
fn state_and_marks_are_written_as_in_python() {
    let store = Arc::new(Texts::default());
    let emulator = serve();
    let core = start(direct_to(&emulator).shared_data_store(store.clone()));
    let id = "vü \"1\"";
    let mut context = core.create_context(id, attributes! { "plan" => "pro", "country" => "GR" }).unwrap();
    context.set_attributes(attributes! { "age" => 30 });
    context.run_experience("price").unwrap();
    assert!(context.track_conversion("purchase").tracked());
    core.flush(PATIENCE).unwrap();
    assert_eq!(
        store.keys(),
        [
            r#"bucketing:["v\u00fc \"1\"", "2"]"#,
            r#"dedup:["v\u00fc \"1\"", "71"]"#,
            r#"state:["v\u00fc \"1\""]"#,
        ]
    );
    assert_eq!(store.value(r#"bucketing:["v\u00fc \"1\"", "2"]"#), Some(json!(true)));
    assert_eq!(store.value(r#"dedup:["v\u00fc \"1\"", "71"]"#), Some(json!(true)));
    assert_eq!(
        store.value(r#"state:["v\u00fc \"1\""]"#),
        Some(json!({"attributes": {"age": 30}, "segments": {"country": "GR"}, "bucketing": {"2": "21"}}))
    );
}

#[test]
fn state_written_by_python_is_read() {
    let emulator = serve();
    // The decision for 999 is from an earlier config, which the endpoint remembers.
    let mut earlier = shop();
    earlier["experiences"].as_array_mut().unwrap().push(json!({"id": "999", "variations": [{"id": "1"}]}));
    emulator.set_config(KEY, earlier).unwrap();
    emulator.set_config(KEY, shop()).unwrap();
    let store = Arc::new(Texts::default());
    store.put(
        r#"state:["v"]"#,
        r#"{"attributes": {"plan": "pro", "n": 1.5}, "segments": {"country": "DE", "customSegments": ["61"]},
            "bucketing": {"2": "22", "999": "1"}}"#,
    );
    store.put(r#"dedup:["v", "71"]"#, "true");
    store.put(r#"bucketing:["v", "2"]"#, "true");
    let core = start(direct_to(&emulator).shared_data_store(store.clone()));
    let context = visitor(&core, "v");
    assert_eq!(context.attributes().len(), 2);
    assert_eq!(context.segments().len(), 2);
    let price = context.run_experience("price").unwrap();
    assert_eq!((price.variation_id(), price.source()), ("22", DecisionSource::Stored));
    assert_eq!(context.run_experience("members").unwrap().variation_id(), "31");
    let plain = ConversionOptions::new();
    let repeated = context.track_conversion_confirmed("purchase", &plain, PATIENCE);
    assert_eq!(repeated.status, ConversionStatus::Deduplicated);
    assert!(context.track_conversion("signup").tracked());
    core.flush(PATIENCE).unwrap();
    let received = emulator.received();
    assert_eq!((received.totals.bucketing, received.totals.conversion), (1, 1), "price was exposed before");
    // The store answers for each record separately, so there may be two requests.
    let bodies = crate::support::bodies(&received);
    let visitors = || bodies.iter().map(|body| &body["visitors"][0]);
    let segments = json!({"country": "DE", "customSegments": ["61"]});
    assert!(visitors().all(|visitor| visitor["segments"] == segments));
    let mut events = visitors().flat_map(|visitor| visitor["events"].as_array().unwrap());
    let conversion = events.find(|event| event["eventType"] == "conversion").unwrap();
    let pairs = &conversion["data"]["bucketingData"];
    assert_eq!(*pairs, json!({"2": "22", "3": "31", "999": "1"}), "unknown decisions are kept");
    core.close();
    let state = store.value(r#"state:["v"]"#).unwrap();
    assert_eq!(state["bucketing"], json!({"2": "22", "3": "31", "999": "1"}));
    assert_eq!(state["attributes"], json!({"plan": "pro", "n": 1.5}));
}

#[test]
fn older_formats_and_nonsense_are_read() {
    let store = Arc::new(Texts::default());
    store.put(r#"state:["bare"]"#, r#"{"plan": "pro"}"#);
    store.put(r#"state:["two"]"#, r#"{"attributes": {"plan": "pro"}, "segments": {}}"#);
    for (index, nonsense) in ["null", "5", "[]", "\"text\"", r#"{"attributes": 5}"#].iter().enumerate() {
        store.put(&format!("state:[\"{index}\"]"), nonsense);
    }
    let core = start(direct().shared_data_store(store));
    assert!(visitor(&core, "bare").run_experience("price").is_ok());
    assert!(visitor(&core, "two").run_experience("price").is_ok());
    for index in 0..5 {
        assert!(visitor(&core, &index.to_string()).run_experience("banner").is_ok());
    }
}

#[test]
fn state_outlives_the_core() {
    let store = Arc::new(Texts::default());
    let config = || direct().shared_data_store(store.clone() as Arc<dyn DataStore>);
    let core = start(config());
    pro(&core, "v").run_experience("price").unwrap();
    core.close();
    let core = start(config());
    let context = pro(&core, "v");
    assert_eq!(context.run_experience("price").unwrap().source(), DecisionSource::Stored);
    // The first one was not delivered, so this is not a duplicate.
    until(&core, |stats| (stats.recorded, stats.deduplicated) == (1, 0));
}

#[test]
fn memory_remembers_visitors_between_contexts_without_a_store() {
    let core = start(direct());
    let mut context = core.create_context("v", attributes! { "country" => "GR", "plan" => "pro" }).unwrap();
    context.run_experience("banner").unwrap();
    context.set_attributes(attributes! { "tier" => "gold" });
    let later = visitor(&core, "v");
    assert_eq!(later.run_experience("banner").unwrap().source(), DecisionSource::Stored);
    assert!(later.segments().get("country").is_some(), "report keys are kept");
    assert!(later.attributes().get("tier").is_some(), "set attributes are kept");
    assert!(later.attributes().get("plan").is_none(), "attributes of one context are its own");
}

#[test]
fn custom_segments_are_recorded_once_and_match_audiences() {
    let emulator = serve();
    let core = start(direct_to(&emulator));
    let mut context = visitor(&core, "v");
    assert!(context.run_experience("members").is_err());
    assert!(!context.run_custom_segments(&["vip", "no-such-segment"]).matched());
    let matched = context.run_custom_segments_with(&["vip"], attributes! { "tier" => "gold" });
    assert_eq!(matched.matched_segment_ids().collect::<Vec<_>>(), ["61"]);
    let again = context.run_custom_segments_with(&["vip"], attributes! { "tier" => "gold" });
    assert!(!again.matched(), "recorded already");
    assert!(context.run_experience("members").is_ok());
    assert!(visitor(&core, "v").run_experience("members").is_ok(), "later contexts know it too");
    core.flush(PATIENCE).unwrap();
    let segments = crate::support::bodies(&emulator.received())[0]["visitors"][0]["segments"].clone();
    assert_eq!(segments, json!({"customSegments": ["61"]}));
}

#[test]
fn default_segments_keep_only_report_keys_and_the_latest_wins() {
    let emulator = serve();
    let core = start(direct_to(&emulator));
    let mut context = core.create_context("v", attributes! { "country" => "GR" }).unwrap();
    context.set_segments(attributes! { "country" => "DE", "browser" => "FF", "plan" => "pro" });
    assert!(context.run_experience("price").is_err(), "plan is no segment");
    assert!(context.track_conversion("purchase").tracked());
    core.flush(PATIENCE).unwrap();
    let segments = crate::support::bodies(&emulator.received())[0]["visitors"][0]["segments"].clone();
    assert_eq!(segments, json!({"country": "DE", "browser": "FF"}));
}

#[test]
fn the_memory_store_stays_bounded_under_deletes() {
    let store = InMemoryDataStore::with_capacity(2);
    store.set("a", json!(1), None).unwrap();
    store.delete("a").unwrap();
    store.set("b", json!(1), None).unwrap();
    store.set("a", json!(2), None).unwrap();
    store.set("c", json!(1), None).unwrap();
    assert_eq!(store.get("b").unwrap(), None, "b is the oldest");
    assert_eq!(store.get("a").unwrap(), Some(json!(2)));
    assert_eq!(store.len(), 2);
}

#[test]
fn two_contexts_of_one_visitor_do_not_overwrite_each_other() {
    let store = Arc::new(Texts::default());
    let core = start(direct().shared_data_store(store.clone() as Arc<dyn DataStore>));
    let older = pro(&core, "v");
    let mut newer = visitor(&core, "v");
    newer.set_segments(attributes! { "country" => "GR" });
    until(&core, |_| store.value(r#"state:["v"]"#).is_some());
    older.run_experience("price").unwrap();
    until(&core, |_| {
        let state = store.value(r#"state:["v"]"#).unwrap_or_default();
        state["segments"]["country"] == "GR"
            && state["bucketing"].as_object().is_some_and(|it| !it.is_empty())
    });
    assert_eq!(visitor(&core, "v").segments().len(), 1);
}
