//! Every kind of fault, over both listeners, and when it applies.

use std::io::ErrorKind;
use std::thread;

use convert_emulator::{Emulator, Fault, FaultKind, Project, RetryAfter};
use serde_json::{Value, json};

use crate::client::{Client, KEY, PATIENCE, bases, bucketing, demo, envelope, one_event};
use crate::raw::get_config;

const DEMO: &str = include_str!("../../projects/demo.json");

fn strike_once(emulator: &Emulator, kind: FaultKind) {
    emulator.inject(Fault::both(kind).times(1));
}

#[test]
fn resets_are_real_resets_at_the_promised_place() {
    let emulator = demo();
    for https in [false, true] {
        for (kind, sent) in [
            (FaultKind::Reset, ""),
            (FaultKind::DropAfterRecording, ""),
            (FaultKind::ResetBeforeBody, "\r\n\r\n"),
            (FaultKind::ResetMidBody, &DEMO[..DEMO.len() / 2]),
        ] {
            strike_once(&emulator, kind.clone());
            let reply = get_config(&emulator, https);
            assert_eq!(reply.error, Some(ErrorKind::ConnectionReset), "{kind:?} {https}");
            assert!(reply.text.ends_with(sent), "{kind:?} {https}: {}", reply.text);
            assert_eq!(reply.text.is_empty(), sent.is_empty(), "{kind:?} {https}");
        }
    }
}

#[test]
fn a_truncated_body_ends_cleanly_but_too_early() {
    let emulator = demo();
    strike_once(&emulator, FaultKind::TruncatedBody);
    let reply = get_config(&emulator, false);
    assert_eq!(reply.error, None);
    assert!(reply.text.contains(&format!("content-length: {}\r\n", DEMO.len())));
    assert!(reply.text.ends_with(&DEMO[..DEMO.len() / 2]));

    strike_once(&emulator, FaultKind::TruncatedBody);
    let url = format!("{}/api/v1/config/{KEY}", emulator.config_url());
    assert!(Client::of(&emulator).try_get(&url).is_err());
}

#[test]
fn bodies_are_corrupted_as_requested() {
    let emulator = demo();
    let client = Client::of(&emulator);
    for base in bases(&emulator) {
        let get = |kind: FaultKind| {
            strike_once(&emulator, kind);
            client.get(&format!("{base}/api/v1/config/{KEY}"))
        };
        let garbage = get(FaultKind::GarbageBody);
        assert_eq!(garbage.status, 200);
        assert!(serde_json::from_str::<Value>(&garbage.body).is_err());
        assert_eq!((get(FaultKind::EmptyBody).status, get(FaultKind::EmptyBody).body.as_str()), (200, ""));
        for bytes in [0, 1, 16_384, 100_001] {
            let huge = get(FaultKind::HugeBody { bytes });
            assert_eq!((huge.body.len() as u64, huge.header("content-length")), (bytes, ""));
        }
        for bytes in [0, 100, 1_000_000] {
            assert_eq!(get(FaultKind::SlowDrip { bytes, interval_ms: 0 }).body, DEMO, "{bytes}");
        }
        assert_eq!(get(FaultKind::SlowDrip { bytes: 5000, interval_ms: 1 }).body, DEMO);
    }
}

#[test]
fn statuses_and_redirects_are_sent_as_requested() {
    let emulator = demo();
    let client = Client::of(&emulator);
    for base in bases(&emulator) {
        let get = |kind: FaultKind| {
            strike_once(&emulator, kind);
            client.get(&format!("{base}/api/v1/config/{KEY}"))
        };
        for status in [204, 400, 404, 500, 503] {
            assert_eq!(get(FaultKind::status(status)).status, status);
        }
        assert_eq!(get(FaultKind::status(99)).status, 500);
        let limited = get(FaultKind::too_many_requests(3));
        assert_eq!((limited.status, limited.header("retry-after")), (429, "3"));
        let date = RetryAfter::Date("not a date".to_owned());
        let dated = get(FaultKind::Status { status: 503, retry_after: Some(date) });
        assert_eq!((dated.status, dated.header("retry-after")), (503, "not a date"));
        let moved = get(FaultKind::Redirect { to: "http://localhost:1/x".to_owned() });
        assert_eq!((moved.status, moved.header("location")), (307, "http://localhost:1/x"));
    }
}

