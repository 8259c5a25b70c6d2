//! No call blocks the executor's thread: another task keeps running while the call takes its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use convert_sdk::{ConversionOptions, FlushError, adapters::InMemoryDataStore, delivery::FlushReport};
use crossbeam_channel::{Receiver, bounded};

use super::stores::Gate;
use super::{keyed_script, start_async, start_async_scripted};
use crate::support::{PATIENCE, convert, direct, shop};

/// Beats that must happen during one slow call.
const BEATS: usize = 1_000;

/// Runs a slow call on a single-threaded runtime, beside a task that beats. `begun` waits until the call is in
/// progress, and `release` unblocks it, only after the task has beaten a thousand times in between.
fn beats_meanwhile<T>(
    slow: impl Future<Output = T>,
    begun: impl FnOnce() + Send,
    release: impl FnOnce() + Send,
) -> T {
    let counting = Arc::new(AtomicBool::new(false));
    let (enough, is_enough): (_, Receiver<()>) = bounded(1);
    std::thread::scope(|scope| {
        let watched = Arc::clone(&counting);
        scope.spawn(move || {
            begun();
            watched.store(true, Ordering::SeqCst);
            is_enough.recv_timeout(PATIENCE).expect("the heart should keep beating");
            release();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let heart = tokio::spawn(async move {
                let mut beats = 0;
                loop {
                    tokio::task::yield_now().await;
                    beats += usize::from(counting.load(Ordering::SeqCst));
                    if beats == BEATS {
                        enough.send(()).unwrap();
                    }
                }
            });
            let output = slow.await;
            heart.abort();
            output
        })
    })
}

#[test]
fn during_a_slow_flush() {
    let (core, script) = start_async_scripted(direct());
    convert(&core.to_sync(), 0..3);
    let flush = core.flush(PATIENCE);
    let report = beats_meanwhile(flush, || drop(script.posted()), || script.answer(200)).unwrap();
    assert_eq!(report.delivered, 3);
}

#[test]
fn during_a_slow_shutdown() {
    let (core, script) = start_async_scripted(direct());
    convert(&core.to_sync(), 0..3);
    let shutdown = core.shutdown(PATIENCE);
    let report = beats_meanwhile(shutdown, || drop(script.posted()), || script.answer(200)).unwrap();
    assert_eq!((report.delivered, report.stats.pending), (3, 0));
}

#[test]
fn during_a_close_that_waits_for_the_current_delivery() {
    let (core, script) = start_async_scripted(direct().batch_size(1));
    convert(&core.to_sync(), 0..1);
    let begun = || drop(script.posted());
    let stats = beats_meanwhile(core.close(), begun, || script.answer(200));
    assert_eq!((stats.delivered, stats.dropped.total()), (1, 0));
}

#[test]
fn during_a_slow_initialize_refresh_and_preview() {
    let (core, script) = keyed_script();
    let (begun, release) = (|| drop(script.fetched()), || script.give_config(&shop(), "1"));
    beats_meanwhile(core.initialize_within(PATIENCE), begun, release).unwrap();
    beats_meanwhile(core.refresh_now_within(PATIENCE), begun, release).unwrap();
    let mut context = super::block_on(core.create_context("v", ())).unwrap();
    let mut unknown = shop();
    unknown["experiences"][0]["id"] = "77".into();
    let fetched = || script.give_config(&unknown, "2");
    beats_meanwhile(context.set_preview("77", "11"), begun, fetched).unwrap();
    assert!(context.is_preview());
}

#[test]
fn while_a_synchronous_store_reads_a_visitor() {
    let gate = Gate::new(InMemoryDataStore::new());
    let core = start_async(direct().shared_data_store(gate.clone()));
    let context = core.create_context("v", ());
    let context = beats_meanwhile(context, || gate.called(), || gate.open()).unwrap();
    assert_eq!(context.visitor_id(), "v");
}

#[test]
fn while_the_tracker_hangs_with_a_full_inbox() {
    let gate = Gate::new(InMemoryDataStore::new());
    let (core, script) = start_async_scripted(direct().shared_data_store(gate.clone()));
    script.answer(200);
    gate.open_reads();
    let visitor = super::block_on(core.create_context("v", ())).unwrap();
    assert!(visitor.track_conversion("purchase").tracked());
    gate.called();
    // More than the tracker's inbox holds, all in one task.
    let mut flushes: Vec<_> =
        (0..100).map(|_| Box::pin(core.flush(PATIENCE)) as super::BoxFuture<'_, _>).collect();
    let mut answers: Vec<Result<FlushReport, FlushError>> = Vec::new();
    let all = std::future::poll_fn(|context| {
        flushes.retain_mut(|flush| match flush.as_mut().poll(context) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if flushes.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    beats_meanwhile(all, || {}, || gate.open());
    let complete = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|it| it.is_complete()));
    assert_eq!(complete.count(), 100);
    let plain = ConversionOptions::new();
    let again = super::block_on(visitor.track_conversion_confirmed("purchase", &plain, PATIENCE));
    assert_eq!(again.status, convert_sdk::ConversionStatus::Deduplicated);
}
