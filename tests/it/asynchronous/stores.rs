//! Data stores under the asynchronous surface: both kinds, slow, failing and shared.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use convert_sdk::{
    AsyncContext, ContextError, ConversionOptions, ConversionStatus, Core, DecisionSource,
    adapters::InMemoryDataStore,
    attributes,
    ports::{AsyncDataStore, BoxFuture, DataStore, StoreError},
};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use serde_json::Value;

use super::{block_on, poll_once, start_async};
use crate::support::{PATIENCE, direct, direct_to, serve, start};

/// A store that reports each call, and continues when told to.
pub(crate) struct Gate {
    store: InMemoryDataStore,
    calls: (Sender<()>, Receiver<()>),
    closed: Mutex<Option<Sender<()>>>,
    opened: Receiver<()>,
    reads: Mutex<bool>,
}

impl Gate {
    pub(crate) fn new(store: InMemoryDataStore) -> Arc<Self> {
        let (closed, opened) = bounded(0);
        Arc::new(Self {
            store,
            calls: unbounded(),
            closed: Mutex::new(Some(closed)),
            opened,
            reads: Mutex::new(false),
        })
    }

    /// Waits for a call.
    pub(crate) fn called(&self) {
        self.calls.1.recv_timeout(PATIENCE).expect("the store should be called");
    }

    /// Lets every call continue.
    pub(crate) fn open(&self) {
        self.closed.lock().unwrap().take();
    }

    /// Lets reads continue.
    pub(crate) fn open_reads(&self) {
        *self.reads.lock().unwrap() = true;
    }

    fn pass(&self) {
        self.calls.0.send(()).unwrap();
        assert!(self.opened.recv_timeout(PATIENCE).is_err_and(|error| error.is_disconnected()));
    }
}

impl DataStore for Gate {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        if !*self.reads.lock().unwrap() {
            self.pass();
        }
        self.store.get(key)
    }
    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.pass();
        self.store.set(key, value, ttl)
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store.delete(key)
    }
}

/// An asynchronous store in memory, whose reads wait until it is open.
#[derive(Default)]
pub(crate) struct Shelf {
    values: Mutex<BTreeMap<String, Value>>,
    /// Tasks waiting while it is closed.
    closed: Mutex<Option<Vec<Waker>>>,
}

impl Shelf {
    pub(crate) fn put(&self, key: &str, value: Value) {
        self.values.lock().unwrap().insert(key.to_owned(), value);
    }

    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap() = Some(Vec::new());
    }

    fn open(&self) {
        self.closed.lock().unwrap().take().unwrap().into_iter().for_each(Waker::wake);
    }
}

impl AsyncDataStore for Shelf {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Value>, StoreError>> {
        Box::pin(poll_fn(move |context| match &mut *self.closed.lock().unwrap() {
            Some(waiting) => {
                waiting.push(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(Ok(self.values.lock().unwrap().get(key).cloned())),
        }))
    }
    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Value,
        _: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.values.lock().unwrap().insert(key.to_owned(), value);
            Ok(())
        })
    }
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async {
            self.values.lock().unwrap().remove(key);
            Ok(())
        })
    }
}