/// A 2xx response means that the endpoint has accepted the events, whatever becomes of its body.
#[test]
fn exactly_the_accepted_events_are_recorded() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let table = [
        (FaultKind::status(503), 0),
        (FaultKind::status(202), 1),
        (FaultKind::too_many_requests(1), 0),
        (FaultKind::Redirect { to: "/".to_owned() }, 0),
        (FaultKind::Delay { ms: 1 }, 1),
        (FaultKind::Reset, 0),
        (FaultKind::ResetBeforeBody, 1),
        (FaultKind::ResetMidBody, 1),
        (FaultKind::TruncatedBody, 1),
        (FaultKind::GarbageBody, 1),
        (FaultKind::EmptyBody, 1),
        (FaultKind::HugeBody { bytes: 10 }, 1),
        (FaultKind::SlowDrip { bytes: 1, interval_ms: 0 }, 1),
        (FaultKind::DropAfterRecording, 1),
        (FaultKind::poisoned_visitor("v"), 0),
        (FaultKind::GzipBomb { bytes: 10 }, 1),
    ];
    for base in bases(&emulator) {
        for (kind, recorded) in &table {
            emulator.clear();
            emulator.inject(Fault::track(kind.clone()).times(1));
            let answered = client.try_post(&format!("{base}/track/{KEY}"), &one_event("v"));
            let received = emulator.received();
            assert_eq!(received.totals.events, *recorded, "{kind:?}");
            assert_eq!(received.requests[0].faults, [kind.name()]);
            let is_reset = matches!(kind, FaultKind::Reset | FaultKind::DropAfterRecording);
            assert_eq!(received.requests[0].status.is_none(), is_reset, "{kind:?}");
            assert!(!is_reset || answered.is_err(), "{kind:?}");
        }
    }
}

#[test]
fn an_invalid_payload_gets_400_under_faults_that_accept_events() {
    let emulator = demo();
    let client = Client::of(&emulator);
    for kind in [FaultKind::status(200), FaultKind::EmptyBody, FaultKind::DropAfterRecording] {
        strike_once(&emulator, kind.clone());
        let reply = client.post(&format!("{}/track/{KEY}", emulator.http_url()), &envelope(json!([])));
        assert_eq!((reply.status, reply.json()["path"].as_str()), (400, Some("visitors")), "{kind:?}");
    }
}

/// Like the real endpoint: one bad record fails its request, whoever else is in it.
#[test]
fn a_poisoned_record_fails_every_request_that_carries_it() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let url = format!("{}/track/{KEY}", emulator.http_url());
    let sent = |visitors: &[(&str, Value)]| {
        let visitors = visitors.iter().map(|(id, country)| {
            json!({ "visitorId": id, "segments": { "country": country }, "events": [bucketing()] })
        });
        client.post(&url, &envelope(visitors.collect())).status
    };
    let (text, list) = (json!("DE"), json!(["DE"]));
    emulator.inject(Fault::track(FaultKind::poisoned_visitor("bad-")).times(2));
    assert_eq!(sent(&[("good", text.clone())]), 200);
    assert_eq!(sent(&[("good", text.clone()), ("bad-1", text.clone())]), 400);
    assert_eq!(sent(&[("good-bad-1", text.clone())]), 200);
    assert_eq!(sent(&[("bad-2", text.clone())]), 400);
    assert_eq!(sent(&[("bad-3", text.clone())]), 200, "both times are used up");
    assert_eq!(emulator.received().totals.events, 3);

    emulator.inject(Fault::track(FaultKind::poisoned_segment("country")));
    emulator.inject(Fault::track(FaultKind::status(503)).times(1));
    assert_eq!(sent(&[("good", text.clone())]), 503, "what is not poisoned meets the next fault");
    assert_eq!(sent(&[("good", text.clone()), ("list", list)]), 400);
    assert_eq!(sent(&[("good", text)]), 200);
    let received = emulator.received();
    assert_eq!(received.requests.back().unwrap().faults, [""; 0]);
    assert_eq!((received.totals.events, received.totals.flawed), (4, 0));
    emulator.clear_faults();

    let fault = r#"[{"route": "track", "fault": {"poison": {"visitor_prefix": "v", "status": 422}}}]"#;
    assert_eq!(client.post_with(&format!("{}/__admin/faults", emulator.http_url()), fault, &[]).status, 200);
    assert_eq!(client.post(&url, &one_event("v")).status, 422);
}

#[test]
fn a_key_is_refused_on_the_chosen_routes_until_cleared() {
    let project = Project::demo().sdk_key(KEY).sdk_key("other");
    let emulator = Emulator::builder().project(project).start().unwrap();
    let client = Client::of(&emulator);
    let config = |key: &str| client.get(&format!("{}/api/v1/config/{key}", emulator.http_url())).status;
    let track =
        |key: &str| client.post(&format!("{}/track/{key}", emulator.http_url()), &one_event("v")).status;
    for status in [401, 403, 404, 410] {
        emulator.inject(Fault::both(FaultKind::status(status)).for_key(KEY));
        for _ in 0..3 {
            assert_eq!((config(KEY), track(KEY)), (status, status));
        }
        assert_eq!((config("other"), track("other")), (200, 200));
        emulator.clear_faults();
        emulator.inject(Fault::track(FaultKind::status(status)).for_key(KEY));
        assert_eq!((config(KEY), track(KEY)), (200, status));
        emulator.clear_faults();
        assert_eq!((config(KEY), track(KEY)), (200, 200));
    }
}

