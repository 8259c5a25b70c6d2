//! Visitors drawn from the rules of configs: attributes that meet and that miss what is compared.

use std::collections::HashMap;
use std::sync::Arc;

use convert_evaluation::AttributeValue;
use serde_json::Value;

use super::VisitorFacts;

/// How many attributes a visitor is given without an aim.
const AIMLESS: usize = 8;

/// What the rules of some configs compare.
#[derive(Default)]
pub(crate) struct Rules {
    /// What one experience asks for; a visitor aims at one of them.
    aims: Vec<Aim>,
    tests: Vec<(Side, Test)>,
}

/// Which attributes a rule sees.
#[derive(Clone, Copy)]
enum Side {
    Visitor,
    Location,
}

struct Aim {
    audiences: Vec<Arc<Tree>>,
    /// One of them is enough.
    places: Vec<Arc<Tree>>,
}

/// Any of the branches, all of their blocks, any of the tests of each.
type Tree = Vec<Vec<Vec<Test>>>;

/// One comparison: values that it is true for, and those that it is false for.
#[derive(Clone)]
struct Test {
    name: String,
    met_by: Vec<AttributeValue>,
    missed_by: Vec<AttributeValue>,
}

impl Rules {
    /// Adds the rules of a config.
    pub(crate) fn add(&mut self, config: &Value) {
        let audiences = self.trees(Side::Visitor, &config["audiences"]);
        let locations = self.trees(Side::Location, &config["locations"]);
        let all = |trees: &HashMap<String, Arc<Tree>>, ids: &Value| -> Vec<_> {
            list(ids).filter_map(|id| trees.get(&text(id))).map(Arc::clone).collect()
        };
        for experience in list(&config["experiences"]) {
            let mut places = all(&locations, &experience["locations"]);
            if experience["site_area"].is_object() {
                places.push(self.tree(Side::Location, &experience["site_area"]));
            }
            self.aims.push(Aim { audiences: all(&audiences, &experience["audiences"]), places });
        }
    }

    /// The rules of the entities of one kind, by id.
    fn trees(&mut self, side: Side, entities: &Value) -> HashMap<String, Arc<Tree>> {
        list(entities).map(|entity| (text(&entity["id"]), self.tree(side, &entity["rules"]))).collect()
    }

    fn tree(&mut self, side: Side, rules: &Value) -> Arc<Tree> {
        let tree = tree(rules);
        self.tests.extend(tree.iter().flatten().flatten().map(|test| (side, test.clone())));
        Arc::new(tree)
    }

    /// A visitor. Three of four meet what an experience asks for, as far as the rules tell; all have attributes
    /// that meet or miss what others ask for.
    pub(super) fn draw(&self, random: &mut Random) -> VisitorFacts {
        let mut facts = VisitorFacts::default();
        for _ in 0..self.tests.len().min(AIMLESS) {
            if let Some((side, test)) = random.of(&self.tests) {
                let values = if random.below(2) == 0 { &test.met_by } else { &test.missed_by };
                facts.set(*side, &test.name, random.of(values));
            }
        }
        if random.below(4) > 0
            && let Some(aim) = random.of(&self.aims)
        {
            let places = random.of(&aim.places);
            let all = aim.audiences.iter().map(|tree| (Side::Visitor, tree));
            for (side, tree) in all.chain(places.map(|tree| (Side::Location, tree))) {
                for block in random.of(tree.as_slice()).into_iter().flatten() {
                    if let Some(test) = random.of(block) {
                        facts.set(side, &test.name, random.of(&test.met_by));
                    }
                }
            }
        }
        facts
    }
}

impl VisitorFacts {
    fn set(&mut self, side: Side, name: &str, value: Option<&AttributeValue>) {
        let attributes = match side {
            Side::Visitor => &mut self.attributes,
            Side::Location => &mut self.location,
        };
        match value {
            Some(value) => drop(attributes.insert(name, value.clone())),
            None => drop(attributes.remove(name)),
        }
    }

