//! The tracking route's validation: valid payloads pass, and each invalid field is named.

use convert_emulator::Emulator;
use serde_json::{Value, json};

use crate::client::{AGENT, Client, KEY, bases, bucketing, conversion, demo, envelope, one_event};

fn track_url(emulator: &Emulator) -> String {
    format!("{}/v1/track/{KEY}", emulator.http_url())
}

/// A payload with every optional field: two visitors, three events.
fn full() -> Value {
    let segments = json!({
        "country": "DE", "browser": "firefox", "devices": ["desktop", "mobile"], "source": "s", "campaign": "c",
        "visitorType": "new", "customSegments": ["100360101"],
    });
    envelope(json!([
        { "visitorId": "v1", "segments": segments, "events": [bucketing(), conversion()] },
        { "visitorId": "v2", "events": [bucketing(), conversion(), conversion()] },
    ]))
}

#[test]
fn valid_payloads_pass_over_both_listeners_and_any_prefix() {
    let emulator = demo();
    let client = Client::of(&emulator);
    for base in bases(&emulator) {
        for path in
            [format!("track/{KEY}"), format!("v1/10034190/track/{KEY}"), "v1/track/10035569/10034190".into()]
        {
            assert_eq!(client.post(&format!("{base}/{path}"), &full()).status, 200, "{base}/{path}");
        }
    }
    assert_eq!(emulator.received().totals.events, 6 * 5);
    assert_eq!(client.post(&format!("{}/track/None", emulator.http_url()), &full()).status, 404);
}

#[test]
fn any_path_may_precede_a_route_even_another_route() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let base = emulator.http_url();
    for prefix in ["track", "track/track", "api/v1/config", "api/v1/config/x/track", "v1/track/a%20b"] {
        assert_eq!(client.post(&format!("{base}/{prefix}/track/{KEY}"), &full()).status, 200, "{prefix}");
        assert_eq!(client.get(&format!("{base}/{prefix}/api/v1/config/{KEY}")).status, 200, "{prefix}");
        let received = client.get(&format!("{base}/{prefix}/__admin/received"));
        assert_eq!(received.json()["totals"]["track_requests"], 1, "{prefix}");
        emulator.clear();
    }
}

/// A pointer into [`full`], what replaces it (or removes it), and the path that must be reported.
#[test]
fn the_first_invalid_field_is_named() {
    let table: Vec<(&str, Option<Value>, &str)> = vec![
        ("/accountId", None, "accountId"),
        ("/accountId", Some(json!(10035569)), "accountId"),
        ("/projectId", Some(json!("1")), "projectId"),
        ("/enrichData", Some(json!("false")), "enrichData"),
        ("/enrichData", None, "enrichData"),
        ("/source", Some(Value::Null), "source"),
        ("/sdkVersion", Some(json!("1")), "sdkVersion"),
        ("/visitors", Some(json!([])), "visitors"),
        ("/visitors", Some(json!({})), "visitors"),
        ("/visitors/0", Some(json!("v1")), "visitors[0]"),
        ("/visitors/0/visitorId", Some(json!("")), "visitors[0].visitorId"),
        ("/visitors/0/visitorId", Some(json!(5)), "visitors[0].visitorId"),
        ("/visitors/1/visitorId", Some(json!("v1")), "visitors[1].visitorId"),
        ("/visitors/0/visitorID", Some(json!("v1")), "visitors[0].visitorID"),
        ("/visitors/0/segments/age", Some(json!(30)), "visitors[0].segments.age"),
        ("/visitors/0/segments/country", Some(Value::Null), "visitors[0].segments.country"),
        ("/visitors/0/segments/devices/1", Some(json!(1)), "visitors[0].segments.devices[1]"),
        ("/visitors/0/segments/customSegments", Some(json!("1")), "visitors[0].segments.customSegments"),
        ("/visitors/0/segments", Some(json!([])), "visitors[0].segments"),
        ("/visitors/1/events", Some(json!([])), "visitors[1].events"),
        ("/visitors/1/events", None, "visitors[1].events"),
        ("/visitors/1/events/2/eventType", Some(json!("click")), "visitors[1].events[2].eventType"),
        ("/visitors/1/events/2/time", Some(json!(1)), "visitors[1].events[2].time"),
        ("/visitors/1/events/0/data", None, "visitors[1].events[0].data"),
        ("/visitors/1/events/0/data/key", Some(json!("a")), "visitors[1].events[0].data.key"),
        ("/visitors/1/events/0/data/variationId", None, "visitors[1].events[0].data.variationId"),
        (
            "/visitors/0/events/0/data/experienceId",
            Some(json!("9")),
            "visitors[0].events[0].data.experienceId",
        ),
        (
            "/visitors/0/events/0/data/experienceId",
            Some(json!(100320101)),
            "visitors[0].events[0].data.experienceId",
        ),
        (
            "/visitors/0/events/0/data/variationId",
            Some(json!("100330111")),
            "visitors[0].events[0].data.variationId",
        ),
        ("/visitors/0/events/1/data/goalId", Some(json!("9")), "visitors[0].events[1].data.goalId"),
        ("/visitors/1/events/2/data/goalId", None, "visitors[1].events[2].data.goalId"),
        ("/visitors/0/events/1/data/goalData", Some(json!({})), "visitors[0].events[1].data.goalData"),
        (
            "/visitors/0/events/1/data/goalData/0/key",
            Some(json!("price")),
            "visitors[0].events[1].data.goalData[0].key",
        ),
        (
            "/visitors/0/events/1/data/goalData/1/value",
            Some(json!(true)),
            "visitors[0].events[1].data.goalData[1].value",
        ),
        ("/visitors/0/events/1/data/goalData/1/value", None, "visitors[0].events[1].data.goalData[1].value"),
        (
            "/visitors/0/events/1/data/goalData/0/unit",
            Some(json!("EUR")),
            "visitors[0].events[1].data.goalData[0].unit",
        ),
        (
            "/visitors/0/events/1/data/bucketingData",
            Some(json!([])),
            "visitors[0].events[1].data.bucketingData",
        ),
        (
            "/visitors/0/events/1/data/bucketingData/7",
            Some(json!(8)),
            "visitors[0].events[1].data.bucketingData.7",
        ),
        (
            "/visitors/0/events/1/data/bucketingData/7",
            Some(json!("100330102")),
            "visitors[0].events[1].data.bucketingData.7",
        ),
        (
            "/visitors/0/events/1/data/bucketingData/100320101",
            Some(json!("100330111")),
            "visitors[0].events[1].data.bucketingData.100320101",
        ),
    ];
    let emulator = demo();
    let client = Client::of(&emulator);
    for (pointer, replacement, expected) in &table {
        let mut payload = full();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match (payload.pointer_mut(parent).unwrap(), replacement) {
            (Value::Object(object), Some(value)) => drop(object.insert((*key).to_owned(), value.clone())),
            (Value::Object(object), None) => drop(object.remove(key).unwrap()),
            (list, value) => list[key.parse::<usize>().unwrap()] = value.clone().unwrap(),
        }
        let reply = client.post(&track_url(&emulator), &payload);
        assert_eq!(
            (reply.status, reply.json()["path"].as_str()),
            (400, Some(*expected)),
            "{pointer}: {}",
            reply.body
        );
    }
    let totals = emulator.received().totals;
    assert_eq!((totals.events, totals.refused), (0, table.len() as u64));
}

