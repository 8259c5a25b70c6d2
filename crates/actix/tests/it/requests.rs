//! What a handler gets, and what the client receives.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::ErrorForbidden;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, FromRequest, HttpMessage, HttpResponse, test, web};
use convert_sdk::{Core, SdkConfig, attributes};
use convert_sdk_actix::{Convert, ConvertMiddleware, ErrorWithCookie, Visitor, VisitorCookie};

use crate::deliveries;
use crate::store;

const PATIENCE: Duration = Duration::from_secs(30);
const SHOP: &str = include_str!("../../../../examples/shop.json");

#[derive(Clone)]
struct Login(&'static str);

async fn id(visitor: Visitor) -> String {
    visitor.visitor_id().to_owned()
}

async fn id_or_none(visitor: Option<Visitor>) -> String {
    visitor.map_or("nobody".to_owned(), |it| it.visitor_id().to_owned())
}

async fn url(visitor: Visitor) -> &'static str {
    let url = visitor.location().get("url_with_query");
    if url == Some(&"https://shop.example.com/url?a=1".into()) { "yes" } else { "no" }
}

async fn decisions(visitor: Visitor) -> String {
    format!("{} {}", visitor.visitor_id(), visitor.run_experience("checkout").is_ok())
}

async fn buy(visitor: Visitor) -> &'static str {
    visitor.track_conversion("purchase");
    ""
}

/// Sets the visitor for the handler behind it.
async fn before<B: MessageBody>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let (inner, payload) = request.parts_mut();
    let visitor = Visitor::from_request(inner, payload).await?;
    let mut response = next.call(request).await?;
    let id = HeaderValue::from_str(visitor.visitor_id()).unwrap();
    response.headers_mut().insert(HeaderName::from_static("x-before"), id);
    Ok(response)
}

/// Asks for the visitor, and then refuses anyway.
async fn forbid<B: MessageBody>(
    mut request: ServiceRequest,
    _: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let (inner, payload) = request.parts_mut();
    let visitor = Visitor::from_request(inner, payload).await?;
    Err(ErrorForbidden(format!("not for {}", visitor.visitor_id().len())))
}

async fn own_cache_control(_: Visitor) -> HttpResponse {
    HttpResponse::Ok().insert_header(("cache-control", "public, max-age=60")).body("")
}

async fn log_in<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    request.extensions_mut().insert(Login("by-login"));
    next.call(request).await
}

struct Answer {
    status: u16,
    body: String,
    set_cookies: Vec<String>,
    before: Option<String>,
    cache_control: Option<String>,
}