    /// Adds what others have, which replaces what is there.
    pub(super) fn add(&mut self, other: &Self) {
        for (name, value) in other.attributes.iter() {
            self.set(Side::Visitor, name, Some(value));
        }
        for (name, value) in other.location.iter() {
            self.set(Side::Location, name, Some(value));
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Ids are served as text or as numbers.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn tree(rules: &Value) -> Tree {
    let block = |block: &Value| list(&block["OR_WHEN"]).filter_map(test).collect();
    let branch = |branch: &Value| list(&branch["AND"]).map(block).collect();
    list(&rules["OR"]).map(branch).collect()
}

fn test(item: &Value) -> Option<Test> {
    let name = item["key"].as_str()?.to_owned();
    let (met_by, missed_by) = values(item["matching"]["match_type"].as_str()?, &item["value"]);
    let is_negated = item["matching"]["negated"] == true;
    let (met_by, missed_by) = if is_negated { (missed_by, met_by) } else { (met_by, missed_by) };
    Some(Test { name, met_by, missed_by })
}

/// Values that a comparison is true for, and those that it is false for; none is no attribute.
fn values(match_type: &str, operand: &Value) -> (Vec<AttributeValue>, Vec<AttributeValue>) {
    let written = text(operand);
    let one = |text: String| vec![AttributeValue::from(text)];
    let other = || one("other".to_owned());
    let number = written.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    match (match_type, number) {
        ("less", Some(limit)) => (vec![(limit - 1.0).into()], vec![limit.into(), (limit + 1.0).into()]),
        ("lessEqual", Some(limit)) => (vec![(limit - 1.0).into(), limit.into()], vec![(limit + 1.0).into()]),
        // In the order of texts.
        ("less" | "lessEqual", None) => (one(" ".to_owned()), one("~".to_owned())),
        ("contains", _) => (one(format!("a{written}z")), other()),
        ("startsWith", _) => (one(format!("{written}z")), other()),
        ("endsWith", _) => (one(format!("a{written}")), other()),
        ("isIn", _) => {
            let listed: Vec<String> = match operand {
                Value::Array(values) => values.iter().map(text).collect(),
                _ => written.split('|').map(str::to_owned).collect(),
            };
            // The list is compared in lower case, the visitor's value as it is.
            (listed.into_iter().map(|one| one.to_lowercase().into()).collect(), other())
        }
        ("regexMatches", _) => (one(example(&written)), other()),
        ("exists", _) => (one("any".to_owned()), Vec::new()),
        ("doesNotExist" | "not_exists", _) => (Vec::new(), one("any".to_owned())),
        (_, Some(number)) => (vec![number.into()], vec![(number + 1.0).into()]),
        (_, None) => (one(written), other()),
    }
}

/// A text that a simple pattern matches: the first of alternatives, one character for a class, and what is repeated
/// once.
fn example(pattern: &str) -> String {
    let (mut text, mut rest) = (String::new(), pattern.chars());
    while let Some(character) = rest.next() {
        match character {
            '^' | '$' | '(' | ')' | '*' | '+' | '?' => {}
            '{' => drop(rest.by_ref().find(|it| *it == '}')),
            '.' => text.push('x'),
            '|' => drop(rest.by_ref().find(|it| *it == ')')),
            '[' => {
                text.extend(rest.next());
                rest.by_ref().find(|it| *it == ']');
            }
            '\\' => match rest.next() {
                Some('d') => text.push('0'),
                Some('w') => text.push('x'),
                Some('s') => text.push(' '),
                Some('b') | None => {}
                Some(literal) => text.push(literal),
            },
            literal => text.push(literal),
        }
    }
    text
}

/// SplitMix64, by seed and number, so that a visitor does not depend on the thread.
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn new(seed: u64, number: u64) -> Self {
        Self(seed.rotate_left(32) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is below a length")]
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }
}

#[cfg(test)]
mod tests {
    use convert_evaluation::config::{CompileOptions, compile};
    use convert_evaluation::decide::{Facts, decide_experience};
    use serde_json::json;

    use super::*;

    /// Whether enough of 400 drawn visitors meet a rule, and enough do not.
    fn is_met_and_missed(match_type: &str, negated: bool, value: &Value) -> bool {
        let item = json!({
            "rule_type": "generic_text_key_value", "key": "name", "value": value,
            "matching": {"match_type": match_type, "negated": negated},
        });
        let config = json!({
            "account_id": "1", "project": {"id": "2"},
            "experiences": [{
                "id": "1", "key": "e", "audiences": ["3"],
                "variations": [{"id": "4", "key": "v", "traffic_allocation": 100}],
            }],
            "audiences": [{"id": "3", "rules": {"OR": [{"AND": [{"OR_WHEN": [item]}]}]}}],
        });
        let mut rules = Rules::default();
        rules.add(&config);
        let snapshot = compile(config.to_string(), &CompileOptions::default()).unwrap().snapshot;
        let is_met = |number: &u64| {
            let facts = rules.draw(&mut Random::new(0, *number));
            decide_experience(&snapshot, 0, &Facts::new("v", &facts.attributes)).is_ok()
        };
        (1..=400).filter(is_met).count().clamp(200, 390) == (1..=400).filter(is_met).count()
    }

    #[test]
    fn every_kind_of_rule_is_met_and_missed() {
        let rules = [
            ("equals", json!("pro")),
            ("equals", json!(true)),
            ("equalsNumber", json!(7)),
            ("matches", json!("pro")),
            ("less", json!("18")),
            ("lessEqual", json!(18.5)),
            ("less", json!("m")),
            ("contains", json!("pro")),
            ("startsWith", json!("/a")),
            ("endsWith", json!(".pdf")),
            ("isIn", json!("GR|DE")),
            ("isIn", json!(["GR", "DE"])),
            ("regexMatches", json!(r"^/(shop|store)/[0-9]+\.html?$")),
            ("exists", json!("")),
            ("doesNotExist", json!("")),
        ];
        for (match_type, value) in rules {
            for negated in [false, true] {
                assert!(is_met_and_missed(match_type, negated, &value), "{negated} {match_type} {value}");
            }
        }
    }
}