#[test]
fn a_body_that_is_not_a_json_object_is_rejected() {
    let emulator = demo();
    let client = Client::of(&emulator);
    for body in ["", "{", "[]", "null"] {
        let headers = [("content-type", "application/json"), ("user-agent", AGENT)];
        let reply = client.post_with(&track_url(&emulator), body, &headers);
        assert_eq!((reply.status, reply.json()["path"].as_str()), (400, Some("")), "{body:?}");
    }
}

/// Every reader picks one of the two as it likes.
#[test]
fn a_duplicate_name_in_an_object_is_rejected() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let whole = full().to_string();
    for (once, twice, path) in [
        (r#""source":"test""#, r#""source":"test","source":"test""#, "source"),
        (r#""visitorId":"v2""#, r#""visitorId":"v2","visitorId":"v3""#, "visitors[1].visitorId"),
        (r#""country":"DE""#, r#""country":"DE","c\u006funtry":"GR""#, "visitors[0].segments.country"),
    ] {
        assert!(whole.contains(once), "{once}");
        let headers = [("content-type", "application/json"), ("user-agent", AGENT)];
        let reply = client.post_with(&track_url(&emulator), &whole.replacen(once, twice, 1), &headers);
        assert_eq!((reply.status, reply.json()["path"].as_str()), (400, Some(path)));
    }
    assert_eq!(emulator.received().totals.events, 0);
}

#[test]
fn headers_are_checked() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let body = one_event("v").to_string();
    let post = |headers: &[(&str, &str)]| {
        let headers = [&[("user-agent", AGENT)], headers].concat();
        let reply = client.post_with(&track_url(&emulator), &body, &headers);
        (reply.status, reply.json()["path"].as_str().unwrap_or("").to_owned())
    };
    assert_eq!(post(&[("content-type", "text/plain")]), (400, "headers.content-type".to_owned()));
    assert_eq!(post(&[("content-type", "Application/JSON; charset=utf-8")]), (200, String::new()));
    let secret = post(&[("content-type", "application/json"), ("authorization", "Bearer s")]);
    assert_eq!(secret, (400, "headers.authorization".to_owned()));
}

#[test]
fn events_of_an_unknown_agent_are_dropped_silently() {
    let emulator = demo();
    let client = Client::of(&emulator);
    for agent in ["ureq/3", "convertagent/1.0"] {
        let headers = [("content-type", "application/json"), ("user-agent", agent)];
        assert_eq!(client.post_with(&track_url(&emulator), &full().to_string(), &headers).status, 200);
    }
    let received = emulator.received();
    assert_eq!((received.totals.events, received.totals.dropped_as_bot), (0, 2 * 5));
    assert!(received.events.is_empty());
}

#[test]
fn a_body_above_the_limit_gets_413() {
    let project = convert_emulator::Project::demo().sdk_key(KEY);
    let limit = one_event("v").to_string().len();
    let emulator = Emulator::builder().project(project).max_body(limit).start().unwrap();
    let client = Client::of(&emulator);
    assert_eq!(client.post(&track_url(&emulator), &one_event("v")).status, 200);
    assert_eq!(client.post(&track_url(&emulator), &one_event("vv")).status, 413);
    assert_eq!(client.post(&track_url(&emulator), &one_event(&"v".repeat(5_000_000))).status, 413);
    assert_eq!(emulator.received().totals.events, 1);
}

#[test]
fn events_about_an_earlier_config_stay_valid() {
    let emulator = demo();
    let client = Client::of(&emulator);
    emulator.set_config(KEY, json!({ "experiences": [], "goals": [] })).unwrap();
    assert_eq!(client.post(&track_url(&emulator), &full()).status, 200);
}
