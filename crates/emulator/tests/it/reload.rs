//! Configs that change while they are served: files, and `set_config`.

use std::fs;
use std::sync::mpsc::{Receiver, channel};

use convert_emulator::{ConfigError, Emulator, Project};
use serde_json::json;
use tempfile::TempDir;

use crate::client::{Client, KEY, demo};

fn config(goal: &str) -> String {
    json!({ "account_id": "1", "project": { "id": "2" }, "goals": [{ "id": goal }] }).to_string()
}

/// An emulator that serves `project.json` in the folder, and its log lines.
fn start(folder: &TempDir) -> (Emulator, Receiver<String>) {
    let (log, lines) = channel();
    let file = folder.path().join("project.json");
    fs::write(&file, config("10")).unwrap();
    let project = Project::from_file(file).sdk_key(KEY);
    let emulator = Emulator::builder().project(project).log_to(move |line| drop(log.send(line.to_owned())));
    (emulator.start().unwrap(), lines)
}

fn goal(emulator: &Emulator) -> String {
    let reply = Client::of(emulator).get(&format!("{}/api/v1/config/{KEY}", emulator.http_url()));
    reply.json()["goals"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_changed_file_is_served_from_the_next_request_on() {
    let folder = TempDir::new().unwrap();
    let (emulator, _lines) = start(&folder);
    assert_eq!(goal(&emulator), "10");
    // The same length and, on a coarse clock, the same modification time.
    fs::write(folder.path().join("project.json"), config("11")).unwrap();
    assert_eq!(goal(&emulator), "11");
}

#[test]
fn a_broken_file_keeps_the_last_good_config_and_warns_once() {
    let folder = TempDir::new().unwrap();
    let (emulator, lines) = start(&folder);
    let file = folder.path().join("project.json");
    let warnings = || lines.try_iter().filter(|line| line.starts_with("warning:")).count();
    fs::write(&file, &config("11")[..20]).unwrap();
    assert_eq!((goal(&emulator), goal(&emulator), warnings()), ("10".into(), "10".into(), 1));
    fs::remove_file(&file).unwrap();
    assert_eq!((goal(&emulator), goal(&emulator), warnings()), ("10".into(), "10".into(), 1));
    fs::write(&file, config("12")).unwrap();
    assert_eq!((goal(&emulator), warnings()), ("12".into(), 0));
}

#[test]
fn what_is_stopped_in_the_file_is_not_served_and_told() {
    let folder = TempDir::new().unwrap();
    let (emulator, lines) = start(&folder);
    let experiences = json!([
        { "id": "1", "key": "on", "status": "active" }, { "id": "2", "key": "off", "status": "paused" },
        { "id": "3", "key": "plain" }, { "id": "4", "status": "completed" },
    ]);
    let config = json!({ "account_id": "1", "project": { "id": "2" }, "experiences": experiences });
    fs::write(folder.path().join("project.json"), config.to_string()).unwrap();
    let url = format!("{}/api/v1/config/{KEY}", emulator.http_url());
    let get = |query: &str| Client::of(&emulator).get(&format!("{url}{query}"));
    assert_eq!(get("").experience_keys(), ["on", "plain"]);
    assert_eq!(get("?exp=2").experience_keys(), ["off"], "a preview gets it");
    let warnings: Vec<_> = lines.try_iter().filter(|line| line.starts_with("warning:")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].ends_with("not active: off (paused), 4 (completed)"), "{warnings:?}");
}

#[test]
fn a_changed_file_is_checked_as_at_the_start() {
    let folder = TempDir::new().unwrap();
    let (emulator, lines) = start(&folder);
    fs::write(folder.path().join("project.json"), r#"{ "goals": [{ "id": "11" }] }"#).unwrap();
    assert_eq!(goal(&emulator), "10");
    let warning = lines.try_iter().find(|line| line.starts_with("warning:")).unwrap();
    assert!(
        warning.contains("no account_id") && warning.contains("keeping the last good config"),
        "{warning}"
    );
}

#[test]
fn a_config_set_at_run_time_replaces_the_file_for_good() {
    let folder = TempDir::new().unwrap();
    let (emulator, _lines) = start(&folder);
    emulator.set_config(KEY, config("20")).unwrap();
    fs::write(folder.path().join("project.json"), config("11")).unwrap();
    assert_eq!(goal(&emulator), "20");
}

#[test]
fn a_config_that_cannot_be_served_is_not_set() {
    let emulator = demo();
    assert!(matches!(emulator.set_config("unknown", "{}"), Err(ConfigError::UnknownKey(_))));
    assert!(matches!(emulator.set_config(KEY, "{"), Err(ConfigError::Json(_))));
    let reply = Client::of(&emulator).get(&format!("{}/api/v1/config/{KEY}", emulator.http_url()));
    assert_eq!(reply.experience_keys().len(), 6);
}

#[test]
fn log_lines_hide_query_secrets() {
    let folder = TempDir::new().unwrap();
    let (emulator, lines) = start(&folder);
    let query = "environment=staging&debug_token=hush&exp=5";
    Client::of(&emulator).get(&format!("{}/api/v1/config/{KEY}?{query}", emulator.http_url()));
    let line = lines.recv_timeout(crate::client::PATIENCE).unwrap();
    let start = "GET /api/v1/config/demo/key?environment=staging&debug_token=***&exp=5 200 0 events ";
    assert!(line.starts_with(start), "{line}");
}
