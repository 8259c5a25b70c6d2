//! Decisions: pure functions of a snapshot and the facts of a visitor. No clock, thread, channel,
//! lock or I/O is reachable from here.

mod bucketing;
mod experience;
mod explain;
mod feature;
mod goal;
mod rules;
mod segments;
#[cfg(test)]
mod tests;
mod trace;
#[cfg(test)]
mod vectors;

use crate::attributes::{AttributeValue, Attributes};
use crate::config::ConfigSnapshot;

pub use explain::{EdgeTrace, Explanation, ItemTrace, RuleSetTrace, Step};

pub(crate) use explain::explain_experience;
pub(crate) use feature::carried_features;
pub(crate) use goal::goal_matches;
pub(crate) use segments::match_custom_segments;

/// What is stored for a visitor and an experience.
pub(crate) enum Stored {
    /// Nothing.
    None,
    /// This variation of the experience, by position.
    Variation(usize),
    /// A variation id that the experience does not have, or not as text. It is no decision, but it
    /// does count where another experience asks whether the visitor is bucketed into this one.
    Stale,
    /// An empty variation id, which counts nowhere.
    Empty,
}

/// The stored decisions of one visitor.
pub(crate) trait StoredDecisions {
    /// The stored decision for an experience, by the position of the first one with its id.
    fn stored(&self, experience: usize) -> Stored;
}

/// Everything about the visitor and the call that a decision may depend on.
pub(crate) struct Facts<'a, D: StoredDecisions + ?Sized> {
    /// An empty id means that nothing is decided at all.
    pub(crate) visitor_id: &'a str,
    /// What audience rules see: stored segments, context and call attributes, already merged.
    pub(crate) attributes: &'a Attributes,
    /// What location rules see.
    pub(crate) location: &'a Attributes,
    /// `None` when no environment is configured, which passes every experience.
    pub(crate) environment: Option<&'a str>,
    /// The ids of the visitor's recorded custom segments.
    pub(crate) custom_segments: &'a [AttributeValue],
    pub(crate) decisions: &'a D,
    /// The id of the variation that the call asks for.
    pub(crate) forced_variation: Option<&'a str>,
}

/// What became of one experience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Decided {
        /// The position of the variation.
        variation: usize,
        source: Source,
    },
    Undecided(Miss),
}

/// Where a decision comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// It was stored, and is not stored or reported again.
    Stored,
    /// The visitor's hash.
    Hashed { bucket: u32 },
    /// The call asked for it.
    Forced,
}

/// Why there is no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    NoVisitor,
    Archived,
    /// The id of the experience is false to JavaScript.
    NoId,
    Environment,
    Location,
    Audience,
    Segments,
    NoVariations,
    /// The bucket belongs to no variation that takes visitors.
    NotDecided {
        bucket: u32,
    },
    /// The bucket belongs to a variation that the first experience with this id does not have.
    OtherVariations {
        bucket: u32,
    },
}

impl Miss {
    /// A stable name for diagnostics.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::NoVisitor => "no_visitor",
            Self::Archived => "archived",
            Self::NoId => "no_id",
            Self::Environment => "environment_mismatch",
            Self::Location => "location_mismatch",
            Self::Audience => "audience_mismatch",
            Self::Segments => "segment_mismatch",
            Self::NoVariations => "no_variations",
            Self::NotDecided { .. } => "variation_not_decided",
            Self::OtherVariations { .. } => "id_of_another_experience",
        }
    }
}

/// Decides one experience, by its position in the snapshot.
#[inline]
pub(crate) fn decide_experience<D>(
    snapshot: &ConfigSnapshot,
    experience: usize,
    facts: &Facts<'_, D>,
) -> Outcome
where
    D: StoredDecisions + ?Sized,
{
    experience::decide(snapshot, experience, facts, &mut trace::Untraced)
}
