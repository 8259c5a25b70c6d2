//! The config route: bytes, ETag, gzip, environment, `exp`, secret and unknown keys.

use convert_emulator::{Emulator, Project, StartError};
use serde_json::json;

use crate::client::{Client, KEY, bases, demo};

const ALL: [&str; 6] = [
    "homepage-headline",
    "pricing-layout",
    "checkout-steps",
    "search-ranking",
    "pricing-discount",
    "loyalty-banner",
];

#[test]
fn the_config_is_served_byte_for_byte_over_both_listeners() {
    let emulator = demo();
    for base in bases(&emulator) {
        for key in [KEY, "demo%2Fkey", Project::DEMO_SDK_KEY] {
            let reply = Client::of(&emulator)
                .get(&format!("{base}/api/v1/config/{key}?_conv_low_cache=1&debug_token=x"));
            assert_eq!(
                (reply.status, reply.header("content-type")),
                (200, "application/json"),
                "{base} {key}"
            );
            assert_eq!(reply.body, include_str!("../../projects/demo.json"));
        }
    }
}

#[test]
fn an_unchanged_config_is_not_sent_again() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let url = format!("{}/api/v1/config/{KEY}", emulator.config_url());
    for encoding in ["gzip", "identity", "gzip;q=0"] {
        let ask = |tag: &str| client.get_with(&url, &[("accept-encoding", encoding), ("if-none-match", tag)]);
        let first = ask("\"other\"");
        let tag = first.header("etag").to_owned();
        // The client decompresses transparently, so the tag has to show it.
        assert_eq!(tag.ends_with("-gzip\""), encoding == "gzip");
        assert!(first.status == 200 && tag.starts_with('"'), "{encoding}: {tag}");
        for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let again = ask(&known);
            assert_eq!(
                (again.status, again.body.as_str(), again.header("etag")),
                (304, "", tag.as_str()),
                "{known}"
            );
        }
        emulator.set_config(KEY, json!({ "goals": [{ "id": encoding }] })).unwrap();
        let changed = ask(&tag);
        assert_eq!(changed.status, 200, "{encoding}");
        assert_ne!(changed.header("etag"), tag);
    }
}

#[test]
fn environment_and_exp_leave_experiences_out() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let without = |key: &str| ALL.into_iter().filter(|other| *other != key).collect::<Vec<_>>();
    let table = [
        ("", ALL.to_vec()),
        ("?environment=", ALL.to_vec()),
        ("?environment=production", without("loyalty-banner")),
        ("?environment=staging", without("pricing-discount")),
        (
            "?environment=Staging",
            without("loyalty-banner").into_iter().filter(|key| *key != "pricing-discount").collect(),
        ),
        ("?exp=100320104", vec!["search-ranking"]),
        ("?exp=100320106&environment=staging&_conv_low_cache=1", vec!["loyalty-banner"]),
        ("?exp=100320106&environment=production", vec![]),
        ("?exp=1", vec![]),
    ];
    for (query, expected) in table {
        let reply = client.get(&format!("{}/api/v1/config/{KEY}{query}", emulator.http_url()));
        assert_eq!(reply.experience_keys(), expected, "{query}");
        assert_eq!(
            reply.json()["goals"].as_array().unwrap().len(),
            4,
            "{query}: the rest of the config stays"
        );
    }
}

#[test]
fn a_draft_is_served_only_when_asked_for() {
    let config = json!({
        "account_id": "1", "project": { "id": "2" },
        "experiences": [{ "id": "10", "key": "live" }, { "id": "11", "key": "draft", "status": "draft" }],
    });
    let emulator = Emulator::builder().project(Project::from_json(config)).start().unwrap();
    let client = Client::of(&emulator);
    let keys = |query: &str| {
        client.get(&format!("{}/api/v1/config/1/2{query}", emulator.http_url())).experience_keys()
    };
    assert_eq!(keys(""), ["live"]);
    assert_eq!(keys("?exp=11"), ["draft"]);
}

#[test]
fn a_filtered_config_keeps_its_numbers_digit_for_digit() {
    let config = r#"{"account_id":"1","project":{"id":"2"},"experiences":[
        {"id":"10","key":"a","environment":"x"},{"id":"11","key":"b","weight":92.92880389839411,"big":12345678901234567890}]}"#;
    let emulator = Emulator::builder().project(Project::from_json(config)).start().unwrap();
    let reply =
        Client::of(&emulator).get(&format!("{}/api/v1/config/1/2?environment=y", emulator.http_url()));
    assert!(
        reply.body.contains(r#"{"id":"11","key":"b","weight":92.92880389839411,"big":12345678901234567890}"#)
    );
}

#[test]
fn the_secret_is_asked_for() {
    let emulator = Emulator::builder().project(Project::demo().secret("s3cret")).start().unwrap();
    let client = Client::of(&emulator);
    let url = format!("{}/api/v1/config/{}", emulator.https_url(), Project::DEMO_SDK_KEY);
    assert_eq!(client.get(&url).status, 401);
    assert_eq!(client.get_with(&url, &[("authorization", "Bearer other")]).status, 403);
    assert_eq!(client.get_with(&url, &[("authorization", "Bearer s3cret")]).status, 200);
}

#[test]
fn wrong_keys_methods_and_routes_are_distinguished() {
    let emulator = demo();
    let client = Client::of(&emulator);
    let base = emulator.http_url();
    assert_eq!(client.get(&format!("{base}/api/v1/config/unknown")).status, 404);
    assert_eq!(client.get(&format!("{base}/elsewhere")).status, 404);
    assert_eq!(client.post(&format!("{base}/api/v1/config/{KEY}"), &json!({})).status, 405);
    assert_eq!(client.get(&format!("{base}/v1/track/{KEY}")).status, 405);
}

#[test]
fn projects_that_cannot_be_served_stop_the_start() {
    let start =
        |project: Project| Emulator::builder().project(Project::demo().sdk_key("k")).project(project).start();
    let error = |project: Project| start(project).unwrap_err().to_string();
    assert!(matches!(start(Project::demo().sdk_key("k")), Err(StartError::DuplicateKey(key)) if key == "k"));
    assert_eq!(error(Project::from_json("{}").sdk_key("a")), "project a: the config has no account_id");
    assert_eq!(
        error(Project::from_json(json!({ "account_id": 1 }))),
        "project number 2: the config has no project.id"
    );
    assert!(error(Project::from_json("[]")).contains("not a JSON object"));
    assert!(
        error(Project::from_file("no/such/file.json")).starts_with("project no/such/file.json: cannot read")
    );
}

#[test]
fn keys_of_one_project_can_have_different_configs() {
    let config =
        |goal: &str| json!({ "account_id": "1", "project": { "id": "2" }, "goals": [{ "id": goal }] });
    let emulator = Emulator::builder()
        .project(Project::from_json(config("10")).sdk_key("live"))
        .project(Project::from_json(config("11")).sdk_key("test"))
        .start()
        .unwrap();
    let client = Client::of(&emulator);
    for (key, goal) in [("live", "10"), ("test", "11"), ("1/2", "10")] {
        let reply = client.get(&format!("{}/api/v1/config/{key}", emulator.http_url()));
        assert_eq!(reply.json()["goals"][0]["id"], goal, "{key}");
    }
}
