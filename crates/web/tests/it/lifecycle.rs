//! The calls that wait, from async code.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use convert_sdk::ports::{ConfigRequest, ConfigResponse, ConfigSource, TransportError};
use convert_sdk::{Core, FlushError, SdkConfig};
use convert_sdk_web::{Convert, Framework, RequestUrl, VisitorCookie};

use crate::deliveries;

const PATIENCE: Duration = Duration::from_secs(30);
const SHOP: &str = include_str!("../../../../examples/shop.json");

enum NoRequests {}

impl Framework for NoRequests {
    type Request<'r> = ();

    fn headers<'a>(_: &'a Self::Request<'_>, _: &'a str) -> impl Iterator<Item = &'a str> {
        std::iter::empty()
    }

    fn url<'a>(_: &'a Self::Request<'_>) -> RequestUrl<'a> {
        RequestUrl { scheme: None, host: None, path: "/", query: None }
    }
}

fn of(core: Core) -> Convert<NoRequests> {
    Convert::new(core, VisitorCookie::plain())
}

#[tokio::test]
async fn initialize_makes_the_core_ready_or_says_why_not() {
    let convert = of(Core::new(SdkConfig::builder().data_json(SHOP).build().unwrap()));
    convert.initialize().await.unwrap();
    assert!(convert.core().is_ready());
    let broken = of(Core::new(SdkConfig::builder().data_json("{}").build().unwrap()));
    assert_eq!(broken.initialize().await.unwrap_err().code(), "invalid_config");
}

/// Fails a few times before it has the config.
struct Recovering {
    failures: AtomicU32,
}

impl ConfigSource for Recovering {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        let left = self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => Err(TransportError::Connect),
            Err(_) => Ok(ConfigResponse::Fetched { body: SHOP.to_owned(), etag: None }),
        }
    }
}

#[tokio::test]
async fn a_core_that_fails_at_first_is_ready_eventually() {
    let config = SdkConfig::builder().sdk_key("shop/key").build().unwrap();
    let transport = Recovering { failures: AtomicU32::new(3) };
    let convert = of(Core::builder(config).config_source(transport).build().unwrap());
    assert_eq!(convert.initialize().await.unwrap_err().code(), "config_load_failed");
    assert!(!convert.core().is_ready());
    convert.initialize_eventually(Duration::from_millis(1)).await.unwrap();
    assert!(convert.core().is_ready());

    convert.core().close().await;
    let closed = convert.initialize_eventually(Duration::from_millis(1)).await;
    assert_eq!(closed.unwrap_err().code(), "closed");
}

#[tokio::test]
async fn flush_and_shutdown_deliver() {
    let (core, deliveries) = deliveries::core(SHOP).unwrap();
    let convert = of(core);
    let convert_one =
        |id: &str| convert.core().to_sync().create_context(id, ()).unwrap().track_conversion("purchase");
    convert_one("visitor-1");
    assert_eq!(convert.flush(PATIENCE).await.unwrap().delivered, 1);
    assert_eq!(deliveries.events_of("visitor-1").len(), 1);
    convert_one("visitor-2");
    assert_eq!(convert.shutdown(PATIENCE).await.unwrap().delivered, 1);
    assert_eq!(deliveries.events_of("visitor-2").len(), 1);
    assert!(matches!(convert.flush(PATIENCE).await, Err(FlushError::Closed(_))));
}
