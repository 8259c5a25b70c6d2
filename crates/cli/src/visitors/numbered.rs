//! Visitors `visitor-SEED-1` to `visitor-SEED-N`, alike or drawn.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::ProgressBar;

use super::rules::{Random, Rules};
use super::{CHUNK, Population, Visitor, VisitorFacts};
use crate::error::Failure;
use crate::progress::progress;

/// Visitors by number. The same seed and rules give the same ones.
pub(crate) struct Numbered {
    seed: u64,
    count: u64,
    /// What all of them have.
    facts: VisitorFacts,
    /// What each has besides.
    rules: Option<Rules>,
    taken: AtomicU64,
    bar: ProgressBar,
}

impl Numbered {
    /// Visitors who differ in nothing but their ids.
    pub(crate) fn alike(name: &str, count: u64, seed: u64, facts: VisitorFacts) -> Self {
        Self { seed, count, facts, rules: None, taken: AtomicU64::new(0), bar: progress(name, count) }
    }

    /// Visitors whose attributes are drawn; those that all have come on top.
    pub(crate) fn drawn(count: u64, seed: u64, facts: VisitorFacts, rules: Rules) -> Self {
        Self { rules: Some(rules), ..Self::alike("visitors", count, seed, facts) }
    }
}

impl Population for Numbered {
    fn next_chunk(&self, each: &mut dyn FnMut(&Visitor<'_>)) -> Result<bool, Failure> {
        let before = self.taken.fetch_add(CHUNK, Ordering::Relaxed);
        let last = before.saturating_add(CHUNK).min(self.count);
        let mut id = format!("visitor-{}-", self.seed);
        let stem = id.len();
        for number in before + 1..=last {
            id.truncate(stem);
            // Writing to a `String` does not fail.
            let _ = write!(id, "{number}");
            match &self.rules {
                None => each(&Visitor { number, id: &id, facts: &self.facts }),
                Some(rules) => {
                    let mut facts = rules.draw(&mut Random::new(self.seed, number));
                    facts.add(&self.facts);
                    each(&Visitor { number, id: &id, facts: &facts });
                }
            }
        }
        if before >= self.count {
            self.bar.finish_and_clear();
            return Ok(false);
        }
        self.bar.inc(last - before);
        Ok(true)
    }
}
