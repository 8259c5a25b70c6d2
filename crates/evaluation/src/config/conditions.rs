//! Conditions that several audiences share, so that a visitor's answer is found once.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::entity::Audience;
use super::rules::{Item, MatchType, Operand, Shared, Test};
use super::{ConfigSnapshot, SnapshotExt};

/// What a visitor's attributes and segments answer to the conditions that the audiences of one config
/// share, as far as they have been asked. Whoever changes the attributes or segments starts anew. `Debug` does
/// not show them.
pub struct Answers {
    /// The serial of the config.
    config: u32,
    /// The conditions that were asked in the lower half, those that hold in the upper. Each answer is
    /// written together with its mark, so relaxed ordering is enough; losing one means asking again.
    bits: AtomicU64,
}

impl Answers {
    /// None yet.
    #[must_use]
    #[inline]
    pub fn new(snapshot: &ConfigSnapshot) -> Self {
        Self { config: snapshot.serial(), bits: AtomicU64::new(0) }
    }

    /// Forgets all answers.
    #[inline]
    pub fn clear(&mut self) {
        *self.bits.get_mut() = 0;
    }

    #[inline]
    pub(crate) fn is_of(&self, snapshot: &ConfigSnapshot) -> bool {
        self.config == snapshot.serial()
    }

    #[inline]
    pub(crate) fn get(&self, condition: Shared) -> Option<bool> {
        let (condition, bits) = (u64::from(condition), self.bits.load(Ordering::Relaxed));
        (bits & condition != 0).then_some(bits & condition << 32 != 0)
    }

