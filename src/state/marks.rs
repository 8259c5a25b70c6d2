//! Which exposures and conversions were recorded already, for a tracker without a data store.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;
use std::num::NonZeroUsize;

/// A bounded set of marks. A mark is a 128-bit keyed hash of its texts: two different ones meet
/// with a chance of 2^-128 a pair, and a mark costs 16 bytes twice however long its texts are.
pub(crate) struct Marks {
    seen: HashSet<u128>,
    order: VecDeque<u128>,
    capacity: NonZeroUsize,
    halves: [RandomState; 2],
    evicted: u64,
}

/// What a mark is about, so that a goal and an experience with one id stay apart.
#[derive(Clone, Copy, Hash)]
pub(crate) enum MarkKind {
    Exposure,
    Conversion,
}

impl Marks {
    pub(crate) fn new(capacity: NonZeroUsize) -> Self {
        Self {
            seen: HashSet::new(),
            order: VecDeque::new(),
            capacity,
            halves: [RandomState::new(), RandomState::new()],
            evicted: 0,
        }
    }

    /// Sets a mark and says whether it is new. Past the bound the oldest mark is forgotten.
    pub(crate) fn insert(&mut self, kind: MarkKind, visitor_id: &str, entity_id: &str) -> bool {
        let [high, low] = self.halves.each_ref().map(|half| half.hash_one((kind, visitor_id, entity_id)));
        let mark = (u128::from(high) << 64) | u128::from(low);
        if !self.seen.insert(mark) {
            return false;
        }
        if self.order.len() == self.capacity.get()
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
            self.evicted += 1;
        }
        self.order.push_back(mark);
        true
    }

    /// How many marks were forgotten to make room.
    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_new_once_until_it_is_evicted() {
        let mut marks = Marks::new(NonZeroUsize::new(2).unwrap());
        assert!(marks.insert(MarkKind::Exposure, "v", "1"));
        assert!(!marks.insert(MarkKind::Exposure, "v", "1"));
        assert!(marks.insert(MarkKind::Conversion, "v", "1"));
        assert!(marks.insert(MarkKind::Conversion, "v1", ""));
        assert_eq!(marks.evicted(), 1);
        assert!(marks.insert(MarkKind::Exposure, "v", "1"));
        assert_eq!((marks.seen.len(), marks.order.len()), (2, 2));
    }
}
