//! Each comparison can fail: a wrong expectation in every part, one at a time, is found and named.

use serde_json::{Value, json};

use crate::program::{GOOD, replay};

/// The line, the JSON pointer of the expectation, its replacement, and the part that must be named.
const PLANTED: [(&str, &str, &str, &str); 41] = [
    ("A-144-7", "/expected/custom_segments/matched", "[]", "custom_segments"),
    ("A-144-10", "/expected/decisions/nav-0/variation_id", r#""1""#, "decisions.nav-0"),
    ("A-144-10", "/expected/decisions/nav-0", r#"{"none":"no_match"}"#, "decisions.nav-0"),
    ("A-144-10", "/expected/decisions/menu-6/bucket", "8122", "decisions.menu-6"),
    ("A-144-10", "/expected/decisions/menu-6", r#"{"variation_id":"10907010364"}"#, "decisions.menu-6"),
    ("A-144-10", "/expected/decisions/search-4/none", r#""not_decided""#, "decisions.search-4"),
    ("A-144-10", "/expected/run_experiences", r#"[["nav-0","1412724504"]]"#, "run_experiences"),
    ("A-144-10", "/expected/run_experiences/1/1", r#""1""#, "run_experiences"),
    ("A-144-10", "/expected/run_experiences_again", "[]", "run_experiences_again"),
    ("A-144-7", "/expected/conversions/0/accepted", "false", "conversions.0.accepted"),
    ("A-144-7", "/expected/conversions/0/events", "1", "conversions.0.events"),
    ("A-144-7", "/expected/conversions", "[]", "conversions"),
    // One event more than expected, one less, and another one.
    ("A-144-10", "/expected/payload/0/events", "[]", "payload.events"),
    ("A-144-10", "/expected/payload/0/events/0/data/variationId", r#""1""#, "payload.events"),
    ("A-144-7", "/expected/payload/0/events/0/eventType", r#""bucketing""#, "payload.events"),
    ("A-144-7", "/expected/payload/0/events/1/data/goalData/0/value", "10.300000000000002", "payload.events"),
    ("A-144-7", "/expected/payload/0/events/0/data/bucketingData/339330322", r#""1""#, "payload.events"),
    ("A-144-7", "/expected/payload/0/segments/country", r#""GR""#, "payload.segments"),
    ("A-144-7", "/expected/payload/0/segments/customSegments", "[]", "payload.segments"),
    ("A-144-7", "/expected/payload/0/visitorId", r#""other""#, "payload.visitors"),
    ("A-144-10", "/expected/payload", "[]", "payload.visitors"),
    ("A-144-7", "/expected/features/feature-0/0/variables/json_var", r#""is json""#, "features.feature-0"),
    ("A-144-7", "/expected/features/feature-0/0/variables/integer_var", "1", "features.feature-0.first"),
    ("A-144-7", "/expected/features/feature-0/0/id", r#""1""#, "features.feature-0"),
    ("A-144-7", "/expected/features/feature-0/0/status", r#""disabled""#, "features.feature-0"),
    ("A-144-7", "/expected/features/feature-0/0/experience_key", r#""nav-0""#, "features.feature-0"),
    ("A-144-10", "/expected/features/feature-2/0/variables/integer_var", "13", "features.feature-2"),
    ("A-144-10", "/expected/run_features/2/variables/float_var", "2.5", "run_features"),
    ("A-144-10", "/expected/run_features/3/key", r#""feature-9""#, "run_features.disabled"),
    ("A-144-7", "/expected/preview/active", "false", "preview.active"),
    (
        "A-144-7",
        "/expected/preview/decisions/checkout-2",
        r#"{"none":"no_match"}"#,
        "preview.decisions.checkout-2",
    ),
    ("A-144-7", "/expected/preview/run_experiences/4/1", r#""1""#, "preview.run_experiences"),
    ("A-144-7", "/expected/preview/traceless", "false", "preview.traceless"),
    ("R-5161", "/expected", "false", "rule"),
    ("H-77", "/expected/murmur3", "1", "hash.murmur3"),
    ("H-77", "/expected/bucket", "111", "hash.bucket"),
    ("L-1", "/expected/1/2", r#""200""#, "layout.u18680"),
    ("cast", "/expected", "13", "cast"),
    ("string", "/expected", r#""1.50""#, "string"),
    ("preview_param", "/expected/variationId", r#""02""#, "preview_param"),
    ("regex", "/texts/0/1", "false", "regex.AA"),
];

/// The fixture with one value replaced.
fn planted(id: &str, pointer: &str, value: &str) -> String {
    let mut lines: Vec<Value> = GOOD.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter_mut().find(|line| line["id"] == id && line["kind"] != "config").unwrap();
    let place = line.pointer_mut(pointer).unwrap();
    *place = serde_json::from_str(value).unwrap();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_wrong_expectation_is_found_in_every_part() {
    for (id, pointer, value, part) in PLANTED {
        let output = replay(&["--json", "-"], planted(id, pointer, value).as_bytes());
        assert_eq!(output.code, 1, "{id} {pointer}: {}", output.stderr);
        let lines: Vec<Value> =
            output.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (totals, mismatches) = lines.split_last().unwrap();
        assert_eq!((&totals["passed"], &totals["failed"]), (&json!(9), &json!(1)), "{id} {pointer}");
        assert!(mismatches.iter().all(|mismatch| mismatch["id"] == id), "{id} {pointer}");
        let named: Vec<&str> = mismatches.iter().filter_map(|mismatch| mismatch["part"].as_str()).collect();
        assert!(named.contains(&part), "{id} {pointer}: {part} is not among {named:?}");
        // Only the planted error differs.
        let group = part.split('.').next().unwrap();
        assert!(named.iter().all(|named| named.starts_with(group)), "{id} {pointer}: {named:?}");
    }
}

#[test]
fn a_number_is_compared_in_both_layouts() {
    let output = replay(&["--json", "-"], planted("number", "/expected", "35").as_bytes());
    let parts = output.lines();
    assert!(
        parts[0].contains(r#""part":"number.packed""#) && parts[1].contains(r#""part":"number.anchored""#)
    );
}

#[test]
fn a_recommended_answer_replaces_the_expected_one() {
    let mut lines: Vec<Value> = GOOD.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter_mut().find(|line| line["id"] == "A-144-10").unwrap();
    let right = line["expected"]["decisions"]["menu-6"].take();
    line["expected"]["decisions"]["menu-6"] = json!({"throws": "TypeError"});
    line["recommended"] = json!({"decisions": {"menu-6": right}});
    let text = |lines: &[Value]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(replay(&["-"], text(&lines).as_bytes()).code, 0);
    let line = lines.iter_mut().find(|line| line["id"] == "A-144-10").unwrap();
    line["recommended"]["decisions"]["menu-6"] = json!({"none": "no_match"});
    assert_eq!(replay(&["-"], text(&lines).as_bytes()).code, 1);
}

#[test]
fn an_oracle_can_answer_only_some_of_the_parts() {
    let mut lines: Vec<Value> =
        GOOD.lines().take(2).map(|line| serde_json::from_str(line).unwrap()).collect();
    lines[1]["expected"] = json!({"decisions": {"banner-1": lines[1]["expected"]["decisions"]["banner-1"]}});
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let output = replay(&["--json", "-"], text.as_bytes());
    assert_eq!(output.last_line(), r#"{"decisions":1,"failed":0,"passed":1}"#);
}

#[test]
fn a_config_that_the_sdk_rejects_fails_its_requests() {
    let lines = concat!(
        r#"{"kind":"config","id":"C","config":{"account_id":"1"}}"#,
        "\n",
        r#"{"kind":"request","id":"C-0","config_ref":"C","request":{"visitor_id":"v"},"expected":{"payload":[]}}"#,
    );
    let output = replay(&["-"], lines.as_bytes());
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert!(output.stdout.contains("C-0 of C: config\n"), "{}", output.stdout);
}
