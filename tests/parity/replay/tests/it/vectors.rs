//! Every parity file of the repository, through both surfaces of the SDK.

use std::fs;
use std::path::Path;

use crate::program::replay;

fn replay_all(options: &[&str]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors");
    let mut files: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .filter(|path| path.ends_with(".jsonl.gz"))
        .collect();
    files.sort();
    let arguments: Vec<&str> = options.iter().copied().chain(files.iter().map(String::as_str)).collect();
    let output = replay(&arguments, b"");
    let mismatches: Vec<&str> = output.lines().into_iter().take(30).collect();
    assert_eq!(output.code, 0, "{}{}", mismatches.join("\n"), output.stderr);
    assert!(output.last_line().ends_with(" passed, 0 failed"), "{}", output.last_line());
}

#[test]
fn every_vector_matches() {
    replay_all(&[]);
}

/// A binding rule of the official plan for asynchronous SDKs: identical outcomes.
#[test]
fn every_vector_matches_on_the_asynchronous_surface() {
    replay_all(&["--async"]);
}
