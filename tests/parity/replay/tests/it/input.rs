//! Where lines come from, and the messages for unreadable ones.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::program::{GOOD, replay};

/// A file that is deleted on drop.
struct File(std::path::PathBuf);

impl File {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("convert-parity-{}-{name}", std::process::id()));
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

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn all_is_well() {
    let file = File::new("good.jsonl", GOOD.as_bytes());
    let output = replay(&[file.path()], b"");
    assert_eq!((output.code, output.last_line()), (0, "10 passed, 0 failed"), "{}", output.stderr);
    assert!(output.stdout.starts_with("not asked: 1 answer, rules lowercase the text"), "{}", output.stdout);
    assert_eq!(output.stderr, "");
}

#[test]
fn several_compressed_files_and_standard_input_are_read() {
    let (plain, packed) =
        (File::new("plain.jsonl", GOOD.as_bytes()), File::new("packed.jsonl.gz", &gzip(GOOD)));
    let output = replay(&[plain.path(), packed.path(), "-"], &gzip(GOOD));
    assert_eq!((output.code, output.last_line()), (0, "30 passed, 0 failed"), "{}", output.stderr);
    let totals = replay(&["--json", "-"], GOOD.as_bytes()).stdout;
    assert_eq!(totals, "{\"decisions\":71,\"failed\":0,\"passed\":10}\n");
}

#[test]
fn a_mismatch_names_file_line_and_part() {
    let file = File::new("bad.jsonl", GOOD.replace(r#""bucket":8121"#, r#""bucket":1"#).as_bytes());
    let output = replay(&[file.path()], b"");
    let expected = format!("{}:3: A-144-10 of A-144: decisions.menu-6", file.path());
    assert_eq!(
        output.lines()[..3],
        [
            expected.as_str(),
            r#"  expected {"bucket":1,"variation_id":"10907010364"}"#,
            r#"  actual   {"bucket":8121,"variation_id":"10907010364"}"#,
        ]
    );
    assert_eq!((output.code, output.last_line()), (1, "9 passed, 1 failed"));
}

#[test]
fn an_invalid_line_is_reported() {
    let flaws = [
        (r#"{"kind":"request","id":"#, "standard input:11: EOF while parsing a value (column 23)"),
        (r#"{"kind":"riddle"}"#, "standard input:11: kind: `riddle` is not known"),
        (
            r#"{"kind":"request","id":"x","config_ref":"A-144","request":{"visitor_id":7},"expected":{}}"#,
            "standard input:11: request.visitor_id: invalid type: integer `7`",
        ),
        (
            r#"{"kind":"request","id":"x","config_ref":"A-144","request":{"visitor_id":"v","stat":{}},"expected":{}}"#,
            "standard input:11: request.stat: unknown field `stat`",
        ),
        (
            r#"{"kind":"request","id":"x","config_ref":"A-144","request":{"visitor_id":"v"},"expected":{"decision":{}}}"#,
            "standard input:11: expected.decision: is not a part",
        ),
        (
            r#"{"kind":"request","id":"x","config_ref":"Z","request":{"visitor_id":"v"},"expected":{}}"#,
            "standard input:11: config_ref: is none of the 32 preceding configs",
        ),
        (
            r#"{"kind":"request","id":"x","config_ref":"A-144","request":{"visitor_id":"v","conversions":[{"goal_key":"goal-0","goal_data":[{"key":"colour","value":1}]}]},"expected":{"payload":[]}}"#,
            "standard input:11: request.conversions.goal_data.colour: not a goal data key",
        ),
        (
            r#"{"kind":"config","id":"x","options":{"environments":"y"},"config":{}}"#,
            "standard input:11: options.environments: unknown field",
        ),
        (r#"{"kind":"cast","type":"string"}"#, "standard input:11: missing field `value`"),
    ];
    for (line, message) in flaws {
        // An error in the middle: what precedes it is still answered.
        let (before, last) = GOOD.trim_end().rsplit_once('\n').unwrap();
        let text = format!("{before}\n{line}\n{last}\n");
        let number = text.lines().position(|one| one == line).unwrap() + 1;
        let output = replay(&["-"], text.as_bytes());
        let message = message.replace(":11:", &format!(":{number}:"));
        assert_eq!(output.code, 2, "{line}");
        assert!(output.stderr.starts_with(&format!("error: {message}")), "{line}: {}", output.stderr);
    }
}

#[test]
fn a_missing_file_is_reported() {
    let output = replay(&["no-such-file.jsonl"], b"");
    assert_eq!(output.code, 2);
    assert!(output.stderr.starts_with("error: no-such-file.jsonl: "), "{}", output.stderr);
    assert_eq!(replay(&[], b"").code, 2);
}

#[test]
fn a_file_without_a_line_to_answer_is_reported() {
    for input in ["", "\n\n", "{\"kind\":\"meta\"}\n"] {
        let output = replay(&["-"], input.as_bytes());
        assert_eq!(output.code, 2, "{input:?}");
        assert_eq!(output.stderr.trim_end(), "error: standard input: there is nothing to replay");
    }
}

#[test]
fn text_that_is_not_utf8_is_reported() {
    let output = replay(&["-"], b"{\"kind\":\"meta\"}\n\n\xff\n");
    assert_eq!(output.code, 2);
    assert!(output.stderr.starts_with("error: standard input:3: "), "{}", output.stderr);
}
