//! The findings of comparing one line.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json::same;

/// The comparisons of one line.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) mismatches: Vec<Mismatch>,
    /// The number of compared experience decisions.
    pub(crate) decisions: u64,
    /// Why the whole line could not be asked.
    pub(crate) skipped: Option<&'static str>,
    /// The parts of the line that could not be asked, and how often.
    pub(crate) left_out: BTreeMap<&'static str, u64>,
}

/// Why an answer is not compared if JavaScript has none.
pub(crate) const JAVASCRIPT_THROWS: &str = "JavaScript throws there, and nothing is recommended";

/// A part of an answer that differs from the expected one.
pub(crate) struct Mismatch {
    pub(crate) part: String,
    pub(crate) expected: Value,
    pub(crate) actual: Value,
}

impl Findings {
    /// Compares a part.
    pub(crate) fn check(&mut self, part: &str, expected: &Value, actual: &Value) {
        if !same(expected, actual) {
            self.differ(part, expected.clone(), actual.clone());
        }
    }

    /// Compares the decision on one experience.
    pub(crate) fn check_decision(&mut self, part: &str, key: &str, expected: &Value, actual: &Value) {
        self.decisions += 1;
        if !same(expected, actual) {
            self.differ(&format!("{part}.{key}"), expected.clone(), actual.clone());
        }
    }

    /// A part differs from the expectation.
    pub(crate) fn differ(&mut self, part: &str, expected: Value, actual: Value) {
        self.mismatches.push(Mismatch { part: part.to_owned(), expected, actual });
    }

    /// An answer is not compared.
    pub(crate) fn leave_out(&mut self, reason: &'static str) {
        *self.left_out.entry(reason).or_default() += 1;
    }

    /// Whether there is nothing to print.
    pub(crate) const fn is_clean(&self) -> bool {
        self.mismatches.is_empty()
    }
}
