//! An axum request's headers and URL.

use axum::extract::OriginalUri;
use axum::http::HeaderValue;
use axum::http::header::HOST;
use axum::http::request::Parts;
use convert_sdk_web::{Framework, RequestUrl};

/// axum, reduced to a request's headers and URL.
#[derive(Debug)]
pub enum Axum {}

impl Framework for Axum {
    type Request<'r> = Parts;

    fn headers<'a>(request: &'a Self::Request<'_>, name: &'a str) -> impl Iterator<Item = &'a str> {
        request.headers.get_all(name).into_iter().filter_map(text)
    }

    fn url<'a>(request: &'a Self::Request<'_>) -> RequestUrl<'a> {
        // Inside `Router::nest` the request's own URI has lost its prefix.
        let uri = request.extensions.get().map_or(&request.uri, |OriginalUri(uri)| uri);
        let named = || request.headers.get(HOST).and_then(text);
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
