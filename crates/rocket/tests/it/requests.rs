//! What a route gets, and what the client receives.

use std::future::pending;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use convert_sdk::ports::{ConfigRequest, ConfigResponse, ConfigSource, TransportError};
use convert_sdk::{Core, SdkConfig, attributes};
use convert_sdk_rocket::{Convert, ConvertFairing, LaunchError, Visitor, VisitorCookie, launch};
use rocket::error::ErrorKind;
use rocket::http::Header;
use rocket::local::asynchronous::Client;
use rocket::{Build, Request, Rocket, get, routes};

use crate::deliveries;
use crate::store;

const PATIENCE: Duration = Duration::from_secs(30);
const SHOP: &str = include_str!("../../../../examples/shop.json");

#[get("/id")]
fn id(visitor: Visitor) -> String {
    visitor.visitor_id().to_owned()
}

#[get("/id-or-none")]
fn id_or_none(visitor: Option<Visitor>) -> String {
    visitor.map_or("nobody".to_owned(), |it| it.visitor_id().to_owned())
}

#[get("/twice")]
fn twice(first: Visitor, second: Visitor) -> String {
    format!("{} {}", first.visitor_id(), second.visitor_id())
}

#[get("/static")]
fn no_visitor() {}

#[get("/url")]
fn url(visitor: Visitor) -> &'static str {
    let url = visitor.location().get("url_with_query");
    if url == Some(&"https://shop.example.com/url?a=1".into()) { "yes" } else { "no" }
}

#[get("/decisions/<_>")]
fn decisions(visitor: Visitor) -> String {
    format!("{} {}", visitor.visitor_id(), visitor.run_experience("checkout").is_ok())
}

#[get("/public")]
fn own_cache_control(_visitor: Visitor) -> PublicPage {
    PublicPage { body: "", cache_control: Header::new("cache-control", "public, max-age=60") }
}

#[derive(rocket::Responder)]
struct PublicPage {
    body: &'static str,
    cache_control: Header<'static>,
}

#[get("/buy")]
fn buy(visitor: Visitor) {
    visitor.track_conversion("purchase");
}

fn app() -> Rocket<Build> {
    let quiet =
        rocket::Config { log_level: rocket::config::LogLevel::Off, ..rocket::Config::debug_default() };
    let routes = routes![id, id_or_none, twice, no_visitor, url, decisions, own_cache_control, buy];
    rocket::custom(quiet).mount("/", routes)
}

async fn serve(convert: &Convert) -> Client {
    Client::untracked(app().attach(ConvertFairing::new(convert))).await.unwrap()
}

struct Answer {
    status: u16,
    body: String,
    set_cookies: Vec<String>,
    cache_control: Option<String>,
}

async fn ask(client: &Client, path: &str, headers: &[(&'static str, &str)]) -> Answer {
    let request = headers.iter().fold(client.get(path.to_owned()), |request, (name, value)| {
        request.header(Header::new(*name, (*value).to_owned()))
    });
    let response = request.dispatch().await;
    Answer {
        status: response.status().code,
        set_cookies: response.headers().get("set-cookie").map(str::to_owned).collect(),
        cache_control: response.headers().get_one("cache-control").map(str::to_owned),
        body: response.into_string().await.unwrap_or_default(),
    }
}

fn core() -> Core {
    deliveries::core(SHOP).unwrap().0
}

fn plain() -> Convert {
    Convert::new(core(), VisitorCookie::plain())
}

fn unready(config: &str) -> Convert {
    Convert::new(Core::new(SdkConfig::builder().data_json(config).build().unwrap()), VisitorCookie::plain())
}

#[rocket::async_test]
async fn a_new_visitor_gets_a_cookie_and_is_known_by_it() {
    let client = serve(&plain()).await;
    let first = ask(&client, "/id", &[]).await;
    assert_eq!(first.set_cookies.len(), 1);
    let set = &first.set_cookies[0];
    assert!(set.starts_with(&format!("convert_visitor={}; ", first.body)), "{set}");

    let sent = set.split(';').next().unwrap();
    let second = ask(&client, "/id", &[("cookie", sent)]).await;
    assert_eq!((second.body, second.set_cookies.len()), (first.body, 0));
}

#[rocket::async_test]
async fn a_forged_cookie_is_a_new_visitor_and_no_error() {
    let cookie = VisitorCookie::signed(b"a secret of more than thirty-two bytes").unwrap();
    let client = serve(&Convert::new(core(), cookie)).await;
    for forged in ["convert_visitor=visitor-1", "convert_visitor=%00", ";;;", "\u{1f36a}"] {
        let answer = ask(&client, "/id", &[("cookie", forged)]).await;
        assert_eq!((answer.status, answer.body.len(), answer.set_cookies.len()), (200, 32, 1), "{forged}");
    }
}

#[rocket::async_test]
async fn every_guard_of_a_request_sees_one_visitor() {
    let answer = ask(&serve(&plain()).await, "/twice", &[]).await;
    let (first, second) = answer.body.split_once(' ').unwrap();
    assert_eq!((first, answer.set_cookies.len()), (second, 1));
}

#[rocket::async_test]
async fn a_response_that_needs_no_visitor_sets_no_cookie() {
    let answer = ask(&serve(&plain()).await, "/static", &[]).await;
    assert_eq!((answer.status, answer.set_cookies.len()), (200, 0));
}

#[rocket::async_test]
async fn once_closed_a_route_refuses_or_continues_without() {
    let convert = plain();
    let client = serve(&convert).await;
    convert.core().close().await;
    assert_eq!(ask(&client, "/id", &[]).await.status, 503);
    let degraded = ask(&client, "/id-or-none", &[]).await;
    assert_eq!((degraded.status, degraded.body.as_str()), (200, "nobody"));
}

#[rocket::async_test]
async fn the_fairing_initializes_the_core_or_aborts_the_launch() {
    assert_eq!(ask(&serve(&unready(SHOP)).await, "/id", &[]).await.status, 200);

    let broken = unready("{}");
    let refused = Client::untracked(app().attach(ConvertFairing::new(&broken))).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::FailedFairings(_)), "{refused}");

    let fairing = ConvertFairing::new(&broken).without_waiting();
    let client = Client::untracked(app().attach(fairing)).await.unwrap();
    assert_eq!(ask(&client, "/id", &[]).await.status, 503);
    assert_eq!(ask(&client, "/id-or-none", &[]).await.body, "nobody");
}

