//! Accepted records that are not in a delivery, in order, bounded in records and bytes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::delivery::{CutLimit, Parcel};
use super::event::TrackedEvent;
use super::ledger::ByClass;
use super::moment::Moment;

/// An accepted record and its place in the order of acceptance.
pub(crate) struct Queued {
    pub(crate) sequence: u64,
    pub(crate) event: TrackedEvent,
    pub(crate) accepted_at: Moment,
    /// Failed deliveries that carried it.
    pub(crate) tries: u32,
    /// How many of these the endpoint neither accepted nor refused: the record may be the cause.
    pub(crate) suspicion: u32,
    pub(crate) claim: Claim,
    bytes: u32,
    /// The number of its own mark among all marks ever set.
    pub(crate) mark: u64,
}

/// What a record has claimed: the deduplication mark of its visitor and goal or experience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nothing: a deliberate repetition.
    None,
    /// The data store has not answered yet; until then the record is not delivered. If this process has
    /// `delivered` one with this mark, only the store can say whether this one is a repetition.
    Asked { delivered: bool },
    /// This process's mark.
    Local,
    /// This process's mark, and a lease in the data store.
    Leased,
    /// The lease of the process that accepted it. The mark here, if it is set, is that of another record.
    Inherited,
}

impl Queued {
    /// A record that was never sent and has no mark.
    pub(crate) fn new(sequence: u64, event: TrackedEvent, accepted_at: Moment) -> Self {
        let bytes = u32::try_from(size_of::<Self>() + event.heap_bytes()).unwrap_or(u32::MAX);
        Self { sequence, event, accepted_at, tries: 0, suspicion: 0, claim: Claim::None, bytes, mark: 0 }
    }

    pub(crate) fn with(self, claim: Claim, mark: u64) -> Self {
        Self { claim, mark, ..self }
    }

    /// Its size in memory, which is roughly its size on the wire.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes as usize
    }
}

impl Parcel for Queued {
    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn accepted_at(&self) -> Moment {
        self.accepted_at
    }

    fn wire_events(&self) -> usize {
        self.event.wire_events()
    }

    fn count_in(&self, counts: &mut ByClass) {
        counts.count(self.event.class());
    }

    fn count_try(&mut self) {
        self.tries = self.tries.saturating_add(1);
    }

    fn count_suspicion(&mut self) -> u32 {
        self.suspicion = self.suspicion.saturating_add(1);
        self.suspicion
    }
}

/// One queue per class, read together in order of acceptance, so that the least valuable class can be evicted
/// without a search.
pub(crate) struct Backlog {
    ready: [Queue; 3],
    /// Records waiting for their claims, by number; kept apart so that a cut need not skip them.
    asked: [BTreeMap<u64, Queued>; 3],
    max_records: usize,
    max_bytes: usize,
    bytes: usize,
    /// Records and bytes that are kept elsewhere, and count towards the bounds.
    elsewhere: (usize, usize),
    to_retry: usize,
    /// Records before this one are released for delivery.
    released: u64,
    /// How many are not released.
    open: usize,
    /// Records from this one on are not on disk yet, and must not be sent.
    unsaved_from: u64,
    /// Cuts begin at this number if any record from there on is ready.
    cut_from: u64,
}

/// How long a record waiting for its claim holds up later ones, so that with a fast store records are
/// delivered in order.
const IN_ORDER: Duration = Duration::from_millis(50);
/// Above this suspicion, a record is sent in smaller and smaller requests.
const TRUSTED: u32 = 5;

/// Records in order of acceptance.
#[derive(Default)]
struct Queue {
    in_order: VecDeque<Queued>,
    /// Records that later ones have overtaken, in a failed delivery or while waiting for a claim.
    overtaken: BTreeMap<u64, Queued>,
}

impl Backlog {
    pub(crate) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self {
            ready: Default::default(),
            asked: Default::default(),
            max_records,
            max_bytes,
            bytes: 0,
            elsewhere: (0, 0),
            to_retry: 0,
            released: 0,
            open: 0,
            unsaved_from: u64::MAX,
            cut_from: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        let asked: usize = self.asked.iter().map(BTreeMap::len).sum();
        self.ready.iter().map(Queue::len).sum::<usize>() + asked
    }

