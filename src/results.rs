//! What evaluations and conversions answer.

use serde_json::Value;
use smol_str::SmolStr;

use crate::config::{CarriedFeature, ConfigSnapshot, Experience, Feature, SnapshotExt, Variation};
use crate::decide::{Miss, Source};

/// The variation of an experience that a visitor is in. Borrows from the context; allocates nothing.
#[derive(Clone, Copy)]
pub struct ExperienceResult<'a> {
    snapshot: &'a ConfigSnapshot,
    experience: &'a Experience,
    variation: &'a Variation,
    source: Source,
}

/// Where a decision comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecisionSource {
    /// It was made earlier and remembered.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Undecided {
    /// The config has no such experience, or has it no more.
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

/// Why a visitor does not have a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureOff {
    /// The config declares no such feature, or does so no more.
    #[error("the config has no such feature")]
    NotInConfig,
    /// No variation of the visitor's carries it.
    #[error("no variation of the visitor carries the feature")]
    NotCarried,
}

/// A feature as one variation carries it. Borrows from the context; allocates nothing.
#[derive(Clone, Copy)]
pub struct FeatureResult<'a> {
    experience: &'a Experience,
    variation: &'a Variation,
    feature: &'a Feature,
    carried: &'a CarriedFeature,
    casting: bool,
}

/// Whether a feature is on for a visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FeatureStatus {
    /// A variation of the visitor's carries it.
    Enabled,
    /// No variation of the visitor's carries it. The SDK answers `None` instead; for applications
    /// that model it.
    Disabled,
}

/// What became of a conversion call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConversionStatus {
    /// Handed to the tracker; from a confirmed call: accepted by it.
    Queued,
    /// A repetition (confirmed calls), or suppressed by a preview. Nothing is sent.
    Deduplicated,
    /// The config has no such goal.
    GoalNotFound,
    /// The goal's rules do not match the rule data of the call.
    GoalNotMatched,
    /// The visitor id is empty.
    NoVisitor,
    /// The revenue or another number is not finite.
    InvalidData,
    /// Tracking is switched off in the configuration.
    TrackingDisabled,
    /// There is no room for it; counted as dropped (`queue_full` where the channel to the tracker is full,
    /// `overflow` where the backlog is). The channel is full for a record of its class under
    /// [`EvictLeastValuable`](crate::OverflowPolicy::EvictLeastValuable), for all under
    /// [`DropNewest`](crate::OverflowPolicy::DropNewest), and under [`Wait`](crate::OverflowPolicy::Wait)
    /// has stayed full for the policy's patience or a confirmed call's own timeout. A record of more bytes
    /// than `max_queued_bytes` is refused at once under each. That the backlog is full only a confirmed
    /// call is told, one that waits for the data store also that its record is lost for another reason.
    QueueFull,
    /// The core is closed; counted as dropped.
    Closed,
}

/// What became of a conversion call, and of which goal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConversionResult {
    /// What became of it.
    pub status: ConversionStatus,
    /// The goal's id, where the config has the goal.
    pub goal_id: Option<SmolStr>,
}

/// The custom segments that a call has newly recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomSegmentsResult {
    matched: Vec<SmolStr>,
}

impl<'a> ExperienceResult<'a> {
    pub(crate) fn new(
        snapshot: &'a ConfigSnapshot,
        experience: usize,
        variation: usize,
        source: Source,
    ) -> Self {
        let experience = &snapshot.experiences()[experience];
        Self { snapshot, experience, variation: &experience.variations[variation], source }
    }

