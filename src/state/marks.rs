//! Which exposures and conversions were recorded already, for a tracker without a data store.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// A bounded set of marks. A mark is a 128-bit keyed hash of its texts: two different ones meet
/// with a chance of 2^-128 a pair, and a mark costs about 71 bytes however long its texts are.
pub(crate) struct Marks {
    seen: HashSet<u128>,
    order: VecDeque<(u128, Instant)>,
    capacity: NonZeroUsize,
    ttl: Option<Duration>,
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
    pub(crate) fn new(capacity: NonZeroUsize, ttl: Option<Duration>) -> Self {
        Self {
            seen: HashSet::new(),
            order: VecDeque::new(),
            capacity,
            ttl,
            halves: [RandomState::new(), RandomState::new()],
            evicted: 0,
        }
    }

    /// Sets a mark and says whether it is new. Past the bound the oldest mark is forgotten, and before
    /// it those that are too old.
    pub(crate) fn insert(&mut self, kind: MarkKind, visitor_id: &str, entity_id: &str, now: Instant) -> bool {
        if let Some(limit) = self.ttl.and_then(|ttl| now.checked_sub(ttl)) {
            while self.order.front().is_some_and(|(_, set_at)| *set_at <= limit) {
                self.forget_oldest();
            }
        }
        let [high, low] = self.halves.each_ref().map(|half| half.hash_one((kind, visitor_id, entity_id)));
        let mark = (u128::from(high) << 64) | u128::from(low);
        if !self.seen.insert(mark) {
            return false;
        }
        if self.order.len() == self.capacity.get() {
            self.forget_oldest();
        }
        self.order.push_back((mark, now));
        true
    }

    fn forget_oldest(&mut self) {
        if let Some((oldest, _)) = self.order.pop_front() {
            self.seen.remove(&oldest);
            self.evicted += 1;
        }
    }

    /// How many marks were forgotten to make room or for their age.
    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_new_once_until_it_is_evicted() {
        let mut marks = Marks::new(NonZeroUsize::new(2).unwrap(), None);
        let now = Instant::now();
        assert!(marks.insert(MarkKind::Exposure, "v", "1", now));
        assert!(!marks.insert(MarkKind::Exposure, "v", "1", now));
        assert!(marks.insert(MarkKind::Conversion, "v", "1", now));
        assert!(marks.insert(MarkKind::Conversion, "v1", "", now));
        assert_eq!(marks.evicted(), 1);
        assert!(marks.insert(MarkKind::Exposure, "v", "1", now));
        assert_eq!((marks.seen.len(), marks.order.len()), (2, 2));
    }

    #[test]
    fn a_mark_is_new_again_when_its_time_is_over() {
        let minute = Duration::from_secs(60);
        let mut marks = Marks::new(NonZeroUsize::new(10).unwrap(), Some(minute));
        let start = Instant::now();
        assert!(marks.insert(MarkKind::Conversion, "v", "1", start));
        assert!(marks.insert(MarkKind::Conversion, "v", "2", start + minute / 2));
        assert!(!marks.insert(MarkKind::Conversion, "v", "1", start + minute - Duration::from_nanos(1)));
        assert!(marks.insert(MarkKind::Conversion, "v", "1", start + minute));
        assert!(!marks.insert(MarkKind::Conversion, "v", "2", start + minute));
        assert_eq!((marks.evicted(), marks.seen.len()), (1, 2));
    }
}
