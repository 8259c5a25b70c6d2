//! Goals with rules.

use super::rules::{RuleData, matches};
use super::trace::Untraced;
use crate::attributes::Attributes;
use crate::config::{ConfigSnapshot, SnapshotExt};
use crate::js::regex::Steps;

/// Whether the rules of a goal, by its position, match. A goal without rules does not match.
pub fn goal_matches(snapshot: &ConfigSnapshot, goal: usize, rule_data: &Attributes) -> bool {
    let rules = snapshot.goals().get(goal).and_then(|goal| goal.rules.as_ref());
    let data = RuleData::of(rule_data);
    rules.is_some_and(|rules| matches(rules, data, &mut Steps::of_a_decision(), &mut Untraced))
}
