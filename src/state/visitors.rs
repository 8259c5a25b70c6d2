//! The memory of visitors: what contexts read when they start and change when they decide.

use std::collections::{HashMap, VecDeque, hash_map};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use smol_str::SmolStr;

use super::envelope::VisitorState;
use super::keys::state_key;
use super::{DataStore, StoreError};
use crate::process::inherit_lock;

/// Shards, so that threads with different visitors rarely meet at one lock.
const SHARDS: usize = 16;

/// Visitor state by visitor, bounded. A change is visible to the next context at once. Without a
/// data store this is where state lives; with one it holds what the tracker has not yet written
/// there, and nothing else.
pub(crate) struct Visitors {
    shards: [Mutex<Shard>; SHARDS],
    /// Keyed, since visitors choose their ids.
    hashes: RandomState,
    /// Whether anything was ever remembered; until then nobody needs to look.
    used: AtomicBool,
    shard_capacity: usize,
    shard_bytes: usize,
    ttl: Option<Duration>,
    store: Option<Arc<dyn DataStore>>,
    evicted: AtomicU64,
    store_failures: AtomicU64,
    /// The shard that the next round of writing starts with.
    next_shard: AtomicUsize,
}

/// Visitors by the keyed hash of their ids, which is made once for each call. Should two ids have one,
/// the later visitor displaces the earlier, as one does for whom there is no room.
#[derive(Default)]
struct Shard {
    states: HashMap<u64, Entry, BuildHasherDefault<AsItIs>>,
    /// Visitors by age. With a store: those to be written.
    order: VecDeque<u64>,
    /// What the states take, about.
    bytes: usize,
}

/// The hash of a hash is itself.
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

struct Entry {
    visitor_id: SmolStr,
    state: VisitorState,
    version: u64,
    /// When it was changed last; the clock is read only where state has a time to live.
    changed_at: Option<Instant>,
}

impl Shard {
    /// Every entry leaves by this, so that the bytes are right.
    fn forget(&mut self, hash: u64) {
        if let Some(entry) = self.states.remove(&hash) {
            self.bytes -= entry.bytes();
        }
    }
}

impl Entry {
    /// What it takes with its places in the table and the order, about.
    fn bytes(&self) -> usize {
        let long_id = if self.visitor_id.is_heap_allocated() { self.visitor_id.len() } else { 0 };
        size_of::<(u64, Self, u64)>() + long_id + self.state.bytes()
    }
}

