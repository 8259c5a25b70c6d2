//! `diff`.

use serde_json::{Value, json};

use crate::program::{File, cli, config};

const PRO: &str = r#"{"plan":"pro"}"#;

/// The small config with a change.
fn edited(name: &str, edit: impl FnOnce(&mut Value)) -> File {
    let mut served: Value = serde_json::from_slice(&std::fs::read(config()).unwrap()).unwrap();
    edit(&mut served);
    File::new(name, served.to_string().as_bytes())
}

fn reweighted(name: &str) -> File {
    edited(name, |config| {
        config["experiences"][0]["variations"][0]["traffic_allocation"] = json!(40);
        config["experiences"][0]["variations"][1]["traffic_allocation"] = json!(60);
    })
}

fn report(arguments: &[&str]) -> Value {
    let output = cli(&[&["diff", "--json"], arguments].concat(), b"");
    assert_eq!(output.code, 0, "{}", output.stderr);
    serde_json::from_str(&output.stdout).unwrap()
}

#[test]
fn new_weights_move_their_share() {
    let (old, new) = (config(), reweighted("reweighted.json"));
    let report = report(&[&old, new.path(), "--sample", "20000", "--attributes", PRO]);
    let checkout = &report["experiences"][0];
    assert_eq!(checkout["change"]["kind"], "reweighted");
    assert_eq!(checkout["change"]["details"], json!(["original 50 \u{2192} 40", "one-page 50 \u{2192} 60"]));
    // Ten of a hundred, all from the one to the other.
    let another = checkout["another"].as_u64().unwrap();
    assert!((1_800..2_200).contains(&another), "{another}");
    assert_eq!((&checkout["in_old"], &checkout["in_new"]), (&json!(20_000), &json!(20_000)));
    assert_eq!((&checkout["enter"], &checkout["leave"]), (&json!(0), &json!(0)));
    assert_eq!(report["moved"], another);
    let example = &checkout["examples"][0];
    assert_eq!(
        (&example["old"]["variation_key"], &example["new"]["variation_key"]),
        (&json!("original"), &json!("one-page"))
    );
}

#[test]
fn an_example_is_what_evaluate_says() {
    let (old, new) = (config(), reweighted("example.json"));
    let report = report(&[&old, new.path(), "--sample", "2000"]);
    let example = &report["experiences"][0]["examples"][0];
    for (side, path) in [("old", old.as_str()), ("new", new.path())] {
        let visitor = example["visitor"].as_str().unwrap();
        let output =
            cli(&["evaluate", "--json", "--config", path, "--visitor", visitor, "--attributes", PRO], b"");
        let answer: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(answer["experiences"][0]["variation"]["id"], example[side]["variation_id"]);
    }
}

