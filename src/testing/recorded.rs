//! What was recorded, as typed events.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use smol_str::SmolStr;

use crate::attributes::Attributes;
use crate::config::{ConfigSnapshot, SnapshotExt};
use crate::engine::{GoalDataKey, GoalValue, TrackedEvent};

/// An event that would have been sent: repetitions are left out, as they are in production.
///
/// Unlike everywhere else in this crate, `Debug` shows the visitor's id and values: they are the test's own.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Recorded {
    /// A visitor was assigned to a variation.
    Exposure(RecordedExposure),
    /// A visitor reached a goal.
    Conversion(RecordedConversion),
}

/// A visitor was assigned to a variation.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct RecordedExposure {
    /// The visitor.
    pub visitor_id: SmolStr,
    /// The experience's key.
    pub experience_key: SmolStr,
    /// The variation's key.
    pub variation_key: SmolStr,
    /// The visitor's segments, which are sent with it.
    pub segments: Attributes,
}

/// A visitor reached a goal.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct RecordedConversion {
    /// The visitor.
    pub visitor_id: SmolStr,
    /// The goal's key.
    pub goal_key: SmolStr,
    /// The revenue and other goal data.
    pub goal_data: Vec<(GoalDataKey, GoalValue)>,
    /// Whether it is the visitor's first of this goal. Later ones are recorded only with goal data and
    /// [`force_multiple`](crate::ConversionOptions::force_multiple).
    pub first: bool,
    /// The visitor's variations at the time, which are sent with it, by keys: experience and variation.
    pub variations: Vec<(SmolStr, SmolStr)>,
    /// The visitor's segments, which are sent with it.
    pub segments: Attributes,
}

impl Recorded {
    /// The visitor.
    #[must_use]
    pub fn visitor_id(&self) -> &str {
        match self {
            Self::Exposure(exposure) => &exposure.visitor_id,
            Self::Conversion(conversion) => &conversion.visitor_id,
        }
    }

    fn of(snapshot: &ConfigSnapshot, event: &TrackedEvent) -> Self {
        match event {
            TrackedEvent::Exposure(it) => {
                let (experience_key, variation_key) = keys(snapshot, &it.experience_id, &it.variation_id);
                let (visitor_id, segments) = (it.visitor_id.clone(), Attributes::clone(&it.segments));
                Self::Exposure(RecordedExposure { visitor_id, experience_key, variation_key, segments })
            }
            TrackedEvent::Conversion(it) => Self::Conversion(RecordedConversion {
                visitor_id: it.visitor_id.clone(),
                goal_key: it.goal_key.clone(),
                goal_data: it.goal_data.iter().flatten().cloned().collect(),
                first: it.first,
                variations: it.bucketing.iter().map(|(one, other)| keys(snapshot, one, other)).collect(),
                segments: Attributes::clone(&it.segments),
            }),
        }
    }
}

impl fmt::Debug for RecordedExposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { visitor_id, experience_key, variation_key, segments } = self;
        f.debug_struct("RecordedExposure")
            .field("visitor_id", visitor_id)
            .field("experience_key", experience_key)
            .field("variation_key", variation_key)
            .field("segments", &Shown(segments))
            .finish()
    }
}

impl fmt::Debug for RecordedConversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { visitor_id, goal_key, goal_data, first, variations, segments } = self;
        f.debug_struct("RecordedConversion")
            .field("visitor_id", visitor_id)
            .field("goal_key", goal_key)
            .field("goal_data", &Shown(goal_data))
            .field("first", first)
            .field("variations", variations)
            .field("segments", &Shown(segments))
            .finish()
    }
}

/// With the values that `Debug` hides elsewhere.
struct Shown<'a, T>(&'a T);

impl fmt::Debug for Shown<'_, Attributes> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, value)| (name, Plain(value.into())))).finish()
    }
}

impl fmt::Debug for Shown<'_, Vec<(GoalDataKey, GoalValue)>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &GoalValue| match value {
            GoalValue::Number(number) => Plain((*number).into()),
            GoalValue::Text(text) => Plain(text.as_str().into()),
        };
        f.debug_map().entries(self.0.iter().map(|(key, value)| (key.as_str(), shown(value)))).finish()
    }
}

/// As JSON text.
struct Plain(Value);

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Compares the keys: experience and variation.
impl PartialEq<(&str, &str)> for RecordedExposure {
    fn eq(&self, (experience_key, variation_key): &(&str, &str)) -> bool {
        self.experience_key == *experience_key && self.variation_key == *variation_key
    }
}

/// Compares the goal's key.
impl PartialEq<&str> for RecordedConversion {
    fn eq(&self, goal_key: &&str) -> bool {
        self.goal_key == *goal_key
    }
}

impl RecordedConversion {
    /// One entry of the goal data.
    #[must_use]
    pub fn data(&self, key: GoalDataKey) -> Option<&GoalValue> {
        self.goal_data.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// The revenue.
    #[must_use]
    pub fn revenue(&self) -> Option<f64> {
        match self.data(GoalDataKey::Amount)? {
            GoalValue::Number(amount) => Some(*amount),
            GoalValue::Text(_) => None,
        }
    }
}

/// An id that the config does not have stands for itself.
fn keys(snapshot: &ConfigSnapshot, experience_id: &SmolStr, variation_id: &SmolStr) -> (SmolStr, SmolStr) {
    let experience = snapshot.experience_index_by_id(experience_id).map(|at| &snapshot.experiences()[at]);
    let variation = experience.and_then(|it| it.variations.iter().find(|one| one.id == *variation_id));
    let experience_key = experience.map_or(experience_id, |it| &it.key).clone();
    (experience_key, variation.map_or(variation_id, |it| &it.key).clone())
}

/// Where the records of a test end.
#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<Vec<Recorded>>>);

impl Recorder {
    /// Events that are kept; later ones are only counted, by the ledger.
    const MOST: usize = 100_000;

    pub(super) fn record(&self, snapshot: &ConfigSnapshot, event: &TrackedEvent) {
        let mut recorded = self.lock();
        if recorded.len() < Self::MOST {
            recorded.push(Recorded::of(snapshot, event));
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
