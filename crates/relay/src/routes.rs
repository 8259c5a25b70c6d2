//! Convert's two routes, as the relay serves them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use convert_sdk::ports::{ConfigResponse, TransportError};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, AUTHORIZATION, CACHE_CONTROL,
    CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, RETRY_AFTER,
    VARY,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::body::{Unread, collect};
use crate::config::Config;
use crate::configs::{PassedThrough, now_ms};
use crate::conversions::Offered;
use crate::envelope::Envelope;
use crate::keys::Key;
use crate::shared::Shared;
use crate::store::{Appended, Remembered, StoreError};

pub(crate) type Answer = Response<Full<Bytes>>;

/// Identifies a batch, so that it is appended once however often it is sent.
const BATCH_ID: HeaderName = HeaderName::from_static("convert-batch-id");
const MAX_ID: usize = 128;
/// The `Retry-After` of a 503, in seconds.
const WAIT: &str = "2";
/// One in this many parts of the stream is reserved for requests with conversions.
pub(crate) const RESERVE: u64 = 10;
/// How often an append is tried that other hosts' conversions outrun.
const ROUNDS: usize = 16;

/// Answers one request of an SDK.
pub(crate) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if path == "/healthz" {
        return text(StatusCode::OK, "ok");
    }
    if let Some(key) = find(&shared, path, "/api/v1/config/") {
        return readable(match (&head.method, shared.is_known(&head.headers)) {
            (&Method::OPTIONS, _) => preflight("GET"),
            (&Method::GET, true) => config(&shared, &key, &head).await,
            (&Method::GET, false) => unknown_client(&head.headers),
            _ => not_allowed("GET, OPTIONS"),
        });
    }
    if let Some(key) = find(&shared, path, "/track/") {
        let known = !shared.settings.client_secret_for_events || shared.is_known(&head.headers);
        return readable(match (&head.method, known) {
            (&Method::OPTIONS, _) => preflight("POST"),
            (&Method::POST, true) => events(&shared, &key, &head.headers, body).await,
            (&Method::POST, false) => unknown_client(&head.headers),
            _ => not_allowed("POST, OPTIONS"),
        });
    }
    error(StatusCode::NOT_FOUND, "no such route, or no such SDK key")
}

/// Tells a browser what its pages may send.
fn preflight(method: &'static str) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(method));
    // Listed, as `*` would not stand for `Authorization`.
    let sent = HeaderValue::from_static("authorization, content-type, convert-batch-id, if-none-match");
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, sent);
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    answer
}

/// Lets pages of every origin read the answer, as Convert does.
fn readable(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("etag, retry-after"));
    answer
}

/// The key after a marker in the path; anything may precede the marker, since base URLs have paths.
fn find(shared: &Shared, path: &str, marker: &str) -> Option<Arc<Key>> {
    let found = path.match_indices(marker).take(8).find_map(|(at, _)| {
        let name = percent_decode_str(path.get(at + marker.len()..)?).decode_utf8().ok()?;
        shared.keys.iter().find(|key| *key.sdk_key == *name)
    });
    found.map(Arc::clone)
}

async fn config(shared: &Shared, key: &Arc<Key>, head: &Parts) -> Answer {
    let asked = asked(head.uri.query().unwrap_or_default());
    let environment = asked.environment.clone().unwrap_or_default();
    let is_polled = asked.experience.is_none() && asked.debug_token.is_none() && !asked.low_cache;
    let variant = is_polled.then(|| shared.variant(key, &environment)).flatten();
    let Some(variant) = variant else { return pass_through(shared, key, asked, head).await };
    match variant.first().await {
        Some(config) => served(&config, &head.headers),
        None => busy("there is no config yet"),
    }
}

/// Parses the query of a config request.
fn asked(query: &str) -> PassedThrough {
    let mut asked = PassedThrough::default();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned();
        let value = Some(value).filter(|value| !value.is_empty());
        match name {
            "environment" => asked.environment = value,
            "exp" => asked.experience = value,
            "debug_token" => asked.debug_token = value,
            "_conv_low_cache" => asked.low_cache = value.as_deref() == Some("1"),
            _ => {}
        }
    }
    asked
}

