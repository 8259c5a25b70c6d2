//! Accepted records that no delivery carries right now, in order, within a bound of records and bytes.

use std::collections::VecDeque;
use std::time::Instant;

use super::event::TrackedEvent;

/// An accepted record and its place in the order of acceptance.
pub(crate) struct Queued {
    pub(crate) sequence: u64,
    pub(crate) event: TrackedEvent,
    pub(crate) accepted_at: Instant,
    /// Deliveries that carried it and failed.
    pub(crate) tries: u32,
    pub(crate) claim: Claim,
}

/// What a record has claimed: the deduplication mark of its visitor and goal or experience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing, as it repeats on purpose.
    None,
    /// The data store has been asked and has not answered; the record is not delivered before.
    Asked,
    /// The mark of this process.
    Local,
    /// That, and a lease in the data store.
    Leased,
}

impl Queued {
    /// What it takes in memory, which is also about what it takes on the wire.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.event.heap_bytes()
    }
}

/// How much one delivery may carry.
#[derive(Clone, Copy)]
pub(crate) struct CutLimit {
    /// Events on the wire, save for a single record that is more.
    pub(crate) events: usize,
    /// Bytes of records, save for a single larger one.
    pub(crate) bytes: usize,
}

/// One queue for each class, read together in order of acceptance, so that room is made at the
/// expense of the least defended class without a search.
pub(crate) struct Backlog {
    classes: [VecDeque<Queued>; 3],
    max_records: usize,
    max_bytes: usize,
    bytes: usize,
    to_retry: usize,
}

impl Backlog {
    pub(crate) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self { classes: Default::default(), max_records, max_bytes, bytes: 0, to_retry: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    /// Records from this number on.
    pub(crate) fn len_from(&self, sequence: u64) -> usize {
        let from =
            |queue: &VecDeque<Queued>| queue.len() - queue.partition_point(|it| it.sequence < sequence);
        self.classes.iter().map(from).sum()
    }

    /// Records that a failed delivery carried.
    pub(crate) const fn to_retry(&self) -> usize {
        self.to_retry
    }

    /// Whether one more record of this size fits without another's place.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.len() < self.max_records && self.bytes + bytes <= self.max_bytes
    }

    /// Adds the newest record. Where there is no room, [`evict`](Self::evict) says what goes.
    pub(crate) fn push(&mut self, queued: Queued) {
        self.count(&queued);
        self.classes[queued.event.class() as usize].push_back(queued);
    }

    /// Puts records of a failed delivery back in their places.
    pub(crate) fn put_back(&mut self, records: Vec<Queued>) {
        let mut unsorted = [false; 3];
        for queued in records.into_iter().rev() {
            let class = queued.event.class() as usize;
            let queue = &mut self.classes[class];
            unsorted[class] |= queue.front().is_some_and(|first| first.sequence < queued.sequence);
            self.bytes += queued.bytes();
            self.to_retry += usize::from(queued.tries > 0);
            queue.push_front(queued);
        }
        // Deliveries at hand together can end in any order.
        for (queue, _) in self.classes.iter_mut().zip(unsorted).filter(|(_, unsorted)| *unsorted) {
            queue.make_contiguous().sort_by_key(|queued| queued.sequence);
        }
    }

    /// While there is more than fits: takes the oldest of the least defended class.
    pub(crate) fn evict(&mut self) -> Option<Queued> {
        if self.len() <= self.max_records && self.bytes <= self.max_bytes {
            return None;
        }
        let class = self.classes.iter().position(|queue| !queue.is_empty())?;
        self.pop(class)
    }

    /// Takes a record that was accepted at `limit` or before.
    pub(crate) fn expire(&mut self, limit: Instant) -> Option<Queued> {
        let class = self.fronts().find(|(_, first)| first.accepted_at <= limit)?.0;
        self.pop(class)
    }

    /// Takes the oldest records from before `end`, as many as one delivery may carry and at least one.
    pub(crate) fn cut(&mut self, end: u64, limit: CutLimit) -> Vec<Queued> {
        let mut batch: Vec<Queued> = Vec::with_capacity(limit.events.min(self.len()));
        let (mut events, mut bytes) = (0, 0);
        while let Some((class, oldest)) = self.oldest() {
            events += oldest.event.wire_events();
            bytes += oldest.bytes();
            let fits = batch.is_empty() || (events <= limit.events && bytes <= limit.bytes);
            if oldest.sequence >= end || !fits || oldest.claim == Claim::Asked {
                break;
            }
            batch.extend(self.pop(class));
        }
        batch
    }

