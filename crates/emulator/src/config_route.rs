//! `GET /api/v1/config/{sdkKey}`: the config with ETag, gzip, environment and `exp`.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderMap, HeaderValue,
    IF_NONE_MATCH, VARY,
};
use hyper::{Method, StatusCode};
use ring::digest::{SHA256, digest};

use crate::answer::Answer;
use crate::config::ConfigFilter;
use crate::received::query_value;
use crate::state::State;

/// One request for a config.
pub(crate) struct ConfigRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) sdk_key: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
    /// Off if a fault is going to corrupt the body, since a 304 has none.
    pub(crate) may_be_unchanged: bool,
}

pub(crate) fn answer_config(state: &State, request: &ConfigRequest<'_>) -> Answer {
    if request.method != Method::GET {
        return Answer::error(StatusCode::METHOD_NOT_ALLOWED, "the config route accepts GET only")
            .header(ALLOW, HeaderValue::from_static("GET"));
    }
    let (config, secret, warning) = {
        let mut projects = state.projects();
        let Some(project) = projects.find(request.sdk_key) else {
            return Answer::error(StatusCode::NOT_FOUND, "no project is served under this SDK key");
        };
        let warning = project.reload();
        (project.config.clone(), project.secret.clone(), warning)
    };
    if let Some(warning) = warning {
        state.log(&warning);
    }
    if let Some(refusal) = secret.and_then(|secret| check_secret(request.headers, &secret)) {
        return refusal;
    }
    let environment = query_value(request.query, "environment").filter(|text| !text.is_empty());
    let experience = query_value(request.query, "exp").filter(|text| !text.is_empty());
    let filter = ConfigFilter { environment: environment.as_deref(), experience: experience.as_deref() };
    match config.render(filter) {
        Ok(text) => answer_text(text, request),
        Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn check_secret(headers: &HeaderMap, secret: &str) -> Option<Answer> {
    let Some(authorization) = headers.get(AUTHORIZATION) else {
        return Some(Answer::error(StatusCode::UNAUTHORIZED, "this project requires a bearer secret"));
    };
    if authorization.as_bytes() == format!("Bearer {secret}").as_bytes() {
        return None;
    }
    Some(Answer::error(StatusCode::FORBIDDEN, "not the secret of this project"))
}

fn answer_text(text: String, request: &ConfigRequest<'_>) -> Answer {
    let compressed = if accepts_gzip(request.headers) { gzip(text.as_bytes()) } else { None };
    let tag = entity_tag(text.as_bytes(), compressed.is_some());
    let is_known = request.may_be_unchanged && names_tag(request.headers, &tag);
    let is_compressed = compressed.is_some();
    let answer = if is_known {
        Answer::empty(StatusCode::NOT_MODIFIED)
    } else {
        let answer = Answer::json_text(StatusCode::OK, Bytes::from(compressed.unwrap_or(text.into_bytes())));
        if is_compressed { answer.header(CONTENT_ENCODING, HeaderValue::from_static("gzip")) } else { answer }
    };
    let answer = answer
        .header(VARY, HeaderValue::from_static("accept-encoding"))
        .header(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    match HeaderValue::from_str(&tag) {
        Ok(tag) => answer.header(ETAG, tag),
        Err(_) => answer,
    }
}

/// A strong tag: half of the body's SHA-256, with a different tag for its compressed form.
fn entity_tag(body: &[u8], is_compressed: bool) -> String {
    let digest = digest(&SHA256, body);
    let hex: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    if is_compressed { format!("\"{hex}-gzip\"") } else { format!("\"{hex}\"") }
}

fn names_tag(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        // If-None-Match uses the weak comparison.
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|coding| coding.split_once(';').unwrap_or((coding, "")))
        .any(|(coding, weight)| coding.trim() == "gzip" && !matches!(weight.trim(), "q=0" | "q=0.0"))
}

/// The compressed text; writing to memory cannot fail, so the plain text is never the result.
fn gzip(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).ok()?;
    encoder.finish().ok()
}
