//! A bounded data store in this process's memory.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ports::{DataStore, StoreError};
use crate::threads::{PerProcess, inherit_lock};

/// An in-memory [`DataStore`] with a bounded number of entries: when it is full, the oldest key is evicted. Expired
/// entries are removed when they are read. For tests, and for sharing visitor state between several `Core`s in one
/// process; a single `Core` does not need it. A forked child starts with a copy, or empty if another thread was using
/// the store at that moment.
pub struct InMemoryDataStore {
    entries: PerProcess<Mutex<Entries>>,
    capacity: usize,
}

#[derive(Default)]
struct Entries {
    values: HashMap<String, Entry>,
    /// Keys by age, each with the number of its entry; may name removed entries.
    order: VecDeque<(String, u64)>,
    next_number: u64,
}

struct Entry {
    value: Value,
    end: Option<Instant>,
    number: u64,
}

impl InMemoryDataStore {
    /// The default capacity, in entries.
    pub const DEFAULT_CAPACITY: usize = 100_000;

    /// An empty store with the default capacity.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(Self::DEFAULT_CAPACITY)
    }

    /// An empty store with this capacity, in entries (at least 1).
    #[must_use]
    pub fn with_capacity(entries: usize) -> Self {
        Self { entries: PerProcess::new(Mutex::default()), capacity: entries.max(1) }
    }

    /// The number of entries, including expired ones.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with(|entries| entries.values.len())
    }

    /// Whether the store is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A panic elsewhere cannot leave the map half-changed, so a poisoned lock is safe to use.
    fn with<T>(&self, run: impl FnOnce(&mut Entries) -> T) -> T {
        let entries = self.entries.get(inherit_lock, |_| {});
        let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
        run(&mut entries)
    }
}

impl Entries {
    fn live(&mut self, key: &str) -> Option<&Value> {
        let expired =
            matches!(self.values.get(key), Some(Entry { end: Some(end), .. }) if *end <= Instant::now());
        if expired {
            self.values.remove(key);
        }
        self.values.get(key).map(|entry| &entry.value)
    }

    fn put(&mut self, key: &str, value: Value, ttl: Option<Duration>, capacity: usize) {
        let end = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        if let Some(entry) = self.values.get_mut(key) {
            (entry.value, entry.end) = (value, end);
            return;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.values.insert(key.to_owned(), Entry { value, end, number });
        self.order.push_back((key.to_owned(), number));
        while self.values.len() > capacity {
            let Some((oldest, number)) = self.order.pop_front() else { break };
            if Self::is_current(&self.values, &oldest, number) {
                self.values.remove(&oldest);
            }
        }
        // Deleted and expired entries leave their keys behind; sweep before those outnumber the rest.
        if self.order.len() > 2 * self.values.len() + 16 {
            let values = &self.values;
            self.order.retain(|(key, number)| Self::is_current(values, key, *number));
        }
    }

    /// Whether the key still has the entry with this number, not a later one.
    fn is_current(values: &HashMap<String, Entry>, key: &str, number: u64) -> bool {
        values.get(key).is_some_and(|entry| entry.number == number)
    }
}

impl Default for InMemoryDataStore {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for InMemoryDataStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InMemoryDataStore({} entries)", self.len())
    }
}

impl DataStore for InMemoryDataStore {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        Ok(self.with(|entries| entries.live(key).cloned()))
    }

    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.with(|entries| entries.put(key, value, ttl, self.capacity));
        Ok(())
    }

    fn has(&self, key: &str) -> Result<bool, StoreError> {
        Ok(self.with(|entries| entries.live(key).is_some()))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.with(|entries| entries.values.remove(key));
        Ok(())
    }

    fn set_if_absent(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool, StoreError> {
        self.with(|entries| {
            let absent = entries.live(key).is_none();
            if absent {
                entries.put(key, value, ttl, self.capacity);
            }
            Ok(absent)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_oldest_entry_is_evicted_first() {
        let store = InMemoryDataStore::with_capacity(2);
        for key in ["a", "b", "a", "c"] {
            store.set(key, json!(key), None).unwrap();
        }
        assert_eq!(store.get("a").unwrap(), None);
        assert!(store.has("b").unwrap() && store.has("c").unwrap());
        assert_eq!(store.len(), 2);
    }

    #[test]
    fn an_expired_entry_is_absent() {
        let store = InMemoryDataStore::new();
        store.set("gone", json!(1), Some(Duration::ZERO)).unwrap();
        store.set("kept", json!(1), Some(Duration::MAX)).unwrap();
        assert!(!store.has("gone").unwrap());
        assert!(store.set_if_absent("gone", json!(2), None).unwrap());
        assert!(!store.set_if_absent("kept", json!(2), None).unwrap());
        store.delete("kept").unwrap();
        store.delete("kept").unwrap();
        assert_eq!(store.get("kept").unwrap(), None);
    }

    #[test]
    fn deleted_keys_leave_nothing_behind() {
        let store = InMemoryDataStore::new();
        for round in 0..1_000 {
            let key = round.to_string();
            store.set(&key, json!(1), None).unwrap();
            store.delete(&key).unwrap();
            store.delete("one").unwrap();
            store.set("one", json!(1), None).unwrap();
        }
        assert!(store.with(|entries| entries.order.len()) <= 32);
    }
}
