//! Data stores that fail, panic or are slow: none of them delays or loses anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convert_sdk::adapters::InMemoryDataStore;
use convert_sdk::events::LifecycleEvent;
use convert_sdk::ports::{
    DataStore, DeliveryFailure, EventBatch, EventSink, Receipt, StoreError, TransportError,
};
use convert_sdk::{ConversionOptions, ConversionStatus, Core, DecisionSource};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use serde_json::{Value, json};

use crate::support::{
    PATIENCE, convert, direct, direct_to, next, pro, serve, start, start_scripted, until, visitor,
};

/// Fails, panics or works, call by call.
struct FaultyStore {
    inner: InMemoryDataStore,
    mode: AtomicUsize,
    sets: AtomicUsize,
}

impl FaultyStore {
    const WORKING: usize = 0;
    const FAILING: usize = 1;
    const PANICKING: usize = 2;

    fn new(mode: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemoryDataStore::new(),
            mode: AtomicUsize::new(mode),
            sets: AtomicUsize::new(0),
        })
    }

    fn react(&self) -> Result<(), StoreError> {
        match self.mode.load(Ordering::SeqCst) {
            Self::FAILING => Err(StoreError::new("down")),
            Self::PANICKING => panic!("on purpose"),
            _ => Ok(()),
        }
    }
}

impl DataStore for FaultyStore {
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
fn a_failing_or_panicking_store_loses_only_its_memory() {
    for mode in [FaultyStore::FAILING, FaultyStore::PANICKING] {
        let emulator = serve();
        let store = FaultyStore::new(mode);
        let core = start(direct_to(&emulator).shared_data_store(store.clone()));
        let events = core.subscribe();
        assert!(pro(&core, "v").run_experience("price").is_ok());
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
        // What waited is written once the store has recovered.
        store.mode.store(FaultyStore::WORKING, Ordering::SeqCst);
        convert(&core, 9..10);
        core.close();
        assert!(store.inner.has(r#"state:["v"]"#).unwrap());
        assert_eq!(emulator.received().totals.events, 4);
    }
}

#[test]
fn a_store_failure_is_counted_when_it_happens() {
    let core = start(direct().shared_data_store(FaultyStore::new(FaultyStore::FAILING)));
    visitor(&core, "v");
    assert_eq!(core.stats().store_failures, 1, "nothing is recorded, so no tracker could count it");
}

#[test]
fn a_failing_store_is_called_once_per_step() {
    const VISITORS: usize = 300;
    let store = FaultyStore::new(FaultyStore::FAILING);
    let (core, script) = start_scripted(direct().shared_data_store(store.clone()).batch_size(10_000));
    for number in 0..VISITORS {
        visitor(&core, &number.to_string()).run_experience("banner").unwrap();
    }
    (0..VISITORS).for_each(|_| script.answer(200));
    core.flush(PATIENCE).unwrap();
    // Per step, one mark and at most one attempt to write state, not one for each waiting visitor.
    let sets = store.sets.load(Ordering::SeqCst);
    assert!(sets <= 4 * VISITORS, "{sets} calls for {VISITORS} visitors");
}

/// Reports each call, and returns when told to.
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
        // Also ends when the test is over.
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
        assert!(pro(&core, &number.to_string()).run_experience("price").is_ok());
        assert!(pro(&core, "v").track_conversion("purchase").tracked());
    }
    let stats = core.stats();
    assert_eq!((stats.recorded, stats.is_balanced()), (stats.pending + stats.deduplicated, true));
    assert_eq!(pro(&core, "v").run_experience("price").unwrap().source(), DecisionSource::Stored);
    drop(go_on);
    core.close();
}

/// Hangs in every call until the test is over, or until it is released.
struct Hanging(Receiver<()>);

impl Hanging {
    fn hang(&self) -> Result<(), StoreError> {
        let _ = self.0.recv();
        Err(StoreError::new("let go"))
    }
}

impl DataStore for Hanging {
    fn get(&self, _: &str) -> Result<Option<Value>, StoreError> {
        self.hang().map(|()| None)
    }
    fn set(&self, _: &str, _: Value, _: Option<Duration>) -> Result<(), StoreError> {
        self.hang()
    }
    fn delete(&self, _: &str) -> Result<(), StoreError> {
        self.hang()
    }
}

#[test]
fn a_hanging_store_delays_nobody() {
    let emulator = serve();
    let (go_on, told) = bounded(0);
    let core = start(
        direct_to(&emulator).data_store(Hanging(told)).store_timeout(Duration::from_millis(20)).batch_size(1),
    );
    convert(&core, 0..20);
    let report = core.flush(PATIENCE).unwrap();
    assert_eq!(report.stats.delivered, 20);
    assert_eq!(emulator.received().totals.events, 20);
    assert!(report.stats.store_timeouts >= 20, "each read, and then each claim: {:?}", report.stats);
    assert_eq!(core.stats().pending, 0);
    // Memory still finds this process's duplicates.
    convert(&core, 0..20);
    assert_eq!(core.flush(PATIENCE).unwrap().stats.deduplicated, 20);
    drop(go_on);
    core.close();
}

/// Counts its calls, and delays the first ones until everything has been recorded.
struct Batched {
    inner: InMemoryDataStore,
    claims: AtomicUsize,
    writes: AtomicUsize,
    deletes: AtomicUsize,
    go_on: Receiver<()>,
}

impl Batched {
    fn new(go_on: Receiver<()>) -> Arc<Self> {
        let [claims, writes, deletes] = [0; 3].map(AtomicUsize::new);
        Arc::new(Self { inner: InMemoryDataStore::new(), claims, writes, deletes, go_on })
    }
}

impl DataStore for Batched {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.inner.get(key)
    }
    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.inner.set(key, value, ttl)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.deletes.fetch_add(1, Ordering::SeqCst);
        self.inner.delete(key)
    }
    fn set_many(&self, entries: &[(&str, Value)], ttl: Option<Duration>) -> Vec<Result<(), StoreError>> {
        assert!((1..=1_000).contains(&entries.len()));
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.inner.set_many(entries, ttl)
    }
    fn claim_many(&self, keys: &[&str], lease: Duration) -> Vec<Result<bool, StoreError>> {
        assert!((1..=1_000).contains(&keys.len()));
        self.claims.fetch_add(1, Ordering::SeqCst);
        let _ = self.go_on.recv();
        self.inner.claim_many(keys, lease)
    }
    fn delete_many(&self, keys: &[&str]) -> Vec<Result<(), StoreError>> {
        assert!((1..=1_000).contains(&keys.len()));
        self.deletes.fetch_add(1, Ordering::SeqCst);
        self.inner.delete_many(keys)
    }
}