    /// The experience's id.
    #[must_use]
    pub fn experience_id(&self) -> &'a str {
        &self.experience.id
    }

    /// The experience's key.
    #[must_use]
    pub fn experience_key(&self) -> &'a str {
        &self.experience.key
    }

    /// The experience's name.
    #[must_use]
    pub fn experience_name(&self) -> Option<&'a str> {
        self.experience.name.as_deref()
    }

    /// The variation's id.
    #[must_use]
    pub fn variation_id(&self) -> &'a str {
        &self.variation.id
    }

    /// The variation's key; empty where the config gives none.
    #[must_use]
    pub fn variation_key(&self) -> &'a str {
        &self.variation.key
    }

    /// The variation's name.
    #[must_use]
    pub fn variation_name(&self) -> Option<&'a str> {
        self.variation.name.as_deref()
    }

    /// Where the decision comes from.
    #[must_use]
    pub const fn source(&self) -> DecisionSource {
        match self.source {
            Source::Stored => DecisionSource::Stored,
            Source::Hashed { bucket } => DecisionSource::Hashed { bucket },
            Source::Forced => DecisionSource::Forced,
        }
    }

    /// The bucket value, where the visitor's hash made the decision now.
    #[must_use]
    pub const fn bucket_value(&self) -> Option<u32> {
        match self.source {
            Source::Hashed { bucket } => Some(bucket),
            Source::Stored | Source::Forced => None,
        }
    }

    /// The variation as served, with fields that the SDK itself does not read. Parses its text: for
    /// occasional use.
    #[must_use]
    pub fn variation(&self) -> Value {
        self.variation.raw(self.snapshot)
    }
}

impl<'a> FeatureResult<'a> {
    pub(crate) fn new(
        snapshot: &'a ConfigSnapshot,
        experience: usize,
        variation: usize,
        carried: &'a CarriedFeature,
        casting: bool,
    ) -> Self {
        let experience = &snapshot.experiences()[experience];
        let feature = &snapshot.features()[carried.feature as usize];
        Self { experience, variation: &experience.variations[variation], feature, carried, casting }
    }

    /// The feature's id.
    #[must_use]
    pub fn feature_id(&self) -> &'a str {
        &self.feature.id
    }

    /// The feature's key.
    #[must_use]
    pub fn feature_key(&self) -> &'a str {
        &self.feature.key
    }

    /// The feature's name.
    #[must_use]
    pub fn feature_name(&self) -> Option<&'a str> {
        self.feature.name.as_deref()
    }

    /// Always [`FeatureStatus::Enabled`]; a disabled feature has no result.
    #[must_use]
    pub const fn status(&self) -> FeatureStatus {
        FeatureStatus::Enabled
    }

    /// The experience that carries the feature.
    #[must_use]
    pub fn experience_key(&self) -> &'a str {
        &self.experience.key
    }

    /// The id of the experience that carries the feature.
    #[must_use]
    pub fn experience_id(&self) -> &'a str {
        &self.experience.id
    }

    /// The variation that carries the feature.
    #[must_use]
    pub fn variation_key(&self) -> &'a str {
        &self.variation.key
    }

    /// The id of the variation that carries the feature.
    #[must_use]
    pub fn variation_id(&self) -> &'a str {
        &self.variation.id
    }

    /// The variables in the order of their keys; none where the config gives none.
    pub fn variables(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let casting = self.casting;
        let variables = self.carried.variables.as_deref().unwrap_or_default();
        variables.iter().map(move |variable| {
            (variable.key.as_str(), if casting { &variable.value } else { variable.uncast() })
        })
    }

    /// A variable's value: converted to its declared type where it can be, else as served.
    #[must_use]
    pub fn variable(&self, key: &str) -> Option<&'a Value> {
        self.variables().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// A boolean variable; `None` where there is none of that name and type.
    #[must_use]
    pub fn boolean(&self, key: &str) -> Option<bool> {
        self.variable(key)?.as_bool()
    }

    /// An integer variable; `None` where there is none of that name, or its value is not a whole
    /// number that fits.
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<i64> {
        let value = self.variable(key)?;
        value.as_i64().or_else(|| {
            let number = value.as_f64()?;
            #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
            (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
        })
    }

    /// A number variable; `None` where there is none of that name and type.
    #[must_use]
    pub fn float(&self, key: &str) -> Option<f64> {
        self.variable(key)?.as_f64()
    }

    /// A text variable; `None` where there is none of that name and type.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<&'a str> {
        self.variable(key)?.as_str()
    }

    /// A JSON variable, of any type.
    #[must_use]
    pub fn json(&self, key: &str) -> Option<&'a Value> {
        self.variable(key)
    }
}