    #[inline]
    pub(crate) fn note(&self, condition: Shared, holds: bool) {
        let bit = u64::from(condition);
        let bits = self.bits.load(Ordering::Relaxed);
        self.bits.store(bits | bit | if holds { bit << 32 } else { 0 }, Ordering::Relaxed);
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

impl Clone for Answers {
    fn clone(&self) -> Self {
        Self { config: self.config, bits: self.bits.load(Ordering::Relaxed).into() }
    }
}

/// All that the answer of an item depends on, besides the attributes.
#[derive(PartialEq, Eq, Hash)]
struct Condition<'a> {
    key: &'a str,
    match_type: MatchType,
    negated: bool,
    operand: Compared<'a>,
}

#[derive(PartialEq, Eq, Hash)]
enum Compared<'a> {
    Nothing,
    Bool(bool),
    Number(u64),
    Text(&'a str),
    /// A scalar operand of `equals`: its text and its type.
    Scalar(&'a str, &'static str),
    List(&'a [Box<str>]),
}

/// Gives bits to the first conditions that several items have.
pub(super) fn share(audiences: &mut [Audience]) {
    let mut known: HashMap<Condition<'_>, usize> = HashMap::new();
    let mut count: Vec<u32> = Vec::new();
    let items = audiences.iter().flat_map(|audience| &audience.rules.items);
    let which: Vec<Option<usize>> = items
        .map(|item| {
            let at = *known.entry(Condition::of(item)?).or_insert(count.len());
            if at == count.len() {
                count.push(0);
            }
            count[at] += 1;
            Some(at)
        })
        .collect();
    let mut bits = (0..Shared::BITS).map(|bit| 1 << bit);
    let mut give = |count: u32| if count > 1 { bits.next().unwrap_or(0) } else { 0 };
    let bits: Vec<Shared> = count.into_iter().map(&mut give).collect();
    let items = audiences.iter_mut().flat_map(|audience| &mut audience.rules.items);
    for (item, at) in items.zip(which) {
        item.shared = at.map_or(0, |at| bits[at]);
    }
}

impl<'a> Condition<'a> {
    /// `None` if the answer costs steps, which a decision has only so many of, or if comparing the conditions
    /// would be too much.
    fn of(item: &'a Item) -> Option<Self> {
        let operand = match &item.test {
            Test::Equals(_, operand)
                if matches!(item.operand_type, "string" | "number" | "boolean" | "null") =>
            {
                Compared::Scalar(&operand.exact, item.operand_type)
            }
            Test::Order(operand) | Test::OrderOrEqual(operand) => match operand {
                Operand::Number(number) => Compared::Number(number.to_bits()),
                Operand::Bool(value) => Compared::Bool(*value),
                Operand::Text(text) => Compared::Text(text),
                Operand::Object(_) => return None,
            },
            Test::Contains(text) | Test::StartsWith(text) | Test::EndsWith(text) => Compared::Text(text),
            Test::IsIn(list) => Compared::List(list),
            Test::Anything | Test::Exists | Test::DoesNotExist => Compared::Nothing,
            Test::Equals(..) | Test::EqualsNothing | Test::Regex(_) | Test::Never(_) => return None,
        };
        let (match_type, negated) = (item.match_type, item.negated);
        Some(Self { key: item.key.as_deref()?, match_type, negated, operand })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::{CompileOptions, compile};

    /// The bits of these items, each in an audience of its own.
    fn bits(items: &[Value]) -> Vec<Shared> {
        let audience = |(at, item): (usize, &Value)| {
            let rules = json!({"OR": [{"AND": [{"OR_WHEN": [item]}]}]});
            json!({"id": at.to_string(), "key": at.to_string(), "rules": rules})
        };
        let audiences: Vec<Value> = items.iter().enumerate().map(audience).collect();
        let config = json!({"account_id": "1", "project": {"id": "2"}, "audiences": audiences});
        let snapshot = compile(config.to_string(), &CompileOptions::default()).unwrap().snapshot;
        snapshot
            .audiences
            .list
            .iter()
            .flat_map(|audience| &audience.rules.items)
            .map(|item| item.shared)
            .collect()
    }

    fn item(key: &str, match_type: &str, negated: bool, value: Value) -> Value {
        json!({"rule_type": "generic", "key": key, "value": value,
               "matching": {"match_type": match_type, "negated": negated}})
    }

    #[test]
    fn only_equal_conditions_share_a_bit() {
        let different = [
            item("plan", "equals", false, json!("1")),
            item("plan", "equals", false, json!(1)),
            item("plan", "equals", false, json!("A")),
            item("plan", "equals", false, json!("a")),
            item("plan", "matches", false, json!("a")),
            item("plan", "equals", true, json!("a")),
            item("age", "equals", false, json!("a")),
            item("age", "less", false, json!(1)),
            item("age", "lessEqual", false, json!(1)),
            item("age", "less", false, json!(true)),
            item("age", "less", false, json!("x")),
            item("age", "contains", false, json!("x")),
            item("age", "contains", false, json!(" ")),
            item("age", "startsWith", false, json!("x")),
            item("age", "isIn", false, json!("x|y")),
            item("age", "isIn", false, json!(["x", "z"])),
            item("age", "exists", false, json!("x")),
            item("age", "not_exists", false, json!("x")),
            item("age", "doesNotExist", false, json!("x")),
        ];
        let twice: Vec<Value> = different.iter().chain(&different).cloned().collect();
        let bits = bits(&twice);
        let (first, again) = bits.split_at(different.len());
        assert_eq!(first, again);
        assert!(first.iter().all(|bit| bit.is_power_of_two()));
        assert_eq!(first.iter().fold(0, |all, bit| all | bit).count_ones() as usize, different.len());
    }

    #[test]
    fn what_is_single_or_may_be_costly_has_no_bit() {
        let costly = [item("a", "regexMatches", false, json!("x")), item("a", "equals", false, json!(["x"]))];
        let flaw = item("a", "unknown", false, json!("x"));
        let items: Vec<Value> = costly.iter().chain(&costly).chain([&flaw, &flaw]).cloned().collect();
        let single = item("a", "equals", false, json!("x"));
        assert!(bits(&[items, vec![single]].concat()).iter().all(|bit| *bit == 0));
    }

    #[test]
    fn there_are_as_many_bits_as_fit() {
        let items: Vec<Value> = (0..40).map(|at| item("a", "equals", false, json!(at))).collect();
        let bits = bits(&[items.clone(), items].concat());
        assert_eq!(bits.iter().filter(|bit| **bit != 0).count(), 64);
        assert!(bits[..32].iter().all(|bit| *bit != 0));
    }
}
