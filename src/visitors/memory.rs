//! The memory of visitors: read by contexts when they start, changed when they decide.

use std::collections::{HashMap, VecDeque, hash_map};
use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use smol_str::SmolStr;

use super::keyed::KeyedHash;
use super::recent::Recent;
use super::slab::Slab;
use super::state::VisitorState;
use crate::attributes::{Attributes, Measured, copied, same};
use crate::config::Numbers;
use crate::engine::{Moment, state_key};
use crate::ports::{DataStore, StoreError};
use crate::threads::{Clock, inherit_lock};

/// Shards, so that threads with different visitors rarely contend for a lock.
const SHARDS: usize = 16;

/// Visitor state by visitor, bounded. A change is visible to the next context at once. Without a data store,
/// this is where state lives; with one, it holds only what has not been written there yet.
pub(crate) struct Visitors {
    shards: [Mutex<Shard>; SHARDS],
    hashes: KeyedHash,
    /// Whether anything was ever remembered; until then lookups are skipped.
    used: AtomicBool,
    shard_capacity: usize,
    shard_bytes: usize,
    /// A time to live, and the clock that it is measured by.
    ttl: Option<(Duration, Clock)>,
    store: bool,
    evicted: AtomicU64,
    store_failures: AtomicU64,
    store_timeouts: AtomicU64,
    /// Whether the store actor has been told that visitors are waiting to be written.
    announced: AtomicBool,
    /// Numbers visitors in the order in which they started waiting.
    next_ticket: AtomicU64,
    /// The shard where the next round of writing starts.
    next_shard: AtomicUsize,
}

/// Visitors by the keyed hash of their ids, which is computed once per call. If two ids collide, the later
/// visitor displaces the earlier one, as happens when space runs out. No two share a cache line, nor a pair of them,
/// as adjacent lines are prefetched in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    places: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    entries: Slab<Entry>,
    /// Visitors by age, with their tickets. With a store: those to be written, except those being written, by
    /// ticket.
    order: VecDeque<(u64, u64)>,
    /// The approximate size of the states.
    bytes: usize,
    /// Segments that its visitors share.
    recent: Recent,
    /// As they were loaded last, under the lock: they have every number that is in here.
    numbers: Arc<Numbers>,
}

/// A visitor taken out of the order to be written.
struct Taken {
    shard: usize,
    hash: u64,
    key: String,
    changes: VisitorState,
    version: u64,
}

/// Passes hashes through unchanged.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Default)]
struct Entry {
    visitor_id: SmolStr,
    state: VisitorState,
    version: u64,
    /// Whether it is in the order.
    waits: bool,
    /// When it last changed; the clock is read only if state has a time to live.
    changed_at: Option<Moment>,
}

/// Where a visitor's entry is, if it has one.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    hash: u64,
    at: Option<u32>,
}

/// The memory of one visitor, locked.
pub(crate) struct Opened<'v> {
    visitors: &'v Visitors,
    shard: MutexGuard<'v, Shard>,
    hash: u64,
    /// Read before the lock was taken: the clock may be the application's.
    now: Option<Moment>,
}

impl Opened<'_> {
    /// The numbers as they were loaded last.
    #[inline]
    pub(crate) fn numbers(&mut self) -> &mut Arc<Numbers> {
        &mut self.shard.numbers
    }

    /// What memory alone knows: the id as it is kept, the state, and the numbers in it.
    #[inline(always)]
    pub(crate) fn known(&self, visitor_id: &str) -> Option<(&SmolStr, &VisitorState, &Numbers)> {
        self.at(Place { hash: self.hash, at: self.find(visitor_id) })
    }

    /// Where the visitor is. One who is not known is remembered now if the report keys among the given attributes are
    /// segments that another visitor has; then these leave the attributes.
    #[inline(always)]
    pub(crate) fn place(&mut self, visitor_id: &str, given: &mut Attributes) -> Place {
        let found = self.find(visitor_id);
        let is_new = found.is_none() && !self.shard.recent.is_empty();
        Place { hash: self.hash, at: if is_new { self.welcome(visitor_id, given) } else { found } }
    }

    #[inline(always)]
    fn find(&self, visitor_id: &str) -> Option<u32> {
        let at = *self.shard.places.get(&self.hash)?;
        let entry = self.shard.entries.get(at)?;
        (same(&entry.visitor_id, visitor_id) && !self.visitors.is_over(entry, self.now)).then_some(at)
    }

    /// What memory alone knows about the visitor who is there.
    #[inline(always)]
    pub(crate) fn at(&self, place: Place) -> Option<(&SmolStr, &VisitorState, &Numbers)> {
        let Shard { entries, numbers, .. } = &*self.shard;
        let entry = entries.get(place.at?)?;
        Some((&entry.visitor_id, &entry.state, numbers))
    }

    #[inline(never)]
    fn welcome(&mut self, visitor_id: &str, given: &mut Attributes) -> Option<u32> {
        let segments = self.shard.recent.among(given)?;
        let known = |_: &mut _| VisitorState { segments: segments.clone(), ..VisitorState::default() };
        let visitor = (&copied(visitor_id), self.hash);
        let at = self.visitors.update_in(&mut self.shard, visitor, self.now, known, |_, _| {});
        if at.is_none() {
            given.extend(Attributes::clone(&segments));
        }
        at
    }
}