impl Undecided {
    /// A stable name, as in diagnostics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotInConfig => "experience_not_found",
            Self::NoVisitor => Miss::NoVisitor.code(),
            Self::Archived => Miss::Archived.code(),
            Self::NoId => Miss::NoId.code(),
            Self::Environment => Miss::Environment.code(),
            Self::Location => Miss::Location.code(),
            Self::Audience => Miss::Audience.code(),
            Self::Segments => Miss::Segments.code(),
            Self::NoVariations => Miss::NoVariations.code(),
            Self::NotBucketed { bucket } => Miss::NotDecided { bucket: *bucket }.code(),
            Self::OtherVariations { bucket } => Miss::OtherVariations { bucket: *bucket }.code(),
        }
    }
}

impl From<Miss> for Undecided {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::NoVisitor => Self::NoVisitor,
            Miss::Archived => Self::Archived,
            Miss::NoId => Self::NoId,
            Miss::Environment => Self::Environment,
            Miss::Location => Self::Location,
            Miss::Audience => Self::Audience,
            Miss::Segments => Self::Segments,
            Miss::NoVariations => Self::NoVariations,
            Miss::NotDecided { bucket } => Self::NotBucketed { bucket },
            Miss::OtherVariations { bucket } => Self::OtherVariations { bucket },
        }
    }
}

impl FeatureOff {
    /// A stable name, as in diagnostics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotInConfig => "feature_not_found",
            Self::NotCarried => "feature_not_in_selected_variations",
        }
    }
}

impl FeatureStatus {
    /// The official name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

impl ConversionStatus {
    /// A stable name; the first three are the official Python SDK's.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Deduplicated => "deduplicated",
            Self::GoalNotFound => "goal_not_found",
            Self::GoalNotMatched => "goal_not_matched",
            Self::NoVisitor => "no_visitor",
            Self::InvalidData => "invalid_data",
            Self::TrackingDisabled => "tracking_disabled",
            Self::QueueFull => "queue_full",
            Self::Closed => "closed",
        }
    }
}

impl ConversionResult {
    pub(crate) const fn new(status: ConversionStatus, goal_id: Option<SmolStr>) -> Self {
        Self { status, goal_id }
    }

    /// Whether the conversion was handed to the tracker.
    #[must_use]
    pub fn tracked(&self) -> bool {
        self.status == ConversionStatus::Queued
    }

    /// Why it was not, as a stable name; `None` where it was.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        (!self.tracked()).then(|| self.status.as_str())
    }
}

impl CustomSegmentsResult {
    pub(crate) const fn new(matched: Vec<SmolStr>) -> Self {
        Self { matched }
    }

    /// The ids of the segments newly recorded, in config order.
    pub fn matched_segment_ids(&self) -> impl ExactSizeIterator<Item = &str> {
        self.matched.iter().map(SmolStr::as_str)
    }

    /// Whether any segment was newly recorded.
    #[must_use]
    pub const fn matched(&self) -> bool {
        !self.matched.is_empty()
    }
}

impl std::fmt::Debug for ExperienceResult<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExperienceResult")
            .field("experience_key", &self.experience_key())
            .field("variation_key", &self.variation_key())
            .field("source", &self.source())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for FeatureResult<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeatureResult")
            .field("feature_key", &self.feature_key())
            .field("experience_key", &self.experience_key())
            .field("variables", &self.variables().count())
            .finish_non_exhaustive()
    }
}
