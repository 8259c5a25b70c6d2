//! Error messages for configs and visitors that cannot be read.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::program::{File, cli, config};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_config_can_be_compressed() {
    let plain = config();
    let packed = File::new("packed.json.gz", &gzip(&std::fs::read(&plain).unwrap()));
    let answer = |path: &str| cli(&["evaluate", "--config", path, "--visitor", "v", "--json"], b"").stdout;
    assert!(answer(&plain).starts_with("{\"visitor\":\"v\""));
    assert_eq!(answer(packed.path()), answer(&plain));
}

#[test]
fn a_config_that_is_not_json_is_named_with_its_line() {
    let file = File::new("config.json", b"{\n  \"account_id\": ,\n}\n");
    let output = cli(&["evaluate", "--config", file.path(), "--visitor", "v"], b"");
    assert_eq!(output.code, 2);
    let expected = format!("error: {}:2: expected value (column 17)", file.path());
    assert_eq!(output.stderr.trim_end(), expected);
    let file = File::new("other.json", b"{\"account_id\": \"1\"}");
    let output = cli(&["evaluate", "--config", file.path(), "--visitor", "v"], b"");
    assert_eq!(output.code, 2);
    assert!(output.stderr.starts_with(&format!("error: {}: ", file.path())), "{}", output.stderr);
}

#[test]
fn a_config_that_refers_to_nothing_is_warned_of() {
    let text = std::fs::read_to_string(config()).unwrap().replace("[\"4001\"]", "[\"4999\"]");
    let file = File::new("dangling.json", text.as_bytes());
    for command in
        [&["evaluate", "--visitor", "v"][..], &["split", "--experience", "checkout", "--visitors", "9"]]
    {
        let output = cli(&[command, &["--config", file.path()]].concat(), b"");
        let warning =
            "experiences[0].audiences[0]: restricts nobody: no audience or segment has the id \"4999\"";
        assert_eq!(output.stderr.lines().next(), Some(&*format!("warning: {}: {warning}", file.path())));
    }
}

#[test]
fn a_visitor_that_is_not_utf8_is_named_with_its_line() {
    let output = cli(&["evaluate", "--json", "--config", &config()], b"{\"visitor\":\"v\"}\n\n\xff\n");
    assert_eq!((output.code, output.lines().len()), (2, 1));
    assert!(output.stderr.starts_with("error: standard input:3: "), "{}", output.stderr);
}

#[test]
fn a_line_without_an_end_is_refused() {
    let output = cli(&["evaluate", "--config", &config()], &vec![b' '; (1 << 20) + 1]);
    assert_eq!(output.code, 2);
    assert_eq!(output.stderr.trim_end(), "error: standard input:1: longer than 1048576 bytes");
}
