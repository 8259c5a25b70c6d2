//! The calls that wait, from async code.

use std::time::Duration;

use convert_sdk::{Core, FlushError, SdkConfig};
use convert_sdk_web::{Convert, Framework, RequestUrl, VisitorCookie, testing};

const PATIENCE: Duration = Duration::from_secs(30);

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
    let shop = include_str!("../../../../examples/shop.json");
    let convert = of(Core::new(SdkConfig::builder().data_json(shop).build().unwrap()));
    convert.initialize().await.unwrap();
    assert!(convert.core().is_ready());
    let broken = of(Core::new(SdkConfig::builder().data_json("{}").build().unwrap()));
    assert_eq!(broken.initialize().await.unwrap_err().code(), "invalid_config");
}

#[tokio::test]
async fn flush_and_shutdown_deliver() {
    let (core, deliveries) = testing::core(include_str!("../../../../examples/shop.json")).unwrap();
    let convert = of(core);
    let convert_one = |id: &str| convert.core().create_context(id, ()).unwrap().track_conversion("purchase");
    convert_one("visitor-1");
    assert_eq!(convert.flush(PATIENCE).await.unwrap().delivered, 1);
    assert_eq!(deliveries.events_of("visitor-1").len(), 1);
    convert_one("visitor-2");
    assert_eq!(convert.shutdown(PATIENCE).await.unwrap().delivered, 1);
    assert_eq!(deliveries.events_of("visitor-2").len(), 1);
    assert!(matches!(convert.flush(PATIENCE).await, Err(FlushError::Closed(_))));
}
