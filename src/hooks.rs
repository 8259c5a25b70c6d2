//! Hooks: what the application has called with each evaluation, by keys, in the call that makes it.

use std::fmt;

use crate::caught::PanicGuard;
use crate::config::{ConfigSnapshot, SnapshotExt};
use crate::decide::{Decision, DecisionSource, Undecided};

/// One experience was evaluated for a visitor: what [`CoreBuilder::on_evaluation`](crate::CoreBuilder::on_evaluation)
/// and [`CoreBuilder::on_first_assignment`](crate::CoreBuilder::on_first_assignment) are told. `Debug` does not show
/// the visitor's id.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Evaluation<'a> {
    /// The visitor.
    pub visitor_id: &'a str,
    /// The experience's id.
    pub experience_id: &'a str,
    /// The experience's key.
    pub experience_key: &'a str,
    /// The visitor's variation, or why there is none.
    pub outcome: Result<Assigned<'a>, Undecided>,
}

/// The variation that a visitor is assigned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Assigned<'a> {
    /// The variation's id.
    pub variation_id: &'a str,
    /// The variation's key; empty if the config has none.
    pub variation_key: &'a str,
    /// Where the decision came from.
    pub source: DecisionSource,
    /// Whether this call has handed over the visitor's exposure to the experience: once per visitor and experience, as
    /// far as this process remembers. Without [tracking](crate::SdkConfigBuilder::tracking), whether it has made and
    /// remembered the decision. With a data store or a [time to live](crate::SdkConfigBuilder::visitor_ttl), only a call
    /// that also makes the decision is a first one.
    pub first: bool,
}

impl fmt::Debug for Evaluation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluation")
            .field("experience_key", &self.experience_key)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

pub(crate) type Hook = Box<dyn Fn(&Evaluation<'_>) + Send + Sync>;

/// The hooks of a core, which never change.
pub(crate) struct Hooks {
    pub(crate) every: Vec<Hook>,
    pub(crate) first: Vec<Hook>,
}

impl Hooks {
    pub(crate) const NONE: Self = Self { every: Vec::new(), first: Vec::new() };

    /// Calls the hooks that this evaluation concerns. A panic is caught and counted.
    pub(crate) fn call(
        &self,
        guard: &PanicGuard,
        snapshot: &ConfigSnapshot,
        (visitor_id, experience): (&str, usize),
        outcome: Result<(Decision, bool), Undecided>,
    ) {
        let subject = &snapshot.experiences()[experience];
        let assigned = |(Decision { variation, source }, first): (Decision, bool)| {
            let variation = &subject.variations[variation];
            Assigned { variation_id: &variation.id, variation_key: &variation.key, source, first }
        };
        let (experience_id, experience_key) = (&subject.id, &subject.key);
        let evaluation =
            Evaluation { visitor_id, experience_id, experience_key, outcome: outcome.map(assigned) };
        let is_first = outcome.is_ok_and(|(_, first)| first);
        for hook in self.every.iter().chain(self.first.iter().filter(|_| is_first)) {
            let _ = guard.caught("an evaluation hook", || hook(&evaluation));
        }
    }
}