/// Sends a request to an app with these settings, or without the middleware.
async fn ask(convert: Option<&Convert>, path: &str, headers: &[(&'static str, &str)]) -> Answer {
    let routes = |config: &mut web::ServiceConfig| {
        config
            .route("/id", web::get().to(id))
            .route("/id-or-none", web::get().to(id_or_none))
            .route("/url", web::get().to(url))
            .route("/public", web::get().to(own_cache_control))
            .route("/old", web::get().to(decisions))
            .route("/young", web::get().to(decisions))
            .route("/buy", web::get().to(buy))
            .route("/static", web::get().to(|| async { "no visitor" }))
            .service(web::resource("/twice").route(web::get().to(id)).wrap(from_fn(before)));
    };
    let request = headers
        .iter()
        .fold(test::TestRequest::get().uri(path), |request, header| request.insert_header(*header));
    let request = request.to_request();
    let response = match convert {
        Some(convert) => {
            let around = ConvertMiddleware::new(convert);
            let app = App::new().configure(routes).wrap(around).wrap(from_fn(log_in));
            test::call_service(&test::init_service(app).await, request).await.map_into_boxed_body()
        }
        None => {
            let app = App::new().configure(routes);
            test::call_service(&test::init_service(app).await, request).await.map_into_boxed_body()
        }
    };
    let texts = |name: &str| -> Vec<String> {
        response.headers().get_all(name).map(|it| it.to_str().unwrap().to_owned()).collect()
    };
    Answer {
        status: response.status().as_u16(),
        set_cookies: texts("set-cookie"),
        before: texts("x-before").pop(),
        cache_control: texts("cache-control").pop(),
        body: String::from_utf8(test::read_body(response).await.to_vec()).unwrap(),
    }
}

fn core() -> Core {
    deliveries::core(SHOP).unwrap().0
}

fn plain() -> Convert {
    Convert::new(core(), VisitorCookie::plain())
}

#[actix_web::test]
async fn a_new_visitor_gets_a_cookie_and_is_known_by_it() {
    let convert = plain();
    let first = ask(Some(&convert), "/id", &[]).await;
    assert_eq!(first.set_cookies.len(), 1);
    let set = &first.set_cookies[0];
    assert!(set.starts_with(&format!("convert_visitor={}; ", first.body)), "{set}");

    let sent = set.split(';').next().unwrap();
    let second = ask(Some(&convert), "/id", &[("cookie", sent)]).await;
    assert_eq!((second.body, second.set_cookies.len()), (first.body, 0));
}

#[actix_web::test]
async fn a_forged_cookie_is_a_new_visitor_and_no_error() {
    let cookie = VisitorCookie::signed(b"a secret of more than thirty-two bytes").unwrap();
    let convert = Convert::new(core(), cookie);
    for forged in ["convert_visitor=visitor-1", "convert_visitor=%00", ";;;", "\u{1f36a}"] {
        let answer = ask(Some(&convert), "/id", &[("cookie", forged)]).await;
        assert_eq!((answer.status, answer.body.len(), answer.set_cookies.len()), (200, 32, 1), "{forged}");
    }
}

#[actix_web::test]
async fn every_extractor_of_a_request_sees_one_visitor() {
    let answer = ask(Some(&plain()), "/twice", &[]).await;
    assert_eq!((answer.before, answer.set_cookies.len()), (Some(answer.body), 1));
}

#[actix_web::test]
async fn a_response_that_needs_no_visitor_sets_no_cookie() {
    assert!(ask(Some(&plain()), "/static", &[]).await.set_cookies.is_empty());
}

#[actix_web::test]
async fn until_ready_a_handler_refuses_or_continues_without() {
    let config = SdkConfig::builder().data_json(SHOP).build().unwrap();
    let convert = Convert::new(Core::new(config), VisitorCookie::plain());
    let refused = ask(Some(&convert), "/id", &[]).await;
    assert_eq!((refused.status, refused.body.as_str()), (503, "not_ready"));
    let degraded = ask(Some(&convert), "/id-or-none", &[]).await;
    assert_eq!((degraded.status, degraded.body.as_str()), (200, "nobody"));

    convert.initialize().await.unwrap();
    assert_eq!(ask(Some(&convert), "/id", &[]).await.status, 200);
}

#[actix_web::test]
async fn a_missing_middleware_is_reported_as_a_mistake() {
    let answer = ask(None, "/id", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (500, "not_installed"));
}

#[actix_web::test]
async fn hooks_see_the_request_and_its_extensions() {
    let convert = plain()
        .visitor_id(|request| request.extensions().get::<Login>().map(|login| login.0))
        .attributes(|request| attributes! { "age" => if request.path() == "/old" { 30 } else { 3 } });
    assert_eq!(ask(Some(&convert), "/old", &[]).await.body, "by-login true");
    assert_eq!(ask(Some(&convert), "/young", &[]).await.body, "by-login false");
}

#[actix_web::test]
async fn the_location_is_the_requested_url() {
    let convert = plain();
    let url = async |path: &str, host: &str| ask(Some(&convert), path, &[("host", host)]).await.body;
    assert_eq!(url("/url?a=1", "shop.example.com").await, "yes");
    assert_eq!(url("https://shop.example.com/url?a=1", "elsewhere").await, "yes");
    assert_eq!(url("/url?a=1", "elsewhere").await, "no");
}

#[actix_web::test]
async fn what_a_handler_records_is_delivered() {
    let (core, deliveries) = deliveries::core(SHOP).unwrap();
    let convert = Convert::new(core, VisitorCookie::plain()).trust_header("x-visitor");
    assert_eq!(ask(Some(&convert), "/buy", &[("x-visitor", "visitor-1")]).await.status, 200);
    convert.flush(PATIENCE).await.unwrap();
    assert_eq!(deliveries.events_of("visitor-1").len(), 1);
}

#[actix_web::test]
async fn a_middleware_installed_twice_makes_one_visitor() {
    let convert = plain();
    let around = || ConvertMiddleware::new(&convert);
    let app = App::new().route("/id", web::get().to(id)).wrap(around()).wrap(from_fn(before)).wrap(around());
    let request = test::TestRequest::get().uri("/id").to_request();
    let response = test::call_service(&test::init_service(app).await, request).await;
    let before = response.headers().get("x-before").cloned();
    assert_eq!(response.headers().get_all("set-cookie").count(), 1);
    assert_eq!(before.unwrap().as_bytes(), test::read_body(response).await);
}

#[actix_web::test]
async fn a_middlewares_error_sets_a_new_visitors_cookie() {
    let convert = plain();
    let app = App::new().route("/id", web::get().to(id)).wrap(from_fn(forbid));
    let app = test::init_service(app.wrap(ConvertMiddleware::new(&convert))).await;
    let refused = async |cookie: &str| {
        let request = test::TestRequest::get().uri("/id").insert_header(("cookie", cookie)).to_request();
        test::try_call_service(&app, request).await.map(|_| ()).unwrap_err()
    };
    let error = refused("").await;
    assert_eq!(error.to_string(), "not for 32");
    assert_eq!(error.as_error::<ErrorWithCookie>().unwrap().cause().to_string(), "not for 32");
    // The response that actix-web gives.
    let response = HttpResponse::from_error(error);
    assert_eq!(response.status(), 403);
    let set = response.headers().get("set-cookie").unwrap().to_str().unwrap();
    assert!(set.starts_with("convert_visitor="), "{set}");
    assert_eq!(response.headers().get("cache-control").unwrap(), "private");

    let known = HttpResponse::from_error(refused("convert_visitor=visitor-1").await);
    assert_eq!((known.status().as_u16(), known.headers().get("set-cookie")), (403, None));
}

#[actix_web::test]
async fn a_response_with_a_cookie_is_private_by_default() {
    let cache_control = async |convert: &Convert, path: &str, cookie: &str| {
        ask(Some(convert), path, &[("cookie", cookie)]).await.cache_control
    };
    assert_eq!(cache_control(&plain(), "/id", "").await.as_deref(), Some("private"));
    assert_eq!(cache_control(&plain(), "/id", "convert_visitor=visitor-1").await, None);
    assert_eq!(cache_control(&plain(), "/public", "").await.as_deref(), Some("public, max-age=60"));
    assert_eq!(cache_control(&plain().private_responses(false), "/id", "").await, None);
}

#[actix_web::test]
async fn a_store_on_the_workers_own_runtime_is_awaited() {
    let (core, store) = store::core(SHOP);
    let convert = Convert::new(core, VisitorCookie::plain());
    convert.initialize().await.unwrap();
    assert_eq!(ask(Some(&convert), "/id", &[]).await.status, 200);
    assert_eq!(store.answered.load(Ordering::SeqCst), 1, "the worker was blocked meanwhile");
}
