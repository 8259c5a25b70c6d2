//! The results of evaluations and conversions.

use serde_json::Value;
use smol_str::SmolStr;

use crate::config::{CarriedFeature, ConfigSnapshot, Experience, Feature, SnapshotExt, Variation};
use crate::decide::{Decision, DecisionSource};

/// The variation of an experience that a visitor is in. Borrows from the context; allocates nothing.
#[derive(Clone, Copy)]
pub struct ExperienceResult<'a> {
    snapshot: &'a ConfigSnapshot,
    experience: &'a Experience,
    variation: &'a Variation,
    source: DecisionSource,
}

/// An owned [`ExperienceResult`], to keep, send or serialize.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OwnedExperienceResult {
    /// The experience's id.
    pub experience_id: SmolStr,
    /// The experience's key.
    pub experience_key: SmolStr,
    /// The experience's name.
    pub experience_name: Option<SmolStr>,
    /// The variation's id.
    pub variation_id: SmolStr,
    /// The variation's key; empty if the config has none.
    pub variation_key: SmolStr,
    /// The variation's name.
    pub variation_name: Option<SmolStr>,
    /// Where the decision came from. As JSON `"source"` and, if the visitor's hash made it, `"bucket"`.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub source: DecisionSource,
}

/// Why a visitor does not have a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum FeatureOff {
    /// The config does not declare the feature, or no longer does.
    #[error("the config has no such feature")]
    NotInConfig,
    /// The config was withdrawn because it is too old, see
    /// [`max_stale`](crate::SdkConfigBuilder::max_stale).
    #[error("the config is too old to decide with")]
    Withdrawn,
    /// None of the visitor's variations carries it.
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
    source: DecisionSource,
    casting: bool,
}

/// An owned [`FeatureResult`], to keep, send or serialize.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OwnedFeatureResult {
    /// The feature's id.
    pub feature_id: SmolStr,
    /// The feature's key.
    pub feature_key: SmolStr,
    /// The feature's name.
    pub feature_name: Option<SmolStr>,
    /// The id of the experience that carries the feature.
    pub experience_id: SmolStr,
    /// The experience that carries the feature.
    pub experience_key: SmolStr,
    /// The id of the variation that carries the feature.
    pub variation_id: SmolStr,
    /// The variation that carries the feature.
    pub variation_key: SmolStr,
    /// Where the decision came from.
    pub source: DecisionSource,
    /// The variables, as [`FeatureResult::variables`] gives them.
    pub variables: serde_json::Map<String, Value>,
}

/// The outcome of a conversion call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ConversionStatus {
    /// Handed to the tracker; for a confirmed call, accepted by it. An [offline](crate::SdkConfigBuilder::offline) core
    /// keeps it in the process.
    Queued,
    /// Handed to the tracker, which did not answer before a confirmed call's timeout: it is counted, but may be a
    /// repetition.
    Unconfirmed,
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
    /// Tracking is disabled in the configuration.
    TrackingDisabled,
    /// There is no space for it; counted as dropped (`queue_full` if the channel to the tracker is full, `overflow`
    /// if the backlog is). The channel is full for records of its class under
    /// [`EvictLeastValuable`](crate::delivery::OverflowPolicy::EvictLeastValuable), for all records under
    /// [`DropNewest`](crate::delivery::OverflowPolicy::DropNewest), and under
    /// [`Wait`](crate::delivery::OverflowPolicy::Wait) has stayed full for the policy's wait or a confirmed call's
    /// own timeout. A record of more than `max_queued_bytes` is refused at once under any policy. Only a confirmed
    /// call learns that the backlog is full; one that waits for the data store also gets this if its record is lost
    /// for another reason.
    QueueFull,
    /// The core is closed; counted as dropped.
    Closed,
}

/// The outcome of a conversion call, and its goal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConversionResult {
    /// The outcome.
    pub status: ConversionStatus,
    /// The goal's id, whatever the outcome; `None` if the config has no such goal.
    pub goal_id: Option<SmolStr>,
}

/// The custom segments newly recorded by a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct CustomSegmentsResult {
    matched: Vec<SmolStr>,
}

impl<'a> ExperienceResult<'a> {
    #[inline]
    pub(crate) fn new(
        snapshot: &'a ConfigSnapshot,
        experience: &'a Experience,
        Decision { variation, source }: Decision,
    ) -> Self {
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

    /// The variation's key; empty if the config has none.
    #[must_use]
    pub fn variation_key(&self) -> &'a str {
        &self.variation.key
    }