#[rocket::async_test]
async fn a_missing_fairing_keeps_rocket_from_launching() {
    let refused = Client::untracked(app()).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::SentinelAborts(_)), "{refused}");
}

#[rocket::async_test]
async fn hooks_see_the_request() {
    let convert = plain()
        .visitor_id(|request: &Request<'_>| request.headers().get_one("x-login").map(str::to_owned))
        .attributes(
            |request| attributes! { "age" => if request.uri().path().ends_with("old") { 30 } else { 3 } },
        );
    let client = serve(&convert).await;
    let login = [("x-login", "by-login")];
    assert_eq!(ask(&client, "/decisions/old", &login).await.body, "by-login true");
    assert_eq!(ask(&client, "/decisions/young", &login).await.body, "by-login false");
}

#[rocket::async_test]
async fn the_location_is_the_requested_url() {
    let client = serve(&plain()).await;
    assert_eq!(ask(&client, "/url?a=1", &[("host", "shop.example.com")]).await.body, "yes");
    assert_eq!(ask(&client, "/url?a=1", &[("host", "elsewhere")]).await.body, "no");
    assert_eq!(ask(&client, "/url", &[("host", "shop.example.com")]).await.body, "no");
}

#[rocket::async_test]
async fn what_a_route_records_is_delivered() {
    let (core, deliveries) = deliveries::core(SHOP).unwrap();
    let convert = Convert::new(core, VisitorCookie::plain()).trust_header("x-visitor");
    assert_eq!(ask(&serve(&convert).await, "/buy", &[("x-visitor", "visitor-1")]).await.status, 200);
    convert.flush(PATIENCE).await.unwrap();
    assert_eq!(deliveries.events_of("visitor-1").len(), 1);
}

#[rocket::async_test]
async fn a_failed_launch_closes_the_core() {
    let convert = plain();
    convert.core().create_context("visitor-1", ()).await.unwrap().track_conversion("purchase");
    let error = launch(app(), &convert, pending(), PATIENCE).await.unwrap_err();
    assert!(matches!(error, LaunchError::Rocket(_)));
    assert_eq!(error.code(), "launch_rocket");
    let stats = convert.core().stats();
    assert_eq!((stats.delivered, stats.pending), (1, 0));
}

#[rocket::async_test]
async fn a_fairing_attached_twice_counts_once() {
    let convert = plain();
    let twice = app().attach(ConvertFairing::new(&plain())).attach(ConvertFairing::new(&convert));
    let client = Client::untracked(twice).await.unwrap();
    let answer = ask(&client, "/id", &[]).await;
    assert_eq!((answer.body.len(), answer.set_cookies.len()), (32, 1));
}

#[rocket::async_test]
async fn a_response_with_a_cookie_is_private_by_default() {
    let cache_control = async |convert: Convert, path: &str, cookie: &str| {
        ask(&serve(&convert).await, path, &[("cookie", cookie)]).await.cache_control
    };
    assert_eq!(cache_control(plain(), "/id", "").await.as_deref(), Some("private"));
    assert_eq!(cache_control(plain(), "/id", "convert_visitor=visitor-1").await, None);
    assert_eq!(cache_control(plain(), "/public", "").await.as_deref(), Some("public, max-age=60"));
    assert_eq!(cache_control(plain().private_responses(false), "/id", "").await, None);
}

#[test]
fn a_store_on_the_servers_own_runtime_is_awaited() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (core, store) = store::core(SHOP);
        let client = serve(&Convert::new(core, VisitorCookie::plain())).await;
        assert_eq!(ask(&client, "/id", &[]).await.status, 200);
        assert_eq!(store.answered.load(Ordering::SeqCst), 1, "the executor was blocked meanwhile");
    });
}

/// Never returns a config.
struct Hanging {
    asked: mpsc::Sender<()>,
    answer: Mutex<mpsc::Receiver<()>>,
}

impl ConfigSource for Hanging {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        let _ = self.asked.send(());
        let _ = self.answer.lock().unwrap().recv();
        Err(TransportError::Connect)
    }
}

#[rocket::async_test]
async fn a_stop_while_the_core_starts_ends_the_launch() {
    let ((asked, was_asked), (_answer, answer)) = (mpsc::channel(), mpsc::channel());
    let config = SdkConfig::builder().sdk_key("shop/key").initialize_timeout(10 * PATIENCE).build().unwrap();
    let transport = Hanging { asked, answer: Mutex::new(answer) };
    let convert =
        Convert::new(Core::builder(config).config_source(transport).build().unwrap(), VisitorCookie::plain());
    let stop = async move { tokio::task::spawn_blocking(move || was_asked.recv()).await.unwrap().unwrap() };
    let app = app().attach(ConvertFairing::new(&convert));
    let grace = Duration::from_millis(500);
    let stopped = tokio::time::timeout(PATIENCE, launch(app, &convert, stop, grace)).await;
    assert_eq!(stopped.expect("it keeps waiting").unwrap().stats.recorded, 0);
}