    /// Records that are not released.
    pub(crate) const fn open(&self) -> usize {
        self.open
    }

    /// Releases all records before `end`, which includes every record here.
    pub(crate) fn release(&mut self, end: u64) {
        self.released = self.released.max(end);
        self.open = 0;
    }

    /// Records that a failed delivery carried.
    pub(crate) const fn to_retry(&self) -> usize {
        self.to_retry
    }

    /// Leaves room for this much that is kept elsewhere.
    pub(crate) const fn reserve(&mut self, records: usize, bytes: usize) {
        self.elsewhere = (records, bytes);
    }

    /// Records and bytes that count towards the bounds.
    fn used(&self) -> (usize, usize) {
        (self.len() + self.elsewhere.0, self.bytes + self.elsewhere.1)
    }

    /// Whether one more record of this size fits without evicting another.
    pub(crate) fn has_space(&self, bytes: usize) -> bool {
        let used = self.used();
        used.0 < self.max_records && used.1 + bytes <= self.max_bytes
    }

    /// How many records and bytes fit into the half that is for other processes' records too.
    pub(crate) fn half_free(&self) -> (usize, usize) {
        let free = |most: usize, now: usize| most.div_ceil(2).saturating_sub(now);
        let used = self.used();
        (free(self.max_records, used.0), free(self.max_bytes, used.1))
    }

    /// Records from this one on must wait for the disk.
    pub(crate) const fn hold_from(&mut self, sequence: u64) {
        self.unsaved_from = sequence;
    }

    /// Inserts a record in order. If the backlog is then too full, [`evict`](Self::evict) picks what to drop.
    pub(crate) fn push(&mut self, queued: Queued) {
        self.bytes += queued.bytes();
        self.to_retry += usize::from(queued.tries > 0);
        self.open += usize::from(queued.sequence >= self.released);
        let class = queued.event.class() as usize;
        if matches!(queued.claim, Claim::Asked { .. }) {
            self.asked[class].insert(queued.sequence, queued);
        } else {
            self.ready[class].push(queued);
        }
    }

    /// While the backlog is over its bounds: takes the oldest record of the least valuable class.
    pub(crate) fn evict(&mut self) -> Option<Queued> {
        let used = self.used();
        if used.0 <= self.max_records && used.1 <= self.max_bytes {
            return None;
        }
        let class = (0..3).find(|class| self.oldest_of(*class).is_some())?;
        self.pop(class)
    }

    /// Takes a record accepted at or before `limit`.
    pub(crate) fn expire(&mut self, limit: Moment) -> Option<Queued> {
        let is_old = |class: &usize| self.oldest_of(*class).is_some_and(|oldest| oldest.accepted_at <= limit);
        let class = (0..3).find(is_old)?;
        self.pop(class)
    }

    /// Takes the oldest released records that are not waiting for a claim: as many as one delivery may carry,
    /// and at least one. None if what is kept elsewhere takes half of the space, so that it can never take all of it.
    pub(crate) fn cut(&mut self, limit: CutLimit, now: Moment) -> Vec<Queued> {
        let (records, bytes) = self.elsewhere;
        if records > self.max_records / 2 || bytes > self.max_bytes / 2 {
            return Vec::new();
        }
        let before = self.due_before(now);
        if !self.has_before(before) {
            return Vec::new();
        }
        let batch = self.take(self.cut_from, before, limit);
        if batch.is_empty() && self.cut_from > 0 { self.take(0, before, limit) } else { batch }
    }

