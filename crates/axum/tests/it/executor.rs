//! Waiting calls occupy no thread of the runtime, not even one for blocking work.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::get;
use convert_sdk::ports::{ConfigRequest, ConfigResponse, ConfigSource, TransportError};
use convert_sdk::{Core, SdkConfig};
use convert_sdk_axum::{Convert, ConvertLayer, Visitor, VisitorCookie, serve};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::time::timeout;
use tower::ServiceExt;

use crate::deliveries;
use crate::store;

/// Long enough that only a hang exceeds it.
const PATIENCE: Duration = Duration::from_secs(30);
const SHOP: &str = include_str!("../../../../examples/shop.json");

async fn buy(visitor: Visitor) {
    visitor.track_conversion("purchase");
}

fn app(convert: &Convert) -> Router {
    Router::new().route("/buy", get(buy)).layer(ConvertLayer::new(convert))
}

async fn ask(app: Router, path: &str) -> StatusCode {
    app.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap().status()
}

/// Runs this on a runtime whose only thread for blocking work is busy.
fn on_a_crowded_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().max_blocking_threads(1).enable_all().build().unwrap();
    // Dropped before the runtime, which waits for that thread.
    let (_release, released) = mpsc::channel::<()>();
    runtime.spawn_blocking(move || released.recv());
    let ended = runtime.block_on(async { timeout(PATIENCE, work).await });
    ended.expect("held up by the busy thread")
}

#[test]
fn a_full_blocking_pool_holds_up_no_waiting_call() {
    let unready = Core::new(SdkConfig::builder().data_json(SHOP).build().unwrap());
    let (core, deliveries) = deliveries::core(SHOP).unwrap();
    on_a_crowded_runtime(async {
        Convert::new(unready, VisitorCookie::plain()).initialize().await.unwrap();
        let convert = Convert::new(core, VisitorCookie::plain());
        assert_eq!(ask(app(&convert), "/buy").await, StatusCode::OK);
        assert_eq!(convert.flush(PATIENCE).await.unwrap().delivered, 1);
        assert_eq!(ask(app(&convert), "/buy").await, StatusCode::OK);
        assert_eq!(convert.shutdown(PATIENCE).await.unwrap().delivered, 1);
        assert_eq!(deliveries.requests().len(), 2);
    });
}

#[test]
fn a_full_blocking_pool_does_not_hold_up_a_stop() {
    let (core, deliveries) = deliveries::core(SHOP).unwrap();
    on_a_crowded_runtime(async {
        let convert = Convert::new(core, VisitorCookie::plain());
        assert_eq!(ask(app(&convert), "/buy").await, StatusCode::OK);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let report = serve(listener, app(&convert), &convert, async {}, PATIENCE).await.unwrap();
        assert_eq!((report.stats.delivered, deliveries.requests().len()), (1, 1));
    });
}

#[tokio::test]
async fn a_store_on_the_servers_own_runtime_is_awaited() {
    let (core, store) = store::core(SHOP);
    let convert = Convert::new(core, VisitorCookie::plain());
    convert.initialize().await.unwrap();
    assert_eq!(ask(app(&convert), "/buy").await, StatusCode::OK);
    assert_eq!(store.answered.load(Ordering::SeqCst), 1, "the executor was blocked meanwhile");
}

/// Returns an experience when told to.
struct Held {
    release: Mutex<mpsc::Receiver<()>>,
}

impl ConfigSource for Held {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        Ok(ConfigResponse::Fetched { body: SHOP.to_owned(), etag: None })
    }

    fn fetch_experience(&self, _: &ConfigRequest<'_>, _: &str) -> Result<ConfigResponse, TransportError> {
        let released = self.release.lock().unwrap().recv_timeout(PATIENCE);
        released.map_err(|_| TransportError::Unsupported)?;
        Ok(ConfigResponse::Fetched { body: SHOP.to_owned(), etag: None })
    }
}

#[tokio::test]
async fn a_preview_leaves_the_executor_to_other_requests() {
    let (release, held) = mpsc::channel();
    let transport = Held { release: Mutex::new(held) };
    let config = SdkConfig::builder().sdk_key("shop/key").build().unwrap();
    let convert =
        Convert::new(Core::builder(config).config_source(transport).build().unwrap(), VisitorCookie::plain());
    convert.initialize().await.unwrap();

    let preview = |mut visitor: Visitor| async move {
        let refused = visitor.set_preview("no-such-experience", "1").await.unwrap_err();
        assert_eq!(refused.code(), "preview_unresolvable_experience");
    };
    let release = move || async move { release.send(()).unwrap() };
    let app = Router::new()
        .route("/preview", get(preview))
        .route("/release", get(release))
        .layer(ConvertLayer::new(&convert));
    let (previewed, released) = tokio::join!(ask(app.clone(), "/preview"), ask(app, "/release"));
    assert_eq!((previewed, released), (StatusCode::OK, StatusCode::OK));
}
