//! A dropped future ends only its wait; a deadline or a close ends every wait.

use std::time::Duration;

use convert_sdk::{
    ConversionOptions, FlushError, InitializeError, adapters::InMemoryDataStore, ports::BoxFuture,
};

use super::stores::Gate;
use super::{block_on, keyed_script, poll_once, start_async, start_async_scripted};
use crate::support::{PATIENCE, convert, direct, until};

#[test]
fn a_dropped_flush_loses_nothing() {
    let (core, script) = start_async_scripted(direct());
    convert(&core.to_sync(), 0..5);
    let mut flush: BoxFuture<'_, _> = Box::pin(core.flush(PATIENCE));
    poll_once(&mut flush);
    assert_eq!(script.posted().visitors().len(), 5, "requested and in flight");
    drop(flush);
    convert(&core.to_sync(), 5..7);
    let mut flush: BoxFuture<'_, _> = Box::pin(core.flush(PATIENCE));
    poll_once(&mut flush);
    script.answer(200);
    script.answer(200);
    let report = block_on(flush).unwrap();
    assert_eq!((report.delivered, report.stats.delivered, report.stats.pending), (7, 7, 0));
}

#[test]
fn a_flush_that_is_never_polled_does_nothing() {
    let (core, script) = start_async_scripted(direct());
    convert(&core.to_sync(), 0..1);
    drop(core.flush(PATIENCE));
    until(&core.to_sync(), |stats| stats.recorded == 1);
    assert!(script.posts.is_empty());
}

#[test]
fn hundreds_of_dropped_flushes_leave_nothing_in_the_tracker() {
    let gate = Gate::new(InMemoryDataStore::new());
    gate.open_reads();
    let (core, script) = start_async_scripted(direct().shared_data_store(gate.clone()));
    // The last flush may or may not cover the second record too.
    script.answer(200);
    script.answer(200);
    let visitor = block_on(core.create_context("v", ())).unwrap();
    assert!(visitor.track_conversion("purchase").tracked());
    // The tracker hangs in its store, so its inbox fills up.
    gate.called();
    for _ in 0..300 {
        poll_once(&mut (Box::pin(core.flush(PATIENCE)) as BoxFuture<'_, _>));
    }
    gate.open();
    let plain = ConversionOptions::new();
    block_on(visitor.track_conversion_confirmed("signup", &plain, PATIENCE));
    let stats = block_on(core.close());
    assert!(stats.is_balanced());
    assert_eq!(stats.recorded, 2);
}

#[test]
fn a_dropped_confirmation_loses_only_the_verdict() {
    let (core, script) = start_async_scripted(direct());
    let visitor = block_on(core.create_context("v", ())).unwrap();
    let plain = ConversionOptions::new();
    // The verdict may come at once or not; either way the record was handed over.
    let mut confirmed: BoxFuture<'_, _> =
        Box::pin(visitor.track_conversion_confirmed("purchase", &plain, PATIENCE));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = confirmed.as_mut().poll(&mut context);
    drop(confirmed);
    script.answer(200);
    assert_eq!(block_on(core.flush(PATIENCE)).unwrap().delivered, 1);
}

#[test]
fn a_dropped_shutdown_leaves_the_core_open_during_its_flush() {
    let (core, script) = start_async_scripted(direct());
    convert(&core.to_sync(), 0..1);
    let mut shutdown: BoxFuture<'_, _> = Box::pin(core.shutdown(PATIENCE));
    poll_once(&mut shutdown);
    script.posted();
    drop(shutdown);
    convert(&core.to_sync(), 1..2);
    script.answer(200);
    script.answer(200);
    assert_eq!(block_on(core.shutdown(PATIENCE)).unwrap().stats.delivered, 2);
}

#[test]
fn a_dropped_close_still_closes_the_core() {
    let (core, script) = start_async_scripted(direct().batch_size(1));
    convert(&core.to_sync(), 0..1);
    script.posted();
    let mut close: BoxFuture<'_, _> = Box::pin(core.close());
    poll_once(&mut close);
    drop(close);
    assert!(matches!(block_on(core.flush(PATIENCE)), Err(FlushError::Closed(_))));
    script.answer(200);
    let stats = block_on(core.close());
    assert_eq!((stats.delivered, stats.pending), (1, 0));
}

#[test]
fn a_deadline_ends_every_wait_whatever_hangs() {
    let (core, script) = start_async_scripted(direct());
    convert(&core.to_sync(), 0..2);
    let Err(FlushError::Timeout(report)) = block_on(core.flush(Duration::from_millis(20))) else {
        panic!("it hangs")
    };
    assert_eq!((report.pending, report.delivered), (2, 0));
    script.answer(200);
    assert_eq!(block_on(core.flush(PATIENCE)).unwrap().stats.delivered, 2);

    let gate = Gate::new(InMemoryDataStore::new());
    gate.open_reads();
    let core = start_async(direct().shared_data_store(gate.clone()));
    let visitor = block_on(core.create_context("v", ())).unwrap();
    let plain = ConversionOptions::new();
    let confirmed = visitor.track_conversion_confirmed("purchase", &plain, Duration::from_millis(20));
    assert_eq!(block_on(confirmed).status, convert_sdk::ConversionStatus::Unconfirmed);
    gate.open();
    let again = block_on(visitor.track_conversion_confirmed("purchase", &plain, PATIENCE));
    assert_eq!(again.status, convert_sdk::ConversionStatus::Deduplicated);
}

#[test]
fn a_close_ends_every_wait_of_a_task() {
    let (core, script) = keyed_script();
    let mut begun: BoxFuture<'_, _> = Box::pin(core.initialize_within(PATIENCE));
    poll_once(&mut begun);
    script.fetched();
    let mut queued: BoxFuture<'_, _> = Box::pin(core.initialize_within(PATIENCE));
    poll_once(&mut queued);
    core.to_sync().close();
    assert_eq!(block_on(begun), Err(InitializeError::Closed));
    assert_eq!(block_on(queued), Err(InitializeError::Closed));

    let (core, script) = start_async_scripted(direct());
    convert(&core.to_sync(), 0..1);
    let mut flush: BoxFuture<'_, _> = Box::pin(core.flush(PATIENCE));
    poll_once(&mut flush);
    script.posted();
    assert!(core.to_sync().shutdown(Duration::from_millis(50)).is_err());
    let Err(FlushError::Incomplete(report)) = block_on(flush) else { panic!("it was interrupted") };
    assert_eq!((report.delivered, report.stats.delivered), (0, 0));
}

#[test]
fn a_close_in_a_task_interrupts_a_hanging_delivery() {
    let (core, script) = start_async_scripted(direct().batch_size(3));
    convert(&core.to_sync(), 0..3);
    assert_eq!(script.posted().visitors().len(), 3);
    assert!(block_on(core.shutdown(Duration::from_millis(400))).is_err());
    until(&core.to_sync(), |stats| (stats.dropped.closed.total(), stats.pending) == (3, 0));
}
