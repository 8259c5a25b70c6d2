//! Decisions: pure functions of a snapshot and the facts of a visitor. No clock, thread, channel,
//! lock or I/O is reachable from here.

mod bucketing;
mod experience;
mod explain;
mod rules;
mod segments;
#[cfg(test)]
mod tests;
mod trace;
#[cfg(any(test, vectors))]
mod vectors;

use crate::attributes::{AttributeValue, Attributes};
use crate::config::{CarriedFeature, ConfigSnapshot, SnapshotExt};

pub use explain::{EdgeTrace, Explanation, ItemTrace, RuleSetTrace, Step, explain_experience};
pub use rules::goal_matches;
pub use segments::match_custom_segments;

/// What is stored for a visitor and an experience.
pub enum Stored {
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
pub trait StoredDecisions {
    /// The stored decision for an experience, by the position of the first one with its id.
    fn stored(&self, experience: usize) -> Stored;
}

/// Everything about the visitor and the call that a decision may depend on.
pub struct Facts<'a, D: StoredDecisions + ?Sized> {
    /// An empty id means that nothing is decided at all.
    pub visitor_id: &'a str,
    /// What audience rules see: context and call attributes, already merged.
    pub attributes: &'a Attributes,
    /// What they see of a name that the attributes do not have: the visitor's segments. Where both have a
    /// name whose values would be merged, the attributes hold the result.
    pub segments: &'a Attributes,
    /// What location rules see.
    pub location: &'a Attributes,
    /// `None` when no environment is configured, which passes every experience.
    pub environment: Option<&'a str>,
    /// The ids of the visitor's recorded custom segments.
    pub custom_segments: &'a [AttributeValue],
    /// What is stored for the visitor.
    pub decisions: &'a D,
    /// The id of the variation that the call asks for.
    pub forced_variation: Option<&'a str>,
}

/// No attributes.
static NOTHING: Attributes = Attributes::new();

/// No stored decisions: every visitor is new.
#[derive(Clone, Copy, Debug)]
pub struct NoDecisions;

impl StoredDecisions for NoDecisions {
    fn stored(&self, _: usize) -> Stored {
        Stored::None
    }
}

impl<'a> Facts<'a, NoDecisions> {
    /// A new visitor with attributes and nothing else.
    #[must_use]
    pub fn new(visitor_id: &'a str, attributes: &'a Attributes) -> Self {
        Self {
            visitor_id,
            attributes,
            segments: &NOTHING,
            location: &NOTHING,
            environment: None,
            custom_segments: &[],
            decisions: &NoDecisions,
            forced_variation: None,
        }
    }
}

/// A visitor's variation of one experience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The position of the variation.
    pub variation: usize,
    /// Where the decision comes from.
    pub source: DecisionSource,
}

/// Where a decision comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DecisionSource {
    /// It was made earlier and remembered; it is not stored or reported again.
    Stored,
    /// The visitor's hash made it now.
    Hashed {
        /// The bucket value, 0 to 9,999 unless `max_traffic` is set.
        bucket: u32,
    },
    /// A preview, or the call, asked for this variation.
    Forced,
}

/// Why a visitor has no variation of an experience.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Undecided {
    /// The config has no such experience.
    #[error("the config has no such experience")]
    NotInConfig,
    /// The visitor id is empty.
    #[error("the visitor id is empty")]
    NoVisitor,
    /// The experience is archived.
    #[error("the experience is archived")]
    Archived,
    /// The id of the experience is `0`, `false` or empty, with which nobody is decided.
    #[error("the experience has no usable id")]
    NoId,
    /// The experience runs in another environment.
    #[error("the experience runs in another environment")]
    Environment,
    /// The location attributes do not match.
    #[error("the location does not match")]
    Location,
    /// The visitor is not in the audience.
    #[error("the visitor is not in the audience")]
    Audience,
    /// The visitor has none of the custom segments.
    #[error("the visitor has none of the custom segments")]
    Segments,
    /// The experience has no variations.
    #[error("the experience has no variations")]
    NoVariations,
    /// The visitor's bucket belongs to no variation that takes visitors.
    #[error("the bucket {bucket} belongs to no variation")]
    NotBucketed {
        /// The bucket value.
        bucket: u32,
    },
    /// An experience before this one has the same id, and does not have the variation that the
    /// visitor's bucket belongs to.
    #[error("the bucket {bucket} belongs to a variation that the first experience with this id lacks")]
    OtherVariations {
        /// The bucket value.
        bucket: u32,
    },
}

impl Undecided {
    /// A stable name, as in explanations and diagnoses.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotInConfig => "experience_not_found",
            Self::NoVisitor => "no_visitor",
            Self::Archived => "archived",
            Self::NoId => "no_id",
            Self::Environment => "environment_mismatch",
            Self::Location => "location_mismatch",
            Self::Audience => "audience_mismatch",
            Self::Segments => "segment_mismatch",
            Self::NoVariations => "no_variations",
            Self::NotBucketed { .. } => "variation_not_decided",
            Self::OtherVariations { .. } => "id_of_another_experience",
        }
    }
}

/// Decides one experience, by its position in the snapshot.
///
/// # Errors
/// The visitor has no variation of it, or the snapshot no experience at the position.
#[inline]
pub fn decide_experience<D>(
    snapshot: &ConfigSnapshot,
    experience: usize,
    facts: &Facts<'_, D>,
) -> Result<Decision, Undecided>
where
    D: StoredDecisions + ?Sized,
{
    experience::decide(snapshot, experience, facts, &mut trace::Untraced)
}

/// The declared features that a variation of an experience carries, one entry per change, in the
/// order of the changes.
pub fn carried_features(snapshot: &ConfigSnapshot, experience: usize, variation: usize) -> &[CarriedFeature] {
    let experience = snapshot.experiences().get(experience);
    experience.and_then(|experience| experience.variations.get(variation)).map_or(&[], |one| &one.features)
}
