//! Data stores that fail, panic or are slow: none of them delays or loses anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convert_sdk::{DataStore, DecisionSource, InMemoryDataStore, LifecycleEvent, StoreError};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use serde_json::Value;

use crate::support::{
    PATIENCE, convert, direct, direct_to, next, pro, serve, start, start_scripted, visitor,
};

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
fn a_failure_of_the_store_is_counted_when_it_happens() {
    let core = start(direct().shared_data_store(Moody::new(Moody::FAILING)));
    visitor(&core, "v");
    assert_eq!(core.stats().store_failures, 1, "nothing is recorded, so no tracker could count it");
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
