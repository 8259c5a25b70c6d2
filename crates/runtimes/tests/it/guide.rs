//! The guide to the programs.

use std::path::Path;

#[test]
fn everything_that_the_guide_says_to_copy_exists() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let guide = std::fs::read_to_string(docs.join("runtimes.md")).unwrap();
    let links: Vec<&str> = guide.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 10, "{links:?}");
    for link in links {
        assert!(docs.join(link).exists(), "{link}");
    }
}