    /// Takes as many of the records in `from..before` as one delivery may carry.
    fn take(&mut self, from: u64, before: u64, limit: CutLimit) -> Vec<Queued> {
        let passed_by = self.ready.each_mut().map(|queue| queue.split_before(from));
        let mut batch = Vec::with_capacity(limit.events.min(self.len()));
        let (mut events, mut bytes, mut most) = (0, 0, limit.events);
        while let Some((class, oldest)) = self.oldest_ready().filter(|(_, it)| it.sequence < before) {
            events += oldest.event.wire_events();
            bytes += oldest.bytes();
            most = most.min(limit.events >> oldest.suspicion.saturating_sub(TRUSTED).min(31));
            if !batch.is_empty() && (events > most || bytes > limit.bytes) {
                break;
            }
            let Some(oldest) = self.ready[class].pop() else { break };
            self.uncount(&oldest);
            batch.push(oldest);
        }
        for (queue, passed_by) in self.ready.iter_mut().zip(passed_by) {
            queue.put_before(passed_by);
        }
        batch
    }

    /// Lets cuts begin after this record for now: it, or one before it, may be why their delivery keeps
    /// failing, and the others need not wait for it.
    pub(crate) const fn pass_by(&mut self, sequence: u64) {
        self.cut_from = sequence + 1;
    }

    /// Lets cuts begin at the oldest record again.
    pub(crate) const fn start_over(&mut self) {
        self.cut_from = 0;
    }

    /// Takes everything, in no particular order.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Queued> + use<> {
        (self.bytes, self.to_retry, self.open) = (0, 0, 0);
        let (ready, asked) = (std::mem::take(&mut self.ready), std::mem::take(&mut self.asked));
        let ready =
            ready.into_iter().flat_map(|it| it.in_order.into_iter().chain(it.overtaken.into_values()));
        ready.chain(asked.into_iter().flat_map(BTreeMap::into_values))
    }

    /// Whether a [`cut`](Self::cut) would take anything.
    pub(crate) fn can_cut(&self, now: Moment) -> bool {
        self.has_before(self.due_before(now))
    }

    /// Whether a record before this number is ready.
    fn has_before(&self, end: u64) -> bool {
        self.oldest_ready().is_some_and(|(_, oldest)| oldest.sequence < end)
    }

    /// When records held up only for the sake of order are let go.
    pub(crate) fn in_order_until(&self, now: Moment) -> Option<Moment> {
        let asked = self.holds_order(now)?;
        let are_held =
            |queue: &Queue| queue.first_since(asked.sequence).is_some_and(|it| it.sequence < self.released);
        self.ready.iter().any(are_held).then(|| asked.accepted_at + IN_ORDER)
    }

    /// Records before this number may be sent, unless they are waiting for a claim.
    fn due_before(&self, now: Moment) -> u64 {
        let due = self.released.min(self.unsaved_from);
        self.holds_order(now).map_or(due, |asked| due.min(asked.sequence))
    }

    /// The record for whose claim later ones wait.
    fn holds_order(&self, now: Moment) -> Option<&Queued> {
        self.oldest_asked().filter(|asked| now < asked.accepted_at + IN_ORDER)
    }

    /// A record, by its number.
    pub(crate) fn get(&self, sequence: u64) -> Option<&Queued> {
        let asked = self.asked.iter().find_map(|asked| asked.get(&sequence));
        asked.or_else(|| self.ready.iter().find_map(|queue| queue.get(sequence)))
    }

    /// A record that is not waiting for a claim, by its number.
    pub(crate) fn find(&mut self, sequence: u64) -> Option<&mut Queued> {
        self.ready.iter_mut().find_map(|queue| queue.find(sequence))
    }

    /// Takes a record that is waiting for its claim.
    pub(crate) fn take_asked(&mut self, sequence: u64) -> Option<Queued> {
        let asked = self.asked.iter_mut().find_map(|asked| asked.remove(&sequence));
        self.taken(asked)
    }

    /// The first record that is waiting for its claim.
    pub(crate) fn first_asked(&self) -> Option<u64> {
        self.oldest_asked().map(|oldest| oldest.sequence)
    }

    fn oldest_asked(&self) -> Option<&Queued> {
        let oldest = self.asked.iter().filter_map(|asked| Some(asked.first_key_value()?.1));
        oldest.min_by_key(|queued| queued.sequence)
    }

    /// When the oldest record was accepted.
    pub(crate) fn oldest_at(&self) -> Option<Moment> {
        (0..3).filter_map(|class| self.oldest_of(class)).map(|oldest| oldest.accepted_at).min()
    }

    fn oldest_ready(&self) -> Option<(usize, &Queued)> {
        let fronts = self.ready.iter().map(Queue::first).enumerate();
        fronts.filter_map(|(class, first)| Some((class, first?))).min_by_key(|(_, first)| first.sequence)
    }

    fn oldest_of(&self, class: usize) -> Option<&Queued> {
        let asked = self.asked[class].first_key_value().map(|(_, first)| first);
        older(self.ready[class].first(), asked)
    }

    /// Takes the oldest record of a class.
    fn pop(&mut self, class: usize) -> Option<Queued> {
        let sequence = self.oldest_of(class)?.sequence;
        let asked = self.asked[class].remove(&sequence);
        let oldest = asked.or_else(|| self.ready[class].pop());
        self.taken(oldest)
    }

    /// Updates the counts for a record that has left its queue.
    fn taken(&mut self, queued: Option<Queued>) -> Option<Queued> {
        self.uncount(queued.as_ref()?);
        queued
    }

    fn uncount(&mut self, queued: &Queued) {
        self.bytes -= queued.bytes();
        self.to_retry -= usize::from(queued.tries > 0);
        self.open -= usize::from(queued.sequence >= self.released);
    }
}

