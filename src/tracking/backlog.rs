//! Accepted records that no delivery carries right now, in order, within a bound.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use super::event::{Class, TrackedEvent};

/// An accepted record and its place in the order of acceptance.
pub(crate) struct Queued {
    pub(crate) sequence: u64,
    pub(crate) event: TrackedEvent,
}

/// One queue for each class, read together in order of acceptance, so that room is made at the
/// expense of the least defended class without a search.
pub(crate) struct Backlog {
    classes: [VecDeque<Queued>; 3],
    capacity: NonZeroUsize,
}

impl Backlog {
    pub(crate) fn new(capacity: NonZeroUsize) -> Self {
        Self { classes: Default::default(), capacity }
    }

    pub(crate) fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    /// Adds the newest record. Where there is no room the oldest of the least defended class is
    /// returned, which can be the new one itself.
    pub(crate) fn push(&mut self, queued: Queued) -> Option<Queued> {
        self.classes[Self::class(&queued)].push_back(queued);
        self.evict()
    }

    /// Puts records of a failed delivery back in front of those of their class.
    pub(crate) fn put_back(&mut self, records: Vec<Queued>) -> Vec<Queued> {
        for queued in records.into_iter().rev() {
            self.classes[Self::class(&queued)].push_front(queued);
        }
        std::iter::from_fn(|| self.evict()).collect()
    }

    /// Takes the oldest records from before `end`, up to `most` of them.
    pub(crate) fn cut(&mut self, end: u64, most: usize) -> Vec<Queued> {
        let mut batch = Vec::with_capacity(most.min(self.len()));
        while batch.len() < most {
            let oldest = self
                .classes
                .iter_mut()
                .filter(|class| class.front().is_some_and(|queued| queued.sequence < end))
                .min_by_key(|class| class.front().map(|queued| queued.sequence));
            match oldest.and_then(VecDeque::pop_front) {
                Some(queued) => batch.push(queued),
                None => break,
            }
        }
        batch
    }

    /// Whether any record from before `end` waits.
    pub(crate) fn has_before(&self, end: u64) -> bool {
        self.classes.iter().any(|class| class.front().is_some_and(|queued| queued.sequence < end))
    }

    fn evict(&mut self) -> Option<Queued> {
        if self.len() <= self.capacity.get() {
            return None;
        }
        self.classes.iter_mut().find_map(VecDeque::pop_front)
    }

    fn class(queued: &Queued) -> usize {
        match queued.event.class() {
            Class::Exposure => 0,
            Class::Conversion => 1,
            Class::Revenue => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::event::{Conversion, Exposure, GoalDataKey, GoalValue};
    use super::*;

    fn exposure(sequence: u64) -> Queued {
        let event = TrackedEvent::Exposure(Exposure {
            visitor_id: "v".into(),
            experience_id: "1".into(),
            variation_id: "2".into(),
            segments: None,
        });
        Queued { sequence, event }
    }

    fn conversion(sequence: u64, revenue: bool) -> Queued {
        let amount = (GoalDataKey::Amount, GoalValue::Number(1.0));
        let event = TrackedEvent::Conversion(Conversion {
            visitor_id: "v".into(),
            goal_id: "3".into(),
            goal_key: "buy".into(),
            goal_data: revenue.then(|| vec![amount].into()),
            bucketing: Arc::default(),
            segments: None,
            force_multiple: false,
            first: true,
        });
        Queued { sequence, event }
    }

    fn backlog(capacity: usize) -> Backlog {
        Backlog::new(NonZeroUsize::new(capacity).unwrap())
    }

    fn sequences(records: &[Queued]) -> Vec<u64> {
        records.iter().map(|queued| queued.sequence).collect()
    }

    #[test]
    fn records_leave_in_the_order_of_acceptance() {
        let mut backlog = backlog(9);
        for queued in [exposure(0), conversion(1, true), exposure(2), conversion(3, false), exposure(4)] {
            assert!(backlog.push(queued).is_none());
        }
        assert_eq!(sequences(&backlog.cut(4, 3)), [0, 1, 2]);
        assert!(backlog.has_before(4) && !backlog.has_before(3));
        assert_eq!(sequences(&backlog.cut(4, 3)), [3]);
        assert_eq!(backlog.len(), 1);
    }

    #[test]
    fn exposures_go_first_and_revenue_last() {
        let mut backlog = backlog(3);
        for queued in [conversion(0, true), exposure(1), conversion(2, false)] {
            assert!(backlog.push(queued).is_none());
        }
        let evicted: Vec<u64> = [conversion(3, true), conversion(4, true), conversion(5, true), exposure(6)]
            .into_iter()
            .map(|queued| backlog.push(queued).unwrap().sequence)
            .collect();
        assert_eq!(evicted, [1, 2, 0, 6]);
    }

    #[test]
    fn what_is_put_back_comes_out_first() {
        let mut backlog = backlog(3);
        backlog.push(exposure(0));
        backlog.push(conversion(1, false));
        let batch = backlog.cut(2, 10);
        backlog.push(exposure(2));
        assert!(backlog.put_back(batch).is_empty());
        assert_eq!(sequences(&backlog.cut(9, 10)), [0, 1, 2]);
    }
}