/// Fetches from Convert on the client's behalf. If Convert is down, a whole config is answered with the last
/// one served.
async fn pass_through(shared: &Shared, key: &Arc<Key>, asked: PassedThrough, head: &Parts) -> Answer {
    let Ok(permit) = Arc::clone(&shared.passing).try_acquire_owned() else {
        return busy("too many requests to pass through");
    };
    let may_be_kept = asked.experience.is_none() && asked.debug_token.is_none();
    let environment = asked.environment.clone().unwrap_or_default();
    let asking = Arc::clone(key);
    // The permit goes along: a client that hangs up does not end the request to Convert.
    let fetched = spawn_blocking(move || {
        let _permit = permit;
        asking.fetch_for(&asked)
    });
    let fetched = fetched.await;
    match fetched {
        Ok(Ok(ConfigResponse::Fetched { body, .. })) => {
            let config = Config::read(body, None, now_ms()).await;
            if let Some(config) = config.filter(|config| key.may_have(config)) {
                return served(&config, &head.headers);
            }
        }
        // 408 and 429 say that Convert is busy, not that it has no such config.
        Ok(Err(TransportError::Status(status @ 400..=499))) if !matches!(status, 408 | 429) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            return error(status, "Convert does not serve this");
        }
        _ => {}
    }
    let kept = may_be_kept.then(|| shared.variant(key, &environment)).flatten();
    match kept.and_then(|variant| variant.current()) {
        Some(config) => served(&config, &head.headers),
        None => busy("Convert does not answer with a config of this SDK key"),
    }
}

fn served(config: &Config, headers: &HeaderMap) -> Answer {
    let Config { tag, body, gzip, .. } = config;
    let compressed = gzip.as_ref().filter(|_| accepts_gzip(headers));
    let tag = if compressed.is_some() { format!("\"{tag}-gzip\"") } else { format!("\"{tag}\"") };
    let is_known = names(headers, &tag);
    let content = if is_known { Bytes::new() } else { compressed.unwrap_or(body).clone() };
    let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let mut answer = Response::new(Full::new(content));
    *answer.status_mut() = status;
    let all = answer.headers_mut();
    all.insert(VARY, HeaderValue::from_static("accept-encoding"));
    all.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        all.insert(ETAG, tag);
    }
    if !is_known {
        all.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if compressed.is_some() {
            all.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    answer
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    listed(headers, &ACCEPT_ENCODING)
        .map(|coding| coding.split_once(';').unwrap_or((coding, "")))
        .any(|(coding, weight)| coding.trim() == "gzip" && !matches!(weight.trim(), "q=0" | "q=0.0"))
}

fn names(headers: &HeaderMap, tag: &str) -> bool {
    listed(headers, &IF_NONE_MATCH)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

async fn events(shared: &Shared, key: &Key, headers: &HeaderMap, body: Incoming) -> Answer {
    let refuse = |status, why| {
        key.meters.malformed.fetch_add(1, Relaxed);
        error(status, why)
    };
    // The JavaScript SDK in a browser sends beacons, which are JSON that is called text.
    let is_json = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        let kind = value.split(';').next().unwrap_or_default().trim();
        ["application/json", "text/plain"].iter().any(|known| kind.eq_ignore_ascii_case(known))
    });
    if !is_json || headers.contains_key(CONTENT_ENCODING) {
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "must be application/json or text/plain, not compressed",
        );
    }
    let id = match headers.get(&BATCH_ID).map(|id| id.to_str()) {
        None => None,
        Some(Ok(id)) if !id.is_empty() && id.len() <= MAX_ID => Some(id),
        Some(_) => {
            return refuse(StatusCode::BAD_REQUEST, "convert-batch-id: from 1 to 128 ASCII characters");
        }
    };
    let settings = &shared.settings;
    let collected = collect(body, settings.max_body_bytes, &shared.bodies);
    let body = match timeout(Duration::from_millis(settings.request_ms), collected).await {
        Ok(Ok(body)) => body,
        Ok(Err(Unread::TooLarge)) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"),
        Ok(Err(Unread::NoRoom)) => {
            key.meters.turned_away.fetch_add(1, Relaxed);
            return busy("the bodies of other requests take all the room there is");
        }
        Ok(Err(Unread::Broken)) => return refuse(StatusCode::BAD_REQUEST, "the body ended early"),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
    };
    let body = body.bytes();
    let envelope = Envelope::read(body);
    let envelope = match envelope.and_then(|envelope| envelope.check_visitors().map(|()| envelope)) {
        Ok(envelope) => envelope,
        Err(flaw) => {
            key.meters.malformed.fetch_add(1, Relaxed);
            let told = serde_json::json!({ "error": flaw.error, "path": flaw.path });
            return json(StatusCode::BAD_REQUEST, &told);
        }
    };
    let summary = &envelope.summary;
    // Not by a config for which nobody has vouched: without Redis, the client sends the events again.
    if key.any_config().filter(|config| config.is_vouched).is_some_and(|config| {
        (&config.project.account_id, &config.project.id) != (&summary.account_id, &summary.project_id)
    }) {
        return refuse(StatusCode::BAD_REQUEST, "the account or the project is not this SDK key's");
    }
    append(shared, key, &envelope, body, id).await
}

