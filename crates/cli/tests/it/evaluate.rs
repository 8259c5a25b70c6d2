//! `evaluate`.

use serde_json::{Value, json};

use crate::program::{cli, config};

fn answers(arguments: &[&str], input: &str) -> Vec<Value> {
    let config = config();
    let mut all = vec!["evaluate", "--json", "--config", &config];
    all.extend(arguments);
    let output = cli(&all, input.as_bytes());
    assert_eq!(output.code, 0, "{}", output.stderr);
    output.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn one_visitor() {
    let answers = answers(&["--visitor", "v1", "--attributes", r#"{"plan":"pro"}"#], "");
    assert_eq!(
        answers,
        [json!({
            "visitor": "v1",
            "experiences": [{
                "key": "checkout",
                "variation": {"key": "one-page", "id": "2002", "source": "hashed", "bucket": 6603},
            }],
            "features": [{
                "key": "checkout-form", "experience": "checkout", "variation": "one-page",
                "variables": {"steps": 1, "title": "Pay", "sticky": true},
            }],
        })]
    );
}

#[test]
fn many_visitors_from_standard_input() {
    let input = r#"{"visitor":"v1"}
{"visitor":"v1","attributes":{"plan":"free"}}
{"visitor":"","attributes":{"plan":"pro"},"location":{"url":"https://example.com/"}}
"#;
    let answers = answers(&["--attributes", r#"{"plan":"pro"}"#], input);
    let first = |at: usize| &answers[at]["experiences"][0];
    assert_eq!(first(0)["variation"]["key"], "one-page");
    assert_eq!(first(1)["reason"], "audience_mismatch");
    assert_eq!(first(2)["reason"], "no_visitor");
}

#[test]
fn an_explanation_has_its_steps() {
    let answers = answers(&["--visitor", "v1", "--explain"], "");
    let explanation = &answers[0]["experiences"][0]["explanation"];
    assert_eq!(explanation["outcome"], "audience_mismatch");
    let last = explanation["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["step"], &last["passed"]), (&json!("audiences"), &json!(false)));
}

#[test]
fn an_explanation_shows_operands_and_values_if_asked() {
    let free = ["--visitor", "v1", "--explain", "--attributes", r#"{"plan":"free"}"#];
    let item = |arguments: &[&str]| {
        let answer = answers(arguments, "").remove(0);
        let steps = answer["experiences"][0]["explanation"]["steps"].as_array().unwrap().clone();
        steps.last().unwrap()["evaluated"][0]["items"][0].clone()
    };
    let quiet = item(&free);
    assert_eq!((&quiet["operand"], quiet.get("attribute")), (&json!("pro"), None));
    let open = item(&[&free[..], &["--values"]].concat());
    assert_eq!(open["attribute"], "free");
}

#[test]
fn one_experience_is_run_alone() {
    // `pricing-discount` excludes the visitors of `pricing-layout`, which is decided before it.
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../emulator/projects/demo.json");
    let all = ["evaluate", "--json", "--config", demo, "--visitor", "ann", "--attributes", r#"{"age":30}"#];
    let decided = |arguments: &[&str]| -> Vec<Value> {
        let answer: Value = serde_json::from_str(&cli(arguments, b"").stdout).unwrap();
        answer["experiences"].as_array().unwrap().clone()
    };
    let together = decided(&all);
    assert_eq!(together.len(), 6);
    assert_eq!(
        (&together[4]["key"], &together[4]["reason"]),
        (&json!("pricing-discount"), &json!("audience_mismatch"))
    );
    let alone = decided(&[&all[..], &["--experience", "pricing-discount"]].concat());
    assert_eq!((alone.len(), &alone[0]["variation"]["key"]), (1, &json!("original")));
    let output = cli(&["evaluate", "--config", &config(), "--visitor", "v", "--experience", "nope"], b"");
    assert_eq!(output.code, 2);
    assert_eq!(
        output.stderr.trim_end(),
        "error: --experience: the config has no experience with the key `nope`"
    );
}

#[test]
fn human_readable_text() {
    let config = config();
    let output = cli(
        &[
            "evaluate",
            "--config",
            &config,
            "--visitor",
            "v1",
            "--explain",
            "--attributes",
            r#"{"plan":"pro"}"#,
        ],
        b"",
    );
    let expected = [
        "v1",
        "  experiences",
        "    checkout  one-page  hashed, bucket 6603",
        "      archived    no",
        "      environment all",
        "      stored      nothing",
        "      location    anywhere",
        "      audiences   any of them: passed",
        "        pro-plan: matched",
        "          OR[0].AND[0].OR_WHEN[0]: plan (string) equals \"pro\": matched",
        "      segments    everyone",
        "      bucketing   hash 2836182464, bucket 6603, anchored layout",
        "        original from 0 to 5000",
        "        one-page from 5000 to 10000",
        "  features",
        "    checkout-form  from checkout, one-page",
        "      steps   1",
        "      sticky  true",
        "      title   \"Pay\"",
    ];
    assert_eq!(output.lines(), expected);
}

#[test]
fn a_missing_decision_has_its_reason_in_words() {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../emulator/projects/demo.json");
    let output = cli(
        &["evaluate", "--config", demo, "--visitor", "ann", "--environment", "staging", "--explain"],
        b"",
    );
    let said = |line: &str| assert!(output.lines().contains(&line), "{line}: {}", output.stdout);
    said("    checkout-steps     -        the location does not match");
    said("          OR[0].AND[0].OR_WHEN[0]: path starts with \"/checkout\": absent");
    said("      environment production, staging requested: failed");
    said("      segments    one of returning-shoppers: failed");
}

#[test]
fn invalid_input_is_named() {
    let config = config();
    let flaws: [(&[&str], &str, &str); 5] = [
        (&["--config", "no-such.json", "--visitor", "v"], "", "error: no-such.json: "),
        (
            &["--config", &config, "--visitor", "v", "--attributes", "[1]"],
            "",
            "error: --attributes: invalid type",
        ),
        (
            &["--config", &config, "--environment", " ", "--visitor", "v"],
            "",
            "error: --environment: must not be empty",
        ),
        (
            &["--config", &config],
            "{\"visitor\":\"v\"}\n{\"visitor\":1}\n",
            "error: standard input:2: visitor: ",
        ),
        (
            &["--config", &config],
            "{\"visitor\":\"v\",\"attrs\":{}}\n",
            "error: standard input:1: attrs: unknown field",
        ),
    ];
    for (arguments, input, message) in flaws {
        let mut all = vec!["evaluate"];
        all.extend(arguments);
        let output = cli(&all, input.as_bytes());
        assert_eq!(output.code, 2, "{message}");
        assert!(output.stderr.starts_with(message), "{}", output.stderr);
    }
}
