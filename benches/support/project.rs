//! A generated project: its served config, and the ids and keys in it.

use std::fmt::Write as _;

/// The experience requested by key.
pub(crate) const ASKED: usize = 42;

pub(crate) fn experience_id(n: usize) -> String {
    (100_218_000 + n).to_string()
}

pub(crate) fn experience_key(n: usize) -> String {
    format!("checkout-experiment-{n:04}")
}

pub(crate) fn visitor_id(n: usize) -> String {
    format!("visitor-{n:09}")
}

/// A served config: experiences of two variations, each for its own audience with `rules` items that all must match
/// (alternately the text `plan` is `pro`, and the number `age` is not below 18); experience 0 carries a feature with
/// five variables; two goals.
pub(crate) fn project(experiences: usize, rules: usize) -> String {
    generated(experiences, rules, |_| ("pro".to_owned(), 18.0))
}

/// The same, where an audience and those beside it have no condition in common.
pub(crate) fn varied_project(experiences: usize, rules: usize) -> String {
    // Upper and lower case are the same to a rule.
    let cased = |n: usize| {
        let letters = "pro".chars().enumerate();
        letters.map(|(at, it)| if n >> at & 1 == 1 { it.to_ascii_uppercase() } else { it }).collect()
    };
    generated(experiences, rules, |n| (cased(n), 18.0 - n as f64 / 1_000.0))
}

/// `operands` are the plan and the age that an audience asks for.
fn generated(experiences: usize, rules: usize, operands: impl Fn(usize) -> (String, f64)) -> String {
    let mut json = String::from(
        r#"{"account_id":"10035569","project":{"id":"10034190"},
        "goals":[{"id":"100215960","key":"purchase"},{"id":"100215961","key":"signup"}],
        "features":[{"id":"10024","key":"checkout-form","variables":[
            {"key":"steps","type":"integer"},{"key":"discount","type":"float"},{"key":"title","type":"string"},
            {"key":"sticky","type":"boolean"},{"key":"methods","type":"json"}]}],"experiences":["#,
    );
    let variables =
        r#"{"steps":"1","discount":"7.5","title":"Pay now","sticky":"true","methods":"[\"card\"]"}"#;
    let change = format!(
        r#"{{"type":"fullStackFeature","data":{{"feature_id":10024,"variables_data":{variables}}}}}"#
    );
    for n in 0..experiences {
        let (comma, id, key) = (if n == 0 { "" } else { "," }, experience_id(n), experience_key(n));
        let changes = if n == 0 { change.as_str() } else { "" };
        let variation = |at: usize| {
            format!(
                r#"{{"id":"{}","key":"variation-{at}","name":"Variation {at}","traffic_allocation":50,"status":"running","changes":[{changes}]}}"#,
                100_300_000 + n * 2 + at
            )
        };
        let _ = write!(
            json,
            r#"{comma}{{"id":"{id}","key":"{key}","name":"Experiment {n}","type":"a/b_fullstack","status":"active","version":12,"audiences":["{}"],"settings":{{"matching_options":{{"audiences":"any"}}}},"variations":[{},{}]}}"#,
            200_000_000 + n,
            variation(0),
            variation(1),
        );
    }
    json.push_str(r#"],"audiences":["#);
    for n in 0..experiences {
        let (plan, age) = operands(n);
        let item = |at: usize| {
            if at.is_multiple_of(2) {
                format!(
                    r#"{{"OR_WHEN":[{{"rule_type":"generic_text_key_value","key":"plan","value":"{plan}","matching":{{"match_type":"equals","negated":false}}}}]}}"#
                )
            } else {
                format!(
                    r#"{{"OR_WHEN":[{{"rule_type":"generic_numeric_key_value","key":"age","value":{age},"matching":{{"match_type":"less","negated":true}}}}]}}"#
                )
            }
        };
        let items: Vec<String> = (0..rules).map(item).collect();
        let _ = write!(
            json,
            r#"{}{{"id":"{}","key":"audience-{n}","name":"Audience {n}","type":"transient","rules":{{"OR":[{{"AND":[{}]}}]}}}}"#,
            if n == 0 { "" } else { "," },
            200_000_000 + n,
            items.join(","),
        );
    }
    json.push_str("]}");
    json
}
