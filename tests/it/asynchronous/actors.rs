//! Both surfaces share one instance and one set of actors.

use convert_sdk::ports::{BoxFuture, DeliveryFailure, EventBatch, EventSink, Receipt};
use convert_sdk::{ConversionOptions, ConversionStatus, Core, DecisionSource, attributes};

use super::{block_on, start_async_scripted};
use crate::support::{PATIENCE, convert, direct, keyed, serve, start};

#[test]
fn one_surface_delivers_what_the_other_records() {
    let (core, script) = start_async_scripted(direct());
    let sync = core.to_sync();
    let visitor = block_on(core.create_context("v", attributes! { "plan" => "pro" })).unwrap();
    assert!(visitor.run_experience("price").is_ok());
    let same = sync.create_context("v", attributes! { "plan" => "pro" }).unwrap();
    assert_eq!(same.run_experience("price").unwrap().source(), DecisionSource::Stored);
    assert!(same.track_conversion("purchase").tracked());
    let plain = ConversionOptions::new();
    let again = block_on(visitor.track_conversion_confirmed("purchase", &plain, PATIENCE));
    assert_eq!(again.status, ConversionStatus::Deduplicated, "one tracker judges both");
    script.answer(200);
    assert_eq!(sync.flush(PATIENCE).unwrap().delivered, 2);
    assert_eq!(core.stats(), sync.stats());
    assert_eq!(visitor.into_sync().visitor_id(), "v");
}

#[test]
fn a_close_on_one_surface_closes_the_other() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    convert(&core, 0..1);
    let last = core.to_async().to_sync().to_async();
    let stats = block_on(last.shutdown(PATIENCE)).unwrap().stats;
    assert_eq!(core.close(), stats);
    assert_eq!(stats.delivered, 1);
}

#[test]
fn flushes_of_both_surfaces_all_complete() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let core = &core;
            scope.spawn(move || {
                convert(core, thread * 10..thread * 10 + 10);
                let report = match thread % 2 {
                    0 => core.flush(PATIENCE).unwrap(),
                    _ => block_on(core.to_async().flush(PATIENCE)).unwrap(),
                };
                assert!(report.stats.delivered >= 10, "{report:?}");
            });
        }
    });
    assert_eq!(emulator.received().totals.events, 80);
    assert_eq!(core.stats().pending, 0);
}

/// Accepts everything at once.
struct Taker;

impl EventSink for Taker {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        Ok(Receipt::default())
    }
}

/// A lost waker would show here as a flush that ends at its deadline.
#[test]
fn no_flush_is_lost_among_many_dropped_ones() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 250;
    let core = Core::builder(direct().build().unwrap()).event_sink(Taker).build().unwrap();
    core.initialize().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let core = core.to_async();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let visitor = thread * ROUNDS + round;
                    convert(&core.to_sync(), visitor..visitor + 1);
                    let mut dropped: BoxFuture<'_, _> = Box::pin(core.flush(PATIENCE));
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    let _ = dropped.as_mut().poll(&mut context);
                    drop(dropped);
                    assert!(block_on(core.flush(PATIENCE)).unwrap().is_complete());
                }
            });
        }
    });
    let stats = core.close();
    assert_eq!((stats.delivered, stats.pending), (u64::from(THREADS * ROUNDS), 0));
}
