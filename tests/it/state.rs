//! Visitor state through a store, in the official Python SDK's format, and stores that fail.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convert_sdk::{
    ConversionOptions, ConversionStatus, DataStore, DecisionSource, InMemoryDataStore, LifecycleEvent,
    StoreError, attributes,
};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use serde_json::{Value, json};

use crate::support::{
    PATIENCE, convert, direct, direct_to, next, pro, serve, start, start_scripted, until, visitor,
};

/// A map that is written like a file: values are kept as text.
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

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }
}

#[test]
fn state_and_marks_are_written_as_python_writes_them() {
    let store = Arc::new(Texts::default());
    let core = start(direct().shared_data_store(store.clone()));
    let id = "vü \"1\"";
    let mut context = core.create_context(id, attributes! { "plan" => "pro", "country" => "GR" }).unwrap();
    context.set_attributes(attributes! { "age" => 30 });
    context.run_experience("price").unwrap();
    assert!(context.track_conversion("purchase").tracked());
    core.close();
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
fn state_that_python_wrote_is_taken_up() {
    let emulator = serve();
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
    let repeated = context.track_conversion_confirmed("purchase", &plain, PATIENCE).unwrap();
    assert_eq!(repeated.status, ConversionStatus::Deduplicated);
    assert!(context.track_conversion("signup").tracked());
    core.flush(PATIENCE).unwrap();
    let received = emulator.received();
    assert_eq!((received.totals.bucketing, received.totals.conversion), (1, 1), "price was exposed before");
    let body = &crate::support::bodies(&received)[0]["visitors"][0];
    assert_eq!(body["segments"], json!({"country": "DE", "customSegments": ["61"]}));
    let pairs = &body["events"][1]["data"]["bucketingData"];
    assert_eq!(*pairs, json!({"2": "22", "3": "31", "999": "1"}), "unknown decisions are kept");
    core.close();
    let state = store.value(r#"state:["v"]"#).unwrap();
    assert_eq!(state["bucketing"], json!({"2": "22", "3": "31", "999": "1"}));
    assert_eq!(state["attributes"], json!({"plan": "pro", "n": 1.5}));
}

#[test]
fn the_older_forms_and_nonsense_are_read() {
    let store = Arc::new(Texts::default());
    store.put(r#"state:["bare"]"#, r#"{"plan": "pro"}"#);
    store.put(r#"state:["two"]"#, r#"{"attributes": {"plan": "pro"}, "segments": {}}"#);
    for (index, nonsense) in ["null", "5", "[]", "\"text\"", r#"{"attributes": 5}"#].iter().enumerate() {
        store.put(&format!("state:[\"{index}\"]"), nonsense);
    }
    let core = start(direct().shared_data_store(store));
    assert!(visitor(&core, "bare").run_experience("price").is_some());
    assert!(visitor(&core, "two").run_experience("price").is_some());
    for index in 0..5 {
        assert!(visitor(&core, &index.to_string()).run_experience("banner").is_some());
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
    assert!(core.flush(Duration::ZERO).is_err() || core.stats().pending == 0);
    until(&core, |stats| stats.recorded == 1 && stats.deduplicated == 1);
}

#[test]
fn memory_remembers_a_visitor_between_contexts_without_a_store() {
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
fn custom_segments_are_recorded_once_and_open_what_asks_for_them() {
    let emulator = serve();
    let core = start(direct_to(&emulator));
    let mut context = visitor(&core, "v");
    assert!(context.run_experience("members").is_none());
    assert!(!context.run_custom_segments(&["vip", "no-such-segment"]).matched());
    let matched = context.run_custom_segments_with(&["vip"], attributes! { "tier" => "gold" });
    assert_eq!(matched.matched_segment_ids().collect::<Vec<_>>(), ["61"]);
    let again = context.run_custom_segments_with(&["vip"], attributes! { "tier" => "gold" });
    assert!(!again.matched(), "recorded already");
    assert!(context.run_experience("members").is_some());
    assert!(visitor(&core, "v").run_experience("members").is_some(), "later contexts know it too");
    core.flush(PATIENCE).unwrap();
    let segments = crate::support::bodies(&emulator.received())[0]["visitors"][0]["segments"].clone();
    assert_eq!(segments, json!({"customSegments": ["61"]}));
}

#[test]
fn default_segments_keep_report_keys_only_and_the_later_write_wins() {
    let emulator = serve();
    let core = start(direct_to(&emulator));
    let mut context = core.create_context("v", attributes! { "country" => "GR" }).unwrap();
    context.set_segments(attributes! { "country" => "DE", "browser" => "FF", "plan" => "pro" });
    assert!(context.run_experience("price").is_none(), "plan is no segment");
    assert!(context.track_conversion("purchase").tracked());
    core.flush(PATIENCE).unwrap();
    let segments = crate::support::bodies(&emulator.received())[0]["visitors"][0]["segments"].clone();
    assert_eq!(segments, json!({"country": "DE", "browser": "FF"}));
}

/// Fails, panics or works, call by call.
struct Moody {
    inner: InMemoryDataStore,
    mood: AtomicUsize,
    sets: AtomicUsize,
}

impl Moody {
    const WELL: usize = 0;
    const FAILING: usize = 1;
    const PANICKING: usize = 2;

    fn new(mood: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemoryDataStore::new(),
            mood: AtomicUsize::new(mood),
            sets: AtomicUsize::new(0),
        })
    }

    fn react(&self) -> Result<(), StoreError> {
        match self.mood.load(Ordering::SeqCst) {
            Self::FAILING => Err(StoreError::new("down")),
            Self::PANICKING => panic!("on purpose"),
            _ => Ok(()),
        }
    }
}

impl DataStore for Moody {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.react()?;
        self.inner.get(key)
    }
    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.sets.fetch_add(1, Ordering::SeqCst);
        self.react()?;
        self.inner.set(key, value, ttl)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.react()?;
        self.inner.delete(key)
    }
}

#[test]
fn a_store_that_fails_or_panics_costs_nothing_but_its_memory() {
    for mood in [Moody::FAILING, Moody::PANICKING] {
        let emulator = serve();
        let store = Moody::new(mood);
        let core = start(direct_to(&emulator).shared_data_store(store.clone()));
        let events = core.subscribe();
        assert!(pro(&core, "v").run_experience("price").is_some());
        convert(&core, 0..3);
        convert(&core, 0..3);
        let report = core.flush(PATIENCE).unwrap();
        assert_eq!((report.delivered, report.stats.deduplicated), (4, 3), "marks fall back to memory");
        assert!(report.stats.store_failures > 0);
        assert_eq!(pro(&core, "v").run_experience("price").unwrap().source(), DecisionSource::Stored);
        let left = next(&events, |event| match event {
            LifecycleEvent::DataStoreQueueReleased { written: 0, left, .. } => Some(*left),
            _ => None,
        });
        assert_eq!(left, 1);
        // What waited is written once the store is well again.
        store.mood.store(Moody::WELL, Ordering::SeqCst);
        convert(&core, 9..10);
        core.close();
        assert!(store.inner.has(r#"state:["v"]"#).unwrap());
        assert_eq!(emulator.received().totals.events, 4);
    }
}

#[test]
fn a_failing_store_is_not_asked_for_every_waiting_visitor_at_every_step() {
    const VISITORS: usize = 300;
    let store = Moody::new(Moody::FAILING);
    let (core, script) = start_scripted(direct().shared_data_store(store.clone()).batch_size(10_000));
    for number in 0..VISITORS {
        visitor(&core, &number.to_string()).run_experience("banner").unwrap();
    }
    script.answer(200);
    core.flush(PATIENCE).unwrap();
    // A mark and at most one try to write state for each step, not one for each waiting visitor.
    let sets = store.sets.load(Ordering::SeqCst);
    assert!(sets <= 4 * VISITORS, "{sets} calls for {VISITORS} visitors");
}

/// Says when it is called, and returns when it is told to.
struct Slow {
    called: Sender<()>,
    go_on: Receiver<()>,
}

impl DataStore for Slow {
    fn get(&self, _: &str) -> Result<Option<Value>, StoreError> {
        Ok(None)
    }
    fn set(&self, _: &str, _: Value, _: Option<Duration>) -> Result<(), StoreError> {
        let _ = self.called.send(());
        // Ends too when the test is over.
        let _ = self.go_on.recv();
        Ok(())
    }
    fn has(&self, _: &str) -> Result<bool, StoreError> {
        Ok(false)
    }
    fn delete(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

#[test]
fn a_slow_store_delays_no_decision_and_no_recording() {
    let (called, is_called) = unbounded();
    let (go_on, told) = bounded(0);
    let core = start(direct().data_store(Slow { called, go_on: told }));
    pro(&core, "v").run_experience("price").unwrap();
    is_called.recv_timeout(PATIENCE).unwrap();
    for number in 0..100 {
        assert!(pro(&core, &number.to_string()).run_experience("price").is_some());
        assert!(pro(&core, "v").track_conversion("purchase").tracked());
    }
    let stats = core.stats();
    assert_eq!((stats.recorded, stats.is_balanced()), (stats.pending + stats.deduplicated, true));
    assert_eq!(pro(&core, "v").run_experience("price").unwrap().source(), DecisionSource::Stored);
    drop(go_on);
    core.close();
}

#[test]
fn the_memory_store_is_bounded_also_under_deletes() {
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
