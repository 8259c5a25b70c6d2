//! Lifecycle events as a stream.

use std::future::poll_fn;
use std::pin::Pin;

use convert_sdk::{EventStream, LifecycleEvent, LifecycleEventKind};
use futures_core::Stream;

use super::{block_on, poll_once, start_async};
use crate::support::{PATIENCE, convert, direct, direct_to, keyed, serve, unready};

async fn next(events: &mut EventStream) -> Option<LifecycleEvent> {
    poll_fn(|context| Pin::new(&mut *events).poll_next(context)).await
}

#[test]
fn a_stream_gives_events_as_they_happen_and_ends_with_the_core() {
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
fn a_task_that_waits_is_woken_by_an_event_and_by_the_end() {
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
fn a_stream_ends_when_the_last_core_is_gone() {
    let core = start_async(direct());
    let mut events = core.subscribe();
    let mut waiting: convert_sdk::BoxFuture<'_, _> = Box::pin(next(&mut events));
    poll_once(&mut waiting);
    let dropper = std::thread::spawn(move || drop(core));
    assert_eq!(block_on(waiting), None);
    dropper.join().unwrap();
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