#[test]
fn a_visitor_nobody_waits_for_is_not_read() {
    let gate = Gate::new(InMemoryDataStore::new());
    let core = start_async(direct().shared_data_store(gate.clone()).store_timeout(PATIENCE));
    // As many as the store is called for at one time.
    type Created<'a> = BoxFuture<'a, Result<AsyncContext, ContextError>>;
    let mut first: Vec<Created<'_>> =
        (0..8).map(|_| Box::pin(core.create_context("first", ())) as Created<'_>).collect();
    for future in &mut first {
        poll_once(future);
        gate.called();
    }
    for visitor in 0..100 {
        let dropped = core.create_context(visitor.to_string(), ());
        poll_once(&mut (Box::pin(dropped) as BoxFuture<'_, _>));
    }
    let mut last: BoxFuture<'_, _> = Box::pin(core.create_context("last", ()));
    poll_once(&mut last);
    gate.open();
    first.into_iter().for_each(|future| drop(block_on(future).unwrap()));
    block_on(last).unwrap();
    gate.called();
    assert!(gate.calls.1.is_empty(), "{} reads for nobody", gate.calls.1.len());
}

#[test]
fn a_close_releases_tasks_that_wait_for_a_hanging_store() {
    let gate = Gate::new(InMemoryDataStore::new());
    let core = start_async(direct().shared_data_store(gate.clone()).store_timeout(PATIENCE));
    let visitors = 0..200;
    let mut waiting: Vec<BoxFuture<'_, _>> = visitors
        .map(|visitor| Box::pin(core.create_context(visitor.to_string(), ())) as BoxFuture<'_, _>)
        .collect();
    waiting.iter_mut().for_each(poll_once);
    gate.called();
    block_on(core.close());
    let mut context = std::task::Context::from_waker(Waker::noop());
    let answered = waiting.iter_mut().map(|future| future.as_mut().poll(&mut context).is_ready());
    assert_eq!(answered.filter(|it| *it).count(), 200);
    gate.open();
}

#[test]
fn an_async_store_is_read_within_the_task() {
    let emulator = serve();
    let shelf = Arc::new(Shelf::default());
    let core = start_async(direct_to(&emulator).shared_async_data_store(shelf.clone()));
    let visitor = block_on(core.create_context("v", attributes! { "plan" => "pro" })).unwrap();
    assert!(visitor.run_experience("price").is_ok());
    assert!(visitor.track_conversion("purchase").tracked());
    assert_eq!(block_on(core.flush(PATIENCE)).unwrap().stats.store_failures, 0);
    let keys: Vec<_> = shelf.values.lock().unwrap().keys().cloned().collect();
    assert_eq!(keys, [r#"bucketing:["v", "2"]"#, r#"dedup:["v", "71"]"#, r#"state:["v"]"#]);
    block_on(core.close());

    // Another instance, as after a restart, finds everything; so does a synchronous one.
    let core = start_async(direct_to(&emulator).shared_async_data_store(shelf));
    let visitor = block_on(core.create_context("v", attributes! { "plan" => "pro" })).unwrap();
    assert_eq!(visitor.run_experience("price").unwrap().source(), DecisionSource::Stored);
    let plain = ConversionOptions::new();
    let again = block_on(visitor.track_conversion_confirmed("purchase", &plain, PATIENCE));
    assert_eq!(again.status, ConversionStatus::Deduplicated);
    let sync = core.to_sync().create_context("v", attributes! { "plan" => "pro" }).unwrap();
    assert_eq!(sync.run_experience("price").unwrap().source(), DecisionSource::Stored);
}

#[test]
fn a_context_waits_for_an_async_store_without_a_thread() {
    let shelf = Arc::new(Shelf::default());
    let core = start_async(direct().shared_async_data_store(shelf.clone()));
    shelf.close();
    let mut context: BoxFuture<'_, _> = Box::pin(core.create_context("v", ()));
    poll_once(&mut context);
    shelf.open();
    assert_eq!(block_on(context).unwrap().visitor_id(), "v");
}

#[test]
fn unwritten_state_takes_precedence_over_an_async_store() {
    let shelf = Arc::new(Shelf::default());
    let stored = serde_json::json!({"attributes": {"a": 1, "b": 1}, "segments": {}, "bucketing": {}});
    shelf.put(r#"state:["v"]"#, stored);
    let core = start_async(direct().shared_async_data_store(shelf.clone()));
    let mut first = block_on(core.create_context("v", ())).unwrap();
    // The tracker cannot write while its read is pending, so the change stays in memory.
    shelf.close();
    first.set_attributes(attributes! { "b" => 2 });
    let mut later: BoxFuture<'_, _> = Box::pin(core.create_context("v", ()));
    poll_once(&mut later);
    shelf.open();
    let later = block_on(later).unwrap();
    assert_eq!(*later.attributes(), attributes! { "a" => 1, "b" => 2 });
}

/// Fails or panics, in the call or in its future.
struct Bad(&'static str);

impl AsyncDataStore for Bad {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Value>, StoreError>> {
        assert_ne!(self.0, "panics in the call", "on purpose");
        Box::pin(async {
            assert_ne!(self.0, "panics in the future", "on purpose");
            Err(StoreError::new("down"))
        })
    }
    fn set<'a>(&'a self, _: &'a str, _: Value, _: Option<Duration>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Err(StoreError::new("down")) })
    }
    fn delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}

#[test]
fn a_failing_or_panicking_store_loses_only_its_memory() {
    for failure in ["fails", "panics in the call", "panics in the future"] {
        let emulator = serve();
        let core = start_async(direct_to(&emulator).async_data_store(Bad(failure)));
        let visitor = block_on(core.create_context("v", attributes! { "plan" => "pro" })).unwrap();
        assert!(visitor.run_experience("price").is_ok());
        assert!(visitor.track_conversion("purchase").tracked());
        let report = block_on(core.flush(PATIENCE)).unwrap();
        assert_eq!(report.delivered, 2, "{failure}");
        assert!(report.stats.store_failures > 0, "{failure}");
    }
}

#[test]
fn the_last_store_set_is_used() {
    let emulator = serve();
    let (shelf, memory) = (Arc::new(Shelf::default()), Arc::new(InMemoryDataStore::new()));
    let config = direct_to(&emulator).shared_async_data_store(shelf.clone());
    let core: Core = start(config.shared_data_store(memory.clone()));
    let visitor = block_on(core.to_async().create_context("v", attributes! { "plan" => "pro" })).unwrap();
    assert!(visitor.run_experience("price").is_ok());
    core.flush(PATIENCE).unwrap();
    assert!(shelf.values.lock().unwrap().is_empty() && !memory.is_empty());
}
