//! The admin API: the record, the faults and the projects as JSON, on both listeners.

use serde_json::{Value, json};

use crate::client::{Client, KEY, bases, demo, one_event};

#[test]
fn the_record_is_read_and_cleared() {
    let emulator = demo();
    let client = Client::of(&emulator);
    for base in bases(&emulator) {
        let admin = format!("{base}/__admin/received");
        client.post(&format!("{base}/track/{KEY}"), &one_event("v 1"));
        client.get_with(&format!("{base}/api/v1/config/{KEY}"), &[("authorization", "Bearer hush")]);

        let record = client.get(&admin);
        let all = record.json();
        assert_eq!(all["totals"]["requests"], 2, "the admin API does not count itself");
        assert_eq!(all["totals"]["bucketing"], 1);
        assert_eq!(all["visitors"]["v 1"][0]["event_type"], "bucketing");
        assert_eq!(all["visitors"]["v 1"][0]["variation_id"], "100330102");
        assert_eq!(all["requests"][1]["status"], 200);
        assert!(!record.body.contains("hush"), "secrets are masked");

        let one = client.get(&format!("{admin}?visitor=v%201")).json();
        assert_eq!((one["visitor"].as_str(), one["events"].as_array().unwrap().len()), (Some("v 1"), 1));
        assert_eq!(client.get(&format!("{admin}?visitor=other")).json()["events"], json!([]));

        assert_eq!(client.delete(&admin).status, 200);
        assert_eq!(client.get(&admin).json()["visitors"], json!({}));
    }
}

#[test]
fn faults_are_added_listed_used_up_and_dropped() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let admin = format!("{}/__admin/faults", emulator.https_url());
    let track = format!("{}/track/{KEY}", emulator.http_url());
    let faults = json!([
        { "route": "track", "times": 1, "fault": { "status": { "status": 429, "retry_after": 7 } } },
        { "route": "track", "times": 1, "fault": { "status": { "status": 503, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT" } } },
        { "route": "both", "chance": { "probability": 1.0, "seed": 1 }, "fault": "empty_body" },
    ]);
    assert_eq!(client.post(&admin, &faults).status, 200);
    assert_eq!(client.get(&admin).json(), faults);
    let first = client.post(&track, &one_event("v"));
    assert_eq!((first.status, first.header("retry-after")), (429, "7"));
    let second = client.post(&track, &one_event("v"));
    assert_eq!((second.status, second.header("retry-after")), (503, "Wed, 21 Oct 2026 07:28:00 GMT"));
    assert_eq!(client.post(&track, &one_event("v")).body, "");
    assert_eq!(client.get(&admin).json().as_array().unwrap().len(), 1);
    assert_eq!(client.delete(&admin).status, 200);
    assert_ne!(client.post(&track, &one_event("v")).body, "");
}

#[test]
fn an_unknown_fault_rejects_the_whole_list() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let admin = format!("{}/__admin/faults", emulator.http_url());
    for wrong in [
        json!({ "route": "track", "fault": "hang" }),
        json!([{ "route": "track", "fault": "hang" }, { "route": "elsewhere", "fault": "hang" }]),
        json!([{ "route": "track", "fault": "hang", "count": 1 }]),
        json!([{ "route": "track", "fault": { "delay": { "seconds": 1 } } }]),
        json!([{ "route": "track", "fault": "explode" }]),
    ] {
        assert_eq!(client.post(&admin, &wrong).status, 400, "{wrong}");
    }
    assert_eq!(emulator.pending_faults(), []);
}

#[test]
fn an_impossible_fault_is_refused_by_its_field() {
    let emulator = demo();
    let client = Client::of(&emulator);
    for (fault, field) in [
        (json!({ "status": { "status": 99 } }), "`status` must be from 200 to 599, not 99"),
        (json!({ "poison": { "status": 70_000 } }), "`status` must be from 200 to 599, not 70000"),
    ] {
        let faults = json!([{ "route": "track", "fault": fault }]);
        let reply = client.post(&format!("{}/__admin/faults", emulator.http_url()), &faults);
        assert!(reply.status == 400 && reply.body.contains(field), "{}", reply.body);
    }
    for probability in [7.0, -0.5] {
        let chance = json!({ "probability": probability, "seed": 1 });
        let faults = json!([{ "route": "track", "fault": "hang", "chance": chance }]);
        let reply = client.post(&format!("{}/__admin/faults", emulator.http_url()), &faults);
        assert!(
            reply.status == 400 && reply.body.contains("`probability` must be from 0 to 1"),
            "{}",
            reply.body
        );
    }
    assert_eq!(emulator.pending_faults(), []);
}

#[test]
fn every_kind_of_fault_is_known_by_its_name() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let kinds = json!([
        { "status": { "status": 500 } }, { "delay": { "ms": 1 } }, "hang", "reset", "reset_before_body",
        "reset_mid_body", "truncated_body", "garbage_body", "empty_body", { "huge_body": { "bytes": 1 } },
        { "slow_drip": { "bytes": 1, "interval_ms": 1 } }, { "redirect": { "to": "/" } }, "drop_after_recording",
        { "poison": { "visitor_prefix": "v", "status": 422 } }, { "gzip_bomb": { "bytes": 1 } },
    ]);
    let kinds = kinds.as_array().unwrap();
    let faults: Value =
        kinds.iter().map(|kind| json!({ "route": "config", "sdk_key": KEY, "fault": kind })).collect();
    let reply = client.post(&format!("{}/__admin/faults", emulator.http_url()), &faults);
    assert_eq!((reply.status, reply.json()), (200, faults));
    for (fault, kind) in emulator.pending_faults().iter().zip(kinds) {
        let name = kind.as_str().or_else(|| kind.as_object()?.keys().next().map(String::as_str)).unwrap();
        assert_eq!(fault.kind().name(), name);
    }
}

#[test]
fn projects_are_listed() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let projects = client.get(&format!("{}/__admin/projects", emulator.http_url())).json();
    let expected = json!([{
        "account_id": "10035569", "project_id": "10034190", "sdk_keys": [KEY, "10035569/10034190"],
        "file": null, "experiences": 6, "wants_secret": false,
    }]);
    assert_eq!(projects, expected);
}

#[test]
fn unknown_resources_and_methods_are_distinguished() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let admin = format!("{}/__admin", emulator.http_url());
    assert_eq!(client.get(&format!("{admin}/elsewhere")).status, 404);
    assert_eq!(client.delete(&format!("{admin}/projects")).status, 405);
    assert_eq!(client.post(&format!("{admin}/received"), &json!([])).status, 405);
}

#[test]
fn the_admin_path_without_its_slash_leads_to_the_page() {
    let emulator = demo();
    let client = Client::of(&emulator);
    for path in ["/__admin", "/some/prefix/__admin"] {
        let reply = client.get(&format!("{}{path}", emulator.http_url()));
        assert_eq!((reply.status, reply.header("location")), (308, "__admin/"), "{path}");
    }
    assert_eq!(client.get(&format!("{}/some__admin", emulator.http_url())).status, 404);
    assert_eq!(emulator.received().totals.requests, 1);
}
