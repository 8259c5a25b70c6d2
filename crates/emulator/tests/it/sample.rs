//! The sample project: what its description promises, and that its references resolve.

use std::collections::HashSet;

use serde_json::Value;

fn sample() -> Value {
    serde_json::from_str(include_str!("../../projects/demo.json")).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn ids(config: &Value, key: &str) -> HashSet<String> {
    list(config, key).iter().map(|entity| entity["id"].as_str().unwrap().to_owned()).collect()
}

/// Every rule item below a value.
fn items<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(object) if object.contains_key("rule_type") => found.push(value),
        Value::Object(object) => object.values().for_each(|inner| items(inner, found)),
        Value::Array(list) => list.iter().for_each(|inner| items(inner, found)),
        _ => {}
    }
}

#[test]
fn it_has_the_promised_variety() {
    let config = sample();
    let count = |key: &str| list(&config, key).len();
    let counts = ["experiences", "audiences", "locations", "segments", "features", "goals"].map(count);
    assert_eq!(counts, [6, 4, 2, 2, 3, 4]);
    let collect = |pick: fn(&Value) -> Option<String>| -> HashSet<String> {
        list(&config, "experiences").iter().filter_map(pick).collect()
    };
    assert_eq!(
        collect(|experience| Some(experience["version"].to_string())),
        ["11", "12"].map(String::from).into()
    );
    let environments = collect(|experience| experience["environment"].as_str().map(String::from));
    assert_eq!(environments, ["production", "staging"].map(String::from).into());
    let modes =
        collect(|experience| Some(experience["settings"]["matching_options"]["audiences"].to_string()));
    assert_eq!(modes, ["\"all\"", "\"any\""].map(String::from).into());
    let features = list(&config, "features").iter().flat_map(|feature| list(feature, "variables"));
    let types: HashSet<&str> = features.map(|variable| variable["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["boolean", "float", "integer", "json", "string"].into());
}

#[test]
fn its_references_resolve() {
    let config = sample();
    let (features, goals, locations) =
        (ids(&config, "features"), ids(&config, "goals"), ids(&config, "locations"));
    let mut audiences = ids(&config, "audiences");
    audiences.extend(ids(&config, "segments"));
    for experience in list(&config, "experiences") {
        for (key, known) in [("audiences", &audiences), ("locations", &locations), ("goals", &goals)] {
            for id in list(experience, key) {
                assert!(known.contains(id.as_str().unwrap()), "{key} {id}");
            }
        }
        for change in list(experience, "variations").iter().flat_map(|variation| list(variation, "changes")) {
            assert!(features.contains(&change["data"]["feature_id"].to_string()), "{change}");
        }
    }
}

#[test]
fn its_rule_items_are_complete() {
    let config = sample();
    let mut found = Vec::new();
    items(&config, &mut found);
    assert_eq!(found.len(), 14);
    let experiences = list(&config, "experiences");
    for item in found {
        assert!(
            item["matching"]["match_type"].is_string() && item["matching"]["negated"].is_boolean(),
            "{item}"
        );
        assert!(item.get("value").is_some(), "{item}");
        if item["rule_type"] == "bucketed_into_experience_key" {
            assert!(experiences.iter().any(|experience| experience["key"] == item["value"]), "{item}");
        } else {
            assert!(item["key"].is_string(), "{item}");
        }
    }
}
