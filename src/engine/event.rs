//! The records that travel from callers to the tracker.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use smol_str::SmolStr;

use crate::attributes::Measured;

/// One record. Building it copies ids of up to 23 bytes and shares longer ones.
#[derive(Clone)]
pub(crate) enum TrackedEvent {
    Exposure(Exposure),
    Conversion(Conversion),
}

/// A visitor was assigned to a variation.
#[derive(Clone)]
pub(crate) struct Exposure {
    pub(crate) visitor_id: SmolStr,
    pub(crate) experience_id: SmolStr,
    pub(crate) variation_id: SmolStr,
    pub(crate) segments: Measured,
}

/// A visitor reached a goal.
#[derive(Clone)]
pub(crate) struct Conversion {
    pub(crate) visitor_id: SmolStr,
    pub(crate) goal_id: SmolStr,
    pub(crate) goal_key: SmolStr,
    pub(crate) goal_data: Option<Box<[(GoalDataKey, GoalValue)]>>,
    /// The stored decisions at the time.
    pub(crate) bucketing: Pairs,
    pub(crate) segments: Measured,
    pub(crate) force_multiple: bool,
    /// Whether the bare event is sent too; the tracker decides this, once per visitor and goal.
    pub(crate) first: bool,
}

/// Decisions: experience id to variation id.
#[derive(Clone)]
pub(crate) enum Pairs {
    /// A few, until the tracker looks up their ids, so that callers neither copy these nor allocate.
    Numbers([Option<NonZeroU32>; Pairs::FEW]),
    Ids(Arc<[(SmolStr, SmolStr)]>),
}

impl Pairs {
    /// How many are given by number.
    pub(crate) const FEW: usize = 4;

    /// Looks up the ids.
    pub(crate) fn resolve(&mut self, decisions: &dyn NumberedDecisions) {
        if let Self::Numbers(given) = self {
            *self = Self::Ids(decisions.ids(given));
        }
    }
}

/// Has the ids of every decision that was ever given a number.
pub(crate) trait NumberedDecisions: Send + Sync {
    fn ids(&self, numbers: &[Option<NonZeroU32>]) -> Arc<[(SmolStr, SmolStr)]>;
}

/// The ids, once the tracker has looked them up.
impl Deref for Pairs {
    type Target = [(SmolStr, SmolStr)];

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Numbers(_) => &[],
            Self::Ids(ids) => ids,
        }
    }
}

impl<T: Into<Arc<[(SmolStr, SmolStr)]>>> From<T> for Pairs {
    fn from(ids: T) -> Self {
        Self::Ids(ids.into())
    }
}

/// How valuable a record is when space runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    Exposure,
    Conversion,
    Revenue,
}

impl Class {
    /// From the least to the most valuable, matching their discriminants.
    pub(crate) const ALL: [Self; 3] = [Self::Exposure, Self::Conversion, Self::Revenue];
}

impl TrackedEvent {
    pub(crate) fn visitor_id(&self) -> &SmolStr {
        match self {
            Self::Exposure(exposure) => &exposure.visitor_id,
            Self::Conversion(conversion) => &conversion.visitor_id,
        }
    }

    pub(crate) const fn segments(&self) -> &Measured {
        match self {
            Self::Exposure(exposure) => &exposure.segments,
            Self::Conversion(conversion) => &conversion.segments,
        }
    }

    /// How many wire events it takes: a conversion with goal data is a bare event and one with the data, a
    /// repeated one only the latter.
    pub(crate) fn wire_events(&self) -> usize {
        match self {
            Self::Exposure(_) => 1,
            Self::Conversion(conversion) => {
                usize::from(conversion.first) + usize::from(conversion.goal_data.is_some())
            }
        }
    }

    /// Bytes beyond the record itself: long strings, and lists not shared with other records. Segments are
    /// shared by the records of a context, but each record may have to be sent with its own copy.
    pub(crate) fn heap_bytes(&self) -> usize {
        let own = match self {
            Self::Exposure(exposure) => long(&exposure.visitor_id),
            Self::Conversion(conversion) => {
                let data = conversion.goal_data.iter().flatten();
                let texts = data.map(|(_, value)| match value {
                    GoalValue::Number(_) => 0,
                    GoalValue::Text(text) => long(text),
                });
                long(&conversion.visitor_id)
                    + texts.sum::<usize>()
                    + conversion.goal_data.as_deref().map_or(0, size_of_val)
                    + size_of_val(&*conversion.bucketing)
            }
        };
        own + self.segments().bytes()
    }

    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Exposure(_) => Class::Exposure,
            Self::Conversion(conversion) => {
                let revenue =
                    conversion.goal_data.iter().flatten().any(|(key, _)| *key == GoalDataKey::Amount);
                if revenue { Class::Revenue } else { Class::Conversion }
            }
        }
    }
}

