//! `convert evaluate`.

use serde_json::{Value, json};

use crate::program::{config, convert};

fn answers(arguments: &[&str], input: &str) -> Vec<Value> {
    let config = config();
    let mut all = vec!["evaluate", "--config", &config];
    all.extend(arguments);
    let output = convert(&all, input.as_bytes());
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
fn an_explanation_has_the_steps() {
    let answers = answers(&["--visitor", "v1", "--explain"], "");
    let explanation = &answers[0]["experiences"][0]["explanation"];
    assert_eq!(explanation["outcome"], "audience_mismatch");
    let last = explanation["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["step"], &last["passed"]), (&json!("audiences"), &json!(false)));
}

#[test]
fn text_for_people() {
    let config = config();
    let output = convert(
        &[
            "evaluate",
            "--config",
            &config,
            "--visitor",
            "v1",
            "--text",
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
        "      environment any, asked for any: passed",
        "      stored      nothing",
        "      location    none: passed",
        "      audiences   any: passed",
        "        pro-plan: matched",
        "          OR[0].AND[0].OR_WHEN[0]: plan (string) equals string: matched",
        "      segments    none: passed",
        "      bucketing   hash 2836182464, bucket 6603; anchored: 2001 from 0 to 5000; 2002 from 5000 to 10000",
        "  features",
        "    checkout-form  from checkout, one-page",
        "      steps   1",
        "      sticky  true",
        "      title   \"Pay\"",
    ];
    assert_eq!(output.lines(), expected);
}

#[test]
fn what_cannot_be_used_is_named() {
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
        let output = convert(&all, input.as_bytes());
        assert_eq!(output.code, 2, "{message}");
        assert!(output.stderr.starts_with(message), "{}", output.stderr);
    }
}
