//! Cases that need their own process, because all tests of this binary share one.

use std::process::{Child, Command, Stdio};

use crossbeam_channel::bounded;

use crate::support::PATIENCE;

/// The environment variable that names the case for a child process.
const CASE: &str = "CONVERT_TEST_CASE";

/// The case that this process is to run, if it is such a child.
pub(crate) fn case() -> Option<String> {
    std::env::var(CASE).ok()
}

/// Starts a case: `entry` is the ignored test that runs the cases of a module.
pub(crate) fn spawn(entry: &str, case: &str, variables: &[(&str, String)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", entry, "--ignored", "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for a case to end by itself and successfully; returns what it printed.
pub(crate) fn finish(mut child: Child, case: &str) -> String {
    let id = child.id();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (ended, wait) = bounded(1);
    std::thread::spawn(move || {
        // Reading to the end waits for the exit.
        let read = |mut from: Box<dyn std::io::Read>| {
            let mut text = String::new();
            let _ = from.read_to_string(&mut text);
            text
        };
        let texts = (read(Box::new(stdout)), read(Box::new(stderr)));
        let _ = ended.send((child.wait(), texts));
    });
    let Ok((status, (stdout, stderr))) = wait.recv_timeout(2 * PATIENCE) else {
        let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
        panic!("{case} does not exit")
    };
    assert!(status.unwrap().success(), "{case}:\n{stdout}\n{stderr}");
    stdout
}

/// Runs one case to its end.
pub(crate) fn run(entry: &str, case: &str) {
    let stdout = finish(spawn(entry, case, &[]), case);
    assert!(stdout.contains("1 passed"), "{case} did not run:\n{stdout}");
}
