//! For operators: health, readiness, metrics, the status page.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};

use crate::configs::now_ms;
use crate::keys::Key;
use crate::routes::{Answer, error, text, typed};
use crate::shared::Shared;

pub(crate) fn answer(shared: &Shared, request: &Request<Incoming>) -> Answer {
    if request.method() != Method::GET {
        return error(StatusCode::METHOD_NOT_ALLOWED, "GET only");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok"),
        "/readyz" if shared.alarm.is_raised() => {
            text(StatusCode::SERVICE_UNAVAILABLE, "a task has panicked: restart the relay")
        }
        "/readyz" if shared.is_ready.load(Relaxed) => text(StatusCode::OK, "ready"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "Redis takes no writes, or the relay is stopping"),
        "/metrics" => typed(StatusCode::OK, "text/plain; version=0.0.4", metrics(&shared.keys)),
        "/" | "/status" => typed(StatusCode::OK, "text/html; charset=utf-8", page(shared)),
        _ => error(StatusCode::NOT_FOUND, "try /status, /metrics, /healthz or /readyz"),
    }
}

/// Metrics of one key: name, kind, help, value unless nothing is known yet.
type Metric = (&'static str, &'static str, &'static str, fn(&Key) -> Option<u64>);

fn counted(counter: &AtomicU64) -> Option<u64> {
    Some(counter.load(Relaxed))
}

const METRICS: &[Metric] = &[
    ("events_accepted_total", "counter", "Events appended to the stream by this relay", |key| {
        counted(&key.meters.accepted)
    }),
    ("batches_repeated_total", "counter", "Batches not appended again, by their id", |key| {
        counted(&key.meters.repeated)
    }),
    (
        "conversions_repeated_total",
        "counter",
        "Conversions removed, as the visitor's was already sent",
        |key| counted(&key.meters.conversions_repeated),
    ),
    ("requests_turned_away_total", "counter", "Event requests answered 503", |key| {
        counted(&key.meters.turned_away)
    }),
    ("requests_malformed_total", "counter", "Event requests answered 400, 408, 413 or 415", |key| {
        counted(&key.meters.malformed)
    }),
    ("events_delivered_total", "counter", "Events that Convert answered with 2xx", |key| {
        counted(&key.meters.delivered)
    }),
    ("events_refused_total", "counter", "Events kept aside", |key| counted(&key.meters.unaccepted)),
    ("events_refused_lost_total", "counter", "Of these, those that Redis would not keep aside", |key| {
        counted(&key.meters.unkept)
    }),
    ("deliveries_total", "counter", "Requests with events to Convert", |key| counted(&key.meters.requests)),
    ("deliveries_failed_total", "counter", "Those that were not answered with 2xx", |key| {
        counted(&key.meters.failed_requests)
    }),
    (
        "deliveries_unanswered_total",
        "counter",
        "Those that ended without an answer, and are repeated",
        |key| counted(&key.meters.fate_unknown),
    ),
    ("entries_taken_over_total", "counter", "Entries taken over from other relays", |key| {
        counted(&key.meters.taken_over)
    }),
    ("entries_in_hand", "gauge", "Entries that this relay has read and not settled", |key| {
        counted(&key.meters.in_hand)
    }),
    ("consumer_redis_errors_total", "counter", "Redis errors in the consumer", |key| {
        counted(&key.meters.store_errors)
    }),
    ("config_fetches_total", "counter", "Polls of Convert's configs by this relay", |key| {
        counted(&key.meters.config_fetches)
    }),
    ("config_failures_total", "counter", "Polls that returned no config", |key| {
        counted(&key.meters.config_failures)
    }),
    ("config_passed_through_total", "counter", "Config requests passed through", |key| {
        counted(&key.meters.passed_through)
    }),
    ("stream_entries", "gauge", "Entries in the stream: the lag of all relays", |key| {
        latest(key, |it| it.entries)
    }),
    ("stream_bytes", "gauge", "Their bodies, in bytes", |key| latest(key, |it| it.bytes)),
    ("stream_oldest_age_milliseconds", "gauge", "The age of the oldest", |key| {
        latest(key, |it| it.oldest_age_ms())
    }),
    ("refused_kept", "gauge", "Events kept aside, in the stream of refusals", |key| {
        latest(key, |it| it.refusals)
    }),
    (
        "config_age_milliseconds",
        "gauge",
        "The time since Convert confirmed the oldest of the configs",
        config_age,
    ),
];

fn latest(key: &Key, read: impl Fn(&crate::store::Standing) -> u64) -> Option<u64> {
    key.history.lock().ok()?.latest.as_ref().map(read)
}

fn config_age(key: &Key) -> Option<u64> {
    let configs = key.configs().into_iter().filter_map(|(_, config)| config);
    configs.map(|config| now_ms().saturating_sub(config.confirmed_ms)).max()
}

/// An SDK key's place, and its first half: public in browsers, it may be a secret on servers.
fn label(place: usize, key: &Key) -> String {
    let text = &key.sdk_key;
    format!("{place}:{}…", &text[..text.len() / 2])
}

fn metrics(keys: &[Arc<Key>]) -> String {
    let mut text = String::new();
    for (name, kind, help, read) in METRICS {
        let _ = writeln!(text, "# HELP convert_relay_{name} {help}.\n# TYPE convert_relay_{name} {kind}");
        for (place, key) in keys.iter().enumerate() {
            if let Some(value) = read(key) {
                let _ = writeln!(text, "convert_relay_{name}{{key=\"{}\"}} {value}", label(place, key));
            }
        }
    }
    text
}

const STYLE: &str = "body{font:15px sans-serif;margin:2em;max-width:60em}table{border-collapse:collapse}\
td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}svg{width:100%;height:6em;background:#f6f6f6}";

fn page(shared: &Shared) -> String {
    let ready =
        if shared.is_ready.load(Relaxed) && !shared.alarm.is_raised() { "ready" } else { "not ready" };
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5>\
         <title>convert-relay</title><style>{STYLE}</style><h1>convert-relay: {ready}</h1>"
    );
    for (place, key) in shared.keys.iter().enumerate() {
        let title = label(place, key);
        let _ = write!(html, "<h2>{title}</h2><table><tr><th>environment<th>config<th>confirmed");
        for (name, config) in key.configs() {
            let name = if name.is_empty() { "(none)".to_owned() } else { escaped(&name) };
            let (tag, age) = config.map_or_else(
                || ("none yet".to_owned(), String::new()),
                |it| (it.tag.clone(), format!("{} s ago", now_ms().saturating_sub(it.confirmed_ms) / 1000)),
            );
            let _ = write!(html, "<tr><td>{name}<td>{tag}<td>{age}");
        }
        let _ = write!(html, "</table><p>Entries waiting, the last ten minutes:</p>{}<table>", curve(key));
        for (name, _, help, read) in METRICS {
            let value = read(key).map_or_else(|| "unknown".to_owned(), |value| value.to_string());
            let _ = write!(html, "<tr><td>{name}<td>{value}<td>{help}");
        }
        html.push_str("</table>");
    }
    html
}

/// The lag as a chart line, scaled to its maximum.
fn curve(key: &Key) -> String {
    let entries: Vec<u64> =
        key.history.lock().map_or_else(|_| Vec::new(), |it| it.entries.iter().copied().collect());
    let most = entries.iter().copied().max().unwrap_or_default().max(1);
    let points: Vec<String> =
        entries.iter().enumerate().map(|(at, it)| format!("{at},{}", 100 - it * 100 / most)).collect();
    format!(
        "<svg viewBox='0 0 300 100' preserveAspectRatio=none><polyline fill=none stroke=#06c points='{}'/></svg>\
         <p>at most {most}</p>",
        points.join(" ")
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
