//! Random rule sets, and attribute values that make them interesting.

use serde_json::{Map, Value, json};

use super::random::Random;

const MATCH_TYPES: [&str; 14] = [
    "equals",
    "equalsNumber",
    "matches",
    "less",
    "lessEqual",
    "contains",
    "startsWith",
    "endsWith",
    "isIn",
    "regexMatches",
    "exists",
    "not_exists",
    "doesNotExist",
    "unheard_of",
];

/// Attribute names; the last two are report keys, which become segments.
const NAMES: [&str; 6] = ["plan", "age", "tags", "Plan", "country", "browser"];

/// Patterns on which both regular expression engines agree with JavaScript.
const PATTERNS: [&str; 12] = [
    "pro",
    "^pro$",
    "^[a-c]+$",
    "\\d{2,}",
    "(a|pro)(?!x)",
    "^$",
    "(p)r\\w+",
    "[^a-z]",
    "(",
    "[z-a]",
    "a**",
    "\\bfree\\b|,",
];

pub(super) fn value(random: &mut Random) -> Value {
    let texts = [
        "pro", "PRO", "free", "a", "", " ", "5", "5.0", "30", "1,000", "0,500", "-3", "a|pro", "true",
        "\u{3a3}",
    ];
    match random.below(12) {
        0..=5 => random.pick(&texts).into(),
        6 | 7 => {
            random.pick(&[json!(5), json!(5.0), json!(30), json!(-3), json!(0), json!(0.5), json!(1000)])
        }
        8 => random.percent(50).into(),
        9 => random.pick(&[json!(["a", "pro"]), json!([5, null]), json!([]), json!([["a"], true])]),
        10 => random.pick(&[
            json!({"a": 1, "5": 2}),
            json!({}),
            json!({"pro": {"b": [1]}}),
            json!({"toString": "pro"}),
            json!(["a", {"toString": 1}]),
        ]),
        _ => random.pick(&[json!(null), json!(1e21), json!(1e-7), json!(9_007_199_254_740_993_u64)]),
    }
}

/// A map of attributes.
pub(super) fn data(random: &mut Random) -> Map<String, Value> {
    let count = random.below(8);
    let attribute = |random: &mut Random, _| {
        let name = random.pick(&NAMES);
        // Lists given in several places are united, and their order shows in their text.
        let value = if name == "tags" && random.percent(60) { list(random) } else { value(random) };
        (name.to_owned(), value)
    };
    random.several(count, attribute).into_iter().collect()
}

fn list(random: &mut Random) -> Value {
    let count = 1 + random.below(3);
    random
        .several(count, |random, _| random.pick(&[json!("a"), json!("pro"), json!(5), json!("free")]))
        .into()
}

/// A rule set as served, occasionally with a malformed part.
pub(super) fn set(random: &mut Random) -> Value {
    if random.percent(3) {
        return random.pick(&[json!(null), json!({}), json!([]), json!({"OR": []}), json!({"OR": [null]})]);
    }
    let branches = 1 + random.below(2);
    json!({"OR": random.several(branches, |random, _| {
        let blocks = 1 + random.below(2);
        json!({"AND": random.several(blocks, |random, _| {
            let items = 1 + random.below(3);
            json!({"OR_WHEN": random.several(items, |random, _| item(random))})
        })})
    })})
}

fn item(random: &mut Random) -> Value {
    if random.percent(2) {
        return random.pick(&[json!(null), json!({}), json!("x"), json!({"key": "plan", "matching": null})]);
    }
    let name = random.pick(&NAMES);
    let of_a_list = name == "tags" && random.percent(50);
    let match_type =
        if of_a_list { random.pick(&["startsWith", "endsWith"]) } else { random.pick(&MATCH_TYPES) };
    let mut value = if match_type == "regexMatches" { random.pick(&PATTERNS).into() } else { value(random) };
    if of_a_list {
        value = random.pick(&["a", "pro", "5", "free"]).into();
    }
    if match_type == "isIn" && random.percent(30) {
        value = json!(["pro", 5, true]);
    }
    let mut item = json!({
        "rule_type": "generic_text_key_value", "key": name, "value": value,
        "matching": {"match_type": match_type, "negated": random.percent(40)},
    });
    if random.percent(4) {
        let fields = item.as_object_mut().unwrap();
        match random.below(4) {
            0 => drop(fields.remove("value")),
            1 => drop(fields.remove("key")),
            2 => drop(fields.insert("key".to_owned(), json!(5))),
            _ => drop(
                fields.insert("matching".to_owned(), json!({"match_type": match_type, "negated": "true"})),
            ),
        }
    }
    item
}