impl Queue {
    fn len(&self) -> usize {
        self.in_order.len() + self.overtaken.len()
    }

    fn push(&mut self, queued: Queued) {
        if self.in_order.back().is_none_or(|last| last.sequence < queued.sequence) {
            self.in_order.push_back(queued);
        } else {
            self.overtaken.insert(queued.sequence, queued);
        }
    }

    /// The first record from this number on.
    fn first_since(&self, from: u64) -> Option<&Queued> {
        let place = self.in_order.partition_point(|queued| queued.sequence < from);
        older(self.in_order.get(place), self.overtaken.range(from..).next().map(|(_, first)| first))
    }

    /// Takes the records before this number out.
    fn split_before(&mut self, from: u64) -> Self {
        if from == 0 {
            return Self::default();
        }
        let place = self.in_order.partition_point(|queued| queued.sequence < from);
        let since = self.overtaken.split_off(&from);
        Self {
            in_order: self.in_order.drain(..place).collect(),
            overtaken: std::mem::replace(&mut self.overtaken, since),
        }
    }

    /// Puts them back.
    fn put_before(&mut self, before: Self) {
        before.in_order.into_iter().rev().for_each(|queued| self.in_order.push_front(queued));
        self.overtaken.extend(before.overtaken);
    }

    fn first(&self) -> Option<&Queued> {
        older(self.in_order.front(), self.overtaken.first_key_value().map(|(_, first)| first))
    }

    fn pop(&mut self) -> Option<Queued> {
        let overtaken = self.overtaken.first_entry();
        match (self.in_order.front(), overtaken) {
            (Some(one), Some(other)) if one.sequence > *other.key() => Some(other.remove()),
            (None, Some(other)) => Some(other.remove()),
            (_, _) => self.in_order.pop_front(),
        }
    }

    fn get(&self, sequence: u64) -> Option<&Queued> {
        let place = self.in_order.binary_search_by_key(&sequence, |queued| queued.sequence);
        place.map_or_else(|_| self.overtaken.get(&sequence), |place| self.in_order.get(place))
    }

    fn find(&mut self, sequence: u64) -> Option<&mut Queued> {
        if let Ok(place) = self.in_order.binary_search_by_key(&sequence, |queued| queued.sequence) {
            return self.in_order.get_mut(place);
        }
        self.overtaken.get_mut(&sequence)
    }
}

