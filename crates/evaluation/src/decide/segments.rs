//! Custom segments: which of the requested ones the visitor newly belongs to.

use std::collections::HashSet;

use ryu_js::Buffer;
use smol_str::SmolStr;

use super::rules::{RuleData, matches};
use super::trace::Untraced;
use crate::attributes::{AttributeValue, Attributes};
use crate::config::{ConfigSnapshot, RuledEntity};
use crate::js::regex::Steps;
use crate::js::text::text;

/// The ids of the segments with one of these keys that match and are not recorded yet, in config
/// order. As in the JavaScript SDK, segments after the first match are recorded without checking
/// their rules.
pub fn match_custom_segments(
    snapshot: &ConfigSnapshot,
    keys: &[&str],
    attributes: &Attributes,
    recorded: &[AttributeValue],
) -> Vec<SmolStr> {
    let (mut matched, mut steps) = (false, Steps::of_a_decision());
    let data = &RuleData::of(attributes);
    let keys: HashSet<&str> = keys.iter().copied().collect();
    let mut known: HashSet<SmolStr> = recorded.iter().map(|id| text(id, &mut Buffer::new()).into()).collect();
    let mut ids: Vec<SmolStr> = Vec::new();
    let asked = |segment: &&RuledEntity| segment.has_text_key && keys.contains(segment.key.as_str());
    for segment in snapshot.segments().iter().filter(asked) {
        let rules = segment.rules.as_ref();
        matched = matched || rules.is_some_and(|rules| matches(rules, data, &mut steps, &mut Untraced));
        if matched && known.insert(segment.id.clone()) {
            ids.push(segment.id.clone());
        }
    }
    ids
}

/// Whether a segment id is already recorded.
pub(super) fn is_recorded(id: &str, recorded: &[AttributeValue]) -> bool {
    recorded.iter().any(|known| text(known, &mut Buffer::new()) == id)
}
