//! How a server stops; whole processes with signals are tested in `convert-runtimes`.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::{get, post};
use convert_sdk::delivery::FlushReport;
use convert_sdk::ports::{DeliveryFailure, EventBatch, EventSink, Receipt, TransportError};
use convert_sdk::{Core, SdkConfig};
use convert_sdk_axum::{Convert, ConvertLayer, ServeError, Visitor, VisitorCookie, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::deliveries;

struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    end: JoinHandle<Result<FlushReport, ServeError>>,
}

/// Serves these routes and `/buy`.
async fn start(convert: Convert, routes: Router, grace: Duration) -> Serving {
    let app = routes.route("/buy", get(buy)).layer(ConvertLayer::new(&convert));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap() };
    let end = tokio::spawn(async move { serve(listener, app, &convert, stopped, grace).await });
    Serving { address, stop, end }
}

async fn buy(visitor: Visitor) {
    visitor.track_conversion("purchase");
}

impl Serving {
    async fn send(&self, request: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }

    /// A connection that has become idle.
    async fn bought(&self) -> TcpStream {
        let mut client = self.send("GET /buy HTTP/1.1\r\nhost: shop\r\n\r\n").await;
        let mut head = [0; 15];
        client.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        client
    }
}

#[tokio::test]
async fn a_stop_answers_open_requests_and_delivers() {
    let (core, deliveries) = deliveries::core(include_str!("../../../../examples/shop.json")).unwrap();
    let (begun, mut waiting) = mpsc::unbounded_channel();
    let slow = |visitor: Visitor, body: Body| async move {
        begun.send(()).unwrap();
        let body = to_bytes(body, 100).await.unwrap();
        visitor.track_conversion("signup");
        body
    };
    let convert = Convert::new(core, VisitorCookie::plain());
    let serving = start(convert, Router::new().route("/slow", post(slow)), Duration::from_secs(60)).await;

    let mut idle = serving.bought().await;
    let mut open = serving.send("POST /slow HTTP/1.1\r\nhost: shop\r\ncontent-length: 4\r\n\r\n").await;
    waiting.recv().await.unwrap();
    serving.stop.send(()).unwrap();
    // Closed while the other one is still open.
    idle.read_to_end(&mut Vec::new()).await.unwrap();
    open.write_all(b"body").await.unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("body"), "{answer}");

    let report = serving.end.await.unwrap().unwrap();
    assert_eq!((report.stats.recorded, report.stats.delivered), (2, 2));
    assert_eq!(deliveries.requests().len(), 1);
}

#[tokio::test]
async fn an_endless_request_does_not_hold_up_the_stop() {
    let (core, _) = deliveries::core(include_str!("../../../../examples/shop.json")).unwrap();
    let (begun, mut waiting) = mpsc::unbounded_channel();
    let endless = move || {
        begun.send(()).unwrap();
        std::future::pending::<()>()
    };
    let convert = Convert::new(core, VisitorCookie::plain());
    let grace = Duration::from_secs(2);
    let serving = start(convert, Router::new().route("/endless", get(endless)), grace).await;

    drop(serving.bought().await);
    let _open = serving.send("GET /endless HTTP/1.1\r\nhost: shop\r\n\r\n").await;
    waiting.recv().await.unwrap();
    serving.stop.send(()).unwrap();
    let report = serving.end.await.unwrap().unwrap();
    assert_eq!((report.stats.delivered, report.stats.pending), (1, 0));
}

#[tokio::test]
async fn a_stop_that_panics_still_has_a_deadline() {
    let (core, _) = deliveries::core(include_str!("../../../../examples/shop.json")).unwrap();
    let (begun, mut waiting) = mpsc::unbounded_channel();
    let endless = move || {
        begun.send(()).unwrap();
        std::future::pending::<()>()
    };
    let convert = Convert::new(core, VisitorCookie::plain());
    let grace = Duration::from_secs(2);
    let serving = start(convert, Router::new().route("/endless", get(endless)), grace).await;

    drop(serving.bought().await);
    let _open = serving.send("GET /endless HTTP/1.1\r\nhost: shop\r\n\r\n").await;
    waiting.recv().await.unwrap();
    // Its sender is gone, and it unwraps the error.
    drop(serving.stop);
    let ended = timeout(Duration::from_secs(30), serving.end).await;
    let report = ended.expect("the server goes on").unwrap().unwrap();
    assert_eq!((report.stats.delivered, report.stats.pending), (1, 0));
}

/// Accepts nothing.
struct Refusing;

impl EventSink for Refusing {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        Err(DeliveryFailure::NotSent(TransportError::Connect))
    }
}

#[tokio::test]
async fn a_failed_delivery_is_an_error_with_the_ledger() {
    let config = SdkConfig::builder().data_json(include_str!("../../../../examples/shop.json"));
    let core = Core::builder(config.build().unwrap()).event_sink(Refusing).build().unwrap();
    core.initialize().unwrap();
    let convert = Convert::new(core, VisitorCookie::plain());
    let serving = start(convert, Router::new(), Duration::from_secs(1)).await;
    drop(serving.bought().await);
    serving.stop.send(()).unwrap();
    let error = serving.end.await.unwrap().unwrap_err();
    assert_eq!(error.code(), "flush_timeout", "it tries until its deadline");
    let ServeError::Flush(error) = error else { unreachable!("the listener works") };
    assert_eq!((error.stats().dropped.total(), error.stats().pending), (1, 0));
}
