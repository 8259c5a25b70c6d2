//! The guide to the programs.

use std::fs;
use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// The guide's links.
fn links() -> Vec<String> {
    let guide = fs::read_to_string(docs().join("runtimes.md")).unwrap();
    let links = guide.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links.map(str::to_owned).collect()
}

#[test]
fn everything_the_guide_links_to_exists() {
    let links = links();
    assert!(links.len() > 10, "{links:?}");
    for link in links {
        assert!(docs().join(&link).exists(), "{link}");
    }
}

/// A server that keeps the config of its start never sees an experience stop.
#[test]
fn every_server_to_copy_refreshes_its_config() {
    // These end with their work, or have no timer that could fire.
    let short = ["lambda.rs", "batch.rs", "graceful_shutdown.rs"];
    let is_program = |link: &String| link.ends_with(".rs") && !short.iter().any(|name| link.ends_with(name));
    let helpers = ["axum", "actix", "rocket"].map(|helper| format!("../crates/{helper}/README.md"));
    let programs: Vec<String> = links().into_iter().filter(is_program).chain(helpers).collect();
    assert!(programs.len() > 8, "{programs:?}");
    for program in programs {
        let text = fs::read_to_string(docs().join(&program)).unwrap();
        let refreshes = [".for_server()", "SdkConfig::server(", ".refresh(RefreshConfig::"];
        assert!(refreshes.iter().any(|call| text.contains(call)), "{program}");
    }
}
