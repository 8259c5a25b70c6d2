//! `POST …/track/{sdkKey}`: the strict check of a payload, and the record of its events.

use hyper::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::answer::Answer;
use crate::at::WrongField;
use crate::cors::is_from_a_page;
use crate::envelope::{Expected, check_envelope};
use crate::received::ReceivedEvent;
use crate::state::State;

/// How the real endpoint recognizes the SDKs; it silently drops anybody else's events.
const SDK_USER_AGENT: &str = "ConvertAgent/1.0";

/// One tracking request.
pub(crate) struct TrackRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) sdk_key: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// The result of checking a payload: its events, or why it is rejected.
pub(crate) enum Judged {
    Taken(Vec<ReceivedEvent>),
    Wrong(WrongField),
    /// Not a payload of a served project.
    Elsewhere(Answer),
}

/// Checks a payload without recording it yet: a fault may respond instead.
pub(crate) fn judge_track(state: &State, request: &TrackRequest<'_>) -> Judged {
    if request.method != Method::POST {
        let refusal = Answer::error(StatusCode::METHOD_NOT_ALLOWED, "the tracking route accepts POST only");
        return Judged::Elsewhere(refusal.header(ALLOW, HeaderValue::from_static("POST")));
    }
    let mut projects = state.projects();
    let Some(project) = projects.find(request.sdk_key) else {
        let refusal = Answer::error(StatusCode::NOT_FOUND, "no project is served under this SDK key");
        return Judged::Elsewhere(refusal);
    };
    let expected = Expected {
        account_id: &project.config.account_id,
        project_id: &project.config.project_id,
        known: &project.known,
    };
    match check_headers(request.headers).and_then(|()| check_envelope(request.body, &expected)) {
        Ok(events) => Judged::Taken(events),
        Err(field) => Judged::Wrong(field),
    }
}

/// Records the events of an accepted payload.
pub(crate) fn answer_track(state: &State, headers: &HeaderMap, number: u64, judged: &Judged) -> Answer {
    match judged {
        Judged::Taken(events) => {
            record(state, headers, number, events.clone());
            Answer::json(StatusCode::OK, &json!({ "status": "ok" }))
        }
        Judged::Wrong(field) => {
            state.recorder.refused();
            state.log(&format!("warning: refused payload: {field}"));
            Answer::wrong_field(field)
        }
        Judged::Elsewhere(answer) => answer.clone(),
    }
}

fn record(state: &State, headers: &HeaderMap, number: u64, mut events: Vec<ReceivedEvent>) {
    let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    let is_sdk = agent.is_some_and(|agent| agent.starts_with(SDK_USER_AGENT.as_bytes()));
    if is_sdk || is_from_a_page(headers) {
        for event in &mut events {
            event.request = number;
        }
        state.recorder.events(number, events);
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
    // A page sends its events with `sendBeacon`, which calls its text plain.
    let is_beacon = media_type.eq_ignore_ascii_case("text/plain") && is_from_a_page(headers);
    if is_beacon || media_type.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(wrong_header(CONTENT_TYPE, "must be application/json"))
    }
}

fn wrong_header(name: HeaderName, error: &str) -> WrongField {
    WrongField { path: format!("headers.{name}"), error: error.to_owned() }
}
