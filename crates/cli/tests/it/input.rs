//! What is said of a config or of visitors that cannot be read.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::program::{config, convert};

/// A file that is deleted at the end.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("convert-cli-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_config_may_be_compressed() {
    let plain = config();
    let packed = File::new("packed.json.gz", &gzip(&std::fs::read(&plain).unwrap()));
    let answer = |path: &str| convert(&["evaluate", "--config", path, "--visitor", "v"], b"").stdout;
    assert!(answer(&plain).starts_with("{\"visitor\":\"v\""));
    assert_eq!(answer(packed.path()), answer(&plain));
}

#[test]
fn a_config_that_is_no_json_is_named_with_its_line() {
    let file = File::new("config.json", b"{\n  \"account_id\": ,\n}\n");
    let output = convert(&["evaluate", "--config", file.path(), "--visitor", "v"], b"");
    assert_eq!(output.code, 2);
    let expected = format!("error: {}:2: expected value (column 17)", file.path());
    assert_eq!(output.stderr.trim_end(), expected);
    let file = File::new("other.json", b"{\"account_id\": \"1\"}");
    let output = convert(&["evaluate", "--config", file.path(), "--visitor", "v"], b"");
    assert_eq!(output.code, 2);
    assert!(output.stderr.starts_with(&format!("error: {}: ", file.path())), "{}", output.stderr);
}

#[test]
fn a_visitor_that_is_not_utf8_is_named_with_its_line() {
    let output = convert(&["evaluate", "--config", &config()], b"{\"visitor\":\"v\"}\n\n\xff\n");
    assert_eq!((output.code, output.lines().len()), (2, 1));
    assert!(output.stderr.starts_with("error: standard input:3: "), "{}", output.stderr);
}
