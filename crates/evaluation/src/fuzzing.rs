//! What the fuzzer looks at and nobody else: this is there only when it builds the crate.

use crate::js::regex::{Pattern, Steps};

/// Searches a text for a pattern: the answer, and the steps that it took. `None` where JavaScript
/// refuses the pattern.
#[must_use]
pub fn search(pattern: &str, text: &str) -> Option<(Option<bool>, u32)> {
    let mut steps = Steps::of_a_decision();
    let found = Pattern::compile(pattern)?.is_match(text, &mut steps);
    Some((found, Steps::of_a_decision().left() - steps.left()))
}

/// The steps that a decision has.
pub const STEPS: u32 = Steps::of_a_decision().left();
