//! Attributes as the SDK keeps them: measured once, and lists within their bounds.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use smol_str::SmolStr;

pub(crate) use convert_evaluation::{AttributeValue, Attributes, AttributesExt, copied, same};

/// How many values a list of attributes may have; lists of segments have
/// [a bound of their own](LONGEST_SEGMENT).
pub(crate) const LONGEST_LIST: usize = Attributes::LONGEST_LIST;

/// How many values one segment may have.
pub(crate) const LONGEST_SEGMENT: usize = 1_000;

/// Where the ids of the custom segments that a visitor is in are kept among the segments.
pub(crate) const CUSTOM_SEGMENTS: &str = "customSegments";

/// Attributes that contexts, records and memory share, with the bytes that they take on the heap, which
/// are counted once. Empty ones take none.
#[derive(Clone, Default)]
pub(crate) struct Measured(Option<Arc<Counted>>);

#[derive(Clone)]
struct Counted {
    map: Attributes,
    bytes: usize,
}

impl Measured {
    #[inline]
    pub(crate) fn new(mut map: Attributes) -> Self {
        if map.is_empty() {
            return Self(None);
        }
        map.shrink_to_fit();
        let bytes = size_of::<Counted>() + map.heap_bytes();
        Self(Some(Arc::new(Counted { map, bytes })))
    }

    /// Changes these; whoever shares them keeps what they have.
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut Attributes) -> R) -> R {
        let mut map = self.0.take().map_or_else(Attributes::new, |own| Arc::unwrap_or_clone(own).map);
        let answer = change(&mut map);
        *self = Self::new(map);
        answer
    }

    /// What they take on the heap, about.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |counted| counted.bytes)
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether both are one.
    #[inline]
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            (mine, theirs) => mine.is_none() && theirs.is_none(),
        }
    }
}

impl Deref for Measured {
    type Target = Attributes;

    #[inline]
    fn deref(&self) -> &Attributes {
        static NONE: Attributes = Attributes::new();
        self.0.as_ref().map_or(&NONE, |counted| &counted.map)
    }
}

/// Whether it is a list of more values.
#[inline]
pub(crate) fn is_longer_than(longest: usize, value: &AttributeValue) -> bool {
    matches!(value, AttributeValue::Array(values) if values.len() > longest)
}

/// Shortens lists to so many values, and returns how many are left out.
pub(crate) fn shorten(attributes: &mut Attributes, longest: usize) -> usize {
    let long = attributes.iter().filter(|(_, value)| is_longer_than(longest, value));
    let long: Vec<SmolStr> = long.map(|(name, _)| name.into()).collect();
    let mut left_out = 0;
    for name in long {
        if let Some(AttributeValue::Array(mut values)) = attributes.remove(&name) {
            left_out += values.len() - longest;
            values.truncate(longest);
            values.shrink_to_fit();
            attributes.insert(name, AttributeValue::Array(values));
        }
    }
    left_out
}

/// Logs once that values of a list were left out.
pub(crate) fn tell_of(left_out: usize) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if left_out > 0 && !TOLD.swap(true, Ordering::Relaxed) {
        logged!(
            warn,
            "a visitor has a segment of more than {LONGEST_SEGMENT} values or a list of more than \
             {LONGEST_LIST} among the attributes: further values are left out, here and from now on"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_shortened_to_their_bound_and_the_rest_is_counted() {
        let list = |range: std::ops::Range<i32>| Attributes::new().with("k", range.collect::<Vec<_>>());
        let mut map = list(0..1_000).with("short", [1]);
        assert_eq!(shorten(&mut map, 10), 990);
        assert_eq!(shorten(&mut map, 10), 0);
        assert_eq!(map, list(0..10).with("short", [1]));
    }
}
