//! The application's asynchronous transports, driven without a runtime of the SDK's.

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
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::{block_on, poll_once};
use crate::support::{KEY, ONCE, PATIENCE, convert, shop, until};

type Answer = Result<Receipt, DeliveryFailure>;

/// What a delivery does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Working,
    Hanging,
    PanickingInTheCall,
    PanickingInTheFuture,
}

struct FaultySink {
    behaviour: Behaviour,
    /// Notified when a delivery hangs.
    hangs: Sender<()>,
    /// Notified when a delivery's future is dropped.
    dropped: Sender<()>,
}

/// Reports when it is dropped.
struct OnDrop(Sender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl AsyncConfigSource for FaultySink {
    fn fetch_config<'a>(
        &'a self,
        _: &'a ConfigRequest<'a>,
    ) -> BoxFuture<'a, Result<ConfigResponse, TransportError>> {
        let body = shop().to_string();
        Box::pin(async { Ok(ConfigResponse::Fetched { body, etag: None }) })
    }
}

impl AsyncEventSink for FaultySink {
    fn deliver<'a>(&'a self, batch: &'a EventBatch<'a>) -> BoxFuture<'a, Answer> {
        assert!(self.behaviour != Behaviour::PanickingInTheCall, "on purpose");
        let on_drop = OnDrop(self.dropped.clone());
        Box::pin(async move {
            let _on_drop = on_drop;
            assert!(self.behaviour != Behaviour::PanickingInTheFuture, "on purpose");
            if self.behaviour == Behaviour::Hanging {
                let _ = self.hangs.send(());
                pending::<()>().await;
            }
            assert_eq!(batch.route_key, KEY);
            Ok(Receipt::default())
        })
    }
}

/// What a [`FaultySink`] reports.
struct Reports {
    hangs: Receiver<()>,
    dropped: Receiver<()>,
}

/// Two records wait for a flush.
fn with_faulty_sink(
    behaviour: Behaviour,
    network: convert_sdk::config::TransportConfigBuilder,
) -> (Core, Reports) {
    let ((hangs, it_hangs), (dropped, is_dropped)) = (unbounded(), unbounded());
    let config = SdkConfig::builder().sdk_key(KEY).transport(network.build().unwrap()).build().unwrap();
    let sink = FaultySink { behaviour, hangs, dropped };
    let core = Core::builder(config).async_transport(sink).build().unwrap();
    core.initialize().unwrap();
    convert(&core, 0..2);
    (core, Reports { hangs: it_hangs, dropped: is_dropped })
}

fn network() -> convert_sdk::config::TransportConfigBuilder {
    TransportConfig::builder()
}

#[test]
fn a_custom_transport_works_on_both_surfaces() {
    let (core, _) = with_faulty_sink(Behaviour::Working, network());
    assert_eq!(block_on(core.to_async().flush(PATIENCE)).unwrap().delivered, 2);
    convert(&core, 2..3);
    assert_eq!(core.flush(PATIENCE).unwrap().delivered, 1);
}

#[test]
fn a_hanging_future_is_dropped_at_the_request_timeout() {
    let (core, reports) =
        with_faulty_sink(Behaviour::Hanging, network().total_timeout(Duration::from_millis(20)));
    let Err(FlushError::Incomplete(report)) = block_on(core.to_async().flush_with(ONCE)) else {
        panic!("it hangs")
    };
    assert_eq!(report.stats.last_error.unwrap().cause.code(), "timeout");
    assert_eq!((report.pending, report.stats.fate_unknown), (2, 1));
    reports.dropped.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn a_close_drops_a_hanging_future() {
    let (core, reports) = with_faulty_sink(Behaviour::Hanging, network());
    let core = core.to_async();
    poll_once(&mut (Box::pin(core.flush(PATIENCE)) as BoxFuture<'_, _>));
    reports.hangs.recv_timeout(PATIENCE).unwrap();
    let report = block_on(core.shutdown(Duration::from_millis(50)));
    assert!(matches!(report, Err(FlushError::Timeout(_))), "it hangs: {report:?}");
    reports.dropped.recv_timeout(PATIENCE).unwrap();
    // At the latest now, should the thread have been slow.
    until(&core.to_sync(), |stats| (stats.dropped.closed.total(), stats.pending) == (2, 0));
}

#[test]
fn a_panic_in_a_call_or_its_future_is_a_failure() {
    for behaviour in [Behaviour::PanickingInTheCall, Behaviour::PanickingInTheFuture] {
        let (core, _) = with_faulty_sink(behaviour, network());
        let Err(FlushError::Incomplete(report)) = core.flush_with(ONCE) else { panic!("it panics") };
        assert_eq!(
            report.stats.last_error.unwrap().cause,
            DeliveryFailure::Unknown(TransportError::Panicked)
        );
        assert_eq!(report.pending, 2);
    }
}

/// Answers from the application's own thread, like a client with a runtime elsewhere.
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
fn a_future_woken_from_another_thread_is_polled_again() {
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
fn an_async_transports_bodies_are_bounded() {
    let network = TransportConfig::builder().max_response_bytes(1024).build().unwrap();
    let config = SdkConfig::builder().sdk_key(KEY).transport(network).build().unwrap();
    let transport =
        FaultySink { behaviour: Behaviour::Working, hangs: unbounded().0, dropped: unbounded().0 };
    let core = Core::builder(config).async_transport(transport).build().unwrap();
    let too_large = LoadError::Fetch(TransportError::TooLarge(1024));
    assert_eq!(core.initialize(), Err(InitializeError::Load(too_large)));
}