#[test]
fn visitors_of_a_file_enter_and_leave() {
    let new = edited("audience.json", |config| {
        let item = &mut config["audiences"][0]["rules"]["OR"][0]["AND"][0]["OR_WHEN"][0];
        item["value"] = json!("team");
    });
    let visitors = File::new(
        "visitors.jsonl",
        b"{\"visitor\":\"a\",\"attributes\":{\"plan\":\"pro\"}}\n\n{\"visitor\":\"b\",\"attributes\":{\"plan\":\"team\"}}\n{\"visitor\":\"c\"}\n",
    );
    let report = report(&[&config(), new.path(), "--visitors", visitors.path()]);
    let checkout = &report["experiences"][0];
    assert_eq!(
        (&checkout["enter"], &checkout["leave"], &checkout["another"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!((&report["visitors"], &report["moved"]), (&json!(3), &json!(2)));
    assert_eq!(checkout["change"]["details"], json!(["audience pro-plan"]));
    let examples = checkout["examples"].to_string();
    assert!(!examples.contains("\"attribute\":"), "values are shown only if asked: {examples}");
}

#[test]
fn the_text_fits_80_columns_and_gives_reasons() {
    let new = edited("text.json", |config| {
        config["experiences"][0]["variations"][1]["traffic_allocation"] = json!(20);
        let mut added = config["experiences"][0].clone();
        (added["id"], added["key"]) =
            (json!("1002"), json!("a-new-experience-with-a-key-that-is-quite-long"));
        added["audiences"] = json!([]);
        config["experiences"].as_array_mut().unwrap().push(added);
    });
    let output = cli(&["diff", &config(), new.path(), "--sample", "3000"], b"");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert!(output.lines()[1..].iter().all(|line| line.chars().count() <= 80), "{}", output.stdout);
    for part in [
        "\nre-weighted  checkout\n               one-page 50 \u{2192} 20\n",
        "\nadded        a-new-experience",
        "visitors drawn from the rules, seed 0",
        "\u{2593}\u{2593}\u{2593}",
        " leaves checkout\n  OLD  one-page  bucket ",
        " enters a-new-experience-with-a-key-that-is-quite-long\n  OLD  -  not in the config\n  NEW  ",
    ] {
        assert!(output.stdout.contains(part), "{part}\n{}", output.stdout);
    }
    assert!(output.last_line().contains(" of 3,000 visitors move ("), "{}", output.last_line());
}

#[test]
fn more_moves_than_allowed_have_a_status_of_their_own() {
    let (old, new) = (config(), reweighted("allowed.json"));
    let diff = |allow| {
        cli(&["diff", &old, new.path(), "--sample", "2000", "--attributes", PRO, "--allow", allow], b"")
    };
    let over = diff("5");
    assert_eq!(over.code, 3);
    assert!(over.last_line().ends_with(": MORE than the 5 % allowed"), "{}", over.last_line());
    assert_eq!(diff("20").code, 0);
    assert_eq!(diff("120").code, 2);
}

#[test]
fn the_bucket_orders_are_compared() {
    let packed = edited("packed.json", |config| {
        config["experiences"][0]["version"] = json!(11);
        config["experiences"][0]["variations"][0]["id"] = json!("2003");
    });
    let report = report(&[packed.path(), "--old-order", "config", "--sample", "2000", "--attributes", PRO]);
    assert_eq!((&report["moved"], &report["experiences"][0]["another"]), (&json!(2_000), &json!(2_000)));
    assert_eq!(report["experiences"][0]["change"]["kind"], "unchanged");
    let arguments = ["diff", packed.path(), "--old-order", "config", "--sample", "2000", "--attributes", PRO];
    let text = cli(&arguments, b"").stdout;
    let told = "the experiences are the same; the bucket order differs: checkout\n";
    assert!(text.contains(told) && !text.contains("no experience differs"), "{text}");
}

#[test]
fn a_status_is_compared_and_said_to_stop_nothing() {
    let paused = edited("paused.json", |config| config["experiences"][0]["status"] = json!("paused"));
    let output = cli(&["diff", &config(), paused.path(), "--sample", "1"], b"");
    assert!(output.stdout.contains("status none \u{2192} paused"), "{}", output.stdout);
    let warning = format!("warning: {}: experiences[0].status: is \"paused\"", paused.path());
    assert!(output.stderr.starts_with(&warning), "{}", output.stderr);
}

/// A weight that grows takes nobody from where a data store says they are.
#[test]
fn who_is_remembered_stays() {
    let (old, new) = (config(), reweighted("remembered.json"));
    let report = report(&[&old, new.path(), "--sample", "2000", "--attributes", PRO, "--remembered"]);
    assert_eq!(report["moved"], 0);
    let gone = edited("gone.json", |config| {
        config["experiences"][0]["variations"][1]["id"] = json!("2009");
    });
    let report = self::report(&[&old, gone.path(), "--sample", "2000", "--attributes", PRO, "--remembered"]);
    let another = report["experiences"][0]["another"].as_u64().unwrap();
    assert!((900..1_100).contains(&another), "a variation that is gone is decided again: {another}");
}

#[test]
fn input_that_cannot_be_compared_is_named() {
    let old = config();
    let foreign = edited("foreign.json", |config| config["project"]["id"] = json!("9"));
    let (empty, broken) =
        (File::new("empty.jsonl", b"\n"), File::new("broken.jsonl", b"{\"visitor\":\"a\"}\n{}\n"));
    let flaws: [(&[&str], String); 5] = [
        (&[&old, &old, "--visitors", "3000"], "error: --visitors: names a file; `--sample 3000`".to_owned()),
        (&[&old, foreign.path()], format!("error: {}: belongs to another", foreign.path())),
        (&[&old, &old, "--visitors", empty.path()], format!("error: {}: has no visitors", empty.path())),
        (&[&old, &old, "--visitors", broken.path()], format!("error: {}:2: missing field", broken.path())),
        (&[&old, "--new-order", "javascript"], "error: NEW: is needed".to_owned()),
    ];
    for (arguments, message) in flaws {
        let output = cli(&[&["diff"], arguments].concat(), b"");
        assert_eq!(output.code, 2, "{message}");
        assert!(output.stderr.starts_with(&message), "{}", output.stderr);
    }
}