/// Appends, and answers only afterwards.
async fn append(
    shared: &Shared,
    key: &Key,
    envelope: &Envelope<'_>,
    body: &[u8],
    id: Option<&str>,
) -> Answer {
    let (settings, summary) = (&shared.settings, &envelope.summary);
    let reserve = if summary.has_conversions { 0 } else { settings.stream_bytes / RESERVE };
    let id = id.map(|id| (id, Duration::from_millis(settings.remember_ids_ms)));
    let bound = settings.stream_bytes - reserve;
    let appended = if is_still_full(shared, key, bound, body.len()).await {
        Ok((Appended::Full, 0))
    } else if settings.remember_conversions_ms > 0 && summary.has_conversions {
        append_unrepeated(shared, key, &Offered(envelope), bound, id).await
    } else {
        let remembered = Remembered { id, ..Remembered::default() };
        let appended = shared.appends.append(&key.sdk_key, body, bound, remembered, settings.durability());
        appended.await.map(|appended| (appended, summary.events))
    };
    key.is_full.store(matches!(appended, Ok((Appended::Full, _))), Relaxed);
    let why = match appended {
        Ok((Appended::New, events)) => {
            key.meters.accepted.fetch_add(events as u64, Relaxed);
            key.meters.conversions_repeated.fetch_add((summary.events - events) as u64, Relaxed);
            return json(StatusCode::OK, &serde_json::json!({ "status": "ok" }));
        }
        Ok((Appended::Again, _)) => {
            key.meters.repeated.fetch_add(1, Relaxed);
            return json(StatusCode::OK, &serde_json::json!({ "status": "ok" }));
        }
        Ok((Appended::Full, _)) => "the stream has reached its bound",
        Ok((Appended::Outrun, _)) => {
            log::warn!("an append: other hosts' conversions came first, {ROUNDS} times");
            "other hosts' conversions came first"
        }
        Ok((Appended::TooFewReplicas, _)) => "too few replicas have the events",
        Err(error) => {
            log::warn!("an append: {error}");
            "Redis did not take the events"
        }
    };
    key.meters.turned_away.fetch_add(1, Relaxed);
    busy(why)
}

/// Asks before offering a body to a stream that was full, as even a refused one would go through Redis's
/// append-only file.
async fn is_still_full(shared: &Shared, key: &Key, bound: u64, length: usize) -> bool {
    key.is_full.load(Relaxed)
        && shared.store.bytes(&key.sdk_key).await.is_ok_and(|held| held + length as u64 > bound)
}

/// Appends what has not been sent before, and tells how many events that is.
async fn append_unrepeated(
    shared: &Shared,
    key: &Key,
    offered: &Offered<'_>,
    bound: u64,
    id: Option<(&str, Duration)>,
) -> Result<(Appended, usize), StoreError> {
    let marks_for = Duration::from_millis(shared.settings.remember_conversions_ms);
    let marks = offered.marks();
    // Whoever is faster leaves fewer marks to be outrun on; unless two servers answer, while an address moves.
    for _ in 0..ROUNDS {
        let known = shared.store.marked(&key.sdk_key, &marks).await?;
        let (body, events, marks) = offered.without(&known);
        let remembered = Remembered { id, marks: &marks, marks_for };
        let durability = shared.settings.durability();
        match shared.appends.append(&key.sdk_key, &body, bound, remembered, durability).await? {
            Appended::Outrun => {}
            appended => return Ok((appended, events)),
        }
    }
    Ok((Appended::Outrun, 0))
}

fn unknown_client(headers: &HeaderMap) -> Answer {
    if headers.contains_key(AUTHORIZATION) {
        error(StatusCode::FORBIDDEN, "not this relay's secret")
    } else {
        error(StatusCode::UNAUTHORIZED, "this relay asks for a bearer secret")
    }
}

fn not_allowed(method: &'static str) -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "not the method of this route");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(method));
    answer
}

fn busy(why: &str) -> Answer {
    let mut answer = error(StatusCode::SERVICE_UNAVAILABLE, why);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(WAIT));
    answer
}

pub(crate) fn error(status: StatusCode, why: &str) -> Answer {
    json(status, &serde_json::json!({ "error": why }))
}

fn json(status: StatusCode, value: &serde_json::Value) -> Answer {
    typed(status, "application/json", value.to_string())
}

pub(crate) fn text(status: StatusCode, text: &str) -> Answer {
    typed(status, "text/plain; charset=utf-8", text.to_owned())
}

pub(crate) fn typed(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
