//! The `convert-emulator` program as a process of its own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use crate::client::{Client, one_event};

const PROGRAM: &str = env!("CARGO_BIN_EXE_convert-emulator");

/// A running program; killed if a test fails before it stops it.
struct Running {
    child: Child,
    /// What it printed, by the first word or the variable's name.
    said: HashMap<String, String>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = HashMap::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let line = line.strip_prefix("export ").unwrap_or(&line);
            if let Some((name, value)) = line.split_once([' ', '=']) {
                said.insert(name.to_owned(), value.trim().to_owned());
                if name == "CONVERT_CA_FILE" {
                    break;
                }
            }
        }
        Self { child, said }
    }

    /// Asks it to stop as a terminal or a supervisor does; returns whether it stopped well, and its log.
    fn stop(mut self, signal: &str) -> (bool, String) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().success(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

#[test]
fn help_names_every_option() {
    let output = run(&["--help"]);
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for word in ["--project", "--https", "--http", "--ca-out", "--secret", "--quiet", "/__admin/"] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn mistakes_are_reported() {
    let output = run(&["--project", "no-file"]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("must be KEY=FILE.json"));
    let output = run(&["--https", "0", "--http", "0", "--project", "key=no/such/file.json"]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot read no/such/file.json"));
    let output = run(&["--https", "0", "--http", "0", "--ca-out", "no/such/ca.pem"]);
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("cannot write no/such/ca.pem: "));
}

#[cfg(unix)]
#[test]
fn it_serves_logs_and_stops_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let ca = ca.to_str().unwrap();
    let program = Running::start(&["--https", "0", "--http", "0", "--ca-out", ca, "--secret", "s3cret"]);
    let said = &program.said;
    assert_eq!((said["ca"].as_str(), said["CONVERT_CA_FILE"].as_str()), (ca, ca));
    assert_eq!(said["https"], said["CONVERT_CONFIG_ENDPOINT"]);

    let client = Client::trusting(&std::fs::read_to_string(ca).unwrap());
    let key = &said["CONVERT_SDK_KEY"];
    let config = format!("{}/api/v1/config/{key}", said["CONVERT_CONFIG_ENDPOINT"]);
    assert_eq!(client.get(&config).status, 401);
    let reply = client.get_with(&config, &[("authorization", "Bearer s3cret")]);
    assert_eq!(reply.experience_keys().len(), 6);
    let track = format!("{}/track/{key}", said["CONVERT_TRACK_ENDPOINT"]);
    assert_eq!(client.post(&track, &one_event("v")).status, 200);
    let record = client.get(&format!("{}/__admin/received", said["http"])).json();
    assert_eq!(record["totals"]["events"], 1);

    let (stopped_well, log) = program.stop("-INT");
    assert!(stopped_well);
    assert!(log.contains("POST /v1/track/10035569/10034190 200 1 events"), "{log}");
    assert!(!log.contains("s3cret"));
}

#[cfg(unix)]
#[test]
fn several_projects_are_served_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let config =
        |goal: &str| format!(r#"{{"account_id":"1","project":{{"id":"2"}},"goals":[{{"id":"{goal}"}}]}}"#);
    std::fs::write(path("one.json"), config("10")).unwrap();
    std::fs::write(path("two.json"), config("20")).unwrap();
    let projects = [format!("1/live={}", path("one.json")), format!("1/test={}", path("two.json"))];
    let ca = path("ca.pem");
    let program = Running::start(&[
        "--https",
        "0",
        "--http",
        "0",
        "--quiet",
        "--ca-out",
        &ca,
        "--project",
        &projects[0],
        "--project",
        &projects[1],
    ]);
    assert_eq!(program.said["CONVERT_SDK_KEY"], "1/live");
    let client = Client::trusting(&std::fs::read_to_string(&ca).unwrap());
    for (key, goal) in [("1/live", "10"), ("1/test", "20")] {
        let reply = client.get(&format!("{}/api/v1/config/{key}", program.said["http"]));
        assert_eq!(reply.json()["goals"][0]["id"], goal);
    }
    let (stopped_well, log) = program.stop("-TERM");
    assert!(stopped_well && log.is_empty(), "{log}");
}
