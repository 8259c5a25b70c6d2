//! The record: what was sent, in order, and the calls that wait for it.

use std::thread;
use std::time::Duration;

use convert_emulator::{Emulator, EventData, Project, RouteKind};
use serde_json::json;

use crate::client::{Client, KEY, PATIENCE, bucketing, conversion, demo, envelope, one_event};

#[test]
fn events_are_kept_in_order_for_each_visitor() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let url = format!("{}/track/{KEY}", emulator.track_url());
    let first = envelope(json!([
        { "visitorId": "v1", "segments": { "country": "DE" }, "events": [bucketing(), conversion()] },
        { "visitorId": "v2", "events": [bucketing()] },
    ]));
    client.post(&url, &first);
    client.post(&url, &one_event("v1"));

    let received = emulator.received();
    assert_eq!((received.totals.events, received.totals.bucketing, received.totals.conversion), (4, 3, 1));
    let shown = EventData::Bucketing { experience_id: "100320101".into(), variation_id: "100330102".into() };
    let bought = EventData::Conversion {
        goal_id: "100370101".into(),
        goal_data: Some(vec![("amount".into(), json!(10.3)), ("transactionId".into(), json!("t-1"))]),
        bucketing_data: Some([("100320101".into(), "100330102".into())].into()),
    };
    let of_v1: Vec<_> = received.events_of("v1").collect();
    assert_eq!(of_v1.iter().map(|event| &event.event).collect::<Vec<_>>(), [&shown, &bought, &shown]);
    assert_eq!(of_v1.iter().map(|event| event.request).collect::<Vec<_>>(), [1, 1, 2]);
    assert_eq!(of_v1[0].segments.as_ref().unwrap()["country"], "DE");
    assert_eq!(of_v1[2].segments, None);
    assert_eq!(received.by_visitor().keys().collect::<Vec<_>>(), [&"v1", &"v2"]);
}

#[test]
fn requests_are_kept_as_they_arrived() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let config = format!("{}/api/v1/config/{KEY}?environment=a%20b%26c&debug_token=t", emulator.config_url());
    client.get_with(&config, &[("authorization", "Bearer s")]);
    client.get(&format!("{}/elsewhere", emulator.https_url()));
    client.post(&format!("{}/track/{KEY}", emulator.http_url()), &one_event("v"));

    let received = emulator.received();
    let summary: Vec<_> = received
        .requests
        .iter()
        .map(|request| {
            (request.number, request.https, request.route, request.method.as_str(), request.status)
        })
        .collect();
    assert_eq!(
        summary,
        [
            (1, true, RouteKind::Config, "GET", Some(200)),
            (2, true, RouteKind::Unknown, "GET", Some(404)),
            (3, false, RouteKind::Track, "POST", Some(200)),
        ]
    );
    let (config, track) = (&received.requests[0], &received.requests[2]);
    assert_eq!(config.query_value("environment").as_deref(), Some("a b&c"));
    assert_eq!(config.query_value("exp"), None);
    assert_eq!(config.header("Authorization"), Some("Bearer s"));
    assert_eq!(config.connection, received.requests[1].connection, "the client kept its connection");
    assert_eq!((track.path.as_str(), track.events), ("/track/demo/key", 1));
    assert_eq!(track.body, one_event("v").to_string());
    assert_eq!(track.body_size, track.body.len() as u64);
    assert_eq!(received.requests_on(RouteKind::Track).count(), 1);
}

#[test]
fn waiting_ends_with_enough_events_or_at_the_deadline() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let url = format!("{}/track/{KEY}", emulator.http_url());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| emulator.wait_for_events(2, PATIENCE).unwrap());
        client.post(&url, &one_event("v1"));
        client.post(&url, &one_event("v2"));
        assert!(waiting.join().unwrap().totals.events >= 2);
    });
    assert_eq!(emulator.wait_for_requests(2, PATIENCE).unwrap().totals.track_requests, 2);
    let late = emulator.wait_for_events(3, Duration::ZERO).unwrap_err();
    assert_eq!((late.requests, late.events), (2, 2));
    let seen = emulator.wait_until(PATIENCE, |received| received.events_of("v2").next().is_some()).unwrap();
    assert_eq!(seen.totals.answered, 2);
}

#[test]
fn clearing_resets_everything_but_the_numbering() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let url = format!("{}/track/{KEY}", emulator.http_url());
    client.post(&url, &one_event("v1"));
    emulator.clear();
    assert_eq!(emulator.received(), convert_emulator::Received::default());
    client.post(&url, &one_event("v1"));
    let received = emulator.received();
    assert_eq!((received.totals.requests, received.requests[0].number), (1, 2));
}

#[test]
fn old_requests_are_dropped_but_counted() {
    let project = Project::demo().sdk_key(KEY);
    let emulator = Emulator::builder().project(project).request_history(2).start().unwrap();
    let client = Client::of(&emulator);
    for visitor in ["a", "b", "c"] {
        client.post(&format!("{}/track/{KEY}", emulator.http_url()), &one_event(visitor));
    }
    let received = emulator.received();
    assert_eq!(received.requests.iter().map(|request| request.number).collect::<Vec<_>>(), [2, 3]);
    assert_eq!((received.totals.requests, received.events.len()), (3, 3));
}

#[test]
fn requests_from_several_threads_are_all_kept() {
    let emulator = demo();
    let pem = emulator.ca_pem();
    let url = format!("{}/track/{KEY}", emulator.track_url());
    thread::scope(|scope| {
        for thread in 0..4 {
            let (pem, url) = (&pem, &url);
            scope.spawn(move || {
                let client = Client::trusting(pem);
                for event in 0..25 {
                    assert_eq!(client.post(url, &one_event(&format!("{thread}-{event}"))).status, 200);
                }
            });
        }
    });
    let received = emulator.received();
    assert_eq!((received.totals.events, received.by_visitor().len()), (100, 100));
}