#[test]
fn pending_store_operations_are_batched() {
    const VISITORS: u32 = 4_000;
    let emulator = serve();
    let (go_on, told) = bounded(0);
    let store = Batched::new(told);
    let core = start(
        direct_to(&emulator).shared_data_store(store.clone()).store_timeout(PATIENCE).batch_size(1_000),
    );
    for number in 0..VISITORS {
        // Without waiting for the store, which is only called for claims.
        assert!(visitor(&core, &number.to_string()).track_conversion("purchase").tracked());
    }
    drop(go_on);
    let report = core.flush(PATIENCE).unwrap();
    assert_eq!((report.stats.delivered, report.stats.store_timeouts), (u64::from(VISITORS), 0));
    let (claims, writes) = (store.claims.load(Ordering::SeqCst), store.writes.load(Ordering::SeqCst));
    assert!(claims < 200 && writes < 400, "{claims} and {writes} calls for {VISITORS} visitors");
    assert!(store.inner.has(r#"dedup:["7", "71"]"#).unwrap());
}

#[test]
fn claims_dropped_by_a_close_are_released_in_batches() {
    const VISITORS: u32 = 4_000;
    let (go_on, told) = bounded(0);
    let store = Batched::new(told);
    let config = direct().shared_data_store(store.clone()).store_timeout(PATIENCE).batch_size(10_000);
    let (core, _script) = start_scripted(config);
    convert(&core, 0..VISITORS);
    drop(go_on);
    assert_eq!(core.close().dropped.closed.total(), u64::from(VISITORS));
    let deletes = store.deletes.load(Ordering::SeqCst);
    assert!(deletes < 200, "{deletes} calls for {VISITORS} visitors");
    let left =
        (0..VISITORS).filter(|id| store.inner.has(&format!(r#"dedup:["visitor-{id}", "71"]"#)).unwrap());
    assert_eq!((left.count(), core.stats().store_failures), (0, 0));
}

#[test]
fn the_next_process_can_record_a_dropped_conversion() {
    let store = Arc::new(InMemoryDataStore::new());
    let plain = ConversionOptions::new();
    let confirmed = |core: &Core| {
        let confirmed = visitor(core, "v").track_conversion_confirmed("purchase", &plain, PATIENCE);
        confirmed.status
    };
    // An outage at the end of one process.
    let (first, _script) = start_scripted(direct().shared_data_store(store.clone()));
    assert_eq!(confirmed(&first), ConversionStatus::Queued);
    assert!(store.has(r#"dedup:["v", "71"]"#).unwrap(), "claimed");
    assert_eq!(first.close().dropped.closed.total(), 1);
    assert!(!store.has(r#"dedup:["v", "71"]"#).unwrap(), "released");
    let (second, script) = start_scripted(direct().shared_data_store(store.clone()));
    assert_eq!(confirmed(&second), ConversionStatus::Queued);
    script.answer(200);
    second.flush(PATIENCE).unwrap();
    let (third, _script) = start_scripted(direct().shared_data_store(store));
    assert_eq!(confirmed(&third), ConversionStatus::Deduplicated);
}

/// Reports a claim, answers it when told to, and everything else at once.
struct LateClaims {
    inner: InMemoryDataStore,
    claimed: Sender<()>,
    go_on: Receiver<()>,
    deleted: Sender<String>,
}

/// The other end of a [`LateClaims`].
struct Claims {
    claimed: Receiver<()>,
    go_on: Sender<()>,
    deleted: Receiver<String>,
}

impl LateClaims {
    fn new() -> (Arc<Self>, Claims) {
        let ((claimed_in, claimed), (go_on, told)) = (unbounded(), unbounded());
        let (deleted_in, deleted) = unbounded();
        let inner = InMemoryDataStore::new();
        let store = Self { inner, claimed: claimed_in, go_on: told, deleted: deleted_in };
        (Arc::new(store), Claims { claimed, go_on, deleted })
    }
}

impl DataStore for LateClaims {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.inner.get(key)
    }
    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.inner.set(key, value, ttl)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)?;
        let _ = self.deleted.send(key.to_owned());
        Ok(())
    }
    fn set_if_absent(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool, StoreError> {
        let _ = self.claimed.send(());
        let _ = self.go_on.recv();
        self.inner.set_if_absent(key, value, ttl)
    }
}

const KEY: &str = r#"dedup:["v", "71"]"#;

#[test]
fn a_claim_answered_during_the_close_is_released() {
    let (store, claims) = LateClaims::new();
    let (core, _script) = start_scripted(direct().shared_data_store(store.clone()).store_timeout(PATIENCE));
    assert!(visitor(&core, "v").track_conversion("purchase").tracked());
    claims.claimed.recv_timeout(PATIENCE).unwrap();
    let closer = core.clone();
    let close = std::thread::spawn(move || closer.close());
    until(&core, |stats| stats.dropped.closed.total() == 1);
    claims.go_on.send(()).unwrap();
    assert_eq!(close.join().unwrap().pending, 0);
    assert!(!store.inner.has(KEY).unwrap(), "a dropped record's claim is released");
}

#[test]
fn a_claim_answered_late_is_released_with_its_record() {
    let (store, claims) = LateClaims::new();
    let config = || direct().shared_data_store(store.clone()).batch_size(1);
    let (core, script) = start_scripted(config().store_timeout(Duration::from_millis(20)));
    assert!(visitor(&core, "v").track_conversion("purchase").tracked());
    claims.claimed.recv_timeout(PATIENCE).unwrap();
    // Memory lets it proceed, and the endpoint rejects it, before the store has answered.
    script.answer(400);
    until(&core, |stats| stats.dropped.rejected.total() == 1);
    assert!(core.stats().store_timeouts >= 1, "on a slow machine a read is late too");
    claims.go_on.send(()).unwrap();
    assert_eq!(claims.deleted.recv_timeout(PATIENCE).unwrap(), KEY);
    drop(claims.go_on);
    let (other, script) = start_scripted(config());
    assert!(visitor(&other, "v").track_conversion("purchase").tracked());
    script.answer(200);
    assert_eq!(other.flush(PATIENCE).unwrap().delivered, 1);
}

#[test]
fn a_shutdown_shorter_than_a_store_call_still_delivers() {
    let emulator = serve();
    let (store, claims) = LateClaims::new();
    let core = start(direct_to(&emulator).shared_data_store(store).store_timeout(PATIENCE));
    convert(&core, 0..3);
    claims.claimed.recv_timeout(PATIENCE).unwrap();
    let report = core.shutdown(Duration::from_secs(4)).unwrap();
    assert_eq!((report.delivered, report.stats.store_timeouts), (3, 3));
    assert_eq!(emulator.received().totals.events, 3);
}

/// Answers deliveries when told to; nothing else ends them.
struct Stubborn(Sender<()>, Receiver<TransportError>);

impl EventSink for Stubborn {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        let _ = self.0.send(());
        Err(DeliveryFailure::Unknown(self.1.recv().unwrap_or(TransportError::Connect)))
    }
}

#[test]
fn a_tracker_that_outlives_the_close_still_reaches_the_store() {
    let ((posted, is_posted), (answer, answered)) = (unbounded(), unbounded());
    let (store, claims) = LateClaims::new();
    drop(claims.go_on);
    let config = direct().shared_data_store(store.clone()).batch_size(1).build().unwrap();
    let core = Core::builder(config).event_sink(Stubborn(posted, answered)).build().unwrap();
    core.initialize().unwrap();
    assert!(visitor(&core, "v").track_conversion("purchase").tracked());
    is_posted.recv_timeout(PATIENCE).unwrap();
    assert!(core.shutdown(Duration::from_millis(100)).is_err());
    assert!(store.inner.has(KEY).unwrap(), "the delivery in flight may have arrived");
    answer.send(TransportError::Connect).unwrap();
    assert_eq!(claims.deleted.recv_timeout(PATIENCE).unwrap(), KEY);
}

#[test]
fn a_store_failing_after_a_delivery_allows_no_duplicate() {
    let emulator = serve();
    let store = FaultyStore::new(FaultyStore::WORKING);
    let core = start(direct_to(&emulator).shared_data_store(store.clone()));
    convert(&core, 0..3);
    core.flush(PATIENCE).unwrap();
    store.mode.store(FaultyStore::FAILING, Ordering::SeqCst);
    for repetitions in [3, 6] {
        convert(&core, 0..3);
        let stats = core.flush(PATIENCE).unwrap().stats;
        assert_eq!((stats.delivered, stats.deduplicated), (3, repetitions));
    }
    assert_eq!(emulator.received().totals.events, 3);
}

/// Hangs in every write of visitor state, and claims at once.
struct NoWrites(InMemoryDataStore, Receiver<()>);

impl DataStore for NoWrites {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.0.get(key)
    }
    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        if key.starts_with("state:") {
            let _ = self.1.recv();
        }
        self.0.set(key, value, ttl)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.delete(key)
    }
}

#[test]
fn hanging_writes_cost_flush_and_close_only_their_time() {
    let emulator = serve();
    let (_go_on, told) = bounded(0);
    let store = NoWrites(InMemoryDataStore::new(), told);
    let config = direct_to(&emulator).data_store(store).store_timeout(Duration::from_millis(20));
    let core = start(config.batch_size(1));
    for number in 0..10 {
        pro(&core, &number.to_string()).run_experience("price").unwrap();
        // Ends at its deadline; it reports what the endpoint has accepted by then.
        let _ = core.flush(Duration::from_millis(20));
    }
    until(&core, |stats| stats.delivered == 10);
    core.shutdown(Duration::from_millis(400)).unwrap();
    assert_eq!(emulator.received().totals.events, 10);
}

#[test]
fn unwritten_state_is_reported_by_flush_and_counted_at_the_end() {
    let (_go_on, told) = bounded(0);
    let store = NoWrites(InMemoryDataStore::new(), told);
    let config = direct().data_store(store).store_timeout(Duration::from_millis(1)).tracking(false);
    let core = start(config);
    let events = core.subscribe();
    pro(&core, "v").run_experience("price").unwrap();
    core.flush(Duration::from_millis(50)).unwrap();
    let left = next(&events, |event| match event {
        LifecycleEvent::DataStoreQueueReleased { written: 0, left, .. } => Some(*left),
        _ => None,
    });
    assert_eq!((left, core.stats().store_failures), (1, 0), "it may still be written");
    core.shutdown(Duration::from_millis(400)).unwrap();
    // At the latest now, should the thread have been slow.
    until(&core, |stats| stats.store_failures == 1);
}

/// Leaves the first call unanswered until told otherwise.
struct LateOnce {
    inner: InMemoryDataStore,
    asked: AtomicUsize,
    go_on: Receiver<()>,
}

impl DataStore for LateOnce {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            let _ = self.go_on.recv();
        }
        self.inner.get(key)
    }
    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.inner.set(key, value, ttl)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)
    }
}