impl Visitors {
    pub(crate) fn new(
        capacity: NonZeroUsize,
        ttl: Option<Duration>,
        store: Option<Arc<dyn DataStore>>,
    ) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hashes: RandomState::new(),
            used: AtomicBool::new(false),
            shard_capacity: capacity.get().div_ceil(SHARDS),
            shard_bytes: usize::MAX,
            ttl,
            store,
            evicted: AtomicU64::new(0),
            store_failures: AtomicU64::new(0),
            next_shard: AtomicUsize::new(0),
        }
    }

    /// The same with a bound on the bytes of all states together.
    pub(crate) fn with_max_bytes(self, bytes: usize) -> Self {
        Self { shard_bytes: bytes.div_ceil(SHARDS), ..self }
    }

    /// What a forked child begins with: the memory, but for shards that another thread was changing at
    /// the fork, whose lock nobody will release there. With a store it is empty: what waits here is
    /// the parent's to write.
    pub(crate) fn inherit(&self) -> Self {
        let inherit = |shard| if self.has_store() { Mutex::default() } else { inherit_lock(shard) };
        Self {
            shards: self.shards.each_ref().map(inherit),
            hashes: self.hashes.clone(),
            used: AtomicBool::new(self.used.load(Ordering::Relaxed)),
            shard_capacity: self.shard_capacity,
            shard_bytes: self.shard_bytes,
            ttl: self.ttl,
            store: self.store.clone(),
            evicted: AtomicU64::new(0),
            store_failures: AtomicU64::new(0),
            next_shard: AtomicUsize::new(0),
        }
    }

    /// Whether changes wait here to be written to a store.
    pub(crate) const fn has_store(&self) -> bool {
        self.store.is_some()
    }

    /// Reads what is known of a visitor: what the store has, where there is one, and the changes in
    /// memory over it. A failing store counts as knowing nothing.
    pub(crate) fn recall<R>(&self, visitor_id: &str, read: impl FnOnce(&VisitorState) -> R) -> Option<R> {
        let Some(store) = &self.store else { return self.in_memory(visitor_id, read) };
        // Memory first: what the tracker writes meanwhile is in the store before it leaves memory.
        let waiting = self.in_memory(visitor_id, VisitorState::clone);
        self.join(waiting, store.get(&state_key(visitor_id))).as_ref().map(read)
    }

    /// The changes that wait in memory, over what the store has. What waits is to be looked at first.
    pub(crate) fn join(
        &self,
        waiting: Option<VisitorState>,
        stored: Result<Option<Value>, StoreError>,
    ) -> Option<VisitorState> {
        let stored = match stored {
            Ok(value) => value.and_then(VisitorState::from_envelope),
            Err(error) => {
                self.count_failure(&error);
                None
            }
        };
        match (stored, waiting) {
            (Some(mut stored), Some(waiting)) => {
                stored.merge(&waiting);
                Some(stored)
            }
            (stored, waiting) => stored.or(waiting),
        }
    }

    /// Reads what memory alone knows of a visitor.
    pub(crate) fn in_memory<R>(&self, visitor_id: &str, read: impl FnOnce(&VisitorState) -> R) -> Option<R> {
        if !self.used.load(Ordering::Relaxed) {
            return None;
        }
        let (now, hash) = (self.now(), self.hashes.hash_one(visitor_id));
        let shard = self.lock(place(hash));
        let entry = shard.states.get(&hash).filter(|entry| entry.visitor_id == visitor_id)?;
        (!self.is_over(entry, now)).then(|| read(&entry.state))
    }

    /// The time, where state lives for one.
    fn now(&self) -> Option<Instant> {
        self.ttl.map(|_| Instant::now())
    }

    /// Whether an entry's time is over; what waits for a store has none here.
    fn is_over(&self, entry: &Entry, now: Option<Instant>) -> bool {
        let age =
            now.zip(entry.changed_at).map(|(now, changed_at)| now.saturating_duration_since(changed_at));
        !self.has_store() && age.zip(self.ttl).is_some_and(|(age, ttl)| age >= ttl)
    }

    /// Changes a visitor's state. `known` gives what the caller has of it where memory has nothing;
    /// with a store memory begins with nothing and holds changes alone, so that an older view never
    /// undoes what someone else has stored.
    pub(crate) fn update(
        &self,
        visitor_id: &SmolStr,
        known: impl FnOnce() -> VisitorState,
        change: impl FnOnce(&mut VisitorState),
    ) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        let (now, hash) = (self.now(), self.hashes.hash_one(visitor_id.as_str()));
        let mut shard = self.lock(place(hash));
        let Shard { states, order, bytes } = &mut *shard;
        let begin = || if self.has_store() { VisitorState::default() } else { known() };
        let slot = match states.entry(hash) {
            hash_map::Entry::Occupied(mut held) => {
                let entry = held.get_mut();
                let before = entry.bytes();
                if entry.visitor_id != *visitor_id || self.is_over(entry, now) {
                    entry.visitor_id = visitor_id.clone();
                    entry.state = begin();
                    self.evicted.fetch_add(1, Ordering::Relaxed);
                }
                change(&mut entry.state);
                entry.version += 1;
                entry.changed_at = now;
                let after = entry.bytes();
                *bytes = *bytes - before + after;
                if *bytes > self.shard_bytes {
                    self.make_room(&mut shard, hash, after);
                }
                return;
            }
            hash_map::Entry::Vacant(slot) => slot,
        };
        let mut state = begin();
        change(&mut state);
        let entry = Entry { visitor_id: visitor_id.clone(), state, version: 0, changed_at: now };
        let taken = entry.bytes();
        *bytes += taken;
        slot.insert(entry);
        let full = order.len() >= self.shard_capacity;
        order.push_back(hash);
        if full {
            self.forget_oldest(&mut shard);
        }
        if shard.bytes > self.shard_bytes {
            self.make_room(&mut shard, hash, taken);
        }
    }

    /// Forgets the oldest visitors until the rest fits; a visitor who alone does not fit goes instead.
    #[cold]
    fn make_room(&self, shard: &mut Shard, changed: u64, taken: usize) {
        if taken > self.shard_bytes {
            shard.forget(changed);
            shard.order.retain(|hash| *hash != changed);
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        while shard.bytes > self.shard_bytes && self.forget_oldest(shard) {}
    }

    /// Whether there was one.
    #[inline(never)]
    fn forget_oldest(&self, shard: &mut Shard) -> bool {
        let Some(oldest) = shard.order.pop_front() else { return false };
        shard.forget(oldest);
        self.evicted.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Writes what waits to the store, and keeps what could not be written for the next time. A round
    /// ends with the first failure, and the next one starts elsewhere: a store that is down costs one
    /// call, and a visitor whom it refuses does not keep it from the others. Returns how many visitors
    /// were written and how many are left. Called by the tracker alone.
    pub(crate) fn write_behind(&self) -> (usize, usize) {
        let Some(store) = &self.store else { return (0, 0) };
        let mut written = 0;
        let first = self.next_shard.load(Ordering::Relaxed);
        for index in (0..SHARDS).map(|shard| (first + shard) % SHARDS) {
            let mut waiting = std::mem::take(&mut self.lock(index).order);
            while let Some(hash) = waiting.pop_front() {
                if self.write_one(index, store.as_ref(), hash) {
                    written += 1;
                    continue;
                }
                self.next_shard.store((index + 1) % SHARDS, Ordering::Relaxed);
                // Behind those who were not tried, and before those who came meanwhile.
                waiting.push_back(hash);
                let mut shard = self.lock(index);
                waiting.append(&mut shard.order);
                shard.order = waiting;
                drop(shard);
                return (written, (0..SHARDS).map(|index| self.lock(index).order.len()).sum());
            }
        }
        (written, 0)
    }

    /// Visitors whose state was forgotten to make room or for its age.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Calls to the store that failed.
    pub(crate) fn store_failures(&self) -> u64 {
        self.store_failures.load(Ordering::Relaxed)
    }

    pub(crate) fn count_failure(&self, error: &StoreError) {
        self.store_failures.fetch_add(1, Ordering::Relaxed);
        log::warn!("{error}");
    }

    /// Writes changes over what is stored, until there are no new ones meanwhile; the lock is not
    /// held during the calls to the store.
    fn write_one(&self, index: usize, store: &dyn DataStore, hash: u64) -> bool {
        loop {
            let (key, changes, version) = match self.lock(index).states.get(&hash) {
                Some(entry) => (state_key(&entry.visitor_id), entry.state.clone(), entry.version),
                None => return true,
            };
            let written = store.get(&key).and_then(|stored| {
                let mut state = stored.and_then(VisitorState::from_envelope).unwrap_or_default();
                state.merge(&changes);
                store.set(&key, state.to_envelope(), self.ttl)
            });
            if let Err(error) = written {
                self.count_failure(&error);
                return false;
            }
            let mut shard = self.lock(index);
            if shard.states.get(&hash).is_none_or(|entry| entry.version == version) {
                shard.forget(hash);
                return true;
            }
        }
    }

    /// A panic elsewhere cannot leave a shard half-changed, so a poisoned lock is still good.
    fn lock(&self, index: usize) -> MutexGuard<'_, Shard> {
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shard of a visitor, by bits that the tables do not use.
const fn place(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::InMemoryDataStore;
    use super::*;
    use crate::attributes::Attributes;

    fn capacity(visitors: usize) -> NonZeroUsize {
        NonZeroUsize::new(visitors).unwrap()
    }

    fn decide(visitors: &Visitors, visitor: &str, variation: &str) {
        visitors.update(&visitor.into(), VisitorState::default, |state| {
            state.decide(&"1".into(), &variation.into());
        });
    }

    #[test]
    fn a_change_is_visible_at_once() {
        let visitors = Visitors::new(capacity(10), None, None);
        assert!(visitors.recall("v", |_| ()).is_none());
        decide(&visitors, "v", "2");
        assert_eq!(*visitors.recall("v", VisitorState::clone).unwrap().bucketing, [("1".into(), "2".into())]);
    }

    #[test]
    fn memory_is_bounded_and_counts_what_it_forgets() {
        let visitors = Visitors::new(capacity(SHARDS), None, None);
        for visitor in 0..1_000 {
            decide(&visitors, &visitor.to_string(), "2");
        }
        let kept =
            (0..1_000).filter(|visitor| visitors.recall(&visitor.to_string(), |_| ()).is_some()).count();
        assert!(kept <= SHARDS);
        assert_eq!(visitors.evicted(), 1_000 - kept as u64);
    }

    #[test]
    fn memory_is_bounded_in_bytes_and_the_oldest_leave_first() {
        let visitors = Visitors::new(capacity(100_000), None, None).with_max_bytes(SHARDS * 400_000);
        let names: Vec<_> = (0..1_000).map(|visitor: u32| SmolStr::from(visitor.to_string())).collect();
        let segments = Attributes::new().with("country", "x".repeat(100_000));
        let change = |name: &SmolStr, segments: &Attributes| {
            visitors.update(name, VisitorState::default, |state| state.add_segments(segments));
        };
        names.iter().for_each(|name| change(name, &segments));
        let kept = |shard: usize| visitors.lock(shard).states.len();
        assert!((0..SHARDS).all(|shard| kept(shard) == 3), "a fourth of 100 kB would be too many");
        assert_eq!(visitors.evicted(), 1_000 - 3 * SHARDS as u64);
        let newest = visitors.recall(names.last().unwrap(), |state| state.segments.len());
        assert_eq!(newest, Some(1));
        // Who alone takes more than there is does not drive the others out.
        change(&"heavy".into(), &Attributes::new().with("country", "x".repeat(400_000)));
        assert!(visitors.recall("heavy", |_| ()).is_none());
        assert!((0..SHARDS).all(|shard| kept(shard) == 3));
        // One who grows while remembered counts with what he has grown to.
        change(names.last().unwrap(), &Attributes::new().with("browser", "x".repeat(250_000)));
        assert_eq!((0..SHARDS).map(kept).sum::<usize>(), 3 * SHARDS - 2);
        // All that is counted is what is there.
        for shard in 0..SHARDS {
            let shard = visitors.lock(shard);
            assert_eq!(shard.bytes, shard.states.values().map(Entry::bytes).sum::<usize>());
            assert_eq!(shard.order.len(), shard.states.len());
        }
    }

    #[test]
    fn ids_that_begin_or_end_alike_have_shards_of_their_own() {
        let kinds: [fn(u32) -> String; 4] = [
            |n| n.to_string(),
            |n| format!("{n}@shop.example.com"),
            |n| format!("visitor-of-the-shop-{n:09}"),
            |n| format!("{:08x}-0000-4000-8000-000000000000", n.wrapping_mul(2_654_435_761)),
        ];
        for (at, id) in kinds.into_iter().enumerate() {
            let visitors = Visitors::new(capacity(100_000), None, None);
            (0..16_000).for_each(|n| decide(&visitors, &id(n), "2"));
            let counts: Vec<_> = (0..SHARDS).map(|shard| visitors.lock(shard).states.len()).collect();
            assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{at}: {counts:?}");
        }
    }

    #[test]
    fn visitors_whose_ids_have_one_hash_displace_each_other() {
        let visitors = Visitors::new(capacity(10), None, None);
        decide(&visitors, "v", "2");
        let hash = visitors.hashes.hash_one("v");
        visitors.lock(place(hash)).states.get_mut(&hash).unwrap().visitor_id = "other".into();
        assert!(visitors.recall("v", |_| ()).is_none(), "the other one's state is not v's");
        decide(&visitors, "v", "3");
        assert_eq!(*visitors.recall("v", VisitorState::clone).unwrap().bucketing, [("1".into(), "3".into())]);
        assert_eq!(visitors.evicted(), 1);
    }

    #[test]
    fn state_is_over_when_its_time_is() {
        let visitors = Visitors::new(capacity(10), Some(Duration::ZERO), None);
        decide(&visitors, "v", "2");
        assert!(visitors.recall("v", |_| ()).is_none());
        decide(&visitors, "v", "3");
        assert_eq!(visitors.evicted(), 1);
        let visitors = Visitors::new(capacity(10), Some(Duration::MAX), None);
        decide(&visitors, "v", "2");
        assert!(visitors.recall("v", |_| ()).is_some());
    }

    #[test]
    fn state_reaches_the_store_and_leaves_memory() {
        let store = Arc::new(InMemoryDataStore::new());
        let visitors = Visitors::new(capacity(10), None, Some(Arc::clone(&store) as Arc<dyn DataStore>));
        decide(&visitors, "v", "2");
        assert!(store.is_empty());
        assert_eq!(visitors.write_behind(), (1, 0));
        assert_eq!(
            store.get(r#"state:["v"]"#).unwrap(),
            Some(json!({"attributes": {}, "segments": {}, "bucketing": {"1": "2"}}))
        );
        assert!((0..SHARDS).all(|shard| visitors.lock(shard).states.is_empty()));
        assert_eq!(visitors.recall("v", VisitorState::clone).unwrap().bucketing.len(), 1);
        assert_eq!(visitors.write_behind(), (0, 0));
    }

    #[test]
    fn a_child_inherits_the_memory_but_for_shards_in_use_and_what_waits_for_a_store() {
        let visitors = Visitors::new(capacity(100_000), None, None);
        let names: Vec<_> = (0..1_000).map(|visitor| visitor.to_string()).collect();
        names.iter().for_each(|name| decide(&visitors, name, "2"));
        let held = visitors.lock(3);
        let lost = held.states.len();
        let inherited = visitors.inherit();
        drop(held);
        assert!(lost > 0 && inherited.lock(3).states.is_empty());
        assert_eq!(
            names.iter().filter(|name| inherited.recall(name, |_| ()).is_some()).count(),
            1_000 - lost
        );

        let stored = Visitors::new(capacity(10), None, Some(Arc::new(InMemoryDataStore::new())));
        decide(&stored, "v", "2");
        assert_eq!(stored.inherit().write_behind(), (0, 0));
        assert_eq!(stored.write_behind(), (1, 0), "the parent writes it");
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
    fn what_a_failing_store_refuses_stays_in_memory() {
        let visitors = Visitors::new(capacity(10), None, Some(Arc::new(Failing)));
        decide(&visitors, "v", "2");
        assert_eq!(visitors.write_behind(), (0, 1));
        assert_eq!(visitors.write_behind(), (0, 1));
        assert_eq!(visitors.recall("v", VisitorState::clone).unwrap().bucketing.len(), 1);
        assert!(visitors.recall("other", |_| ()).is_none());
        assert_eq!(visitors.store_failures(), 4, "two writes and two loads");
    }

    #[test]
    fn an_older_view_does_not_undo_what_is_stored() {
        let store = Arc::new(InMemoryDataStore::new());
        let visitors = Visitors::new(capacity(10), None, Some(Arc::clone(&store) as Arc<dyn DataStore>));
        let older = VisitorState::default;
        visitors
            .update(&"v".into(), older, |state| state.add_segments(&Attributes::new().with("country", "GR")));
        visitors.write_behind();
        visitors.update(&"v".into(), older, |state| state.decide(&"1".into(), &"2".into()));
        let seen = visitors.recall("v", VisitorState::clone).unwrap();
        assert_eq!(
            (seen.segments.len(), seen.bucketing.len()),
            (1, 1),
            "what waits lies over what is stored"
        );
        visitors.write_behind();
        let kept = visitors.recall("v", VisitorState::clone).unwrap();
        assert_eq!((kept.segments.len(), kept.bucketing.len()), (1, 1));
    }
}