    /// Takes everything.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Queued> {
        (self.bytes, self.to_retry) = (0, 0);
        std::mem::take(&mut self.classes).into_iter().flatten()
    }

    /// Whether a [`cut`](Self::cut) would take anything.
    pub(crate) fn can_cut(&self, end: u64) -> bool {
        self.oldest().is_some_and(|(_, oldest)| oldest.sequence < end && oldest.claim != Claim::Asked)
    }

    /// A waiting record by its number.
    pub(crate) fn find(&mut self, sequence: u64) -> Option<&mut Queued> {
        let (class, place) = self.place(sequence)?;
        self.classes[class].get_mut(place)
    }

    /// Takes one record out.
    pub(crate) fn remove(&mut self, sequence: u64) -> Option<Queued> {
        let (class, place) = self.place(sequence)?;
        let queued = self.classes[class].remove(place)?;
        self.forget(&queued);
        Some(queued)
    }

    fn place(&self, sequence: u64) -> Option<(usize, usize)> {
        self.classes.iter().enumerate().find_map(|(class, queue)| {
            Some((class, queue.binary_search_by_key(&sequence, |queued| queued.sequence).ok()?))
        })
    }

    /// When the oldest record was accepted.
    pub(crate) fn oldest_at(&self) -> Option<Instant> {
        self.oldest().map(|(_, oldest)| oldest.accepted_at)
    }

    fn oldest(&self) -> Option<(usize, &Queued)> {
        self.fronts().min_by_key(|(_, first)| first.sequence)
    }

    fn fronts(&self) -> impl Iterator<Item = (usize, &Queued)> {
        let fronts = self.classes.iter().map(VecDeque::front).enumerate();
        fronts.filter_map(|(class, first)| Some((class, first?)))
    }

    fn pop(&mut self, class: usize) -> Option<Queued> {
        let queued = self.classes[class].pop_front()?;
        self.forget(&queued);
        Some(queued)
    }

    fn forget(&mut self, queued: &Queued) {
        self.bytes -= queued.bytes();
        self.to_retry -= usize::from(queued.tries > 0);
    }

    fn count(&mut self, queued: &Queued) {
        self.bytes += queued.bytes();
        self.to_retry += usize::from(queued.tries > 0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::event::{Conversion, Exposure, GoalDataKey, GoalValue};
    use super::*;

    const ANY: CutLimit = CutLimit { events: usize::MAX, bytes: usize::MAX };

    fn queued(sequence: u64, event: TrackedEvent) -> Queued {
        Queued {
            sequence,
            event,
            accepted_at: start() + Duration::from_secs(sequence),
            tries: 0,
            claim: Claim::Local,
        }
    }

    /// One moment for all, as only differences matter.
    fn start() -> Instant {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *START
    }

    fn exposure(sequence: u64) -> Queued {
        let event = TrackedEvent::Exposure(Exposure {
            visitor_id: "v".into(),
            experience_id: "1".into(),
            variation_id: "2".into(),
            segments: None,
        });
        queued(sequence, event)
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
        queued(sequence, event)
    }

    fn sequences(records: &[Queued]) -> Vec<u64> {
        records.iter().map(|queued| queued.sequence).collect()
    }

    fn push(backlog: &mut Backlog, queued: Queued) -> Option<u64> {
        backlog.push(queued);
        backlog.evict().map(|evicted| evicted.sequence)
    }

    #[test]
    fn a_full_backlog_sacrifices_exposures_first_and_revenue_last() {
        let mut backlog = Backlog::new(3, usize::MAX);
        assert!(push(&mut backlog, exposure(0)).is_none());
        assert!(push(&mut backlog, conversion(1, true)).is_none());
        assert!(push(&mut backlog, conversion(2, false)).is_none());
        assert_eq!(push(&mut backlog, conversion(3, false)), Some(0), "the only exposure");
        assert_eq!(push(&mut backlog, exposure(4)), Some(4), "an exposure displaces nobody");
        assert_eq!(push(&mut backlog, conversion(5, true)), Some(2), "the oldest plain conversion");
        assert_eq!(push(&mut backlog, conversion(6, true)), Some(3));
        assert_eq!(push(&mut backlog, conversion(7, true)), Some(1), "revenue, when there is nothing else");
        assert_eq!(sequences(&backlog.cut(u64::MAX, ANY)), [5, 6, 7]);
        assert_eq!((backlog.len(), backlog.bytes), (0, 0));
    }

    #[test]
    fn bytes_are_a_bound_too() {
        let mut backlog = Backlog::new(usize::MAX, 2 * exposure(0).bytes() + 700);
        assert!(push(&mut backlog, exposure(0)).is_none() && push(&mut backlog, exposure(1)).is_none());
        let mut long = exposure(2);
        let TrackedEvent::Exposure(it) = &mut long.event else { unreachable!() };
        it.visitor_id = "v".repeat(700).into();
        assert!(!backlog.has_room(long.bytes()));
        backlog.push(long);
        assert_eq!(backlog.evict().map(|evicted| evicted.sequence), Some(0));
        assert_eq!(backlog.evict().map(|evicted| evicted.sequence), None, "now there is room");
        assert_eq!(sequences(&backlog.cut(u64::MAX, ANY)), [1, 2]);
        assert_eq!(backlog.bytes, 0);
    }

    #[test]
    fn a_cut_takes_the_oldest_of_all_classes_up_to_its_end_and_bounds() {
        let mut backlog = Backlog::new(100, usize::MAX);
        for sequence in 0..9 {
            let record = match sequence % 3 {
                0 => exposure(sequence),
                it => conversion(sequence, it == 1),
            };
            assert!(push(&mut backlog, record).is_none());
        }
        // The fifth record would be the sixth event.
        assert_eq!(sequences(&backlog.cut(7, CutLimit { events: 5, ..ANY })), [0, 1, 2, 3]);
        assert!(backlog.can_cut(7));
        assert_eq!(sequences(&backlog.cut(7, ANY)), [4, 5, 6]);
        assert!(!backlog.can_cut(7) && backlog.can_cut(8));
        assert_eq!(sequences(&backlog.cut(9, CutLimit { bytes: 1, ..ANY })), [7], "one always fits");
        assert!(backlog.cut(7, ANY).is_empty());
    }

    #[test]
    fn deliveries_that_fail_in_any_order_go_back_to_their_places() {
        let mut backlog = Backlog::new(100, usize::MAX);
        (0..6).for_each(|sequence| backlog.push(exposure(sequence)));
        let two = CutLimit { events: 2, ..ANY };
        let (mut first, mut second) = (backlog.cut(6, two), backlog.cut(6, two));
        first.iter_mut().chain(&mut second).for_each(|queued| queued.tries = 1);
        backlog.put_back(first);
        assert_eq!(backlog.to_retry(), 2);
        backlog.put_back(second);
        assert_eq!((backlog.to_retry(), backlog.oldest_at()), (4, Some(start())));
        assert_eq!(sequences(&backlog.cut(3, ANY)), [0, 1, 2]);
        assert_eq!(backlog.to_retry(), 1);
        assert_eq!(sequences(&backlog.drain().collect::<Vec<_>>()), [3, 4, 5]);
        assert_eq!((backlog.len(), backlog.bytes, backlog.to_retry()), (0, 0, 0));
    }

    #[test]
    fn a_record_waits_in_its_place_for_its_claim() {
        let mut backlog = Backlog::new(100, usize::MAX);
        (0..4).for_each(|sequence| backlog.push(exposure(sequence)));
        backlog.find(1).unwrap().claim = Claim::Asked;
        assert_eq!(sequences(&backlog.cut(4, ANY)), [0]);
        assert!(!backlog.can_cut(4) && backlog.cut(4, ANY).is_empty());
        assert_eq!(backlog.remove(2).map(|queued| queued.sequence), Some(2));
        assert!(backlog.remove(2).is_none() && backlog.find(9).is_none());
        backlog.find(1).unwrap().claim = Claim::Leased;
        assert_eq!(sequences(&backlog.cut(4, ANY)), [1, 3]);
        assert_eq!((backlog.len(), backlog.bytes), (0, 0));
    }

    #[test]
    fn what_is_too_old_is_taken_from_every_class() {
        let mut backlog = Backlog::new(100, usize::MAX);
        backlog.push(conversion(0, true));
        backlog.push(exposure(1));
        backlog.push(conversion(2, false));
        let limit = start() + Duration::from_secs(1);
        let expired: Vec<u64> =
            std::iter::from_fn(|| backlog.expire(limit)).map(|queued| queued.sequence).collect();
        assert_eq!(expired, [1, 0]);
        assert_eq!(backlog.len(), 1);
    }
}