/// What a string takes beyond its place in a record.
fn long(text: &SmolStr) -> usize {
    if text.is_heap_allocated() { text.len() } else { 0 }
}

/// The keys that goal data may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GoalDataKey {
    /// `amount`, the revenue in the project's currency. Give a number: text is sent as it is, as by the official
    /// JavaScript SDK, and may not be counted as revenue.
    Amount,
    /// `productsCount`.
    ProductsCount,
    /// `transactionId`.
    TransactionId,
    /// `customDimension1`.
    CustomDimension1,
    /// `customDimension2`.
    CustomDimension2,
    /// `customDimension3`.
    CustomDimension3,
    /// `customDimension4`.
    CustomDimension4,
    /// `customDimension5`.
    CustomDimension5,
}

impl GoalDataKey {
    const ALL: [Self; 8] = [
        Self::Amount,
        Self::ProductsCount,
        Self::TransactionId,
        Self::CustomDimension1,
        Self::CustomDimension2,
        Self::CustomDimension3,
        Self::CustomDimension4,
        Self::CustomDimension5,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::ProductsCount => "productsCount",
            Self::TransactionId => "transactionId",
            Self::CustomDimension1 => "customDimension1",
            Self::CustomDimension2 => "customDimension2",
            Self::CustomDimension3 => "customDimension3",
            Self::CustomDimension4 => "customDimension4",
            Self::CustomDimension5 => "customDimension5",
        }
    }
}

/// The name is not a goal data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a goal data key")]
pub struct UnknownGoalDataKey;

impl UnknownGoalDataKey {
    /// A stable name for logs and dashboards: always `"unknown_goal_data_key"`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "unknown_goal_data_key"
    }
}

impl FromStr for GoalDataKey {
    type Err = UnknownGoalDataKey;

    fn from_str(name: &str) -> Result<Self, UnknownGoalDataKey> {
        Self::ALL.into_iter().find(|key| key.as_str() == name).ok_or(UnknownGoalDataKey)
    }
}

/// A goal data value: a number or a string. `Debug` does not show it.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum GoalValue {
    /// A number; only finite ones can be sent.
    Number(f64),
    /// A string.
    Text(SmolStr),
}

impl fmt::Debug for GoalValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number(_) => "number",
            Self::Text(_) => "text",
        })
    }
}

impl From<f64> for GoalValue {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<i32> for GoalValue {
    fn from(value: i32) -> Self {
        Self::Number(value.into())
    }
}

impl From<u32> for GoalValue {
    fn from(value: u32) -> Self {
        Self::Number(value.into())
    }
}

impl From<&str> for GoalValue {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for GoalValue {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}

/// Why the tracker released events for delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ReleaseReason {
    /// The open batch was full.
    Size,
    /// The auto-flush interval elapsed.
    Timeout,
    /// A flush was requested.
    Explicit,
    /// [`Core::shutdown`](crate::Core::shutdown) flushes before it closes.
    Exit,
}

impl ReleaseReason {
    /// The name that the official SDKs use in their events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Timeout => "timeout",
            Self::Explicit => "explicit",
            Self::Exit => "exit",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{SnapshotCell, load};

    #[test]
    fn decisions_by_number_have_their_ids_whatever_config_comes_next() {
        let config = |experience: &str| {
            let experience = json!({"id": experience, "key": "k", "variations": [{"id": "a"}, {"id": "b"}]});
            let config = json!({"account_id": "1", "project": {"id": "2"}, "experiences": [experience]});
            load(config.to_string(), &Default::default()).unwrap()
        };
        let (cell, old) = (SnapshotCell::default(), config("10"));
        cell.publish_first(Arc::clone(&old));
        let mut pairs = Pairs::Numbers([cell.latest_numbers().number(&old, 0, 1), None, None, None]);
        cell.publish(config("11"), None);
        pairs.resolve(&cell);
        assert_eq!(*pairs, [("10".into(), "b".into())]);
    }
}
