//! What the page asks for, and who may ask. `scripts/page` drives the page itself in a browser.

use std::path::Path;
use std::thread;

use convert_emulator::{Emulator, Fault, FaultKind, Project};
use serde_json::{Value, json};

use crate::client::{Client, KEY, bases, bucketing, demo, envelope, one_event};

fn key_query() -> String {
    format!("key={}", KEY.replace('/', "%2F"))
}

fn decide(client: &Client, emulator: &Emulator, visitor: &Value) -> Value {
    client.post(&format!("{}decide", emulator.page_url()), visitor).json()
}

/// The outcome of each experience by its key.
fn outcome<'a>(decided: &'a Value, key: &str) -> &'a Value {
    let experiences = decided["experiences"].as_array().unwrap();
    &experiences.iter().find(|one| one["experience_key"] == key).unwrap()["outcome"]
}

#[test]
fn the_page_allows_a_browser_nothing_but_itself() {
    let emulator = demo();
    let client = Client::of(&emulator);
    for (file, media_type) in [
        ("", "text/html"),
        ("page.css", "text/css"),
        ("page.js", "text/javascript"),
        ("live", "application/json"),
    ] {
        let reply = client.get(&format!("{}{file}", emulator.page_url()));
        assert_eq!(reply.status, 200, "{file}");
        assert!(reply.header("content-type").starts_with(media_type), "{file}");
        assert!(reply.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"));
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("cross-origin-resource-policy"), "same-origin");
    }
    assert_eq!(client.post(&emulator.page_url(), &json!({})).status, 405);
    assert_eq!(client.get(&format!("{}decide", emulator.page_url())).status, 405);
}

#[test]
fn other_origins_and_hosts_are_refused() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let config = r#"{"account_id":"1","project":{"id":"2"}}"#;
    for base in bases(&emulator) {
        let faults = format!("{base}/__admin/faults");
        let project = format!("{base}/__admin/project?{}", key_query());
        let hang = r#"[{"route":"track","fault":"hang"}]"#;
        let scheme = if base.starts_with("https") { "http" } else { "https" };
        let (_, address) = base.split_once("://").unwrap();
        let other_scheme = format!("{scheme}://{address}");
        for headers in [
            [("origin", "http://elsewhere.example")],
            [("origin", "null")],
            [("origin", other_scheme.as_str())],
            [("host", "rebound.example:8080")],
            [("host", "127.0.0.1.rebound.example")],
        ] {
            assert_eq!(client.post_with(&faults, hang, &headers).status, 403, "{headers:?}");
            assert_eq!(client.post_with(&project, config, &headers).status, 403, "{headers:?}");
            assert_eq!(client.get_with(&format!("{base}/__admin/received"), &headers).status, 403);
        }
        assert_eq!(emulator.pending_faults(), []);
        assert_eq!(client.post_with(&faults, hang, &[("origin", &base)]).status, 200, "its own page");
        for host in ["localhost", "shop.localhost:1", "[::1]:8080", "127.0.0.2"] {
            assert_eq!(client.get_with(&faults, &[("host", host)]).status, 200, "{host}");
        }
        emulator.clear_faults();
    }
}

#[test]
fn the_page_learns_of_every_kind_of_change() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let live = format!("{}live", emulator.page_url());
    let mut seen = client.get(&live).json()["version"].as_u64().unwrap();
    let changes: [&(dyn Fn() + Sync); 5] = [
        &|| drop(client.post(&format!("{}/track/{KEY}", emulator.http_url()), &one_event("v"))),
        &|| emulator.inject(Fault::track(FaultKind::Hang)),
        &|| emulator.clear_faults(),
        &|| emulator.set_config(KEY, r#"{"experiences":[]}"#).unwrap(),
        &|| emulator.clear(),
    ];
    for change in changes {
        let told = thread::scope(|scope| {
            let waiting = scope.spawn(|| Client::of(&emulator).get(&format!("{live}?seen={seen}")).json());
            change();
            waiting.join().unwrap()
        });
        let version = told["version"].as_u64().unwrap();
        assert!(version > seen);
        // A request changes the record more than once.
        seen = client.get(&live).json()["version"].as_u64().unwrap();
    }
    assert_eq!(client.get(&live).json()["projects"][0]["revision"], 2);
}

#[test]
fn what_the_page_shows_of_a_record_is_bounded() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let track = format!("{}/track/{KEY}", emulator.http_url());
    let long = "v".repeat(5_000);
    let visitors: Value = (0..100)
        .map(|number| json!({ "visitorId": format!("{number}{long}"), "events": [bucketing()] }))
        .collect();
    for _ in 0..3 {
        assert_eq!(client.post(&track, &envelope(visitors.clone())).status, 200);
    }
    for _ in 0..60 {
        assert_eq!(client.post(&track, &json!({ (long.as_str()): 1 })).status, 400);
    }
    let reply = client.get(&format!("{}live", emulator.page_url()));
    let live = reply.json();
    let lengths = ["events", "refused"].map(|list| live[list].as_array().unwrap().len());
    assert_eq!(lengths, [200, 50]);
    assert!(reply.body.len() < 250_000, "{}", reply.body.len());
    assert_eq!(live["tally"]["10035569/10034190"]["experiences"]["100320101"]["100330102"], 300);
    let one = client.get(&format!("{}live?visitor=99v", emulator.page_url())).json();
    assert_eq!(one["events"].as_array().unwrap().len(), 3);
}

