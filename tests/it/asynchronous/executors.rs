//! The same futures on five executors, none of which the SDK knows about.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use convert_sdk::{
    AsyncCore, ContextError, ConversionOptions, ConversionStatus, DecisionSource, FlushError, attributes,
    config::RefreshOutcome, ports::BoxFuture,
};

use crate::support::{PATIENCE, keyed, serve, unready};

/// The smallest executor there is.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Parked(Thread);
    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let (mut context, mut future) = (Context::from_waker(&waker), std::pin::pin!(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn local_pool(future: BoxFuture<'static, ()>) {
    futures_executor::LocalPool::new().run_until(future);
}

fn smol(future: BoxFuture<'static, ()>) {
    let executor = async_executor::Executor::new();
    let task = executor.spawn(future);
    // Its tasks run while it is polled.
    block_on(executor.run(task));
}

fn tokio_on_one_thread(future: BoxFuture<'static, ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(runtime.spawn(future)).unwrap();
}

fn tokio_on_many_threads(future: BoxFuture<'static, ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(runtime.spawn(future)).unwrap();
}

/// Every waiting call, once.
async fn journey(core: AsyncCore) {
    core.initialize().await.unwrap();
    assert!(core.is_ready());
    let visitor = core.create_context("v", attributes! { "plan" => "pro" }).await.unwrap();
    assert_eq!(visitor.run_experience("price").unwrap().variation_key(), "low");
    let plain = ConversionOptions::new();
    for status in [ConversionStatus::Queued, ConversionStatus::Deduplicated] {
        let confirmed = visitor.track_conversion_confirmed("purchase", &plain, PATIENCE).await;
        assert_eq!(confirmed.status, status);
    }
    assert_eq!(core.refresh_now_within(PATIENCE).await, Ok(RefreshOutcome::NotModified));
    let mut previewer = core.create_context("p", ()).await.unwrap();
    // The config route leaves drafts out, so this one has to be fetched.
    previewer.set_preview("9", "91").await.unwrap();
    assert_eq!(previewer.run_experience("draft").unwrap().source(), DecisionSource::Forced);
    let report = core.flush(PATIENCE).await.unwrap();
    assert_eq!((report.delivered, report.stats.deduplicated), (2, 1));
    assert!(visitor.track_conversion("signup").tracked());
    assert_eq!(core.shutdown(PATIENCE).await.unwrap().delivered, 1);
    assert_eq!(core.create_context("late", ()).await.unwrap_err(), ContextError::Closed);
    assert!(matches!(core.flush(PATIENCE).await, Err(FlushError::Closed(_))));
    assert_eq!(core.close().await.delivered, 3);
}

fn travel(run: fn(BoxFuture<'static, ()>)) {
    let emulator = serve();
    let core = unready(keyed(&emulator)).to_async();
    run(Box::pin(journey(core.clone())));
    let totals = emulator.received().totals;
    assert_eq!((totals.events, totals.config_requests), (3, 3));
    assert_eq!(core.stats().pending, 0);
}

#[test]
fn by_hand() {
    travel(block_on);
}

#[test]
fn on_the_local_pool_of_the_futures_crate() {
    travel(local_pool);
}

#[test]
fn on_smol() {
    travel(smol);
}

#[test]
fn on_single_threaded_tokio() {
    travel(tokio_on_one_thread);
}

#[test]
fn on_multi_threaded_tokio() {
    travel(tokio_on_many_threads);
}

/// The futures can run on any executor.
#[test]
fn every_future_is_send() {
    fn sent<T: Send>(_: &T) {}
    fn shared<T: Send + Sync + 'static>() {}
    shared::<AsyncCore>();
    shared::<convert_sdk::AsyncContext>();
    shared::<convert_sdk::events::EventStream>();
    shared::<Box<dyn convert_sdk::ports::AsyncConfigSource>>();
    shared::<Box<dyn convert_sdk::ports::AsyncEventSink>>();
    shared::<Box<dyn convert_sdk::ports::AsyncDataStore>>();
    let core = super::start_async(crate::support::direct());
    let mut visitor = block_on(core.create_context("v", ())).unwrap();
    sent(&core.initialize());
    sent(&core.create_context("v", ()));
    sent(&core.flush(PATIENCE));
    sent(&core.refresh_now_within(PATIENCE));
    sent(&core.shutdown(PATIENCE));
    sent(&core.close());
    sent(&visitor.track_conversion_confirmed("purchase", &ConversionOptions::new(), PATIENCE));
    sent(&visitor.set_preview("1", "11"));
}
