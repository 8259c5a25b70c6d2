//! Every parity file of the repository, through both surfaces of the SDK.

use crate::program::{convert, repository};

fn replay(options: &[&str]) {
    let Ok(directory) = std::fs::read_dir(repository("tests/parity/vectors")) else { return };
    let mut files: Vec<String> = directory
        .filter_map(|entry| Some(entry.ok()?.path().display().to_string()))
        .filter(|path| path.ends_with(".jsonl.gz"))
        .collect();
    files.sort();
    let mut arguments = vec!["replay"];
    arguments.extend(options);
    arguments.extend(files.iter().map(String::as_str));
    let output = convert(&arguments, b"");
    let mismatches: Vec<&str> = output.lines().into_iter().take(30).collect();
    assert_eq!(output.code, 0, "{}{}", mismatches.join("\n"), output.stderr);
    assert!(output.last_line().ends_with(" passed, 0 failed"), "{}", output.last_line());
}

#[test]
fn the_sdk_answers_every_vector() {
    replay(&[]);
}

/// A binding rule of the official plan for asynchronous SDKs: identical outcomes.
#[test]
fn its_asynchronous_surface_answers_every_vector_too() {
    replay(&["--async"]);
}
