//! Random configs: mostly as served, occasionally as odd as JavaScript allows.

use serde_json::{Value, json};

use super::random::Random;
use super::rules;

/// What a config may contain.
#[derive(Clone, Copy)]
pub(super) struct Kinds {
    /// Audiences that depend on stored decisions, so that one call may change the result of another: exclusions, and
    /// permanent ones, which are not checked again after a decision.
    pub(super) stored: bool,
    /// Malformed fields, and duplicate names.
    pub(super) odd: bool,
}

const EXPERIENCES: usize = 6;
pub(super) const ENVIRONMENTS: [&str; 3] = ["production", "staging", "Staging"];
/// Ascending, descending, on both sides of the array index limit, and not canonical.
const VARIATION_IDS: [&str; 10] =
    ["10", "9", "2000", "100", "4294967294", "4294967295", "007", "b", "a", "10907010364"];

pub(super) fn config(random: &mut Random, kinds: Kinds) -> Value {
    let mut experiences = random.several(EXPERIENCES, experience);
    if random.percent(5) {
        // A duplicate key refers to the first.
        experiences[4]["key"] = experiences[1]["key"].clone();
    }
    let archived = if random.percent(15) { json!([random.pick(&["1", "3"]), 5]) } else { json!([]) };
    let mut config = json!({
        "account_id": "1", "project": {"id": "2"}, "archived_experiences": archived,
        "experiences": experiences,
        "audiences": random.several(5, |random, at| audience(random, at, kinds)),
        "locations": random.several(3, |random, at| ruled(random, "l", at)),
        "segments": random.several(3, |random, at| ruled(random, "s", at)),
        "goals": random.several(3, |random, at| ruled(random, "g", at)),
        "features": random.several(3, feature),
    });
    if kinds.odd {
        for _ in 0..random.below(4) {
            make_odd(random, &mut config, kinds);
        }
    }
    config
}

/// Changes one thing into something that a config should not contain.
fn make_odd(random: &mut Random, config: &mut Value, kinds: Kinds) {
    let none = [json!(0), json!(""), json!(false)];
    let experience = random.below(EXPERIENCES);
    let (pointer, value) = match random.below(14) {
        0 => (
            format!("/experiences/{experience}/environment"),
            random.pick(&[json!(true), json!(5), json!([]), json!({}), json!(["production"])]),
        ),
        // Experiences with the same id share what is stored.
        1 if kinds.stored => (format!("/experiences/{experience}/id"), json!(random.below(3).to_string())),
        1 | 2 => (format!("/experiences/{experience}/id"), random.pick(&none)),
        3 => (format!("/experiences/{experience}/key"), random.pick(&[json!(""), json!(5), json!("e0")])),
        4 => (
            format!("/experiences/{experience}/variations/0/id"),
            random.pick(&[json!(null), json!(true), json!(10), json!(0), json!("null"), json!("")]),
        ),
        5 => (format!("/features/{}/id", random.below(3)), random.pick(&[json!("1"), json!(1)])),
        6 => (format!("/features/{}/key", random.below(3)), random.pick(&[json!("f1"), json!(""), json!(5)])),
        7 => {
            (format!("/segments/{}/key", random.below(3)), random.pick(&[json!(5), json!("s-1"), json!("")]))
        }
        8 => (format!("/segments/{}/id", random.below(3)), random.pick(&[json!("s1"), json!(0)])),
        9 => (format!("/goals/{}/id", random.below(3)), random.pick(&none)),
        10 => (format!("/goals/{}/key", random.below(3)), random.pick(&[json!(""), json!("g-1")])),
        11 => {
            let variations = config.pointer(&format!("/experiences/{experience}/variations"));
            let mut variations = variations.and_then(Value::as_array).cloned().unwrap_or_default();
            variations.insert(0, random.pick(&[json!(null), json!(5), json!("10"), json!([])]));
            (format!("/experiences/{experience}/variations"), variations.into())
        }
        12 => {
            let changes = changes(random).into_iter().zip(["10", "b", "2", "a"]);
            let changes = changes.map(|(change, name)| (name.to_owned(), change)).collect();
            (format!("/experiences/{experience}/variations/0/changes"), Value::Object(changes))
        }
        _ => {
            let section = random.pick(&["goals", "locations", "segments", "audiences", "features"]);
            (format!("/{section}"), random.pick(&[json!(false), json!(""), json!({})]))
        }
    };
    if let Some((within, field)) = pointer.rsplit_once('/')
        && let Some(Value::Object(within)) = config.pointer_mut(within)
    {
        within.insert(field.to_owned(), value);
    }
}