#[test]
fn the_first_requests_fail_and_the_rest_succeed() {
    let emulator = demo();
    let client = Client::of(&emulator);
    emulator.inject(Fault::track(FaultKind::status(503)).times(3));
    let url = format!("{}/track/{KEY}", emulator.http_url());
    let statuses: Vec<_> = (0..5).map(|_| client.post(&url, &one_event("v")).status).collect();
    assert_eq!(statuses, [503, 503, 503, 200, 200]);
    assert_eq!((emulator.received().totals.events, emulator.pending_faults()), (2, vec![]));
}

#[test]
fn a_gzip_bomb_decompresses_to_the_requested_size() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let url = format!("{}/api/v1/config/{KEY}", emulator.http_url());
    for bytes in [0, 1, 16_384, 100_001, 5_000_000] {
        strike_once(&emulator, FaultKind::GzipBomb { bytes });
        let bomb = client.get(&url);
        assert_eq!((bomb.status, bomb.body.len() as u64), (200, bytes));
        assert!(bomb.body.bytes().all(|byte| byte == b' '));
    }
    strike_once(&emulator, FaultKind::GzipBomb { bytes: 50_000_000 });
    let packed = get_config(&emulator, false);
    assert!(packed.bytes < 50_000_000 / 300, "{} on the wire", packed.bytes);
}

#[test]
fn a_hanging_request_is_recorded_and_ends_with_the_connections() {
    let emulator = demo();
    for base in bases(&emulator) {
        emulator.clear();
        strike_once(&emulator, FaultKind::Hang);
        thread::scope(|scope| {
            let client = Client::of(&emulator);
            let url = format!("{base}/track/{KEY}");
            let hanging = scope.spawn(move || client.try_post(&url, &one_event("v")));
            let received = emulator.wait_until(PATIENCE, |received| {
                received.requests.iter().any(|request| request.faults == ["hang"])
            });
            assert_eq!(received.unwrap().requests[0].status, None);
            emulator.close_connections();
            assert!(hanging.join().unwrap().is_err());
        });
        assert_eq!(emulator.received().totals.events, 0);
    }
}

#[test]
fn faults_apply_in_order_and_as_often_as_requested() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let config = || client.get(&format!("{}/api/v1/config/{KEY}", emulator.http_url())).status;
    let track = || client.post(&format!("{}/track/{KEY}", emulator.http_url()), &one_event("v")).status;
    emulator.inject(Fault::config(FaultKind::status(500)).times(2));
    emulator.inject(Fault::track(FaultKind::status(502)).times(1));
    emulator.inject(Fault::both(FaultKind::status(504)));
    emulator.inject(Fault::both(FaultKind::status(400)).times(0));
    assert_eq!([config(), track(), config(), track(), config()], [500, 502, 500, 504, 504]);
    assert_eq!(client.get(&format!("{}/elsewhere", emulator.http_url())).status, 404);
    emulator.clear_faults();
    assert_eq!([config(), track()], [200, 200]);
}

#[test]
fn a_delay_is_followed_by_the_next_fault() {
    let emulator = demo();
    let client = Client::of(&emulator);
    strike_once(&emulator, FaultKind::Delay { ms: 1 });
    strike_once(&emulator, FaultKind::status(503));
    assert_eq!(client.get(&format!("{}/api/v1/config/{KEY}", emulator.http_url())).status, 503);
    assert_eq!(emulator.received().requests[0].faults, ["delay", "status"]);
    assert_eq!(emulator.pending_faults(), []);
}

#[test]
fn a_probability_is_reproducible() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let draw = |probability: f64, seed: u64| -> Vec<u16> {
        emulator.clear_faults();
        emulator.inject(Fault::config(FaultKind::status(500)).with_probability(probability, seed));
        (0..64).map(|_| client.get(&format!("{}/api/v1/config/{KEY}", emulator.http_url())).status).collect()
    };
    let first = draw(0.5, 7);
    assert!(first.contains(&500) && first.contains(&200));
    assert_eq!(first, draw(0.5, 7));
    assert_ne!(first, draw(0.5, 8));
    assert!(draw(0.0, 7).iter().all(|status| *status == 200));
    assert!(draw(1.0, 7).iter().all(|status| *status == 500));
}

#[test]
fn a_corrupted_config_is_sent_even_if_the_client_has_it() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let url = format!("{}/api/v1/config/{KEY}", emulator.http_url());
    strike_once(&emulator, FaultKind::EmptyBody);
    assert_eq!(client.get_with(&url, &[("if-none-match", "*")]).status, 200);
    assert_eq!(client.get_with(&url, &[("if-none-match", "*")]).status, 304);
}
