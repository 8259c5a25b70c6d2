//! Which exposures and conversions this process has recorded already.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::num::NonZeroUsize;
use std::time::Duration;

use super::moment::Moment;

/// A bounded set of marks. A mark follows its record: it is set when the record is accepted, and released
/// when the record is dropped, so that the caller can record it again.
pub(crate) struct Marks {
    seen: Seen,
    /// The subset whose records were delivered and which the data store has too.
    stored: HashSet<Mark>,
    order: Order,
    /// How many marks have left `order`, which is the number of its first entry.
    passed: u64,
    /// Released marks that still have entries in `order`, and how many entries.
    released: HashMap<Mark, u32>,
    capacity: NonZeroUsize,
    ttl: Option<Duration>,
    halves: [RandomState; 2],
    evicted: u64,
}

/// A 128-bit keyed hash of a mark's strings: a pair of different ones collides with a probability of 2^-128.
/// A mark costs about 71 bytes, or 88 with a data store, however long its strings are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark(u128);

/// The marks that are set, in parts that grow one by one: growing moves a whole table, and a turn of a pump has no
/// time for that.
struct Seen(Vec<HashSet<Mark, BuildHasherDefault<Keyed>>>);

/// Marks in the order in which they were set, in pieces, for the same reason.
#[derive(Default)]
struct Order {
    pieces: VecDeque<Vec<(Mark, Moment)>>,
    /// How many of the first piece have been taken.
    taken: usize,
    len: usize,
}

/// A mark is a keyed hash already.
#[derive(Default)]
struct Keyed(u64);

/// What a mark is about, so that a goal and an experience with the same id stay distinct.
#[derive(Clone, Copy, Hash)]
pub(crate) enum MarkKind {
    Exposure,
    Conversion,
}

/// Strings up to this many bytes are hashed in one piece.
const TOGETHER: usize = 64;

/// A mark's strings in one piece, which is hashed in half the steps; `None` if they are too long. Different strings
/// give different bytes.
fn together<'r>(
    buffer: &'r mut [u8; TOGETHER],
    kind: MarkKind,
    visitor_id: &str,
    entity_id: &str,
) -> Option<&'r [u8]> {
    let length = u8::try_from(visitor_id.len()).ok()?;
    let (middle, end) = (2 + visitor_id.len(), 2 + visitor_id.len() + entity_id.len());
    buffer.get_mut(middle..end)?.copy_from_slice(entity_id.as_bytes());
    buffer[2..middle].copy_from_slice(visitor_id.as_bytes());
    (buffer[0], buffer[1]) = (kind as u8, length);
    Some(&buffer[..end])
}

impl Hash for Mark {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0 as u64);
    }
}

impl Hasher for Keyed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Default for Seen {
    fn default() -> Self {
        Self((0..Self::PARTS).map(|_| HashSet::default()).collect())
    }
}

impl Seen {
    const PARTS: usize = 256;

    fn contains(&self, mark: &Mark) -> bool {
        self.0[Self::part(mark)].contains(mark)
    }

    fn insert(&mut self, mark: Mark) {
        self.0[Self::part(&mark)].insert(mark);
    }

    fn remove(&mut self, mark: &Mark) -> bool {
        self.0[Self::part(mark)].remove(mark)
    }

    /// By other bits than the tables use.
    const fn part(Mark(mark): &Mark) -> usize {
        (*mark >> 64) as usize % Self::PARTS
    }
}

impl Order {
    const PIECE: usize = 1_024;

    fn push_back(&mut self, entry: (Mark, Moment)) {
        match self.pieces.back_mut() {
            Some(last) if last.len() < Self::PIECE => last.push(entry),
            _ => self.pieces.push_back(vec![entry]),
        }
        self.len += 1;
    }

    fn front(&self) -> Option<&(Mark, Moment)> {
        self.pieces.front()?.get(self.taken)
    }

    fn pop_front(&mut self) -> Option<(Mark, Moment)> {
        let front = *self.front()?;
        self.taken += 1;
        self.len -= 1;
        if self.pieces.front().is_some_and(|first| first.len() == self.taken) {
            self.pieces.pop_front();
            self.taken = 0;
        }
        Some(front)
    }

    const fn len(&self) -> usize {
        self.len
    }
}

