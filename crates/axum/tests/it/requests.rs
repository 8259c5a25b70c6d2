//! What a handler gets, and what the client receives.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use convert_sdk::{Core, SdkConfig, attributes};
use convert_sdk_axum::{Convert, ConvertLayer, Visitor, VisitorCookie};
use tower::ServiceExt;

use crate::deliveries;

const PATIENCE: Duration = Duration::from_secs(30);
const SHOP: &str = include_str!("../../../../examples/shop.json");

async fn id(visitor: Visitor) -> String {
    visitor.visitor_id().to_owned()
}

async fn id_or_none(visitor: Option<Visitor>) -> String {
    visitor.map_or("nobody".to_owned(), |it| it.visitor_id().to_owned())
}

/// Sets the visitor for the handler behind it.
async fn before(visitor: Visitor, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-before", visitor.visitor_id().parse().unwrap());
    response
}

async fn own_cache_control(_: Visitor) -> [(&'static str, &'static str); 1] {
    [("cache-control", "public, max-age=60")]
}

fn app(convert: &Convert) -> Router {
    Router::new()
        .route("/public", get(own_cache_control))
        .route("/id", get(id))
        .route("/id-or-none", get(id_or_none))
        .route("/twice", get(id).layer(from_fn(before)))
        .route("/static", get(|| async { "no visitor" }))
        .layer(ConvertLayer::new(convert))
}

fn core() -> Core {
    deliveries::core(SHOP).unwrap().0
}

fn plain() -> Convert {
    Convert::new(core(), VisitorCookie::plain())
}

async fn ask(app: Router, path: &str, headers: &[(&str, &str)]) -> Response<String> {
    let request = Request::get(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let (parts, body) = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().into_parts();
    let body = to_bytes(body, 1024).await.unwrap();
    Response::from_parts(parts, String::from_utf8(body.to_vec()).unwrap())
}

fn set_cookies(response: &Response<String>) -> Vec<&str> {
    response.headers().get_all("set-cookie").iter().map(|it| it.to_str().unwrap()).collect()
}

#[tokio::test]
async fn a_new_visitor_gets_a_cookie_and_is_known_by_it() {
    let convert = plain();
    let first = ask(app(&convert), "/id", &[]).await;
    let set = set_cookies(&first);
    assert_eq!(set.len(), 1);
    assert!(set[0].starts_with(&format!("convert_visitor={}; ", first.body())), "{set:?}");

    let sent = set[0].split(';').next().unwrap();
    let second = ask(app(&convert), "/id", &[("cookie", sent)]).await;
    assert_eq!(second.body(), first.body());
    assert!(set_cookies(&second).is_empty());
}

#[tokio::test]
async fn a_forged_cookie_is_a_new_visitor_and_no_error() {
    let cookie = VisitorCookie::signed(b"a secret of more than thirty-two bytes").unwrap();
    let convert = Convert::new(core(), cookie);
    for forged in ["convert_visitor=visitor-1", "convert_visitor=%00", ";;;", "\u{1f36a}"] {
        let response = ask(app(&convert), "/id", &[("cookie", forged)]).await;
        assert_eq!(response.status(), 200, "{forged}");
        assert_eq!((response.body().len(), set_cookies(&response).len()), (32, 1), "{forged}");
    }
}

#[tokio::test]
async fn every_extractor_of_a_request_sees_one_visitor() {
    let response = ask(app(&plain()), "/twice", &[]).await;
    assert_eq!(response.headers()["x-before"], response.body().as_str());
    assert_eq!(set_cookies(&response).len(), 1);
}

#[tokio::test]
async fn a_response_that_needs_no_visitor_sets_no_cookie() {
    assert!(set_cookies(&ask(app(&plain()), "/static", &[]).await).is_empty());
}

#[tokio::test]
async fn until_ready_a_handler_refuses_or_continues_without() {
    let config = SdkConfig::builder().data_json(SHOP).build().unwrap();
    let convert = Convert::new(Core::new(config), VisitorCookie::plain());
    let refused = ask(app(&convert), "/id", &[]).await;
    assert_eq!((refused.status().as_u16(), refused.body().as_str()), (503, "not_ready"));
    let degraded = ask(app(&convert), "/id-or-none", &[]).await;
    assert_eq!((degraded.status().as_u16(), degraded.body().as_str()), (200, "nobody"));

    convert.initialize().await.unwrap();
    assert_eq!(ask(app(&convert), "/id", &[]).await.status(), 200);
}

#[tokio::test]
async fn a_missing_layer_is_reported_as_a_mistake() {
    let bare = || Router::new().route("/id", get(id)).route("/id-or-none", get(id_or_none));
    for path in ["/id", "/id-or-none"] {
        let response = ask(bare(), path, &[]).await;
        assert_eq!((response.status().as_u16(), response.body().as_str()), (500, "not_installed"));
    }
}

#[tokio::test]
async fn hooks_see_the_request_and_its_extensions() {
    #[derive(Clone)]
    struct Login(&'static str);
    async fn decisions(visitor: Visitor) -> String {
        let checkout = visitor.run_experience("checkout").is_ok();
        format!("{} {checkout} {:?}", visitor.visitor_id(), visitor.location().len())
    }
    let convert = plain()
        .visitor_id(|request| request.extensions.get::<Login>().map(|login| login.0))
        .attributes(|request| attributes! { "age" => if request.uri.path() == "/old" { 30 } else { 3 } });
    let app = || {
        let routes = Router::new().route("/old", get(decisions)).route("/young", get(decisions));
        routes.layer(ConvertLayer::new(&convert)).layer(axum::Extension(Login("by-login")))
    };
    assert_eq!(ask(app(), "/old", &[]).await.body(), "by-login true 5");
    assert_eq!(ask(app(), "/young", &[]).await.body(), "by-login false 5");
}

#[tokio::test]
async fn the_location_is_the_requested_url() {
    async fn url(visitor: Visitor) -> &'static str {
        let url = visitor.location().get("url_with_query");
        if url == Some(&"https://shop.example.com/url?a=1".into()) { "yes" } else { "no" }
    }
    let app = || Router::new().route("/url", get(url)).layer(ConvertLayer::new(&plain()));
    assert_eq!(ask(app(), "/url?a=1", &[("host", "shop.example.com")]).await.body(), "yes");
    assert_eq!(ask(app(), "https://shop.example.com/url?a=1", &[("host", "elsewhere")]).await.body(), "yes");
    assert_eq!(ask(app(), "/url?a=1", &[("host", "elsewhere")]).await.body(), "no");
}

#[tokio::test]
async fn what_a_handler_records_is_delivered() {
    async fn buy(visitor: Visitor) {
        visitor.track_conversion("purchase");
    }
    let (core, deliveries) = deliveries::core(SHOP).unwrap();
    let convert = Convert::new(core, VisitorCookie::plain()).trust_header("x-visitor");
    let app = Router::new().route("/buy", get(buy)).layer(ConvertLayer::new(&convert));
    ask(app, "/buy", &[("x-visitor", "visitor-1")]).await;
    convert.flush(PATIENCE).await.unwrap();
    assert_eq!(deliveries.events_of("visitor-1").len(), 1);
}

#[tokio::test]
async fn the_location_keeps_the_prefix_of_a_nested_router() {
    async fn path(visitor: Visitor) -> &'static str {
        if visitor.location().get("path") == Some(&"/shop/cart".into()) { "yes" } else { "no" }
    }
    let (convert, cart) = (plain(), || Router::new().route("/cart", get(path)));
    let layer = || ConvertLayer::new(&convert);
    let nested = [
        Router::new().nest("/shop", cart()).layer(layer()),
        Router::new().nest("/shop", cart().layer(layer())),
        Router::new().nest_service("/shop", cart().layer(layer())),
        Router::new().nest("/shop", Router::new().merge(cart())).layer(layer()),
    ];
    for (number, app) in nested.into_iter().enumerate() {
        assert_eq!(ask(app, "/shop/cart?a=1", &[]).await.body(), "yes", "case {number}");
    }
}

