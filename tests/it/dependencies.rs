//! The SDK's default dependencies: no async runtime, no framework, nothing unlisted.

use std::collections::BTreeSet;
use std::process::Command;

/// Every crate below `convert-sdk` with its default features, named as in `cargo tree`.
const LISTED: &str = include_str!("dependencies.txt");

/// The ones in this repository.
const OURS: [&str; 2] = ["convert_sdk", "convert_evaluation"];

/// One fixed target: other systems add crates of their own.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn tree(features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-p", "convert-sdk", "-e", "normal", "--prefix", "none"])
        .args(["--target", TARGET, "--format", "{lib}"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    // `cargo tree` marks repeated crates.
    let names = names.lines().map(|name| name.trim_end_matches(" (*)"));
    names.filter(|name| !name.is_empty() && !OURS.contains(name)).map(str::to_owned).collect()
}

#[test]
fn the_default_dependencies_are_the_listed_ones() {
    let listed: BTreeSet<String> = LISTED.lines().map(str::to_owned).collect();
    assert_eq!(tree(&[]), listed, "a new dependency needs a reason in Cargo.toml, and a line here");
    for absent in ["tokio", "futures_core", "reqwest", "redis", "rusqlite", "hyper"] {
        assert!(!listed.contains(absent), "{absent}");
    }
}

#[test]
fn without_features_there_is_no_socket_and_no_channel() {
    let (default, bare) = (tree(&[]), tree(&["--no-default-features"]));
    assert!(bare.is_subset(&default), "{bare:?}");
    for absent in ["arc_swap", "crossbeam_channel", "flate2", "libc", "ring", "rustls", "ureq"] {
        assert!(default.contains(absent) && !bare.contains(absent), "{absent}");
    }
    let threads = tree(&["--no-default-features", "--features", "threads"]);
    assert!(threads.contains("crossbeam_channel") && !threads.contains("ureq"), "{threads:?}");
}

#[test]
fn the_async_feature_adds_one_trait_and_no_runtime() {
    let (default, asynchronous) = (tree(&[]), tree(&["--features", "async"]));
    let more: Vec<&String> = asynchronous.difference(&default).collect();
    assert_eq!(more, ["futures_core"]);
}
