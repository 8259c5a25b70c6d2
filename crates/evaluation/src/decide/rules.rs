//! The rule engine: evaluates a rule set against attributes.

use std::borrow::Cow;
use std::cmp::Ordering;

use ryu_js::Buffer;

use super::NOTHING;
use super::trace::{ItemOutcome, Trace, Untraced};
use crate::attributes::{AttributeValue, Attributes, Hint};
use crate::config::{Answers, ConfigSnapshot, Item, Next, Operand, RuleSet, SnapshotExt, Test};
use crate::js::number::{number, number_of_text, numeric_text};
use crate::js::regex::Steps;
use crate::js::text::{
    compare_utf16, contains_lowered, ends_with_lowered, equals_lowered, has_text, lowered,
    starts_with_lowered, text,
};

/// Where rules look attributes up: the first map that has the name wins.
pub(super) struct RuleData<'a> {
    pub(super) attributes: &'a Attributes,
    pub(super) segments: &'a Attributes,
    /// What these have answered before.
    pub(super) answers: Option<&'a Answers>,
}

impl<'a> RuleData<'a> {
    pub(super) const fn of(attributes: &'a Attributes) -> Self {
        Self { attributes, segments: &NOTHING, answers: None }
    }

    #[inline]
    fn get(&self, name: &str, hint: &Hint) -> Option<&'a AttributeValue> {
        match self.attributes.get_by(name, hint) {
            None if !self.segments.is_empty() => self.segments.get(name),
            found => found,
        }
    }
}

/// Whether the set matches. Branches and items stop at the first match, blocks at the first miss.
#[inline(always)]
pub(super) fn matches<T: Trace>(
    set: &RuleSet,
    data: &RuleData<'_>,
    steps: &mut Steps,
    trace: &mut T,
) -> bool {
    let mut next = set.start;
    // Every jump leads forward, so this terminates.
    while let Some(item) = set.items.get(next.0 as usize) {
        let known = data.answers.and_then(|answers| answers.get(item.shared));
        let holds = known.unwrap_or_else(|| ask(item, data, steps, trace));
        next = if holds { item.if_matched } else { item.if_missed };
    }
    next == Next::MATCHED
}

#[inline(never)]
fn ask<T: Trace>(item: &Item, data: &RuleData<'_>, steps: &mut Steps, trace: &mut T) -> bool {
    let value = item.key.as_deref().and_then(|key| data.get(key, &item.hint));
    let verdict = judge(item, value, steps);
    trace.item(item, value, verdict);
    let holds = verdict == ItemOutcome::Matched;
    // Otherwise nothing is written, as several threads may read.
    if let Some(answers) = data.answers
        && item.shared != 0
    {
        answers.note(item.shared, holds);
    }
    holds
}

/// Whether the rules of a goal, given by position, match. A goal without rules does not match.
pub fn goal_matches(snapshot: &ConfigSnapshot, goal: usize, rule_data: &Attributes) -> bool {
    let rules = snapshot.goals().get(goal).and_then(|goal| goal.rules.as_ref());
    let data = &RuleData::of(rule_data);
    rules.is_some_and(|rules| matches(rules, data, &mut Steps::of_a_decision(), &mut Untraced))
}

#[inline(always)]
fn judge(item: &Item, value: Option<&AttributeValue>, steps: &mut Steps) -> ItemOutcome {
    let verdict = match (value, &item.test) {
        // A shortcut for the most common case; `compare` would answer the same.
        (Some(AttributeValue::String(text)), Test::Equals(lower, _)) => equals_lowered(text, lower).into(),
        (Some(AttributeValue::Number(left)), Test::Order(Operand::Number(right))) => (left < right).into(),
        (Some(AttributeValue::Number(left)), Test::OrderOrEqual(Operand::Number(right))) => {
            (left <= right).into()
        }
        (_, Test::Never(_)) => return ItemOutcome::Malformed,
        (Some(value), test) => compare(test, value, steps),
        // `not_exists` and `doesNotExist` share a test; only the latter has an answer here.
        (None, Test::Exists) => ItemOutcome::NotMatched,
        (None, Test::DoesNotExist) if item.match_type.answers_for_absent() => ItemOutcome::Matched,
        (None, _) => return ItemOutcome::Absent,
    };
    verdict.negate_if(item.negated)
}