    /// The variation's name.
    #[must_use]
    pub fn variation_name(&self) -> Option<&'a str> {
        self.variation.name.as_deref()
    }

    /// Where the decision came from.
    #[must_use]
    pub const fn source(&self) -> DecisionSource {
        self.source
    }

    /// The bucket value, if this call bucketed the visitor.
    #[must_use]
    pub const fn bucket_value(&self) -> Option<u32> {
        match self.source {
            DecisionSource::Hashed { bucket } => Some(bucket),
            _ => None,
        }
    }

    /// The variation as served, including fields that the SDK does not use. Parses its JSON: for occasional use.
    #[must_use]
    pub fn variation(&self) -> Value {
        self.variation.raw(self.snapshot)
    }

    /// An owned copy.
    #[must_use]
    pub fn into_owned(self) -> OwnedExperienceResult {
        OwnedExperienceResult {
            experience_id: self.experience.id.clone(),
            experience_key: self.experience.key.clone(),
            experience_name: self.experience_name().map(SmolStr::new),
            variation_id: self.variation.id.clone(),
            variation_key: self.variation.key.clone(),
            variation_name: self.variation_name().map(SmolStr::new),
            source: self.source,
        }
    }
}

impl<'a> FeatureResult<'a> {
    pub(crate) fn new(
        snapshot: &'a ConfigSnapshot,
        experience: &'a Experience,
        Decision { variation, source }: Decision,
        carried: &'a CarriedFeature,
        casting: bool,
    ) -> Self {
        let feature = &snapshot.features()[carried.feature as usize];
        Self { experience, variation: &experience.variations[variation], feature, carried, source, casting }
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

    /// Where the decision that gives the visitor the variation came from.
    #[must_use]
    pub const fn source(&self) -> DecisionSource {
        self.source
    }

    /// The variables, sorted by key; empty if the config has none.
    pub fn variables(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let casting = self.casting;
        let variables = self.carried.variables.as_deref().unwrap_or_default();
        variables.iter().map(move |variable| {
            (variable.key.as_str(), if casting { &variable.value } else { variable.uncast() })
        })
    }

    /// A variable's value, converted to its declared type if possible, otherwise as served.
    #[must_use]
    pub fn variable(&self, key: &str) -> Option<&'a Value> {
        self.variables().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// A boolean variable; `None` if there is none of that name and type.
    #[must_use]
    pub fn boolean(&self, key: &str) -> Option<bool> {
        self.variable(key)?.as_bool()
    }

    /// An integer variable; `None` if there is none of that name, or its value is not an integer that fits.
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<i64> {
        let value = self.variable(key)?;
        value.as_i64().or_else(|| {
            let number = value.as_f64()?;
            #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
            (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i64)
        })
    }

    /// A number variable; `None` if there is none of that name and type.
    #[must_use]
    pub fn float(&self, key: &str) -> Option<f64> {
        self.variable(key)?.as_f64()
    }

    /// A string variable; `None` if there is none of that name and type.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<&'a str> {
        self.variable(key)?.as_str()
    }

    /// An owned copy.
    #[must_use]
    pub fn into_owned(self) -> OwnedFeatureResult {
        OwnedFeatureResult {
            feature_id: self.feature.id.clone(),
            feature_key: self.feature.key.clone(),
            feature_name: self.feature_name().map(SmolStr::new),
            experience_id: self.experience.id.clone(),
            experience_key: self.experience.key.clone(),
            variation_id: self.variation.id.clone(),
            variation_key: self.variation.key.clone(),
            source: self.source,
            variables: self.variables().map(|(key, value)| (key.to_owned(), value.clone())).collect(),
        }
    }
}

impl FeatureOff {
    /// A stable name, as in diagnostics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotInConfig => "feature_not_found",
            Self::Withdrawn => "config_withdrawn",
            Self::NotCarried => "feature_not_in_selected_variations",
        }
    }
}

impl ConversionStatus {
    /// A stable name; `queued`, `deduplicated` and `goal_not_found` are the official Python SDK's.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Unconfirmed => "unconfirmed",
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
    pub const fn tracked(&self) -> bool {
        matches!(self.status, ConversionStatus::Queued | ConversionStatus::Unconfirmed)
    }

    /// Why it was not, as a stable name; `None` if it was.
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

#[cfg(feature = "serde")]
impl serde::Serialize for ExperienceResult<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.into_owned().serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for FeatureResult<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.into_owned().serialize(serializer)
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
