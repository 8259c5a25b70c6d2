//! A Rocket request's headers and URL.

use convert_sdk_web::{Framework, RequestUrl};
use rocket::Request;

/// Rocket, reduced to a request's headers and URL.
#[derive(Debug)]
pub enum Rocket {}

impl Framework for Rocket {
    type Request<'r> = Request<'r>;

    fn headers<'a>(request: &'a Self::Request<'_>, name: &'a str) -> impl Iterator<Item = &'a str> {
        request.headers().get(name)
    }

    fn url<'a>(request: &'a Self::Request<'_>) -> RequestUrl<'a> {
        let uri = request.uri();
        // HTTP/2 has no such header.
        let known = || request.host().map(|host| host.domain().as_str());
        RequestUrl {
            scheme: None,
            host: request.headers().get_one("host").or_else(known),
            path: uri.path().as_str(),
            query: uri.query().map(|it| it.as_str()),
        }
    }
}