impl Marks {
    pub(crate) fn new(capacity: NonZeroUsize, ttl: Option<Duration>) -> Self {
        Self {
            seen: Seen::default(),
            stored: HashSet::new(),
            order: Order::default(),
            passed: 0,
            released: HashMap::new(),
            capacity,
            ttl,
            halves: [RandomState::new(), RandomState::new()],
            evicted: 0,
        }
    }

    pub(crate) fn mark(&self, kind: MarkKind, visitor_id: &str, entity_id: &str) -> Mark {
        let mut buffer = [0; TOGETHER];
        let together = together(&mut buffer, kind, visitor_id, entity_id);
        let [high, low] = self.halves.each_ref().map(|half| match together {
            Some(bytes) => {
                let mut hasher = half.build_hasher();
                hasher.write(bytes);
                hasher.finish()
            }
            None => half.hash_one((kind, visitor_id, entity_id)),
        });
        Mark((u128::from(high) << 64) | u128::from(low))
    }

    /// Whether a mark is set and has not expired.
    pub(crate) fn contains(&mut self, mark: Mark, now: Moment) -> bool {
        if let Some(limit) = self.ttl.and_then(|ttl| now.checked_sub(ttl)) {
            while self.order.front().is_some_and(|(_, set_at)| *set_at <= limit) {
                self.forget_oldest();
            }
        }
        self.seen.contains(&mark)
    }

    /// Whether a mark is set; one that has expired may still be.
    pub(crate) fn is_set(&self, mark: Mark) -> bool {
        self.seen.contains(&mark)
    }

    /// The record of a mark was delivered, and the data store has the mark: from now on the store is asked,
    /// since it may have been erased there, and memory decides only if there is no answer.
    pub(crate) fn leave_to_store(&mut self, mark: Mark) {
        if self.seen.contains(&mark) {
            self.stored.insert(mark);
        }
    }

    /// Takes a mark back from the data store while the store is asked; returns whether it was there.
    pub(crate) fn take_from_store(&mut self, mark: Mark) -> bool {
        self.stored.remove(&mark)
    }

    /// Whether a mark is set and left to the data store.
    pub(crate) fn is_left_to_store(&self, mark: Mark) -> bool {
        self.stored.contains(&mark)
    }

    /// Sets a mark that is not set, and returns its number. At the bound, the oldest one is forgotten.
    pub(crate) fn set(&mut self, mark: Mark, now: Moment) -> u64 {
        if self.order.len() == self.capacity.get() {
            self.forget_oldest();
        }
        self.seen.insert(mark);
        self.order.push_back((mark, now));
        self.passed + self.order.len() as u64 - 1
    }

    /// Releases the mark with this number, unless it was forgotten and may by now belong to a later record.
    /// Its entry in the order stays until it is the oldest.
    pub(crate) fn release(&mut self, mark: Mark, number: u64) {
        if number < self.passed {
            return;
        }
        self.stored.remove(&mark);
        if self.seen.remove(&mark) {
            *self.released.entry(mark).or_default() += 1;
        }
    }

    fn forget_oldest(&mut self) {
        let Some((oldest, _)) = self.order.pop_front() else { return };
        self.passed += 1;
        if let Some(places) = self.released.get_mut(&oldest) {
            *places -= 1;
            if *places == 0 {
                self.released.remove(&oldest);
            }
            return;
        }
        self.seen.remove(&oldest);
        self.stored.remove(&oldest);
        self.evicted += 1;
    }

    /// How many marks were forgotten, to make room or because of their age.
    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    impl Marks {
        /// Sets a mark and returns whether it is new.
        fn insert(&mut self, kind: MarkKind, visitor_id: &str, entity_id: &str, now: Moment) -> bool {
            let mark = self.mark(kind, visitor_id, entity_id);
            let new = !self.contains(mark, now);
            if new {
                self.set(mark, now);
            }
            new
        }
    }

