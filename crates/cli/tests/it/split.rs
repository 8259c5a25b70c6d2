//! `split`.

use serde_json::Value;

use crate::program::{cli, config};

const PRO: &str = r#"{"plan":"pro","country":"GR"}"#;

#[test]
fn a_split_is_a_table_bars_and_a_verdict() {
    let config = config();
    let arguments = [
        "split",
        "--config",
        &config,
        "--experience",
        "checkout",
        "--visitors",
        "20000",
        "--attributes",
        PRO,
    ];
    let output = cli(&arguments, b"");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let lines = output.lines();
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{}", output.stdout);
    assert_eq!(lines[0], "checkout: 20,000 visitors (visitor-0-1 to visitor-0-20000), anchored layout");
    for name in ["original", "one-page"] {
        let row = lines.iter().find(|line| line.contains(&format!(" {name} "))).unwrap();
        assert!(row.contains("50.00 %") && row.contains(" pp"), "{row}");
        let bar = lines.iter().find(|line| line.starts_with(name)).unwrap();
        assert!(bar.contains("\u{2588}\u{2588}\u{2588}") && bar.contains('\u{2502}'), "{bar}");
    }
    assert!(output.last_line().starts_with("chi-square "), "{}", output.last_line());
    assert!(output.last_line().ends_with(": consistent with the configured split"), "{}", output.last_line());
}

#[test]
fn seeds_select_other_visitors() {
    let config = config();
    let split = |seed| -> Value {
        let arguments = [
            "split",
            "--config",
            &config,
            "--experience",
            "checkout",
            "--visitors",
            "5000",
            "--attributes",
            PRO,
            "--seed",
            seed,
            "--json",
        ];
        serde_json::from_str(&cli(&arguments, b"").stdout).unwrap()
    };
    let observed = |split: &Value| split["shares"][0]["observed"].as_u64().unwrap();
    let (first, again, other) = (split("1"), split("1"), split("2"));
    assert_eq!(first, again);
    assert_ne!(observed(&first), observed(&other));
    assert_eq!(first["degrees_of_freedom"], 1);
    assert_eq!(first["shares"][1]["configured"], 0.5);
    assert_eq!(first["consistent"], true);
}

/// One seed in a thousand is this unlucky; this one was searched for.
#[test]
fn a_split_other_than_the_configured_one_fails() {
    let config = config();
    let arguments = [
        "split",
        "--config",
        &config,
        "--experience",
        "checkout",
        "--visitors",
        "200",
        "--attributes",
        PRO,
        "--seed",
        "2138",
    ];
    let output = cli(&arguments, b"");
    assert_eq!(output.code, 1);
    assert_eq!(output.last_line(), "chi-square 13.520 (1 df), p = 2.4e-4: NOT the configured split");
}

#[test]
fn visitors_who_are_not_bucketed_are_an_error() {
    let config = config();
    for (experience, message) in [
        (
            "checkout",
            "error: --experience: no visitor gets as far as bucketing: the visitor is not in the audience",
        ),
        ("nowhere", "error: --experience: the config has no experience with the key `nowhere`"),
    ] {
        let output =
            cli(&["split", "--config", &config, "--experience", experience, "--visitors", "10"], b"");
        assert_eq!(output.code, 2);
        assert!(output.stderr.starts_with(message), "{}", output.stderr);
    }
}
