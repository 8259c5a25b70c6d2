//! Internals for the fuzz targets, compiled only for them.

use crate::js::regex::{Pattern, Steps};

/// Searches a text for a pattern: the answer, and the steps it took. `None` if JavaScript rejects
/// the pattern.
#[must_use]
pub fn search(pattern: &str, text: &str) -> Option<(Option<bool>, u32)> {
    let mut steps = Steps::of_a_decision();
    let found = Pattern::compile(pattern)?.is_match(text, &mut steps);
    Some((found, Steps::of_a_decision().left() - steps.left()))
}

/// The step budget of one decision.
pub const STEPS: u32 = Steps::of_a_decision().left();
