//! An actix-web request's headers and URL.

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderValue};
use convert_sdk_web::{Framework, RequestUrl};

/// actix-web, reduced to a request's headers and URL.
#[derive(Debug)]
pub enum Actix {}

impl Framework for Actix {
    type Request<'r> = HttpRequest;

    fn headers<'a>(request: &'a Self::Request<'_>, name: &'a str) -> impl Iterator<Item = &'a str> {
        request.headers().get_all(name).filter_map(text)
    }

    fn url<'a>(request: &'a Self::Request<'_>) -> RequestUrl<'a> {
        let uri = request.uri();
        let named = || request.headers().get(HOST).and_then(text);
        RequestUrl {
            scheme: uri.scheme_str(),
            host: uri.authority().map(|it| it.as_str()).or_else(named),
            path: uri.path(),
            query: uri.query(),
        }
    }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}
