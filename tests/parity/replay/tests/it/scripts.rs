//! Scripts: a wrong answer of every kind is found, and what JavaScript does not answer is not compared.

use serde_json::{Value, json};

use crate::program::{Output, replay};

/// A config with everything that a script can ask for.
fn config() -> Value {
    let all = json!({"OR": [{"AND": [{"OR_WHEN": [
        {"key": "gone", "matching": {"match_type": "doesNotExist", "negated": false}},
    ]}]}]});
    json!({"kind": "config", "id": "C", "config": {
        "account_id": "1", "project": {"id": "2"},
        "experiences": [{"id": "10", "key": "e", "variations": [
            {"id": "11", "key": "a", "traffic_allocation": 100, "changes": [
                {"type": "fullStackFeature", "data": {"feature_id": 5.0, "variables_data": {"n": "x"}}},
            ]},
            {"id": "12", "key": "b", "traffic_allocation": 0},
        ]}],
        "features": [{"id": "5", "key": "f", "variables": [{"key": "n", "type": "integer"}]}],
        "segments": [{"id": "s", "key": "seg", "rules": all}],
        "goals": [{"id": "g", "key": "goal"}, {"id": "g", "key": "same"}],
    }})
}

/// A script with one call of each kind, and correct answers.
fn script() -> Value {
    let event = |variation: &str| json!({"eventType": "bucketing", "data": {"experienceId": "10", "variationId": variation}});
    json!({"kind": "script", "id": "S", "config_ref": "C",
        "script": {"visitor_id": "v", "attributes": {"country": "GR"}, "ops": [
            {"op": "run", "key": "e"},
            {"op": "run", "key": "e", "force": "12"},
            {"op": "run_all"},
            {"op": "feature", "key": "f", "experience_keys": ["e"]},
            {"op": "run", "key": "e", "force": "11"},
            {"op": "features"},
            {"op": "custom", "keys": ["seg"], "rule_data": null},
            {"op": "segments", "segments": {"country": "DE"}},
            {"op": "convert", "goal_key": "goal"},
            // A mark by key is new, a mark by id is not.
            {"op": "convert", "goal_key": "same"},
        ]},
        "expected": {
            "answers": ["11", "12", [["e", "12"]], null, "11", [["f", "e"]], ["s"], null, true, true],
            "visitors": [{"visitorId": "v", "segments": {"country": "GR"}, "events": [
                event("11"), event("12"), event("11"),
                {"eventType": "conversion", "data": {"goalId": "g", "bucketingData": {"10": "11"}}},
                {"eventType": "conversion", "data": {"goalId": "g", "bucketingData": {"10": "11"}}},
            ]}],
        },
    })
}

fn ask(line: &Value) -> Output {
    replay(&["--json", "-"], format!("{}\n{line}\n", config()).as_bytes())
}

fn parts(output: &Output) -> Vec<String> {
    let part = |line: &&str| Some(serde_json::from_str::<Value>(line).ok()?["part"].as_str()?.to_owned());
    output.lines().iter().filter_map(part).collect()
}

#[test]
fn a_wrong_answer_of_every_kind_of_call_is_found() {
    let good = ask(&script());
    assert_eq!(good.code, 0, "{}{}", good.stdout, good.stderr);
    let event = json!({"eventType": "bucketing", "data": {"experienceId": "9", "variationId": "1"}});
    let planted = [
        ("/expected/answers/0", json!("12"), "answers.0.run"),
        ("/expected/answers/1", json!("11"), "answers.1.run"),
        ("/expected/answers/2", json!([]), "answers.2.run_all"),
        ("/expected/answers/3", json!(["e", "5"]), "answers.3.feature"),
        ("/expected/answers/5", json!([]), "answers.5.features"),
        ("/expected/answers/6", json!([]), "answers.6.custom"),
        ("/expected/answers/8", json!(false), "answers.8.convert"),
        ("/expected/visitors/0/events/0/data/variationId", json!("12"), "payload.events"),
        ("/expected/visitors/0/events/0", event, "payload.events"),
        ("/expected/visitors/0/events/3/data/goalId", json!("other"), "payload.events"),
        ("/expected/visitors/0/segments/country", json!("DE"), "payload.segments"),
        ("/expected/visitors", json!([]), "payload.visitors"),
    ];
    for (pointer, value, part) in planted {
        let mut line = script();
        *line.pointer_mut(pointer).unwrap() = value;
        let output = ask(&line);
        assert_eq!(output.code, 1, "{pointer}: {}", output.stderr);
        assert!(parts(&output).iter().any(|named| named == part), "{pointer}: {:?}", parts(&output));
    }
}

#[test]
fn an_unreported_exposure_is_found() {
    // JavaScript returns and sends nothing where this SDK does both.
    let mut line = script();
    line["script"]["ops"] = json!([{"op": "run", "key": "e"}]);
    line["expected"] = json!({"answers": ["11"], "visitors": []});
    assert_eq!(parts(&ask(&line)), ["payload.visitors"]);
}

#[test]
fn a_scripts_answers_end_where_javascript_throws() {
    let mut line = script();
    line["expected"] = json!({"answers": ["11", {"throws": "TypeError"}]});
    let output = replay(&["-"], format!("{}\n{line}\n", config()).as_bytes());
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("not asked: 1 answer, JavaScript throws there"), "{}", output.stdout);
}

fn request(expected: &Value) -> Value {
    json!({"kind": "request", "id": "R", "config_ref": "C", "expected": expected, "request": {
        "visitor_id": "v", "experience_keys": ["e"], "feature_keys": ["f"],
        "conversions": [{"goal_key": "goal"}],
    }})
}

#[test]
fn an_answer_where_javascript_throws_is_not_compared() {
    let thrown = json!({"throws": "TypeError"});
    let line = request(&json!({"decisions": {"e": thrown}, "conversions": [thrown]}));
    let cast = json!({"kind": "cast", "type": "string", "value": {"toString": 1}, "expected": thrown});
    let output = replay(&["-"], format!("{}\n{line}\n{cast}\n", config()).as_bytes());
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("not asked: 1 line, JavaScript throws there"), "{}", output.stdout);
    assert!(output.stdout.contains("not asked: 2 answers, JavaScript throws there"), "{}", output.stdout);
    assert_eq!(output.last_line(), "1 passed, 0 failed");
}

#[test]
fn a_whole_float_as_feature_id_is_that_number() {
    // What cannot be cast is found by its id, as served.
    let nan = json!({"$js": "NaN"});
    let entry =
        json!({"key": "f", "id": "5", "status": "enabled", "experience_key": "e", "variables": {"n": nan}});
    let output = ask(&request(&json!({"features": {"f": [entry]}})));
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
}
