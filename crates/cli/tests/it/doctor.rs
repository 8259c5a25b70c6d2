//! `doctor`, with an emulator and its faults.

use std::process::Command;

use convert_emulator::{Emulator, Project, ServerCertificate};
use serde_json::Value;

use crate::program::File;

const KEY: &str = Project::DEMO_SDK_KEY;

/// Runs the doctor with these variables and no other of the SDK's; its status and its checks.
fn doctor(variables: &[(&str, &str)], arguments: &[&str]) -> (i32, Vec<Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_convert-cli"));
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(name);
    }
    let output =
        command.args(["doctor", "--json"]).args(arguments).envs(variables.iter().copied()).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!report.to_string().contains(KEY), "{report}");
    assert_eq!(report["ok"], output.status.success());
    (output.status.code().unwrap(), report["checks"].as_array().unwrap().clone())
}

fn with_emulator(emulator: &Emulator, more: &[(&str, &str)], arguments: &[&str]) -> (i32, Vec<Value>) {
    let authority = File::new(
        &format!("authority-{}.pem", emulator.https_url().replace(':', "-").replace('/', "")),
        emulator.ca_pem().as_bytes(),
    );
    let (config, track) = (emulator.config_url(), emulator.track_url());
    let variables = [
        ("CONVERT_SDK_KEY", KEY),
        ("CONVERT_CONFIG_ENDPOINT", config.as_str()),
        ("CONVERT_TRACK_ENDPOINT", track.as_str()),
        ("CONVERT_CA_FILE", authority.path()),
    ];
    doctor(&[&variables, more].concat(), arguments)
}

/// The one check that has failed: its name, and what is said of it.
fn failure((status, checks): (i32, Vec<Value>)) -> (String, String) {
    let failed: Vec<_> = checks.iter().filter(|check| check["result"] == "failed").collect();
    assert_eq!((status, failed.len()), (1, 1), "{checks:?}");
    let text = |name: &str| failed[0][name].as_str().unwrap().to_owned();
    (text("name"), format!("{} {}", text("detail"), text("advice")))
}

fn emulator() -> Emulator {
    Emulator::builder().project(Project::demo()).start().unwrap()
}

#[test]
fn a_healthy_endpoint_gets_no_event_unless_asked() {
    let emulator = emulator();
    let (status, checks) = with_emulator(&emulator, &[("CONVERT_ENVIRONMENT", "production")], &[]);
    assert_eq!(status, 0, "{checks:?}");
    let names: Vec<_> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["settings", "endpoint", "config", "clock", "tracking"]);
    let totals = emulator.received().totals;
    assert_eq!((totals.events, totals.failed_handshakes), (0, 0));

    let (status, checks) = with_emulator(&emulator, &[], &["--send", "purchase"]);
    assert_eq!((status, checks.last().unwrap()["name"].as_str()), (0, Some("conversion")), "{checks:?}");
    assert_eq!(emulator.received().events_of("convert-cli-doctor").count(), 1);
    let (name, text) = failure(with_emulator(&emulator, &[], &["--send", "no-such-goal"]));
    assert!(name == "conversion" && text.contains("no goal"), "{text}");
}

#[test]
fn settings_that_are_missing_or_wrong_are_named() {
    assert!(failure(doctor(&[], &[])).1.starts_with("CONVERT_SDK_KEY is not set"));
    let wrong = [("CONVERT_SDK_KEY", KEY), ("CONVERT_CONFIG_ENDPOINT", "http://example.com")];
    assert!(failure(doctor(&wrong, &[])).1.starts_with("CONVERT_CONFIG_ENDPOINT: "));
}

#[test]
fn an_unknown_key_is_named() {
    let (name, text) = failure(with_emulator(&emulator(), &[("CONVERT_SDK_KEY", "no/such")], &[]));
    assert!(name == "config" && text.starts_with("the SDK key was not found"), "{text}");
}

#[test]
fn a_name_that_does_not_resolve_is_named() {
    let nowhere = [("CONVERT_SDK_KEY", KEY), ("CONVERT_CONFIG_ENDPOINT", "https://nowhere.invalid")];
    let (name, text) = failure(doctor(&nowhere, &[]));
    assert_eq!(name, "endpoint");
    assert!(text.starts_with("the name nowhere.invalid does not resolve"), "{text}");
}

#[test]
fn an_endpoint_that_is_down_is_named() {
    let mut emulator = emulator();
    let authority = File::new("down.pem", emulator.ca_pem().as_bytes());
    let url = emulator.config_url();
    emulator.shutdown();
    let down =
        [("CONVERT_SDK_KEY", KEY), ("CONVERT_CONFIG_ENDPOINT", &url), ("CONVERT_CA_FILE", authority.path())];
    assert!(failure(doctor(&down, &[])).1.contains("accepts no connection"));
}

#[test]
fn a_certificate_is_refused_with_the_reason() {
    for (certificate, advice) in [
        (ServerCertificate::Expired, "this machine's clock"),
        (ServerCertificate::OtherAuthority, "CONVERT_CA_FILE"),
        (ServerCertificate::WrongHost, "another host"),
    ] {
        let emulator = emulator();
        emulator.use_certificate(certificate).unwrap();
        let (name, text) = failure(with_emulator(&emulator, &[], &[]));
        assert!(name == "certificate" && text.contains(advice), "{certificate:?}: {text}");
    }
}

#[test]
fn a_proxy_that_is_down_or_refuses_is_named() {
    let emulator = emulator();
    let gone = failure(with_emulator(&emulator, &[("CONVERT_PROXY", "http://user:word@127.0.0.1:9")], &[]));
    assert!(
        gone.0 == "proxy" && gone.1.contains("accepts no connection") && !gone.1.contains("word"),
        "{gone:?}"
    );
    // It knows no CONNECT.
    let refusing = failure(with_emulator(&emulator, &[("CONVERT_PROXY", &emulator.http_url())], &[]));
    assert!(refusing.0 == "proxy" && refusing.1.starts_with("it does not connect"), "{refusing:?}");
}
