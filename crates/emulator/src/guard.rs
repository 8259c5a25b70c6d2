//! A request to the admin API, and who may make one: a page of another origin, open in the same browser, may not.

use std::net::IpAddr;

use hyper::Method;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

use crate::answer::Answer;
use crate::received::query_value;

/// Nothing but the emulator's own files and answers: no inline script or style, no other origin, no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One request to the admin API.
pub(crate) struct AdminRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) resource: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) https: bool,
    pub(crate) body: &'a [u8],
}

impl AdminRequest<'_> {
    pub(crate) fn query(&self, name: &str) -> Option<String> {
        query_value(self.query, name)
    }
}

/// Why a request must not be answered; none if it may.
///
/// Another site's page can send requests here, and a name of its own that resolves to 127.0.0.1 would make it read the
/// answers as well. A browser names the former in `Origin` and the latter in `Host`; other programs send no `Origin`.
pub(crate) fn refusal(headers: &HeaderMap, https: bool) -> Option<&'static str> {
    let host = headers.get(HOST).map(|host| host.to_str().unwrap_or(""));
    if host.is_some_and(|host| !is_loopback(host)) {
        return Some("the admin API is for loopback hosts only: localhost, 127.0.0.1 or [::1]");
    }
    let own = format!("{}://{}", if https { "https" } else { "http" }, host.unwrap_or_default());
    let mut origins = headers.get_all(ORIGIN).iter();
    origins
        .any(|origin| !origin.as_bytes().eq_ignore_ascii_case(own.as_bytes()))
        .then_some("the admin API is not for pages of another origin")
}

/// The answer with headers that keep a browser from doing anything else with it than the page does.
pub(crate) fn sealed(answer: Answer) -> Answer {
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    headers
        .into_iter()
        .fold(answer, |answer, (name, value)| answer.header(name, HeaderValue::from_static(value)))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.split(':').next().unwrap_or(""),
    };
    let name = name.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
