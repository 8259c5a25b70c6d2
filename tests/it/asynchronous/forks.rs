//! Forks: a child keeps using the asynchronous surface, as it does the other one.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use convert_emulator::Emulator;
use convert_sdk::adapters::InMemoryDataStore;
use convert_sdk::ports::{AsyncEventSink, BoxFuture, DeliveryFailure, EventBatch, Receipt};
use convert_sdk::{AsyncCore, ConversionOptions, FlushError};
use crossbeam_channel::{Sender, bounded};
use futures_core::Stream;

use super::{block_on, poll_once};
use crate::child;
use crate::process::forked::forked;
use crate::support::{PATIENCE, convert, direct, keyed, serve, unready, until};

fn run(case: &str) {
    child::run("asynchronous::forks::in_a_child", case);
}

#[test]
#[ignore = "run by the other tests of this module, in a child process"]
fn in_a_child() {
    match child::case().as_deref() {
        Some("both threads") => both_threads(&serve()),
        Some("stream") => stream(),
        Some("client") => client(),
        Some(other) => panic!("unknown case {other}"),
        None => {}
    }
}

/// Uses the reader, the timer and both of the tracker's questions.
fn delivers(core: &AsyncCore, visitor: &str) {
    block_on(async {
        let visitor = core.create_context(visitor, ()).await.unwrap();
        let plain = ConversionOptions::new();
        assert!(visitor.track_conversion_confirmed("purchase", &plain, PATIENCE).await.tracked());
        assert_eq!(core.shutdown(PATIENCE).await.unwrap().stats.delivered, 1);
    });
}

fn both_threads(emulator: &Emulator) {
    let core = unready(keyed(emulator).data_store(InMemoryDataStore::new())).to_async();
    block_on(core.initialize()).unwrap();
    // Both threads of the parent run, and one of its tasks is waiting.
    block_on(core.create_context("v", ())).unwrap();
    let mut waiting: BoxFuture<'_, _> = Box::pin(core.refresh_now_within(PATIENCE));
    poll_once(&mut waiting);
    forked(|| delivers(&core, "child")).join();
    block_on(waiting).unwrap();
    delivers(&core, "parent");
    assert_eq!(emulator.received().by_visitor().len(), 2);
}

#[test]
fn a_child_waits_with_its_own_threads() {
    run("both threads");
}

fn stream() {
    let core = unready(direct()).to_async();
    let mut events = pin!(core.subscribe());
    block_on(core.initialize()).unwrap();
    forked(|| {
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(events.as_mut().poll_next(&mut context), Poll::Ready(None)));
        assert_eq!((events.try_next().is_none(), events.size_hint().0), (true, 0));
        let own = core.subscribe();
        let _ = block_on(core.create_context("v", ())).unwrap().diagnose_goal("no-such-goal");
        assert!(own.try_next().is_some());
    })
    .join();
    assert!(events.try_next().is_some(), "the parent's stream continues");
}

#[test]
fn the_parents_stream_has_ended_in_a_child() {
    run("stream");
}

/// Its first delivery hangs; after a fork it is notified, and delivers.
struct Client {
    begun: Sender<()>,
    forked: AtomicBool,
}

impl AsyncEventSink for Client {
    fn deliver<'a>(&'a self, _: &'a EventBatch<'a>) -> BoxFuture<'a, Result<Receipt, DeliveryFailure>> {
        Box::pin(async {
            if self.forked.load(Ordering::SeqCst) {
                return Ok(Receipt::default());
            }
            let _ = self.begun.send(());
            std::future::pending().await
        })
    }

    fn after_fork(&self) {
        self.forked.store(true, Ordering::SeqCst);
    }
}

fn client() {
    let (begun, has_begun) = bounded(1);
    let client = Client { begun, forked: false.into() };
    let config = direct().batch_size(1).build().unwrap();
    let core = AsyncCore::builder(config).async_event_sink(client).build().unwrap().to_async();
    block_on(core.initialize()).unwrap();
    convert(&core.to_sync(), 0..1);
    has_begun.recv_timeout(PATIENCE).unwrap();
    forked(|| delivers(&core, "child")).join();
    // An interrupt ends the parent's call, which the child's exit has not affected.
    let failed = block_on(core.shutdown(Duration::from_millis(200)));
    assert!(matches!(failed, Err(FlushError::Timeout(_))), "{failed:?}");
    until(&core.to_sync(), |stats| (stats.dropped.total(), stats.pending) == (1, 0));
}

#[test]
fn an_async_client_is_told_of_the_fork_and_driven_anew() {
    run("client");
}
