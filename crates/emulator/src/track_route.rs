//! `POST …/track/{sdkKey}`: the strict check of a payload, and the record of its events.

use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::answer::Answer;
use crate::at::WrongField;
use crate::envelope::{Expected, check_envelope};
use crate::received::ReceivedEvent;
use crate::state::State;

/// What the real endpoint knows the SDKs by; it drops the events of anybody else in silence.
const SDK_USER_AGENT: &str = "ConvertAgent/1.0";

/// One tracking request.
pub(crate) struct TrackRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) sdk_key: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
    /// The number that the record has given the request.
    pub(crate) number: u64,
}

pub(crate) fn answer_track(state: &State, request: &TrackRequest<'_>) -> Answer {
    if request.method != Method::POST {
        return Answer::error(StatusCode::METHOD_NOT_ALLOWED, "the tracking route takes POST")
            .header(ALLOW, HeaderValue::from_static("POST"));
    }
    let checked = {
        let mut projects = state.projects();
        let Some(project) = projects.find(request.sdk_key) else {
            return Answer::error(StatusCode::NOT_FOUND, "no project is served under this SDK key");
        };
        let expected = Expected {
            account_id: &project.config.account_id,
            project_id: &project.config.project_id,
            known: &project.known,
        };
        check_headers(request.headers).and_then(|()| check_envelope(request.body, &expected))
    };
    match checked {
        Ok(events) => {
            record(state, request, events);
            Answer::json(StatusCode::OK, &json!({ "status": "ok" }))
        }
        Err(field) => {
            state.recorder.refused();
            state.log(&format!("warning: refused payload: {} {}", field.path, field.error));
            Answer::wrong_field(&field)
        }
    }
}

fn record(state: &State, request: &TrackRequest<'_>, mut events: Vec<ReceivedEvent>) {
    let agent = request.headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    if agent.is_some_and(|agent| agent.starts_with(SDK_USER_AGENT.as_bytes())) {
        for event in &mut events {
            event.request = request.number;
        }
        state.recorder.events(request.number, events);
    } else {
        state.recorder.dropped_as_bot(events.len() as u64);
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), WrongField> {
    if headers.contains_key(AUTHORIZATION) {
        return Err(wrong_header(AUTHORIZATION, "a secret must never be sent to the tracking route"));
    }
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = media_type.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(wrong_header(CONTENT_TYPE, "must be application/json"))
    }
}

fn wrong_header(name: HeaderName, error: &str) -> WrongField {
    WrongField { path: format!("headers.{name}"), error: error.to_owned() }
}