#[tokio::test]
async fn a_layer_installed_twice_makes_one_visitor() {
    let convert = plain();
    let layer = || ConvertLayer::new(&convert);
    let app = Router::new().route("/id", get(id)).layer(layer()).layer(from_fn(before)).layer(layer());
    let response = ask(app, "/id", &[]).await;
    assert_eq!(response.headers()["x-before"], response.body().as_str());
    assert_eq!(set_cookies(&response).len(), 1);
}

#[tokio::test]
async fn the_innermost_layers_settings_apply() {
    async fn shown(visitor: Visitor) -> String {
        visitor.run_experience("checkout").is_ok().to_string()
    }
    let adult = plain().attributes(|_| attributes! { "age" => 30 });
    let inner = Router::new().route("/checkout", get(shown)).layer(ConvertLayer::new(&adult));
    let app = Router::new().nest("/shop", inner).layer(ConvertLayer::new(&plain()));
    let response = ask(app, "/shop/checkout", &[]).await;
    assert_eq!((response.body().as_str(), set_cookies(&response).len()), ("true", 1));
}

#[tokio::test]
async fn a_response_with_a_cookie_is_private_by_default() {
    let cache_control = async |convert: &Convert, path: &str, headers: &[(&str, &str)]| {
        let response = ask(app(convert), path, headers).await;
        response.headers().get("cache-control").map(|it| it.to_str().unwrap().to_owned())
    };
    let known = [("cookie", "convert_visitor=visitor-1")];
    assert_eq!(cache_control(&plain(), "/id", &[]).await.as_deref(), Some("private"));
    assert_eq!(cache_control(&plain(), "/id", &known).await, None);
    assert_eq!(cache_control(&plain(), "/static", &[]).await, None);
    assert_eq!(cache_control(&plain(), "/public", &[]).await.as_deref(), Some("public, max-age=60"));
    assert_eq!(cache_control(&plain().private_responses(false), "/id", &[]).await, None);
}
