//! Requests that the application carries, and their answers.

use std::fmt;
use std::time::Duration;

use crate::http::HttpRequest;
use crate::ports::TransportError;

/// An HTTP request for the application to carry. It must not follow redirects, and must verify the server's
/// certificate. `Debug` omits the URL, the headers and the body, which contain keys, secrets and visitor
/// data.
#[non_exhaustive]
pub struct Request {
    /// Identifies the request in [`Pump::answer`](crate::pump::Pump::answer).
    pub id: RequestId,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The URL, which contains the SDK key and possibly the debug token.
    pub url: String,
    /// The headers, with lower-case names. Those that describe the body's length or the connection, and
    /// `accept-encoding`, are left to the client.
    pub headers: Vec<(String, String)>,
    /// The body; empty for a `GET`.
    pub body: Vec<u8>,
    /// The time limit for the whole request, starting when it is handed out. The turn that finds it over takes the
    /// request as lost, and an answer that comes later still is ignored.
    pub timeout: Duration,
}

/// The id of a request, never reused by a pump or in a forked child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(super) u64);

/// The outcome of a request. `Debug` omits headers and body.
#[must_use]
pub struct Answer(pub(super) Answered);

pub(super) enum Answered {
    Response(Response),
    /// Nothing reached the server.
    NotSent(TransportError),
    /// The server may have the request.
    Lost(TransportError),
}

#[derive(Default)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) etag: Option<String>,
    pub(super) retry_after: Option<String>,
    pub(super) date: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn new(id: u64, method: &'static str, asked: &HttpRequest<'_>, body: Vec<u8>) -> Self {
        let headers = asked.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self {
            id: RequestId(id),
            method,
            url: asked.url().to_owned(),
            headers,
            body,
            timeout: asked.timeout(),
        }
    }
}

impl RequestId {
    /// The id as a number, for foreign interfaces.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The id with this number. An answer to one that was never handed out is ignored, as for a request
    /// already answered.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }
}

impl Answer {
    /// A response with this status, with no headers or body yet.
    pub fn response(status: u16) -> Self {
        Self(Answered::Response(Response { status, ..Response::default() }))
    }

    /// Adds a response header; the case of its name does not matter. Only `etag`, `retry-after` and `date`
    /// are used; others may be omitted. Has no effect on a failure.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Answered::Response(response) = &mut self.0 {
            let place = match name {
                _ if name.eq_ignore_ascii_case("etag") => &mut response.etag,
                _ if name.eq_ignore_ascii_case("retry-after") => &mut response.retry_after,
                _ if name.eq_ignore_ascii_case("date") => &mut response.date,
                _ => return self,
            };
            *place = Some(value.to_owned());
        }
        self
    }

    /// Sets the body of the response, decompressed. The body of a delivery's response is not used and may be
    /// omitted; a config must not exceed
    /// [`max_response_bytes`](crate::config::TransportConfigBuilder::max_response_bytes), where the client
    /// should stop reading. Has no effect on a failure.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        if let Answered::Response(response) = &mut self.0 {
            response.body = body.into();
        }
        self
    }

    /// The request failed and nothing reached the server: no connection, for example.
    pub const fn not_sent(error: TransportError) -> Self {
        Self(Answered::NotSent(error))
    }

    /// The request failed, but the server may have received it: a timeout after sending, for example. The
    /// events of a delivery are sent again and counted in
    /// [`Stats::fate_unknown`](crate::Stats::fate_unknown).
    pub const fn lost(error: TransportError) -> Self {
        Self(Answered::Lost(error))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("method", &self.method)
            .field("bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Answered::Response(Response { status, body, .. }) => {
                f.debug_struct("Response").field("status", status).field("bytes", &body.len()).finish()
            }
            Answered::NotSent(error) => f.debug_tuple("NotSent").field(error).finish(),
            Answered::Lost(error) => f.debug_tuple("Lost").field(error).finish(),
        }
    }
}
