//! The `convert-emulator` program as a separate process.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

use crate::client::{Client, one_event};

const PROGRAM: &str = env!("CARGO_BIN_EXE_convert-emulator");

/// A running program; killed if a test fails before stopping it.
struct Running {
    child: Child,
    /// What it printed, by the first word or the variable's name.
    printed: HashMap<String, String>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut printed = HashMap::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let line = line.strip_prefix("export ").unwrap_or(&line);
            if let Some((name, value)) = line.split_once([' ', '=']) {
                printed.insert(name.to_owned(), value.trim().to_owned());
                if name == "CONVERT_CA_FILE" {
                    break;
                }
            }
        }
        Self { child, printed }
    }

    /// Stops it the way a terminal or a supervisor does; returns whether it exited cleanly, and its log.
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
    let example = "\n  curl http://127.0.0.1:8080/__admin/faults \\\n    -d '[{\"route\":\"track\",\"times\":2,\"fault\":{\"status\":{\"status\":503}}}]'\n";
    assert!(help.contains(example), "the example can be copied: {help}");
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
    let printed = &program.printed;
    assert_eq!((printed["ca"].as_str(), printed["CONVERT_CA_FILE"].as_str()), (ca, ca));
    assert_eq!(printed["https"], printed["CONVERT_CONFIG_ENDPOINT"]);
    assert_eq!(printed["page"], format!("{}/__admin/", printed["http"]));

    let client = Client::trusting(&std::fs::read_to_string(ca).unwrap());
    let key = &printed["CONVERT_SDK_KEY"];
    let config = format!("{}/api/v1/config/{key}", printed["CONVERT_CONFIG_ENDPOINT"]);
    assert_eq!(client.get(&config).status, 401);
    let reply = client.get_with(&config, &[("authorization", "Bearer s3cret")]);
    assert_eq!(reply.experience_keys().len(), 6);
    let track = format!("{}/track/{key}", printed["CONVERT_TRACK_ENDPOINT"]);
    assert_eq!(client.post(&track, &one_event("v")).status, 200);
    let record = client.get(&format!("{}/__admin/received", printed["http"])).json();
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
    assert_eq!(program.printed["CONVERT_SDK_KEY"], "1/live");
    let client = Client::trusting(&std::fs::read_to_string(&ca).unwrap());
    for (key, goal) in [("1/live", "10"), ("1/test", "20")] {
        let reply = client.get(&format!("{}/api/v1/config/{key}", program.printed["http"]));
        assert_eq!(reply.json()["goals"][0]["id"], goal);
    }
    let (stopped_well, log) = program.stop("-TERM");
    assert!(stopped_well && log.is_empty(), "{log}");
}