fn older<'a>(one: Option<&'a Queued>, other: Option<&'a Queued>) -> Option<&'a Queued> {
    one.into_iter().chain(other).min_by_key(|queued| queued.sequence)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::event::{Conversion, Exposure, GoalDataKey, GoalValue};
    use super::*;

    const ANY: CutLimit = CutLimit { events: usize::MAX, bytes: usize::MAX, elsewhere: false };

    fn queued(sequence: u64, event: TrackedEvent) -> Queued {
        let accepted_at = start() + Duration::from_secs(sequence);
        Queued::new(sequence, event, accepted_at).with(Claim::Local, 0)
    }

    /// One moment for all; only differences matter.
    fn start() -> Moment {
        Moment::default()
    }

    /// When nothing is held up for the sake of order any longer.
    fn late() -> Moment {
        start() + Duration::from_secs(1_000_000)
    }

    fn exposure(sequence: u64) -> Queued {
        let event = TrackedEvent::Exposure(Exposure {
            visitor_id: "v".into(),
            experience_id: "1".into(),
            variation_id: "2".into(),
            segments: Default::default(),
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
            bucketing: [].into(),
            segments: Default::default(),
            force_multiple: false,
            first: true,
        });
        queued(sequence, event)
    }

    fn sequences(records: &[Queued]) -> Vec<u64> {
        records.iter().map(|queued| queued.sequence).collect()
    }

    /// Releases the records before `end` and makes a cut.
    fn cut(backlog: &mut Backlog, end: u64, limit: CutLimit) -> Vec<u64> {
        backlog.release(end);
        sequences(&backlog.cut(limit, late()))
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
        assert_eq!(push(&mut backlog, exposure(4)), Some(4), "an exposure displaces nothing");
        assert_eq!(push(&mut backlog, conversion(5, true)), Some(2), "the oldest plain conversion");
        assert_eq!(push(&mut backlog, conversion(6, true)), Some(3));
        assert_eq!(push(&mut backlog, conversion(7, true)), Some(1), "revenue, as a last resort");
        assert_eq!(cut(&mut backlog, u64::MAX, ANY), [5, 6, 7]);
        assert_eq!((backlog.len(), backlog.bytes), (0, 0));
    }

    #[test]
    fn the_backlog_is_bounded_in_bytes_too() {
        let mut backlog = Backlog::new(usize::MAX, 2 * exposure(0).bytes() + 700);
        assert!(push(&mut backlog, exposure(0)).is_none() && push(&mut backlog, exposure(1)).is_none());
        let TrackedEvent::Exposure(mut event) = exposure(2).event else { unreachable!() };
        event.visitor_id = "v".repeat(700).into();
        let long = queued(2, TrackedEvent::Exposure(event));
        assert!(!backlog.has_space(long.bytes()));
        backlog.push(long);
        assert_eq!(backlog.evict().map(|evicted| evicted.sequence), Some(0));
        assert_eq!(backlog.evict().map(|evicted| evicted.sequence), None, "now it fits");
        assert_eq!(cut(&mut backlog, u64::MAX, ANY), [1, 2]);
        assert_eq!(backlog.bytes, 0);
    }

    #[test]
    fn a_cut_takes_the_oldest_of_all_classes_within_its_bounds() {
        let mut backlog = Backlog::new(100, usize::MAX);
        for sequence in 0..9 {
            let record = match sequence % 3 {
                0 => exposure(sequence),
                it => conversion(sequence, it == 1),
            };
            assert!(push(&mut backlog, record).is_none());
        }
        // The fifth record would be the sixth event.
        assert_eq!(cut(&mut backlog, 7, CutLimit { events: 5, ..ANY }), [0, 1, 2, 3]);
        assert!(backlog.can_cut(late()));
        assert_eq!(cut(&mut backlog, 7, ANY), [4, 5, 6]);
        assert!(!backlog.can_cut(late()) && cut(&mut backlog, 7, ANY).is_empty());
        assert_eq!(cut(&mut backlog, 8, CutLimit { bytes: 1, ..ANY }), [7], "one always fits");
        assert!(!backlog.can_cut(late()) && backlog.len() == 1);
    }

    #[test]
    fn failed_deliveries_return_to_their_places_in_any_order() {
        let mut backlog = Backlog::new(100, usize::MAX);
        (0..6).for_each(|sequence| backlog.push(exposure(sequence)));
        let two = CutLimit { events: 2, ..ANY };
        backlog.release(6);
        let (mut first, mut second) = (backlog.cut(two, late()), backlog.cut(two, late()));
        first.iter_mut().chain(&mut second).for_each(|queued| queued.tries = 1);
        second.into_iter().for_each(|queued| backlog.push(queued));
        assert_eq!(backlog.to_retry(), 2);
        first.into_iter().for_each(|queued| backlog.push(queued));
        assert_eq!((backlog.to_retry(), backlog.oldest_at()), (4, Some(start())));
        assert_eq!(sequences(&backlog.cut(CutLimit { events: 3, ..ANY }, late())), [0, 1, 2]);
        assert_eq!(backlog.to_retry(), 1);
        let mut left = sequences(&backlog.drain().collect::<Vec<_>>());
        left.sort_unstable();
        assert_eq!(left, [3, 4, 5]);
        assert_eq!((backlog.len(), backlog.bytes, backlog.to_retry()), (0, 0, 0));
    }

    #[test]
    fn a_record_waiting_for_its_claim_holds_up_no_other() {
        let mut backlog = Backlog::new(100, usize::MAX);
        for sequence in 0..6 {
            let claim = if sequence < 3 { Claim::Asked { delivered: false } } else { Claim::Local };
            backlog.push(Queued { claim, ..exposure(sequence) });
        }
        assert_eq!((backlog.first_asked(), backlog.find(0).is_none()), (Some(0), true));
        assert_eq!(cut(&mut backlog, 5, ANY), [3, 4]);
        assert!(!backlog.can_cut(late()) && backlog.take_asked(5).is_none());
        let mut answered = backlog.take_asked(2).unwrap();
        answered.claim = Claim::Leased;
        backlog.push(answered);
        assert_eq!((cut(&mut backlog, 6, ANY), backlog.len()), (vec![2, 5], 2), "in its place");
        // Waiting records are evicted and expire like any other.
        assert_eq!(backlog.expire(start()).map(|expired| expired.sequence), Some(0));
        backlog.max_records = 0;
        assert_eq!(backlog.evict().map(|evicted| evicted.sequence), Some(1));
        assert_eq!((backlog.len(), backlog.bytes, backlog.open()), (0, 0, 0));
    }

    #[test]
    fn unreleased_records_are_counted_as_they_come_and_go() {
        let mut backlog = Backlog::new(100, usize::MAX);
        (0..3).for_each(|sequence| backlog.push(exposure(sequence)));
        assert_eq!(backlog.open(), 3);
        backlog.release(4);
        (3..6).for_each(|sequence| backlog.push(exposure(sequence)));
        assert_eq!((backlog.open(), backlog.len()), (2, 6), "the next one was released before it arrived");
        assert_eq!(backlog.expire(start() + Duration::from_secs(9)).map(|it| it.sequence), Some(0));
        assert_eq!((backlog.open(), sequences(&backlog.cut(ANY, late())).len()), (2, 3));
    }

    #[test]
    fn expired_records_are_taken_from_every_class() {
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

    #[test]
    fn a_pending_claim_holds_up_later_records_only_briefly() {
        let mut backlog = Backlog::new(100, usize::MAX);
        backlog.push(exposure(0));
        backlog.push(Queued { claim: Claim::Asked { delivered: false }, ..exposure(1) });
        backlog.push(exposure(2));
        backlog.release(3);
        let asked_at = start() + Duration::from_secs(1);
        assert_eq!(backlog.in_order_until(asked_at), Some(asked_at + IN_ORDER));
        assert_eq!(sequences(&backlog.cut(ANY, asked_at)), [0]);
        assert!(!backlog.can_cut(asked_at));
        assert_eq!(backlog.in_order_until(asked_at + IN_ORDER), None);
        assert_eq!(sequences(&backlog.cut(ANY, asked_at + IN_ORDER)), [2]);
    }
}
