//! A normal response, and how a fault alters it.

use std::collections::VecDeque;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::at::WrongField;
use crate::bomb::gzip_bomb;
use crate::fault::{FaultKind, RetryAfter};
use crate::script::{Script, Step};
use crate::socket::ResetSwitch;

const GARBAGE: &[u8] = b"<html><body>\xff\xfe not what you asked for {\"experiences\":[";
const BLANKS: [u8; 16 * 1024] = [b' '; 16 * 1024];

/// A response with its complete body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        Self::json_text(status, value.to_string().into())
    }

    pub(crate) fn json_text(status: StatusCode, body: Bytes) -> Self {
        Self { body, ..Self::empty(status) }
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }

    /// A file that is part of the program.
    pub(crate) fn file(media_type: &'static str, text: &'static str) -> Self {
        Self { body: Bytes::from_static(text.as_bytes()), ..Self::empty(StatusCode::OK) }
            .header(CONTENT_TYPE, HeaderValue::from_static(media_type))
    }

    pub(crate) fn error(status: StatusCode, error: impl Into<String>) -> Self {
        Self::json(status, &json!({ "error": error.into() }))
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed for this resource")
    }

    /// Leads to the page under the admin API's prefix, whose files it names relative to that.
    pub(crate) fn to_page() -> Self {
        Self::empty(StatusCode::PERMANENT_REDIRECT).header(LOCATION, HeaderValue::from_static("__admin/"))
    }

    pub(crate) fn too_large() -> Self {
        Self::error(StatusCode::PAYLOAD_TOO_LARGE, "the body exceeds this emulator's limit")
    }

    pub(crate) fn wrong_field(field: &WrongField) -> Self {
        Self::json(StatusCode::BAD_REQUEST, &json!({ "error": field.error, "path": field.path }))
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// The unaltered response.
    pub(crate) fn plain(self, switch: &ResetSwitch) -> Response<Script> {
        let steps = if self.body.is_empty() { Vec::new() } else { vec![Step::Send(self.body.clone())] };
        self.with_steps(steps, switch)
    }

    /// The response with its body corrupted by `fault`; other kinds of faults leave it unchanged.
    pub(crate) fn corrupted(mut self, fault: &FaultKind, switch: &ResetSwitch) -> Response<Script> {
        let half = self.body.slice(..self.body.len() / 2);
        match fault {
            FaultKind::ResetBeforeBody => self.announced().with_steps([Step::Flush, Step::Reset], switch),
            FaultKind::ResetMidBody => {
                self.announced().with_steps([Step::Send(half), Step::Flush, Step::Reset], switch)
            }
            FaultKind::TruncatedBody => {
                self.announced().with_steps([Step::Send(half), Step::Flush, Step::BreakOff], switch)
            }
            FaultKind::SlowDrip { bytes, interval_ms } => {
                let pause = Duration::from_millis(*interval_ms);
                let mut steps = VecDeque::new();
                for start in (0..self.body.len()).step_by((*bytes).max(1)) {
                    let end = self.body.len().min(start + (*bytes).max(1));
                    // Timers have millisecond resolution; a shorter pause must not become none.
                    steps.push_back(if pause.is_zero() { Step::Flush } else { Step::Pause(pause) });
                    steps.push_back(Step::Send(self.body.slice(start..end)));
                }
                self.announced().with_steps(steps, switch)
            }
            FaultKind::HugeBody { bytes } => {
                let size = BLANKS.len() as u64;
                let rest = usize::try_from(bytes % size).unwrap_or(0);
                let blanks = Bytes::from_static(&BLANKS);
                let steps = [Step::Repeat(blanks.clone(), bytes / size), Step::Send(blanks.slice(..rest))];
                self.without_encoding().with_steps(steps, switch)
            }
            FaultKind::GarbageBody => {
                self.body = Bytes::from_static(GARBAGE);
                self.without_encoding().plain(switch)
            }
            FaultKind::GzipBomb { bytes } => {
                let [head, block, rest] = gzip_bomb(*bytes, &BLANKS);
                let times = bytes / BLANKS.len() as u64;
                let steps = [Step::Send(head), Step::Repeat(block, times), Step::Send(rest)];
                let encoded =
                    self.without_encoding().header(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                encoded.with_steps(steps, switch)
            }
            FaultKind::EmptyBody => {
                self.body = Bytes::new();
                self.without_encoding().plain(switch)
            }
            _ => self.plain(switch),
        }
    }

    /// The response that a fault of such a kind gives instead of the normal one.
    pub(crate) fn instead(fault: &FaultKind) -> Option<Self> {
        match fault {
            FaultKind::Status { status, retry_after } => {
                let answer = Self::error(final_status(*status), "injected fault");
                Some(match retry_after {
                    Some(RetryAfter::Seconds(seconds)) => answer.header(RETRY_AFTER, (*seconds).into()),
                    Some(RetryAfter::Date(date)) => answer.text_header(RETRY_AFTER, date),
                    None => answer,
                })
            }
            FaultKind::Poison { status, .. } => Some(Self::error(final_status(*status), "a poisoned record")),
            FaultKind::Redirect { to } => {
                Some(Self::empty(StatusCode::TEMPORARY_REDIRECT).text_header(LOCATION, to))
            }
            _ => None,
        }
    }

    /// A header with text chosen by the test; text that is invalid in a header is left out.
    fn text_header(self, name: HeaderName, text: &str) -> Self {
        match HeaderValue::from_str(text) {
            Ok(value) => self.header(name, value),
            Err(_) => self,
        }
    }

    /// With the full body's length, however much of it will be sent.
    fn announced(self) -> Self {
        let length = HeaderValue::from(self.body.len());
        self.header(CONTENT_LENGTH, length)
    }

    fn without_encoding(mut self) -> Self {
        self.headers.remove(CONTENT_ENCODING);
        self
    }

    fn with_steps(self, steps: impl Into<VecDeque<Step>>, switch: &ResetSwitch) -> Response<Script> {
        let mut response = Response::new(Script::new(steps, switch.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// A status that can complete a request.
fn final_status(status: u16) -> StatusCode {
    StatusCode::from_u16(status)
        .ok()
        .filter(|status| (200..600).contains(&status.as_u16()))
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
