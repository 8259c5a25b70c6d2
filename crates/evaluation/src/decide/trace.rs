//! What a decision tells about itself while it is made. Decisions are generic over it, so that the
//! explanation comes from the code that decides and costs nothing when nobody listens.

use crate::attributes::AttributeValue;
use crate::config::{Audience, Experience, Item, RuledEntity};

/// The answer of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Matched,
    NotMatched,
    /// The map has no such attribute; false, and not negated.
    Absent,
    /// The two sides have types that have no order; false, and not negated.
    Incomparable,
    /// The search was given up, or the decision's steps were; false, and not negated.
    Exhausted,
    /// The item is malformed; false, and not negated.
    Malformed,
}

impl Verdict {
    pub(super) fn negate_if(self, negated: bool) -> Self {
        match self {
            Self::Matched if negated => Self::NotMatched,
            Self::NotMatched if negated => Self::Matched,
            other => other,
        }
    }
}

impl From<bool> for Verdict {
    fn from(matched: bool) -> Self {
        if matched { Self::Matched } else { Self::NotMatched }
    }
}

pub(super) trait Trace {
    fn archived(&mut self, _archived: bool) {}
    fn environment(&mut self, _experience: &Experience, _given: Option<&str>, _passed: bool) {}
    fn stored(&mut self, _experience: &Experience, _variation: Option<usize>, _stale: bool) {}
    /// Items that follow belong to this location, or to the site area.
    fn enter_location(&mut self, _location: Option<&RuledEntity>) {}
    fn leave_location(&mut self, _matched: bool) {}
    fn location(&mut self, _experience: &Experience, _passed: bool) {}
    fn skip_audience(&mut self, _audience: &Audience) {}
    /// Items that follow belong to this audience.
    fn enter_audience(&mut self, _audience: &Audience) {}
    /// `bucketed` tells what an excluding audience found.
    fn leave_audience(&mut self, _matched: bool, _bucketed: Option<bool>) {}
    fn audiences(&mut self, _experience: &Experience, _passed: bool) {}
    fn segments(&mut self, _required: &[u32], _passed: bool) {}
    fn forced(&mut self, _variation_id: &str, _found: bool) {}
    fn item(&mut self, _item: &Item, _data: Option<&AttributeValue>, _verdict: Verdict) {}
    fn bucketed(&mut self, _experience: &Experience, _hash: u32, _bucket: u32, _variation: Option<usize>) {}
}

/// Nobody listens.
pub(super) struct Untraced;

impl Trace for Untraced {}
