//! Hooks that observe a decision while it is made. Decisions are generic over them, so that the
//! explanation comes from the deciding code itself and costs nothing when unused.

use crate::attributes::AttributeValue;
use crate::config::{Audience, Experience, Item, RuledEntity};

/// The result of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemOutcome {
    Matched,
    NotMatched,
    /// There is no such attribute; false even when negated.
    Absent,
    /// The two sides cannot be ordered; false even when negated.
    Incomparable,
    /// The search, or the whole decision, ran out of steps; false even when negated.
    Exhausted,
    /// The item is malformed; false even when negated.
    Malformed,
}

impl ItemOutcome {
    pub(super) fn negate_if(self, negated: bool) -> Self {
        match self {
            Self::Matched if negated => Self::NotMatched,
            Self::NotMatched if negated => Self::Matched,
            other => other,
        }
    }
}

impl From<bool> for ItemOutcome {
    fn from(matched: bool) -> Self {
        if matched { Self::Matched } else { Self::NotMatched }
    }
}

pub(super) trait Trace {
    /// Whether it is told of every item, also of one whose answer is known.
    const EVERY_ITEM: bool = true;

    fn archived(&mut self, _archived: bool) {}
    fn environment(&mut self, _experience: &Experience, _given: Option<&str>, _passed: bool) {}
    fn stored(&mut self, _experience: &Experience, _variation: Option<usize>, _stale: bool) {}
    /// The following items belong to this location, or to the site area if `None`.
    fn enter_location(&mut self, _location: Option<&RuledEntity>) {}
    fn leave_location(&mut self, _matched: bool) {}
    fn location(&mut self, _experience: &Experience, _passed: bool) {}
    fn skip_audience(&mut self, _audience: &Audience) {}
    /// The following items belong to this audience.
    fn enter_audience(&mut self, _audience: &Audience) {}
    /// `bucketed` is what an exclusion audience found.
    fn leave_audience(&mut self, _matched: bool, _bucketed: Option<bool>) {}
    fn audiences(&mut self, _experience: &Experience, _passed: bool) {}
    fn segments(&mut self, _required: &[u32], _passed: bool) {}
    fn forced(&mut self, _variation_id: &str, _found: bool) {}
    fn item(&mut self, _item: &Item, _data: Option<&AttributeValue>, _verdict: ItemOutcome) {}
    fn bucketed(&mut self, _experience: &Experience, _hash: u32, _bucket: u32, _variation: Option<usize>) {}
}

/// Records nothing.
pub(super) struct Untraced;

impl Trace for Untraced {
    const EVERY_ITEM: bool = false;
}
