//! Decisions: pure functions of a snapshot and the facts about a visitor. No clock, thread,
//! channel, lock or I/O is reachable from here.

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

use std::fmt;

use crate::attributes::{AttributeValue, Attributes};
use crate::config::{Answers, CarriedFeature, ConfigSnapshot, SnapshotExt};

pub use explain::{
    EdgeTrace, Explanation, ItemTrace, RuleSetTrace, Step, explain_experience, explain_experience_with_values,
};
pub use rules::goal_matches;
pub use segments::match_custom_segments;

/// What is stored for a visitor and an experience.
pub enum Stored {
    /// Nothing.
    None,
    /// This variation of the experience, by position.
    Variation(usize),
    /// A variation id that the experience does not have, or not as a string. It is not a decision,
    /// but it counts when another experience asks whether the visitor is bucketed into this one.
    Stale,
    /// An empty variation id, which never counts.
    Empty,
}

/// The stored decisions of one visitor.
pub trait StoredDecisions {
    /// The stored decision for an experience, given the position of the first experience with its
    /// id.
    fn stored(&self, experience: usize) -> Stored;

    /// The variation that the visitor gets whatever the checks of the experience say; both by
    /// position. Default none.
    #[inline]
    fn forced(&self, _experience: usize) -> Option<usize> {
        None
    }
}

/// Everything about the visitor and the call that a decision can depend on.
pub struct Facts<'a, D: StoredDecisions + ?Sized> {
    /// Nothing is decided for an empty id.
    pub visitor_id: &'a str,
    /// What audience rules see: context and call attributes, already merged.
    pub attributes: &'a Attributes,
    /// What audience rules see for names that are not in the attributes: the visitor's segments. If
    /// both have a name and their values would be merged, the attributes hold the result.
    pub segments: &'a Attributes,
    /// What these attributes and segments have answered before, if several decisions ask them. Answers of
    /// any others make wrong decisions.
    pub answers: Option<&'a Answers>,
    /// What location rules see.
    pub location: &'a Attributes,
    /// `None` if no environment is configured: every experience passes.
    pub environment: Option<&'a str>,
    /// The ids of the visitor's recorded custom segments.
    pub custom_segments: &'a [AttributeValue],
    /// What is stored for the visitor.
    pub decisions: &'a D,
    /// The id of the variation that the call requests.
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
            answers: None,
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

/// Where a decision comes from. As JSON `{"source": "hashed", "bucket": 6603}`; without `bucket` if
/// there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "source")]
#[non_exhaustive]
pub enum DecisionSource {
    /// It was made earlier and remembered; it is not stored or reported again.
    Stored,
    /// It was made now, from the visitor's hash.
    Hashed {
        /// The bucket value, 0 to 9,999 unless `max_traffic` is set.
        bucket: u32,
    },
    /// A preview or the call requested this variation.
    Forced,
}

impl fmt::Display for DecisionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored => f.write_str("decided earlier and remembered"),
            Self::Hashed { bucket } => write!(f, "decided by the visitor's bucket, {bucket}"),
            Self::Forced => f.write_str("requested by a preview or the call"),
        }
    }
}

/// Why a visitor has no variation of an experience.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Undecided {
    /// The config has no such experience.
    #[error("the config has no such experience")]
    NotInConfig,
    /// The config was withdrawn because it is too old.
    #[error("the config is too old to decide with")]
    Withdrawn,
    /// The visitor id is empty.
    #[error("the visitor id is empty")]
    NoVisitor,
    /// The experience is archived.
    #[error("the experience is archived")]
    Archived,
    /// The id of the experience is `0`, `false` or empty, which is never decided.
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
    /// An earlier experience has the same id, and lacks the variation that owns the visitor's
    /// bucket.
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
            Self::Withdrawn => "config_withdrawn",
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
/// The visitor has no variation of it, or the snapshot has no experience at this position.
#[inline(always)]
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

/// How many buckets each variation of an experience owns, by position; the remaining buckets get no
/// variation. Checks every bucket:
/// [`CompileOptions::max_traffic`](crate::config::CompileOptions::max_traffic) steps.
pub fn owned_buckets(snapshot: &ConfigSnapshot, experience: usize) -> Vec<u32> {
    let Some(experience) = snapshot.experiences().get(experience) else { return Vec::new() };
    let mut owned = vec![0; experience.variations.len()];
    for bucket in 0..snapshot.max_traffic() {
        let owner = bucketing::select(&experience.layout, bucket).map(|edge| edge.variation as usize);
        if let Some(count) = owner.and_then(|owner| owned.get_mut(owner)) {
            *count += 1;
        }
    }
    owned
}

/// The declared features that a variation of an experience carries, one entry per change, in the
/// order of the changes.
pub fn carried_features(snapshot: &ConfigSnapshot, experience: usize, variation: usize) -> &[CarriedFeature] {
    let experience = snapshot.experiences().get(experience);
    experience.and_then(|experience| experience.variations.get(variation)).map_or(&[], |one| &one.features)
}
