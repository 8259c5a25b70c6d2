//! What a page in a browser needs of the two public routes: that its own origin may read the answers.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, USER_AGENT,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use crate::answer::Answer;

/// The answer to the question of a browser whether it may send a request; none if it is a request itself.
pub(crate) fn preflight(parts: &Parts) -> Option<Answer> {
    let asks = parts.method == Method::OPTIONS
        && parts.headers.contains_key(ORIGIN)
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    asks.then(|| {
        Answer::empty(StatusCode::NO_CONTENT)
            .header(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))
            .header(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"))
            .header(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*, authorization"))
    })
}

/// Lets the page that sent a request read the answer.
pub(crate) fn open(request: &HeaderMap, answer: &mut HeaderMap) {
    if request.contains_key(ORIGIN) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("etag, retry-after, date"));
    }
}

/// Whether a page in a browser sent it, where no program can choose the `User-Agent`.
pub(crate) fn is_from_a_page(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    headers.contains_key(ORIGIN) && agent.is_some_and(|agent| agent.starts_with(b"Mozilla/"))
}
