//! Who the visitor of a request is.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use convert_sdk::{AsyncContext, Core, SdkConfig, attributes};
use convert_sdk_web::{Convert, Framework, RequestUrl, Visit, VisitorCookie, VisitorError};

use crate::deliveries::{self, Deliveries};

/// A framework whose requests are lists of headers.
struct Lists;

type Request = &'static [(&'static str, &'static str)];

impl Framework for Lists {
    type Request<'r> = Request;

    fn headers<'a>(request: &'a Self::Request<'_>, name: &'a str) -> impl Iterator<Item = &'a str> {
        request.iter().filter(move |(header, _)| *header == name).map(|(_, value)| *value)
    }

    fn url<'a>(request: &'a Self::Request<'_>) -> RequestUrl<'a> {
        RequestUrl {
            scheme: None,
            host: Self::headers(request, "host").next(),
            path: "/cart",
            query: Some("a=1"),
        }
    }
}

const NOBODY: Request = &[("host", "shop.example.com")];
const BY_COOKIE: Request = &[("cookie", "convert_visitor=by-cookie"), ("x-visitor", "by-header")];

fn shop() -> (Core, Deliveries) {
    deliveries::core(include_str!("../../../../examples/shop.json")).unwrap()
}

fn plain() -> Convert<Lists> {
    Convert::new(shop().0, VisitorCookie::plain())
}

/// Without a data store nothing waits.
fn ask(visit: &Visit<Lists>, request: Request) -> Result<AsyncContext, VisitorError> {
    let context = std::pin::pin!(visit.context(&request));
    match context.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(context) => context,
        Poll::Pending => unreachable!("nothing waits"),
    }
}

fn id_of(visit: &Visit<Lists>, request: Request) -> String {
    ask(visit, request).unwrap().visitor_id().to_owned()
}

/// The visitor's id, and whether a cookie is set.
fn visitor(convert: &Convert<Lists>, request: Request) -> (String, bool) {
    let visit = Visit::new(convert);
    let id = id_of(&visit, request);
    (id, visit.set_cookie().is_some())
}

#[test]
fn a_visitor_without_a_cookie_is_new_and_gets_one() {
    let convert = plain();
    let visit = Visit::new(&convert);
    let id = id_of(&visit, NOBODY);
    assert!(id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit()), "{id}");
    let set = visit.set_cookie().unwrap().header;
    assert!(set.starts_with(&format!("convert_visitor={id}; ")), "{set}");
    assert_ne!(visitor(&convert, NOBODY).0, id, "the next one is another visitor");
}