#[inline(never)]
fn compare(test: &Test, value: &AttributeValue, steps: &mut Steps) -> ItemOutcome {
    let mut buffer = Buffer::new();
    // JavaScript throws here, so nothing is negated.
    if !has_text(value) && test.asks_for_text(value) {
        return ItemOutcome::Incomparable;
    }
    let mut on_text = |compare: fn(&str, &str) -> bool, lower: &str| -> ItemOutcome {
        compare(&text(value, &mut buffer), lower).into()
    };
    match test {
        Test::Equals(lower, operand) => match value {
            AttributeValue::Array(elements) => {
                elements.iter().any(|element| element.strict_eq(&operand.value)).into()
            }
            AttributeValue::Object(map) if !map.is_empty() => map.get(&operand.exact).is_some().into(),
            _ => on_text(equals_lowered, lower),
        },
        Test::EqualsNothing if matches!(value, AttributeValue::Array(_)) => ItemOutcome::NotMatched,
        Test::EqualsNothing => ItemOutcome::Incomparable,
        Test::Order(operand) => order(value, operand, |order| order == Ordering::Less),
        Test::OrderOrEqual(operand) => order(value, operand, |order| order != Ordering::Greater),
        Test::Anything => ItemOutcome::Matched,
        Test::Contains(lower) => on_text(contains_lowered, lower),
        Test::StartsWith(lower) => on_text(starts_with_lowered, lower),
        Test::EndsWith(lower) => on_text(ends_with_lowered, lower),
        Test::IsIn(elements) => {
            let tokens = text(value, &mut buffer);
            tokens
                .split('|')
                .any(|token| elements.binary_search_by(|element| (**element).cmp(token)).is_ok())
                .into()
        }
        Test::Regex(pattern) => match pattern.is_match(&lowered(&text(value, &mut buffer)), steps) {
            Some(matched) => matched.into(),
            None => ItemOutcome::Exhausted,
        },
        Test::Exists => (!is_blank(value)).into(),
        Test::DoesNotExist => is_blank(value).into(),
        Test::Never(_) => ItemOutcome::Malformed,
    }
}

fn is_blank(value: &AttributeValue) -> bool {
    match value {
        AttributeValue::Null => true,
        AttributeValue::String(text) => text.is_empty(),
        _ => false,
    }
}

/// `less` and `lessEqual`: numbers, booleans and strings each among themselves; `null`, lists and
/// objects are one type and compare as in JavaScript.
fn order(value: &AttributeValue, operand: &Operand, wanted: fn(Ordering) -> bool) -> ItemOutcome {
    let holds = |order: Option<Ordering>| ItemOutcome::from(order.is_some_and(wanted));
    if let AttributeValue::String(text) = value
        && let Some(left) = numeric_text(text)
    {
        return match operand {
            Operand::Number(right) => holds(left.partial_cmp(right)),
            _ => ItemOutcome::Incomparable,
        };
    }
    match (value, operand) {
        (AttributeValue::Number(left), Operand::Number(right)) => holds(left.partial_cmp(right)),
        (AttributeValue::Bool(left), Operand::Bool(right)) => holds(Some(left.cmp(right))),
        (AttributeValue::String(left), Operand::Text(right)) => holds(Some(compare_utf16(left, right))),
        (
            AttributeValue::Null | AttributeValue::Array(_) | AttributeValue::Object(_),
            Operand::Object(right),
        ) => holds(order_as_objects(value, right)),
        _ => ItemOutcome::Incomparable,
    }
}

/// JavaScript's relational comparison of two values of type "object": as strings unless one is
/// `null`.
fn order_as_objects(left: &AttributeValue, right: &AttributeValue) -> Option<Ordering> {
    let (mut left_buffer, mut right_buffer) = (Buffer::new(), Buffer::new());
    let primitive = |value: &AttributeValue| matches!(value, AttributeValue::Null);
    if primitive(left) || primitive(right) {
        let as_number = |value: &AttributeValue| match value {
            AttributeValue::Null => number(value),
            other => number_of_text(&text(other, &mut Buffer::new())),
        };
        return as_number(left).partial_cmp(&as_number(right));
    }
    let left: Cow<'_, str> = text(left, &mut left_buffer);
    let right: Cow<'_, str> = text(right, &mut right_buffer);
    Some(compare_utf16(&left, &right))
}
