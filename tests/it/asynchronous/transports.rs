//! Asynchronous transports of the application's, driven without a runtime of the SDK's.

use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use convert_sdk::config::TransportConfig;
use convert_sdk::error::LoadError;
use convert_sdk::ports::{
    AsyncConfigSource, AsyncEventSink, BoxFuture, ConfigRequest, ConfigResponse, DeliveryFailure, EventBatch,
    Receipt, TransportError,
};
use convert_sdk::{Core, FlushError, InitializeError, SdkConfig};
use crossbeam_channel::{Sender, bounded, unbounded};

use super::block_on;
use crate::support::{KEY, ONCE, PATIENCE, convert, shop, until};

type Answer = Result<Receipt, DeliveryFailure>;

/// What happens to a delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    Hanging,
    PanickingInTheCall,
    PanickingInTheFuture,
}

struct Moody {
    mood: Mood,
    /// Told when a delivery's future is dropped.
    dropped: Sender<()>,
}

/// Says when it is dropped.
struct OnDrop(Sender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl AsyncConfigSource for Moody {
    fn fetch_config<'a>(
        &'a self,
        _: &'a ConfigRequest<'a>,
    ) -> BoxFuture<'a, Result<ConfigResponse, TransportError>> {
        let body = shop().to_string();
        Box::pin(async { Ok(ConfigResponse::Fetched { body, etag: None }) })
    }
}

impl AsyncEventSink for Moody {
    fn deliver<'a>(&'a self, batch: &'a EventBatch<'a>) -> BoxFuture<'a, Answer> {
        assert!(self.mood != Mood::PanickingInTheCall, "on purpose");
        let on_drop = OnDrop(self.dropped.clone());
        Box::pin(async move {
            let _on_drop = on_drop;
            assert!(self.mood != Mood::PanickingInTheFuture, "on purpose");
            if self.mood == Mood::Hanging {
                pending::<()>().await;
            }
            assert_eq!(batch.route_key, KEY);
            Ok(Receipt::default())
        })
    }
}

fn moody(
    mood: Mood,
    network: convert_sdk::config::TransportConfigBuilder,
) -> (Core, crossbeam_channel::Receiver<()>) {
    let (dropped, is_dropped) = unbounded();
    let config = SdkConfig::builder().sdk_key(KEY).transport(network.build().unwrap()).build().unwrap();
    let core = Core::builder(config).async_transport(Moody { mood, dropped }).build().unwrap();
    core.initialize().unwrap();
    convert(&core, 0..2);
    (core, is_dropped)
}

fn network() -> convert_sdk::config::TransportConfigBuilder {
    TransportConfig::builder()
}

#[test]
fn a_custom_transport_is_driven_for_both_surfaces() {
    let (core, _) = moody(Mood::Well, network());
    assert_eq!(block_on(core.to_async().flush(PATIENCE)).unwrap().delivered, 2);
    convert(&core, 2..3);
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 1);
}

#[test]
fn a_future_that_hangs_is_dropped_with_the_requests_timeout() {
    let (core, dropped) = moody(Mood::Hanging, network().total_timeout(Duration::from_millis(20)));
    let Err(FlushError::Incomplete(report)) = block_on(core.to_async().flush_with(ONCE)) else {
        panic!("it hangs")
    };
    assert_eq!(report.stats.last_error.unwrap().cause.code(), "timeout");
    assert_eq!((report.pending, report.stats.fate_unknown), (2, 1));
    dropped.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_close_drops_a_future_that_hangs() {
    let (core, dropped) = moody(Mood::Hanging, network());
    let core = core.to_async();
    let report = block_on(core.shutdown(Duration::from_millis(50)));
    assert!(matches!(report, Err(FlushError::Timeout(_))), "it hangs: {report:?}");
    dropped.recv_timeout(PATIENCE).unwrap();
    // At the latest now, should the thread have been late.
    until(&core.to_sync(), |stats| (stats.dropped.closed.total(), stats.pending) == (2, 0));
}

#[test]
fn a_panic_in_a_call_or_its_future_is_a_failure() {
    for mood in [Mood::PanickingInTheCall, Mood::PanickingInTheFuture] {
        let (core, _) = moody(mood, network());
        let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("it panics") };
        assert_eq!(
            report.stats.last_error.unwrap().cause,
            DeliveryFailure::Unknown(TransportError::Panicked)
        );
        assert_eq!(report.pending, 2);
    }
}

/// Answers from a thread of the application's own, as a client with a runtime elsewhere does.
#[derive(Default)]
struct Elsewhere {
    waiting: Mutex<Option<Waker>>,
    answered: Mutex<bool>,
}

struct Remote(Arc<Elsewhere>, Sender<()>);

impl AsyncEventSink for Remote {
    fn deliver<'a>(&'a self, _: &'a EventBatch<'a>) -> BoxFuture<'a, Answer> {
        Box::pin(poll_fn(|context| {
            *self.0.waiting.lock().unwrap() = Some(context.waker().clone());
            if *self.0.answered.lock().unwrap() {
                return Poll::Ready(Ok(Receipt::with_status(204)));
            }
            let _ = self.1.try_send(());
            Poll::Pending
        }))
    }
}

#[test]
fn a_future_is_polled_again_when_it_is_woken_from_elsewhere() {
    let (polled, is_polled) = bounded(1);
    let elsewhere = Arc::new(Elsewhere::default());
    let config = SdkConfig::builder().data(&shop()).build().unwrap();
    let remote = Remote(Arc::clone(&elsewhere), polled);
    let core = Core::builder(config).async_event_sink(remote).build().unwrap();
    core.initialize().unwrap();
    convert(&core, 0..1);
    let answering = std::thread::spawn(move || {
        is_polled.recv_timeout(PATIENCE).unwrap();
        *elsewhere.answered.lock().unwrap() = true;
        elsewhere.waiting.lock().unwrap().take().unwrap().wake();
    });
    assert_eq!(block_on(core.to_async().flush(PATIENCE)).unwrap().delivered, 1);
    answering.join().unwrap();
}

#[test]
fn what_an_async_transport_hands_over_is_bounded() {
    let network = TransportConfig::builder().max_response_bytes(1024).build().unwrap();
    let config = SdkConfig::builder().sdk_key(KEY).transport(network).build().unwrap();
    let transport = Moody { mood: Mood::Well, dropped: unbounded().0 };
    let core = Core::builder(config).async_transport(transport).build().unwrap();
    let too_large = LoadError::Fetch(TransportError::TooLarge(1024));
    assert_eq!(core.initialize(), Err(InitializeError::Load(too_large)));
}