#[test]
fn a_request_has_one_visitor_however_often_asked() {
    let convert = plain();
    let visit = Visit::new(&convert);
    let ids: Vec<_> = (0..3).map(|_| id_of(&visit, NOBODY)).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn layers_with_one_cookie_name_share_a_visitor() {
    let named = |name: &str| Convert::<Lists>::new(shop().0, VisitorCookie::plain().name(name).unwrap());
    let (shared, apart) = (named("shared"), named("apart"));
    let outermost = Arc::new(Visit::new(&shared));
    let between = Arc::new(Visit::inside(&apart, Some(Arc::clone(&outermost))));
    let innermost = Visit::inside(&shared, Some(Arc::clone(&between)));

    let id = id_of(&innermost, NOBODY);
    assert_eq!(id_of(&outermost, NOBODY), id);
    assert_ne!(id_of(&between, NOBODY), id);
    assert!(innermost.set_cookie().is_none(), "the outermost sets it");
    assert!(outermost.set_cookie().unwrap().header.starts_with(&format!("shared={id}; ")));
    assert!(between.set_cookie().unwrap().header.starts_with("apart="));
}

#[test]
fn a_host_attribute_has_no_userinfo() {
    let request: Request = &[("host", "user:secret@shop.example.com:8443")];
    let location = ask(&Visit::new(&plain()), request).unwrap().location().clone();
    assert!(location.get("host") == Some(&"shop.example.com:8443".into()));
    assert!(location.get("url") == Some(&"https://shop.example.com:8443/cart".into()));
}

#[test]
fn an_unused_visitor_gets_no_cookie() {
    assert!(Visit::new(&plain()).set_cookie().is_none());
}

#[test]
fn an_untrusted_header_does_not_identify_a_visitor() {
    assert_eq!(visitor(&plain(), BY_COOKIE), ("by-cookie".to_owned(), false));
    let (id, set) = visitor(&plain(), &[("x-visitor", "by-header")]);
    assert!(id != "by-header" && set);
    let trusting = plain().trust_header("x-visitor");
    assert_eq!(visitor(&trusting, BY_COOKIE), ("by-header".to_owned(), false));
    let (id, set) = visitor(&trusting, &[("x-visitor", "not one id")]);
    assert!(id != "not one id" && set, "a malformed one counts as none");
}

#[test]
fn the_applications_own_function_takes_precedence() {
    let known = plain().trust_header("x-visitor").visitor_id(|_| Some("by-login"));
    assert_eq!(visitor(&known, BY_COOKIE), ("by-login".to_owned(), false));
    for nobody in [None, Some("")] {
        let convert = plain().visitor_id(move |_| nobody);
        assert_eq!(visitor(&convert, BY_COOKIE), ("by-cookie".to_owned(), false));
    }
}

#[test]
fn without_a_cookie_none_is_read_or_set() {
    let convert = Convert::<Lists>::without_cookie(shop().0);
    let (id, set) = visitor(&convert, BY_COOKIE);
    assert!(id != "by-cookie" && !set);
}

#[test]
fn the_location_is_the_url_by_default() {
    let location = |convert: &Convert<Lists>, request: Request| {
        ask(&Visit::new(convert), request).unwrap().location().clone()
    };
    let of_url = attributes! {
        "host" => "shop.example.com", "path" => "/cart", "query_string" => "a=1",
        "url" => "https://shop.example.com/cart", "url_with_query" => "https://shop.example.com/cart?a=1",
    };
    assert!(location(&plain(), NOBODY) == of_url);
    let http = location(&plain().scheme("http"), NOBODY);
    assert!(http.get("url") == Some(&"http://shop.example.com/cart".into()));
    assert!(location(&plain(), &[]).get("url") == Some(&"https:///cart".into()));
    let own = plain().location(|request| attributes! { "headers" => request.len() as f64 });
    assert!(location(&own, NOBODY) == attributes! { "headers" => 1 });
}

#[test]
fn attributes_come_from_the_request() {
    let convert = plain().attributes(|request| attributes! { "age" => request.len() as f64 * 10.0 });
    let shown =
        |request: Request| ask(&Visit::new(&convert), request).unwrap().run_experience("checkout").is_ok();
    assert!(!shown(NOBODY) && shown(BY_COOKIE));
}

#[test]
fn a_core_that_is_not_ready_is_a_temporary_error() {
    let config = SdkConfig::builder().data_json("{}").build().unwrap();
    let convert = Convert::<Lists>::new(Core::new(config), VisitorCookie::plain());
    let error = ask(&Visit::new(&convert), NOBODY).unwrap_err();
    assert_eq!((error.code(), error.status(), error.is_passing()), ("not_ready", 503, true));

    let convert = plain();
    convert.core().to_sync().close();
    let error = ask(&Visit::new(&convert), NOBODY).unwrap_err();
    assert_eq!((error.code(), error.status(), error.is_passing()), ("closed", 503, true));

    let missing = VisitorError::NotInstalled;
    assert_eq!((missing.code(), missing.status(), missing.is_passing()), ("not_installed", 500, false));
}

#[test]
fn nothing_about_visitors_or_secrets_is_shown() {
    let visit = Visit::new(&plain());
    id_of(&visit, NOBODY);
    assert_eq!(format!("{visit:?}"), "Visit { known: true, .. }");
    let set = visit.set_cookie().unwrap();
    assert_eq!(format!("{set:?}"), "SetCookie { cache_control: Some(\"private\"), .. }");
    let secret = b"a secret of more than thirty-two bytes";
    let convert = Convert::<Lists>::new(shop().0, VisitorCookie::signed(secret).unwrap());
    assert!(!format!("{convert:?}").contains("secret"));
}