#[test]
fn a_stored_decision_survives_one_late_reply() {
    const STATE: &str = r#"state:["v"]"#;
    let decide = |core: &Core| {
        let context = pro(core, "v");
        let decided = context.run_experience("price").unwrap();
        (decided.variation_id().to_owned(), decided.source())
    };
    let (guessed, _) = decide(&start(direct()));
    // From an earlier split.
    let stored = if guessed == "21" { "22" } else { "21" };
    let inner = InMemoryDataStore::new();
    let envelope = json!({"attributes": {}, "segments": {}, "bucketing": {"2": stored}});
    inner.set(STATE, envelope, None).unwrap();
    let (go_on, told) = bounded(0);
    let store = Arc::new(LateOnce { inner, asked: AtomicUsize::new(0), go_on: told });
    let config = || direct().shared_data_store(store.clone()).tracking(false);
    let core = start(config().store_timeout(Duration::from_secs(1)));
    assert_eq!(decide(&core).0, guessed, "without a reply it is a fresh decision");
    drop(go_on);
    core.flush(PATIENCE).unwrap();
    let kept = (stored.to_owned(), DecisionSource::Stored);
    assert_eq!(store.inner.get(STATE).unwrap().unwrap()["bucketing"]["2"], stored);
    assert_eq!([decide(&core), decide(&start(config()))], [kept.clone(), kept]);
}
