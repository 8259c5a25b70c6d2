//! Lifecycle events as a stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use convert_sdk::{
    AsyncCore,
    adapters::InMemoryDataStore,
    events::{EventStream, LifecycleEvent, LifecycleEventKind},
    ports::{DataStore, StoreError},
};
use futures_core::Stream;
use serde_json::Value;

use super::{block_on, poll_once, start_async, start_async_scripted};
use crate::support::{PATIENCE, convert, direct, direct_to, keyed, pro, serve, unready};

async fn next(events: &mut EventStream) -> Option<LifecycleEvent> {
    poll_fn(|context| Pin::new(&mut *events).poll_next(context)).await
}

#[test]
fn a_stream_yields_events_and_ends_with_the_core() {
    let emulator = serve();
    let core = unready(keyed(&emulator)).to_async();
    let mut events = core.subscribe();
    block_on(async {
        core.initialize().await.unwrap();
        assert_eq!(next(&mut events).await.unwrap().kind(), LifecycleEventKind::Ready);
        convert(&core.to_sync(), 0..1);
        assert_eq!(next(&mut events).await.unwrap().kind(), LifecycleEventKind::Conversion);
        core.shutdown(PATIENCE).await.unwrap();
        assert_eq!(next(&mut events).await.unwrap().kind(), LifecycleEventKind::ApiQueueReleased);
        assert_eq!(next(&mut events).await, None);
    });
}

#[test]
fn a_waiting_task_is_woken_by_an_event_and_by_the_end() {
    let emulator = serve();
    let core = start_async(direct_to(&emulator));
    let mut events = core.subscribe();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            let event = block_on(next(&mut events));
            (event.map(|event| event.kind()), block_on(next(&mut events)))
        });
        let _ = core.to_sync().create_context("v", ()).unwrap().diagnose_goal("none");
        core.to_sync().close();
        assert_eq!(waiting.join().unwrap(), (Some(LifecycleEventKind::Diagnostic), None));
    });
}

#[test]
fn a_stream_ends_when_the_last_core_is_dropped() {
    let core = start_async(direct());
    let mut events = core.subscribe();
    let mut waiting: convert_sdk::ports::BoxFuture<'_, _> = Box::pin(next(&mut events));
    poll_once(&mut waiting);
    let dropper = std::thread::spawn(move || drop(core));
    assert_eq!(block_on(waiting), None);
    dropper.join().unwrap();
}

#[test]
fn a_dropped_close_still_ends_its_streams() {
    let (core, script) = start_async_scripted(direct().batch_size(1));
    let mut events = core.subscribe();
    convert(&core.to_sync(), 0..1);
    script.posted();
    let mut close: convert_sdk::ports::BoxFuture<'_, _> = Box::pin(core.close());
    poll_once(&mut close);
    drop(close);
    script.answer(200);
    block_on(async { while next(&mut events).await.is_some() {} });
}

/// An executor that calls the SDK while being told to wake a task.
struct Subscribing(AsyncCore);

impl Wake for Subscribing {
    fn wake(self: Arc<Self>) {
        assert!(self.0.subscribe().try_next().is_none());
    }
}

#[test]
fn a_close_wakes_tasks_without_holding_a_lock() {
    let core = start_async(direct());
    let mut events = core.subscribe();
    let waker = Waker::from(Arc::new(Subscribing(core.clone())));
    let mut context = std::task::Context::from_waker(&waker);
    assert!(Pin::new(&mut events).poll_next(&mut context).is_pending());
    let (closed, done) = crossbeam_channel::bounded(1);
    // On its own thread, which is left behind if it hangs.
    std::thread::spawn(move || closed.send(core.to_sync().close()).unwrap());
    assert!(done.recv_timeout(PATIENCE).is_ok(), "the close hangs");
}

/// Rejects the first write of a visitor's state, which a close then retries.
#[derive(Default)]
struct RefusesOnce(InMemoryDataStore, AtomicBool);

impl DataStore for RefusesOnce {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.0.get(key)
    }
    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        if !key.starts_with("state:") || self.1.swap(true, Ordering::SeqCst) {
            self.0.set(key, value, ttl)
        } else {
            Err(StoreError::new("busy"))
        }
    }
    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.delete(key)
    }
}

#[test]
fn events_of_a_closes_writes_reach_both_surfaces() {
    for asynchronous in [false, true] {
        let core = start_async(direct().data_store(RefusesOnce::default()));
        let mut events = core.subscribe();
        assert!(pro(&core.to_sync(), "v").run_experience("price").is_ok());
        let mut written = |wanted| loop {
            match block_on(next(&mut events)) {
                Some(LifecycleEvent::DataStoreQueueReleased { written, .. }) => {
                    break assert_eq!(written, wanted);
                }
                Some(_) => {}
                None => panic!("nothing was announced"),
            }
        };
        written(0);
        if asynchronous {
            block_on(core.close())
        } else {
            core.to_sync().close()
        };
        written(1);
    }
}

#[test]
fn a_stream_is_bounded_and_counts_what_it_misses() {
    let core = start_async(direct());
    let events = core.subscribe();
    let visitor = block_on(core.create_context("v", ())).unwrap();
    for _ in 0..1_100 {
        let _ = visitor.diagnose_goal("none");
    }
    assert_eq!(core.stats().events_missed, 76);
    assert_eq!(events.size_hint().0, 1_024);
    assert!(events.try_next().is_some());
    drop(events);
    let _ = visitor.diagnose_goal("none");
    assert_eq!(core.stats().events_missed, 76, "a dropped stream misses nothing");
    block_on(core.close());
    assert!(core.subscribe().try_next().is_none());
}