/// One experience, with an id and a key derived from its position.
pub(super) fn experience(random: &mut Random, at: usize) -> Value {
    let mut ids = VARIATION_IDS.to_vec();
    random.shuffle(&mut ids);
    let count = if random.percent(3) { 0 } else { 1 + random.below(4) };
    let mut variations = random.several(count, |random, at| variation(random, ids[at]));
    if count > 1 && random.percent(4) {
        variations[1]["id"] = variations[0]["id"].clone();
    }
    let mut experience = json!({"id": at.to_string(), "key": format!("e{at}"), "variations": variations});
    let mut maybe = |random: &mut Random, percent: usize, field: &str, value: Value| {
        if random.percent(percent) {
            experience[field] = value;
        }
    };
    let versions = [
        json!(8),
        json!(11),
        json!(12),
        json!(13),
        json!("12"),
        json!(11.5),
        json!([12]),
        json!(null),
        json!("x"),
    ];
    let version = random.pick(&versions);
    maybe(random, 80, "version", version);
    let environment = random.pick(&[json!(ENVIRONMENTS[0]), json!(ENVIRONMENTS[1]), json!(""), json!(null)]);
    maybe(random, 12, "environment", environment);
    let audiences = id_list(random, &["a0", "a1", "a2", "a3", "a4", "s0", "s1", "gone"]);
    maybe(random, 45, "audiences", audiences);
    let locations = id_list(random, &["l0", "l1", "l2", "gone"]);
    maybe(random, 12, "locations", locations);
    let site_area = if random.percent(80) { rules::set(random) } else { json!({}) };
    maybe(random, 12, "site_area", site_area);
    let how = random.pick(&["any", "all", "All"]);
    maybe(random, 85, "settings", json!({"matching_options": {"audiences": how}}));
    experience
}

fn variation(random: &mut Random, id: &str) -> Value {
    let mut variation = json!({"id": id, "key": format!("v{id}"), "changes": changes(random)});
    let odd = [
        json!("50"),
        json!("abc"),
        json!(""),
        json!(null),
        json!(-5),
        json!("0x10"),
        json!([20]),
        json!(true),
        json!({}),
    ];
    let weight = match random.below(20) {
        0 => random.pick(&odd),
        1 => json!(0),
        2..=9 => json!(random.below(10_001) as f64 / 100.0),
        _ => random.pick(&[json!(50), json!(33.33), json!(25), json!(10), json!(1.1), json!(100)]),
    };
    if random.percent(95) {
        variation["traffic_allocation"] = weight;
    }
    let odd = [json!("Running"), json!(""), json!(null), json!(false)];
    let status = if random.percent(90) {
        random.pick(&[json!("running"), json!("stopped")])
    } else {
        random.pick(&odd)
    };
    if random.percent(40) {
        variation["status"] = status;
    }
    variation
}

fn changes(random: &mut Random) -> Vec<Value> {
    let count = random.below(3);
    random.several(count, |random, _| {
        let kind = random.pick(&["fullStackFeature", "fullStackFeature", "fullStackFeature", "defaultCode"]);
        let feature_id = random.pick(&[json!(0), json!(1), json!(2), json!("1"), json!(77)]);
        let mut data = json!({"feature_id": feature_id});
        if random.percent(90) {
            data["variables_data"] = ["on", "count", "price", "text", "json", "other"]
                .iter()
                .map(|name| ((*name).to_owned(), cast_subject(random)))
                .collect();
        }
        json!({"type": kind, "data": data})
    })
}

fn cast_subject(random: &mut Random) -> Value {
    let texts =
        ["12abc", "3.99", "1e3", "0x1f", "1.5abc", "Infinity", "{\"a\": 1}", "[1", "12", "false", "-7", ".5"];
    if random.percent(50) { random.pick(&texts).into() } else { rules::value(random) }
}

fn feature(random: &mut Random, at: usize) -> Value {
    let declared =
        [("on", "boolean"), ("count", "integer"), ("price", "float"), ("text", "string"), ("json", "json")];
    let kept: Vec<_> = declared.iter().filter(|_| random.percent(85)).collect();
    let variables: Vec<_> = kept.iter().map(|(key, kind)| json!({"key": key, "type": kind})).collect();
    json!({"id": at.to_string(), "key": format!("f{at}"), "variables": variables})
}

fn audience(random: &mut Random, at: usize, kinds: Kinds) -> Value {
    let mut audience = ruled(random, "a", at);
    let permanent = kinds.stored && random.percent(33);
    audience["type"] = if permanent { "permanent" } else { "transient" }.into();
    if kinds.stored && random.percent(25) {
        let target = format!("e{}", random.below(EXPERIENCES + 1));
        let negated = random.pick(&[json!(true), json!(false), json!(null)]);
        let item = json!({"rule_type": "bucketed_into_experience_key", "value": target, "matching": {"negated": negated}});
        let mut rules = rules::set(random);
        match rules.pointer_mut("/OR/0/AND/0/OR_WHEN").and_then(Value::as_array_mut) {
            Some(items) if random.percent(50) => items.push(item),
            _ => rules = json!({"OR": [{"AND": [{"OR_WHEN": [item]}]}]}),
        }
        audience["rules"] = rules;
    }
    audience
}

/// An audience, a location, a segment or a goal.
fn ruled(random: &mut Random, kind: &str, at: usize) -> Value {
    let mut entity = json!({"id": format!("{kind}{at}"), "key": format!("{kind}-{at}")});
    if random.percent(95) {
        entity["rules"] = rules::set(random);
    }
    entity
}

fn id_list(random: &mut Random, ids: &[&str]) -> Value {
    let count = random.below(4);
    random.several(count, |random, _| random.pick(ids)).into()
}