#[test]
fn a_config_is_checked_before_it_is_served() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let page = emulator.page_url();
    let project = format!("{page}project?{}", key_query());
    let read = client.get(&project).json();
    assert_eq!(
        (&read["revision"], &read["problem"], &read["warnings"]),
        (&json!(1), &Value::Null, &json!([]))
    );
    let buckets: Vec<u64> = read["experiences"][0]["variations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variation| variation["buckets"].as_u64().unwrap())
        .collect();
    assert_eq!(buckets, [3334, 3333, 3333]);

    let text = read["text"].as_str().unwrap().replacen("\"less\"", "\"sounds_like\"", 1);
    let headers = [("content-type", "application/json")];
    let checked = client.post_with(&format!("{page}check?{}", key_query()), &text, &headers).json();
    assert_eq!(checked["warnings"][0]["path"], "audiences[0].rules.OR[0].AND[0].OR_WHEN[0]");
    assert_eq!(client.get(&project).json()["revision"], 1, "a check serves nothing");
    let served = client.post_with(&project, &text, &headers).json();
    assert_eq!((&served["revision"], &served["warnings"]), (&json!(2), &checked["warnings"]));
    let config = format!("{}/api/v1/config/{KEY}", emulator.http_url());
    assert!(client.get(&config).body.contains("sounds_like"));

    // What the emulator can serve but no SDK would use, and what it cannot serve.
    let refused = client.post_with(&project, r#"{"error": true}"#, &headers).json();
    assert_eq!(refused["problem"], "the config is an error document");
    assert_eq!(client.post_with(&project, "[]", &headers).status, 400);
    assert_eq!(client.get(&project).json()["problem"], refused["problem"], "the previous one stays");
    assert_eq!(client.post_with(&format!("{page}project?key=none"), &text, &headers).status, 404);
    assert_eq!(client.post_with(&format!("{page}check?key=none"), &text, &headers).status, 404);
}

#[test]
fn a_replaced_config_is_shown_even_if_its_key_changes() {
    let emulator = Emulator::builder().project(Project::demo()).start().unwrap();
    let client = Client::of(&emulator);
    let project = format!("{}project?key=10035569%2F10034190", emulator.page_url());
    let reply = client.post_with(&project, r#"{"account_id":"1","project":{"id":"2"}}"#, &[]);
    assert_eq!((reply.status, &reply.json()["revision"]), (200, &json!(2)));
    assert_eq!(client.get(&format!("{}live", emulator.page_url())).json()["projects"][0]["key"], "1/2");
}

#[test]
fn a_visitor_is_decided_as_by_one_call_for_all() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let german = json!({ "sdk_key": KEY, "visitor": "v-1", "attributes": { "country": "DE" }, "environment": "production" });
    let decided = decide(&client, &emulator, &german);
    assert_eq!(*outcome(&decided, "pricing-layout"), "hashed");
    assert_eq!(*outcome(&decided, "pricing-discount"), "audience_mismatch", "it excludes pricing-layout");
    assert_eq!(decided["experiences"].as_array().unwrap().len(), 5, "staging's experience is not served");

    let elsewhere = json!({ "sdk_key": KEY, "visitor": "v-1", "attributes": { "country": "US" },
        "environment": "staging", "location": { "path": "/checkout" }, "custom_segments": ["100360101"] });
    let decided = decide(&client, &emulator, &elsewhere);
    assert_eq!(*outcome(&decided, "pricing-layout"), "audience_mismatch");
    assert_eq!(*outcome(&decided, "loyalty-banner"), "hashed");
    let rule = &decided["experiences"][1]["steps"][4]["evaluated"][1]["items"][0];
    assert_eq!((&rule["operand"], &rule["attribute"]), (&json!("DE"), &json!("US")));
}

#[test]
fn a_visitor_with_a_wrong_field_is_refused() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let url = format!("{}decide", emulator.page_url());
    for wrong in
        [json!({ "sdk_key": KEY }), json!({ "sdk_key": KEY, "visitor": "v", "attribute": {} }), json!([])]
    {
        assert_eq!(client.post(&url, &wrong).status, 400, "{wrong}");
    }
    assert_eq!(client.post(&url, &json!({ "sdk_key": "none", "visitor": "v" })).status, 404);
    emulator.set_config(KEY, r#"{"error": true}"#).unwrap();
    let refused = client.post(&url, &json!({ "sdk_key": KEY, "visitor": "v" }));
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"], "the SDK refuses this config: the config is an error document");
}

/// What judges a client must not share its code.
#[test]
fn only_the_page_knows_how_decisions_are_made() {
    fn naming(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                naming(&path, found);
            } else if std::fs::read_to_string(&path).unwrap().contains("convert_evaluation") {
                found.push(path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    naming(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.sort();
    assert_eq!(found, ["src/page/decide.rs", "src/page/project.rs"]);
}