    #[test]
    fn a_mark_is_new_once_until_it_is_evicted() {
        let mut marks = Marks::new(NonZeroUsize::new(2).unwrap(), None);
        let now = Moment::default();
        assert!(marks.insert(MarkKind::Exposure, "v", "1", now));
        assert!(!marks.insert(MarkKind::Exposure, "v", "1", now));
        assert!(marks.insert(MarkKind::Conversion, "v", "1", now), "another kind");
        assert!(marks.insert(MarkKind::Exposure, "w", "1", now), "another visitor evicts the first");
        assert_eq!(marks.evicted(), 1);
        assert!(marks.insert(MarkKind::Exposure, "v", "1", now));
    }

    #[test]
    fn a_mark_expires_after_its_time_to_live() {
        let mut marks = Marks::new(NonZeroUsize::new(9).unwrap(), Some(10 * SECOND));
        let start = Moment::default();
        assert!(marks.insert(MarkKind::Exposure, "v", "1", start));
        assert!(!marks.insert(MarkKind::Exposure, "v", "1", start + 9 * SECOND));
        assert!(marks.insert(MarkKind::Exposure, "v", "1", start + 10 * SECOND));
        assert_eq!(marks.evicted(), 1);
    }

    #[test]
    fn different_records_have_different_marks_short_or_long() {
        let marks = Marks::new(NonZeroUsize::MIN, None);
        let all = || {
            (0..TOGETHER + 9).flat_map(|length| {
                let text = "v".repeat(length);
                let at_every_place = |at| [MarkKind::Exposure, MarkKind::Conversion].map(|kind| (kind, at));
                let split: Vec<_> = (0..=length).flat_map(at_every_place).collect();
                split
                    .into_iter()
                    .map(|(kind, at)| marks.mark(kind, &text[..at], &text[at..]))
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(all().collect::<HashSet<_>>().len(), all().count());
        assert!(all().eq(all()));
    }

    #[test]
    fn marks_left_to_the_store_are_bounded_too() {
        let mut marks = Marks::new(NonZeroUsize::new(1).unwrap(), None);
        let now = Moment::default();
        let [first, second] = ["v", "w"].map(|visitor| marks.mark(MarkKind::Exposure, visitor, "1"));
        marks.leave_to_store(first);
        assert!(!marks.is_left_to_store(first), "only a mark that is set");
        for mark in [first, second] {
            marks.set(mark, now);
            marks.leave_to_store(mark);
        }
        assert!(!marks.is_left_to_store(first) && marks.is_left_to_store(second));
        assert!(marks.take_from_store(second) && !marks.take_from_store(second));
        marks.leave_to_store(second);
        marks.release(second, u64::MAX);
        assert!(marks.stored.is_empty() && marks.seen.0.iter().all(HashSet::is_empty));
    }

    #[test]
    fn a_forgotten_mark_is_not_taken_back_from_a_later_record() {
        let mut marks = Marks::new(NonZeroUsize::new(9).unwrap(), Some(SECOND));
        let start = Moment::default();
        let mark = marks.mark(MarkKind::Conversion, "v", "1");
        let first = marks.set(mark, start);
        assert!(!marks.contains(mark, start + SECOND), "forgotten because of its age");
        let second = marks.set(mark, start + SECOND);
        marks.release(mark, first);
        assert!(marks.contains(mark, start + SECOND), "it belongs to the second record");
        marks.release(mark, second);
        assert!(!marks.contains(mark, start + SECOND));
    }

    #[test]
    fn a_released_mark_can_be_set_again_and_keeps_its_new_place() {
        let mut marks = Marks::new(NonZeroUsize::new(3).unwrap(), None);
        let now = Moment::default();
        let mark = marks.mark(MarkKind::Conversion, "v", "1");
        assert!(marks.insert(MarkKind::Conversion, "v", "1", now));
        marks.release(mark, u64::MAX);
        marks.release(mark, u64::MAX);
        assert!(marks.insert(MarkKind::Conversion, "v", "1", now), "released once, even if asked twice");
        assert!(marks.insert(MarkKind::Conversion, "w", "1", now));
        // The next one takes the place of the released mark.
        assert!(marks.insert(MarkKind::Conversion, "x", "1", now));
        assert!(marks.contains(mark, now));
        assert_eq!((marks.evicted(), marks.released.len()), (0, 0));
        assert!(marks.insert(MarkKind::Conversion, "y", "1", now));
        assert!(!marks.contains(mark, now));
        assert_eq!(marks.evicted(), 1);
    }
}
