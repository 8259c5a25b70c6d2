//! The served config in plain owned structs: the cost of parsing it and keeping the result.
#![expect(dead_code, reason = "the fields are parsed and kept, which is what is measured")]

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Config {
    account_id: String,
    project: Project,
    experiences: Vec<Experience>,
    audiences: Vec<Audience>,
    features: Vec<Feature>,
    goals: Vec<Goal>,
}

#[derive(Deserialize)]
struct Project {
    id: String,
}

#[derive(Deserialize)]
struct Experience {
    id: String,
    key: String,
    name: String,
    r#type: String,
    status: String,
    version: f64,
    audiences: Vec<String>,
    settings: Settings,
    variations: Vec<Variation>,
}

#[derive(Deserialize)]
struct Settings {
    matching_options: MatchingOptions,
}

#[derive(Deserialize)]
struct MatchingOptions {
    audiences: String,
}

#[derive(Deserialize)]
struct Variation {
    id: String,
    key: String,
    name: String,
    traffic_allocation: f64,
    status: String,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    r#type: String,
    data: ChangeData,
}

#[derive(Deserialize)]
struct ChangeData {
    feature_id: u64,
    variables_data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Audience {
    id: String,
    key: String,
    name: String,
    r#type: String,
    rules: AnyOf,
}

#[derive(Deserialize)]
struct AnyOf {
    #[serde(rename = "OR")]
    branches: Vec<AllOf>,
}

#[derive(Deserialize)]
struct AllOf {
    #[serde(rename = "AND")]
    blocks: Vec<Block>,
}

#[derive(Deserialize)]
struct Block {
    #[serde(rename = "OR_WHEN")]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    rule_type: String,
    key: String,
    value: serde_json::Value,
    matching: Matching,
}

#[derive(Deserialize)]
struct Matching {
    match_type: String,
    negated: bool,
}

#[derive(Deserialize)]
struct Feature {
    id: String,
    key: String,
    variables: Vec<Variable>,
}

#[derive(Deserialize)]
struct Variable {
    key: String,
    r#type: String,
}

#[derive(Deserialize)]
struct Goal {
    id: String,
    key: String,
}

pub(crate) fn parse(json: &str) -> Option<Config> {
    serde_json::from_str(json).ok()
}