impl Shard {
    /// Every removal goes through this, so that the bytes stay correct. Returns whether there was an entry.
    fn forget(&mut self, hash: u64) -> bool {
        let entry = self.places.remove(&hash).and_then(|place| self.entries.remove(place));
        // A panic may have left an entry whose growth was not counted.
        self.bytes = self.bytes.saturating_sub(entry.as_ref().map_or(0, Entry::bytes));
        entry.is_some()
    }

    fn get_mut(&mut self, hash: u64) -> Option<&mut Entry> {
        self.entries.get_mut(*self.places.get(&hash)?)
    }
}

impl Entry {
    /// What it takes with its place in the order and two in the table, which is at least half full, about.
    const BARE: usize = size_of::<([(u64, u32); 2], Self, (u64, u64))>();

    /// What it refers to, about.
    fn heap_bytes(&self) -> usize {
        let long_id = if self.visitor_id.is_heap_allocated() { self.visitor_id.len() } else { 0 };
        long_id + self.state.bytes()
    }

    fn bytes(&self) -> usize {
        Self::BARE + self.heap_bytes()
    }
}

impl Visitors {
    pub(crate) fn new(capacity: NonZeroUsize, ttl: Option<(Duration, Clock)>, store: bool) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hashes: KeyedHash::new(),
            used: AtomicBool::new(false),
            shard_capacity: capacity.get().div_ceil(SHARDS),
            shard_bytes: usize::MAX,
            ttl,
            store,
            evicted: AtomicU64::new(0),
            store_failures: AtomicU64::new(0),
            store_timeouts: AtomicU64::new(0),
            announced: AtomicBool::new(false),
            next_ticket: AtomicU64::new(0),
            next_shard: AtomicUsize::new(0),
        }
    }

    /// The same, with a bound on the total bytes of all states.
    pub(crate) fn with_max_bytes(self, bytes: usize) -> Self {
        Self { shard_bytes: bytes.div_ceil(SHARDS), ..self }
    }

    /// What a forked child starts with: the memory, except shards that another thread was changing at the
    /// fork, whose lock is never released there. With a store it is empty: what is waiting here is the
    /// parent's to write.
    pub(crate) fn inherit(&self) -> Self {
        let inherit = |shard| if self.has_store() { Mutex::default() } else { inherit_lock(shard) };
        Self {
            shards: self.shards.each_ref().map(inherit),
            hashes: self.hashes.clone(),
            used: AtomicBool::new(self.used.load(Ordering::Relaxed)),
            shard_capacity: self.shard_capacity,
            shard_bytes: self.shard_bytes,
            ttl: self.ttl.clone(),
            store: self.store,
            evicted: AtomicU64::new(0),
            store_failures: AtomicU64::new(0),
            store_timeouts: AtomicU64::new(0),
            announced: AtomicBool::new(false),
            next_ticket: AtomicU64::new(0),
            next_shard: AtomicUsize::new(0),
        }
    }

    /// Whether changes wait here to be written to a store.
    pub(crate) const fn has_store(&self) -> bool {
        self.store
    }

    /// The changes waiting in memory on top of what the store has. What is waiting must be read first, since
    /// it reaches the store before it leaves memory. A store that fails or is late counts as empty.
    pub(crate) fn join(
        &self,
        waiting: Option<VisitorState>,
        stored: Option<Result<Option<Value>, StoreError>>,
    ) -> Option<VisitorState> {
        let stored = match stored {
            Some(Ok(value)) => value.and_then(VisitorState::from_envelope),
            Some(Err(error)) => {
                self.count_failure(&error);
                None
            }
            None => None,
        };
        match (stored, waiting) {
            (Some(mut stored), Some(waiting)) => {
                stored.merge(&waiting);
                Some(stored)
            }
            (stored, waiting) => stored.or(waiting),
        }
    }

    /// The keyed hash of a visitor's id; `None` while nothing is remembered.
    #[inline]
    pub(crate) fn hash(&self, visitor_id: &str) -> Option<u64> {
        self.used.load(Ordering::Relaxed).then(|| self.hashes.hash_one(visitor_id))
    }

    /// The memory of a visitor, by the hash of the id.
    #[inline]
    pub(crate) fn open(&self, hash: u64) -> Opened<'_> {
        let now = self.now();
        Opened { visitors: self, shard: self.lock(shard_of(hash)), hash, now }
    }

    /// A visitor's segments, together with others who have equal ones.
    pub(crate) fn share(&self, place: Place, segments: Attributes) -> Measured {
        self.lock(shard_of(place.hash)).recent.share(segments)
    }

    fn ttl(&self) -> Option<Duration> {
        self.ttl.as_ref().map(|(ttl, _)| *ttl)
    }

    /// The current time, if state has a time to live.
    fn now(&self) -> Option<Moment> {
        self.ttl.as_ref().map(|(_, clock)| clock.now())
    }

    /// Whether an entry has expired; entries waiting for a store never do.
    fn is_over(&self, entry: &Entry, now: Option<Moment>) -> bool {
        let age = now.zip(entry.changed_at).map(|(now, changed_at)| now - changed_at);
        !self.has_store() && age.zip(self.ttl()).is_some_and(|(age, ttl)| age >= ttl)
    }

    /// Changes a visitor's state. `known` supplies what the caller has of it if memory has nothing; with a
    /// store, memory starts empty and holds only changes, so that a stale view never overwrites what someone
    /// else has stored.
    pub(crate) fn update(
        &self,
        visitor_id: &SmolStr,
        place: Option<Place>,
        known: impl FnOnce(&mut Arc<Numbers>) -> VisitorState,
        change: impl FnOnce(&mut VisitorState, &mut Arc<Numbers>),
    ) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        let now = self.now();
        let hash = place.map_or_else(|| self.hashes.hash_one(visitor_id.as_str()), |place| place.hash);
        self.update_in(&mut self.lock(shard_of(hash)), (visitor_id, hash), now, known, change);
    }

    /// [`update`](Self::update) in the visitor's shard; returns where the visitor is then, `None` if there is no room.
    #[inline(always)]
    fn update_in(
        &self,
        shard: &mut Shard,
        (visitor_id, hash): (&SmolStr, u64),
        now: Option<Moment>,
        known: impl FnOnce(&mut Arc<Numbers>) -> VisitorState,
        change: impl FnOnce(&mut VisitorState, &mut Arc<Numbers>),
    ) -> Option<u32> {
        let Shard { places, entries, order, bytes, numbers, .. } = shard;
        let ticket = self.ticket();
        let state = |numbers: &mut _| if self.has_store() { VisitorState::default() } else { known(numbers) };
        let at = match places.entry(hash) {
            hash_map::Entry::Occupied(held) => {
                let at = *held.get();
                let entry = entries.get_mut(at)?;
                let before = entry.heap_bytes();
                if entry.visitor_id != *visitor_id || self.is_over(entry, now) {
                    self.evicted.fetch_add(1, Ordering::Relaxed);
                    (entry.visitor_id, entry.state) = (visitor_id.clone(), state(numbers));
                }
                change(&mut entry.state, numbers);
                (entry.version, entry.changed_at) = (ticket, now);
                *bytes = *bytes - before + entry.heap_bytes();
                at
            }
            hash_map::Entry::Vacant(slot) => {
                let mut state = state(numbers);
                change(&mut state, numbers);
                let visitor_id = visitor_id.clone();
                let entry = Entry { visitor_id, state, version: ticket, waits: true, changed_at: now };
                let size = entry.bytes();
                let at = entries.insert(entry)?;
                *bytes += size;
                order.push_back((ticket, hash));
                *slot.insert(at)
            }
        };
        while shard.places.len() > self.shard_capacity && self.forget_oldest(shard) {}
        if shard.bytes > self.shard_bytes {
            self.make_room(shard, hash);
        }
        shard.entries.get(at).map(|_| at)
    }

    /// Changes what memory has of a visitor, if it has anything; not what a store would be told of, nor its size or age.
    /// Returns what `change` does, or false if there is nothing.
    #[inline(always)]
    pub(crate) fn amend(
        &self,
        visitor_id: &SmolStr,
        place: Option<Place>,
        change: impl FnOnce(&mut VisitorState, &mut Arc<Numbers>) -> bool,
    ) -> bool {
        let hash = place.map(|place| place.hash);
        let Some(hash) = hash.or_else(|| self.hash(visitor_id)) else { return false };
        let Shard { places, entries, numbers, .. } = &mut *self.lock(shard_of(hash));
        // An entry has one place as long as it exists. Afterwards another visitor's may be there, and this one's elsewhere:
        // then nothing is changed, which is as if it were forgotten.
        let at = place.and_then(|place| place.at).or_else(|| places.get(&hash).copied());
        match at.and_then(|at| entries.get_mut(at)) {
            Some(entry) if entry.visitor_id == *visitor_id => change(&mut entry.state, numbers),
            _ => false,
        }
    }

    /// Forgets the oldest visitors until the rest fits. If the changed one alone exceeds the bound, or all
    /// others are being written, it is forgotten instead.
    #[cold]
    fn make_room(&self, shard: &mut Shard, changed: u64) {
        let fits = shard.get_mut(changed).is_none_or(|entry| entry.bytes() <= self.shard_bytes);
        while fits && shard.bytes > self.shard_bytes && self.forget_oldest(shard) {}
        if shard.bytes > self.shard_bytes {
            shard.order.retain(|(_, hash)| *hash != changed);
            self.evict(shard, changed);
        }
    }

    /// Whether there was one.
    #[inline(never)]
    fn forget_oldest(&self, shard: &mut Shard) -> bool {
        let oldest = shard.order.pop_front();
        oldest.inspect(|(_, hash)| self.evict(shard, *hash)).is_some()
    }

    fn evict(&self, shard: &mut Shard, hash: u64) {
        if shard.forget(hash) {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ticket(&self) -> u64 {
        if self.has_store() { self.next_ticket.fetch_add(1, Ordering::Relaxed) } else { 0 }
    }

    /// Writes up to this many visitors to the store, those that have waited longest in each shard first:
    /// their changes merged into what is stored. No lock is held during the calls. Those refused, or changed
    /// in the meantime, wait again behind the others. Returns how many were written and refused.
    pub(crate) fn write_waiting(&self, store: &dyn DataStore, most: usize) -> (usize, usize) {
        // Before looking at what is waiting: what arrives later is announced again.
        self.announced.store(false, Ordering::SeqCst);
        let taken = self.take_waiting(most);
        let keys: Vec<&str> = taken.iter().map(|it| it.key.as_str()).collect();
        let mut entries = Vec::with_capacity(taken.len());
        let mut errors: Vec<Option<StoreError>> = Vec::with_capacity(taken.len());
        for (it, stored) in taken.iter().zip(store.get_many(&keys)) {
            match stored {
                Ok(stored) => {
                    let mut state = stored.and_then(VisitorState::from_envelope).unwrap_or_default();
                    state.merge(&it.changes);
                    entries.push((it.key.as_str(), state.to_envelope()));
                    errors.push(None);
                }
                Err(error) => errors.push(Some(error)),
            }
        }
        let mut answers =
            if entries.is_empty() { Vec::new() } else { store.set_many(&entries, self.ttl()) }.into_iter();
        for error in errors.iter_mut().filter(|error| error.is_none()) {
            *error = answers.next().and_then(Result::err);
        }
        let refused = errors.iter().flatten().inspect(|error| self.count_failure(error)).count();
        let written = taken.len() - refused;
        for (it, error) in taken.into_iter().zip(errors) {
            self.has_written(&it, error.is_none());
        }
        (written, refused)
    }

    /// Takes waiting visitors out of the order, from each shard in turn.
    fn take_waiting(&self, most: usize) -> Vec<Taken> {
        let mut taken = Vec::new();
        let first = self.next_shard.fetch_add(1, Ordering::Relaxed);
        for index in (0..SHARDS).map(|shard| first.wrapping_add(shard) % SHARDS) {
            let mut guard = self.lock(index);
            let Shard { places, entries, order, .. } = &mut *guard;
            let count = order.len().min(most - taken.len());
            taken.extend(order.drain(..count).filter_map(|(_, hash)| {
                let entry = entries.get_mut(*places.get(&hash)?)?;
                let Entry { visitor_id, state, version, waits, .. } = entry;
                *waits = false;
                let (key, changes) = (state_key(visitor_id), state.clone());
                Some(Taken { shard: index, hash, key, changes, version: *version })
            }));
        }
        taken
    }

    fn has_written(&self, taken: &Taken, written: bool) {
        let mut guard = self.lock(taken.shard);
        let Some(entry) = guard.get_mut(taken.hash) else { return };
        if written && entry.version == taken.version {
            guard.forget(taken.hash);
        } else if !std::mem::replace(&mut entry.waits, true) {
            // By the number of the change: whoever waits for that number waits for this one. Inserted near
            // the end, since only visitors that changed after it are behind.
            let ticket = if entry.version == taken.version { self.ticket() } else { entry.version };
            let place = guard.order.partition_point(|(other, _)| *other < ticket);
            guard.order.insert(place, (ticket, taken.hash));
        }
    }

    /// Whether the store actor has to be told that visitors are waiting; only one of several callers does it.
    pub(crate) fn announce(&self) -> bool {
        !self.announced.load(Ordering::SeqCst) && !self.announced.swap(true, Ordering::SeqCst)
    }

    /// The number that the next waiting visitor will get.
    pub(crate) fn next_ticket(&self) -> u64 {
        self.next_ticket.load(Ordering::Relaxed)
    }

    /// The number of the visitor that has waited longest; looks only at the front of each shard.
    pub(crate) fn first_waiting(&self) -> Option<u64> {
        let first = |index| self.lock(index).order.front().map(|(ticket, _)| *ticket);
        (0..SHARDS).filter_map(first).min()
    }

    /// The number of visitors with changes that are not in the store yet, including those being written.
    pub(crate) fn unwritten(&self) -> usize {
        (0..SHARDS).map(|shard| self.lock(shard).places.len()).sum()
    }

    /// Visitors whose state was forgotten, to make room or because of its age.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Failed answers of the store.
    pub(crate) fn store_failures(&self) -> u64 {
        self.store_failures.load(Ordering::Relaxed)
    }

    /// Answers that the store did not give in time.
    pub(crate) fn store_timeouts(&self) -> u64 {
        self.store_timeouts.load(Ordering::Relaxed)
    }

    pub(crate) fn count_failure(&self, error: &StoreError) {
        self.count_failures(1, error);
    }

    pub(crate) fn count_failures(&self, failures: usize, error: &StoreError) {
        self.store_failures.fetch_add(failures as u64, Ordering::Relaxed);
        logged!(warn, limited, "{error}");
    }

    pub(crate) fn count_late(&self, answers: u64) {
        if self.store_timeouts.fetch_add(answers, Ordering::Relaxed) == 0 {
            logged!(warn, "the data store did not answer in time; decisions are made from memory");
        }
    }

    /// A panic leaves at most one visitor half-changed, so a poisoned lock is still good.
    fn lock(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shard of a visitor, from bits that the hash tables do not use.
const fn shard_of(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::adapters::InMemoryDataStore;

    impl Visitors {
        fn recalled<R>(&self, visitor: &str, read: impl FnOnce(&VisitorState) -> R) -> Option<R> {
            let memory = self.open(self.hash(visitor)?);
            memory.known(visitor).map(|(_, state, _)| read(state))
        }
    }

    fn capacity(visitors: usize) -> NonZeroUsize {
        NonZeroUsize::new(visitors).unwrap()
    }

    fn decide(visitors: &Visitors, visitor: &str, variation: &str) {
        visitors.update(
            &visitor.into(),
            None,
            |_| VisitorState::default(),
            |state, _| {
                state.decide(&"1".into(), &variation.into());
            },
        );
    }

    /// Visitors of the first shard.
    fn neighbours(visitors: &Visitors) -> impl Iterator<Item = SmolStr> {
        let names = (0_u32..).map(|visitor| SmolStr::from(visitor.to_string()));
        names.filter(|name| shard_of(visitors.hashes.hash_one(name.as_str())) == 0)
    }

    #[test]
    fn a_change_is_visible_at_once() {
        let visitors = Visitors::new(capacity(10), None, false);
        assert!(visitors.recalled("v", |_| ()).is_none());
        decide(&visitors, "v", "2");
        assert_eq!(
            visitors.recalled("v", |it| it.clone()).unwrap().bucketing.pairs(),
            [("1".into(), "2".into())]
        );
    }

    #[test]
    fn a_visitor_with_known_segments_is_remembered_at_once() {
        let visitors = Visitors::new(capacity(10 * SHARDS), None, false);
        decide(&visitors, "v", "2");
        let mut names = neighbours(&visitors);
        let place = |name: &str, given: &mut Attributes| {
            visitors.open(visitors.hashes.hash_one(name)).place(name, given)
        };
        let given = || Attributes::new().with("country", "GR").with("age", 30);
        let first = place(&names.next().unwrap(), &mut given());
        assert!(first.at.is_none(), "nobody has them");
        let shared = visitors.share(first, Attributes::new().with("country", "GR"));
        let (second, mut left) = (names.next().unwrap(), given());
        assert!(place(&second, &mut left).at.is_some());
        assert_eq!(left, Attributes::new().with("age", 30));
        assert_eq!(visitors.recalled(&second, |state| state.segments.is(&shared)), Some(true));
    }

    #[test]
    fn a_visitor_without_room_keeps_what_was_given() {
        let visitors = Visitors::new(capacity(10 * SHARDS), None, false).with_max_bytes(SHARDS * 1_000);
        decide(&visitors, "v", "2");
        let long = "x".repeat(2_000);
        let place =
            |given: &mut Attributes| visitors.open(visitors.hashes.hash_one(&long)).place(&long, given);
        let given = || Attributes::new().with("country", "GR").with("age", 30);
        visitors.share(place(&mut given()), Attributes::new().with("country", "GR"));
        let mut left = given();
        assert!(place(&mut left).at.is_none());
        assert_eq!(left, given());
    }

    #[test]
    fn memory_is_bounded_and_counts_what_it_forgets() {
        let visitors = Visitors::new(capacity(SHARDS), None, false);
        for visitor in 0..1_000 {
            decide(&visitors, &visitor.to_string(), "2");
        }
        let kept =
            (0..1_000).filter(|visitor| visitors.recalled(&visitor.to_string(), |_| ()).is_some()).count();
        assert!(kept <= SHARDS);
        assert_eq!(visitors.evicted(), 1_000 - kept as u64);
    }

    #[test]
    fn memory_is_bounded_in_bytes_and_drops_the_oldest_first() {
        let visitors = Visitors::new(capacity(100_000), None, false).with_max_bytes(SHARDS * 400_000);
        let names: Vec<_> = (0..1_000).map(|visitor: u32| SmolStr::from(visitor.to_string())).collect();
        let segments = Attributes::new().with("country", "x".repeat(100_000));
        let change = |name: &SmolStr, segments: &Attributes| {
            visitors.update(name, None, |_| VisitorState::default(), |state, _| state.add_segments(segments));
        };
        names.iter().for_each(|name| change(name, &segments));
        let kept = |shard: usize| visitors.lock(shard).places.len();
        assert!((0..SHARDS).all(|shard| kept(shard) == 3), "a fourth of 100 kB would be too many");
        assert_eq!(visitors.evicted(), 1_000 - 3 * SHARDS as u64);
        let newest = visitors.recalled(names.last().unwrap(), |state| state.segments.len());
        assert_eq!(newest, Some(1));
        // A visitor that exceeds the bound alone does not evict the others.
        change(&"heavy".into(), &Attributes::new().with("country", "x".repeat(400_000)));
        assert!(visitors.recalled("heavy", |_| ()).is_none());
        assert!((0..SHARDS).all(|shard| kept(shard) == 3));
        // A visitor that grows while remembered counts with its new size.
        change(names.last().unwrap(), &Attributes::new().with("browser", "x".repeat(250_000)));
        assert_eq!((0..SHARDS).map(kept).sum::<usize>(), 3 * SHARDS - 2);
        // What is counted is what is there.
        for shard in 0..SHARDS {
            let shard = visitors.lock(shard);
            assert_eq!(
                shard.bytes,
                shard
                    .places
                    .values()
                    .filter_map(|place| shard.entries.get(*place))
                    .map(Entry::bytes)
                    .sum::<usize>()
            );
            assert_eq!(shard.order.len(), shard.places.len());
        }
    }

    #[test]
    fn ids_with_a_common_prefix_or_suffix_spread_over_shards() {
        let kinds: [fn(u32) -> String; 4] = [
            |n| n.to_string(),
            |n| format!("{n}@shop.example.com"),
            |n| format!("visitor-of-the-shop-{n:09}"),
            |n| format!("{:08x}-0000-4000-8000-000000000000", n.wrapping_mul(2_654_435_761)),
        ];
        for (at, id) in kinds.into_iter().enumerate() {
            let visitors = Visitors::new(capacity(100_000), None, false);
            (0..16_000).for_each(|n| decide(&visitors, &id(n), "2"));
            let counts: Vec<_> = (0..SHARDS).map(|shard| visitors.lock(shard).places.len()).collect();
            assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{at}: {counts:?}");
        }
    }

    #[test]
    fn visitors_with_colliding_hashes_displace_each_other() {
        let visitors = Visitors::new(capacity(10), None, false);
        decide(&visitors, "v", "2");
        let hash = visitors.hashes.hash_one("v");
        visitors.lock(shard_of(hash)).get_mut(hash).unwrap().visitor_id = "other".into();
        assert!(visitors.recalled("v", |_| ()).is_none(), "the other one's state is not v's");
        decide(&visitors, "v", "3");
        assert_eq!(
            visitors.recalled("v", |it| it.clone()).unwrap().bucketing.pairs(),
            [("1".into(), "3".into())]
        );
        assert_eq!(visitors.evicted(), 1);
    }

    #[test]
    fn state_expires_after_its_time_to_live() {
        let visitors = Visitors::new(capacity(10), Some((Duration::ZERO, Clock::start())), false);
        decide(&visitors, "v", "2");
        assert!(visitors.recalled("v", |_| ()).is_none());
        decide(&visitors, "v", "3");
        assert_eq!(visitors.evicted(), 1);
        let visitors = Visitors::new(capacity(10), Some((Duration::MAX, Clock::start())), false);
        decide(&visitors, "v", "2");
        assert!(visitors.recalled("v", |_| ()).is_some());
    }

    /// What a context would know about a visitor.
    fn known(visitors: &Visitors, store: &dyn DataStore, visitor: &str) -> Option<VisitorState> {
        let waiting = visitors.recalled(visitor, |it| it.clone());
        visitors.join(waiting, Some(store.get(&state_key(visitor))))
    }

    #[test]
    fn state_reaches_the_store_and_leaves_memory() {
        let store = InMemoryDataStore::new();
        let visitors = Visitors::new(capacity(10), None, true);
        decide(&visitors, "v", "2");
        assert!(visitors.announce() && !visitors.announce(), "told once");
        assert_eq!(visitors.first_waiting(), Some(0));
        assert_eq!(visitors.write_waiting(&store, 10), (1, 0));
        assert_eq!(
            store.get(r#"state:["v"]"#).unwrap(),
            Some(json!({"attributes": {}, "segments": {}, "bucketing": {"1": "2"}}))
        );
        assert!((0..SHARDS).all(|shard| visitors.lock(shard).places.is_empty()));
        assert_eq!(known(&visitors, &store, "v").unwrap().bucketing.pairs().len(), 1);
        assert_eq!((visitors.write_waiting(&store, 10), visitors.first_waiting()), ((0, 0), None));
        assert!(visitors.announce());
    }

    #[test]
    fn a_round_of_writing_is_bounded() {
        let store = InMemoryDataStore::new();
        let visitors = Visitors::new(capacity(1_000), None, true);
        (0..100).for_each(|visitor| decide(&visitors, &visitor.to_string(), "2"));
        assert_eq!(visitors.write_waiting(&store, 30), (30, 0));
        assert_eq!(visitors.write_waiting(&store, 300), (70, 0));
    }

    /// Decides for visitors while one is being written.
    struct Meanwhile<'a>(&'a Visitors, Vec<SmolStr>, InMemoryDataStore);

    impl DataStore for Meanwhile<'static> {
        fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
            self.2.get(key)
        }
        fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
            self.1.iter().for_each(|visitor| decide(self.0, visitor, "3"));
            self.2.set(key, value, ttl)
        }
        fn delete(&self, key: &str) -> Result<(), StoreError> {
            self.2.delete(key)
        }
    }

    #[test]
    fn a_visitor_changed_while_written_waits_in_order_of_changes() {
        let visitors: &'static Visitors = Box::leak(Box::new(Visitors::new(capacity(1_000), None, true)));
        let names: Vec<_> = neighbours(visitors).take(3).collect();
        let changed = &names[1];
        decide(visitors, changed, "2");
        let store = Meanwhile(visitors, names.clone(), InMemoryDataStore::new());
        assert_eq!(visitors.write_waiting(&store, 10), (1, 0), "one round, whatever arrives in the meantime");
        assert_eq!(visitors.recalled(changed, |it| it.clone()).unwrap().bucketing.pairs()[0].1, "3");
        let waiting: Vec<_> = visitors.lock(0).order.iter().copied().collect();
        let hashes = names.iter().map(|name| visitors.hashes.hash_one(name.as_str()));
        // By the number of the change: waiting for the last one means waiting for all; the first is in front.
        assert!(waiting.iter().copied().eq((1..4).zip(hashes)), "{waiting:?}");
        assert_eq!(visitors.first_waiting(), Some(1));
    }

    #[test]
    fn memory_stays_bounded_while_a_store_hangs() {
        struct Full<'a>(&'a Visitors);
        impl DataStore for Full<'static> {
            fn get(&self, _: &str) -> Result<Option<Value>, StoreError> {
                Ok(None)
            }
            fn set(&self, _: &str, _: Value, _: Option<Duration>) -> Result<(), StoreError> {
                // During one call, many times more arrive than memory may hold.
                (0..1_000).for_each(|visitor| decide(self.0, &format!("late-{visitor}"), "2"));
                let held: usize = (0..SHARDS).map(|shard| self.0.lock(shard).places.len()).sum();
                assert!(held <= 2 * SHARDS, "{held}");
                Err(StoreError::new("down"))
            }
            fn delete(&self, _: &str) -> Result<(), StoreError> {
                Ok(())
            }
        }
        let visitors: &'static Visitors =
            Box::leak(Box::new(Visitors::new(capacity(2 * SHARDS), None, true)));
        decide(visitors, "v", "2");
        assert_eq!(visitors.write_waiting(&Full(visitors), 10), (0, 1));
        assert!(visitors.evicted() > 900);
    }

    #[test]
    fn bytes_stay_bounded_while_visitors_are_written() {
        /// Runs something during each write.
        struct During<F>(F);
        impl<F: Fn() + Send + Sync + 'static> DataStore for During<F> {
            fn get(&self, _: &str) -> Result<Option<Value>, StoreError> {
                Ok(None)
            }
            fn set(&self, _: &str, _: Value, _: Option<Duration>) -> Result<(), StoreError> {
                self.0();
                Ok(())
            }
            fn delete(&self, _: &str) -> Result<(), StoreError> {
                Ok(())
            }
        }
        let bound = 400_000;
        let visitors: &'static Visitors =
            Box::leak(Box::new(Visitors::new(capacity(1_000), None, true).with_max_bytes(SHARDS * bound)));
        let mut neighbours = neighbours(visitors);
        let (one, other) = (neighbours.next().unwrap(), neighbours.next().unwrap());
        let grow = move |visitor: &SmolStr, name: &'static str, bytes| {
            let segments = Attributes::new().with(name, "x".repeat(bytes));
            visitors.update(
                visitor,
                None,
                |_| VisitorState::default(),
                |state, _| state.add_segments(&segments),
            );
            assert!(visitors.lock(0).bytes <= bound);
        };
        grow(&one, "country", 150_000);
        grow(&other, "country", 150_000);
        let store = During(move || {
            // More than fits next to the other one, which is being written.
            grow(&one, "browser", 300_000);
            grow(&one, "country", 100_000);
        });
        assert_eq!(visitors.write_waiting(&store, 10), (2, 0));
        assert_eq!(visitors.evicted(), 2);
        let shard = visitors.lock(0);
        assert_eq!((shard.places.len(), shard.order.len()), (1, 1), "the visitor that came back waits once");
        drop(shard);
        assert_eq!(visitors.write_waiting(&InMemoryDataStore::new(), 10), (1, 0));
        assert_eq!(visitors.lock(0).bytes, 0);
    }

    #[test]
    fn a_child_inherits_memory_that_is_neither_locked_nor_unwritten() {
        let visitors = Visitors::new(capacity(100_000), None, false);
        let names: Vec<_> = (0..1_000).map(|visitor| visitor.to_string()).collect();
        names.iter().for_each(|name| decide(&visitors, name, "2"));
        let held = visitors.lock(3);
        let lost = held.places.len();
        let inherited = visitors.inherit();
        drop(held);
        assert!(lost > 0 && inherited.lock(3).places.is_empty());
        assert_eq!(
            names.iter().filter(|name| inherited.recalled(name, |_| ()).is_some()).count(),
            1_000 - lost
        );

        let store = InMemoryDataStore::new();
        let stored = Visitors::new(capacity(10), None, true);
        decide(&stored, "v", "2");
        let child = stored.inherit();
        assert!(child.recalled("v", |_| ()).is_none());
        assert_eq!(child.write_waiting(&store, 10), (0, 0));
        assert_eq!(stored.write_waiting(&store, 10), (1, 0), "the parent writes it");
    }

    struct Failing;

    impl DataStore for Failing {
        fn get(&self, _: &str) -> Result<Option<Value>, StoreError> {
            Err(StoreError::new("down"))
        }
        fn set(&self, _: &str, _: Value, _: Option<Duration>) -> Result<(), StoreError> {
            Err(StoreError::new("down"))
        }
        fn delete(&self, _: &str) -> Result<(), StoreError> {
            Err(StoreError::new("down"))
        }
    }

    #[test]
    fn state_refused_by_a_failing_store_stays_in_memory() {
        let visitors = Visitors::new(capacity(10), None, true);
        decide(&visitors, "v", "2");
        assert_eq!(visitors.write_waiting(&Failing, 10), (0, 1));
        assert_eq!(visitors.write_waiting(&Failing, 10), (0, 1));
        assert_eq!(known(&visitors, &Failing, "v").unwrap().bucketing.pairs().len(), 1);
        assert!(known(&visitors, &Failing, "other").is_none());
        assert_eq!(visitors.store_failures(), 4, "two writes and two reads");
    }

    #[test]
    fn a_stale_view_does_not_undo_what_is_stored() {
        let store = InMemoryDataStore::new();
        let visitors = Visitors::new(capacity(10), None, true);
        let older = |_: &mut _| VisitorState::default();
        visitors.update(&"v".into(), None, older, |state, _| {
            state.add_segments(&Attributes::new().with("country", "GR"))
        });
        visitors.write_waiting(&store, 10);
        visitors.update(&"v".into(), None, older, |state, _| state.decide(&"1".into(), &"2".into()));
        let seen = known(&visitors, &store, "v").unwrap();
        assert_eq!(
            (seen.segments.len(), seen.bucketing.pairs().len()),
            (1, 1),
            "pending changes are merged into what is stored"
        );
        visitors.write_waiting(&store, 10);
        let kept = known(&visitors, &store, "v").unwrap();
        assert_eq!((kept.segments.len(), kept.bucketing.pairs().len()), (1, 1));
    }
}
