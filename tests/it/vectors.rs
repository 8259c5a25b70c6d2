//! The parity vectors are exactly the files that `source.json` describes, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::PathBuf;

use serde_json::{Value, json};

fn vectors() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/parity/vectors")
}

fn source() -> Value {
    serde_json::from_slice(&fs::read(vectors().join("source.json")).unwrap()).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let mut spelled = String::new();
    for byte in hmac_sha256::Hash::hash(bytes) {
        write!(spelled, "{byte:02x}").unwrap();
    }
    spelled
}

/// The number of lines of each kind in a decompressed file.
fn kinds(packed: &[u8]) -> BTreeMap<String, u64> {
    let mut json = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut json).unwrap();
    let mut kinds = BTreeMap::new();
    for line in json.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        *kinds.entry(line["kind"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    kinds
}

#[test]
fn every_vector_file_matches_its_description() {
    let source = source();
    let files = source["files"].as_object().unwrap();
    assert!(!files.is_empty());
    for (name, described) in files {
        let packed = fs::read(vectors().join(name)).unwrap();
        assert_eq!(json!(packed.len()), described["bytes"], "{name}");
        assert_eq!(json!(sha256(&packed)), described["sha256"], "{name}");
        let kinds = kinds(&packed);
        assert_eq!(json!(kinds.values().sum::<u64>()), described["lines"], "{name}");
        assert_eq!(json!(kinds), described["kinds"], "{name}");
    }
}

/// A list of exclusions would be a file too: the replay has none, and none can be added unnoticed.
#[test]
fn no_vector_file_is_undescribed() {
    let there =
        fs::read_dir(vectors()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let there: BTreeSet<String> = there.collect();
    let source = source();
    let described = source["files"].as_object().unwrap().keys().cloned();
    let expected: BTreeSet<String> =
        described.chain(["README.md", "source.json"].map(str::to_owned)).collect();
    assert_eq!(there, expected);
}
