//! The persistence boundary: what an application may put behind the SDK's memory.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use crate::caught::PanicGuard;

/// A store that outlives the process or is shared between processes, with the official Python
/// SDK's methods, keys and values, so that both SDKs can use the same one.
///
/// Every call comes from threads of the SDK's own, up to eight at a time, in batches of up to 1,000 keys,
/// and behind a deadline ([`store_timeout`](crate::SdkConfigBuilder::store_timeout), default 1 s): a slow
/// store delays no decision, no recording and no delivery for longer than that. Only
/// [`Core::create_context`](crate::Core::create_context), [`Core::decide_many`](crate::Core::decide_many) and
/// [`Context::track_conversion_confirmed`](crate::Context::track_conversion_confirmed) wait for an answer; a flush
/// and a close wait for what is to be written until their own time is over, however long `store_timeout` is. A
/// decision that was made without an answer never replaces a stored one. What fails or comes too late
/// is counted ([`Stats::store_failures`](crate::Stats::store_failures),
/// [`store_timeouts`](crate::Stats::store_timeouts)) and decided by the memory of this process.
///
/// What a visitor's contexts change is merged over what is stored, by a read and a write: of two processes
/// that write one visitor in the same instant, one can undo the other. Deduplication marks are claimed in
/// one step, as a lease that outlasts every retry; they stay when the record is delivered, and go when it
/// is dropped. What a killed process leaves is a lease that ends by itself.
///
/// ```
/// use std::time::Duration;
/// use convert_sdk::{adapters::InMemoryDataStore, ports::DataStore};
/// use serde_json::json;
///
/// let store = InMemoryDataStore::new();
/// assert!(store.set_if_absent("mark", json!(true), None).unwrap());
/// assert!(!store.set_if_absent("mark", json!(true), None).unwrap());
/// store.set("short", json!("lived"), Some(Duration::from_secs(60))).unwrap();
/// assert_eq!(store.get("short").unwrap(), Some(json!("lived")));
/// ```
pub trait DataStore: Send + Sync + 'static {
    /// The value of a key, if there is one that has not expired.
    ///
    /// # Errors
    /// The store could not be asked.
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError>;

    /// Sets a key, for ever or for a time. A store that processes share must honour the time: leases are made
    /// of it, and what a killed process has claimed ends by it.
    ///
    /// # Errors
    /// The value was not stored.
    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError>;

    /// Whether a key has a value that has not expired.
    ///
    /// # Errors
    /// The store could not be asked.
    fn has(&self, key: &str) -> Result<bool, StoreError> {
        self.get(key).map(|value| value.is_some())
    }

    /// Removes a key; removing what is not there is no error.
    ///
    /// # Errors
    /// The value was not removed.
    fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Sets a key unless it has a value, and says whether it did. The default asks first and sets
    /// then, which two processes can do at once: a shared store should do it in one step.
    ///
    /// # Errors
    /// The store could not be asked, or the value was not stored.
    fn set_if_absent(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool, StoreError> {
        if self.has(key)? {
            return Ok(false);
        }
        self.set(key, value, ttl).map(|()| true)
    }

    /// The values of many keys, one answer for each in their order. The SDK asks with up to 1,000 keys at a
    /// time; a store that can should answer in one round trip. The default calls [`get`](Self::get) for one
    /// after the other.
    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Value>, StoreError>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Sets many keys, for ever or for a time, with one answer for each in their order; as
    /// [`get_many`](Self::get_many), over [`set`](Self::set).
    fn set_many(&self, entries: &[(&str, Value)], ttl: Option<Duration>) -> Vec<Result<(), StoreError>> {
        entries.iter().map(|(key, value)| self.set(key, value.clone(), ttl)).collect()
    }

    /// Sets many keys to `true` for the time of a lease unless they have a value, and says of each whether
    /// it did; as [`get_many`](Self::get_many), over [`set_if_absent`](Self::set_if_absent).
    fn claim_many(&self, keys: &[&str], lease: Duration) -> Vec<Result<bool, StoreError>> {
        keys.iter().map(|key| self.set_if_absent(key, true.into(), Some(lease))).collect()
    }

    /// Removes many keys, with one answer for each in their order; as [`get_many`](Self::get_many), over
    /// [`delete`](Self::delete).
    fn delete_many(&self, keys: &[&str]) -> Vec<Result<(), StoreError>> {
        keys.iter().map(|key| self.delete(key)).collect()
    }

    /// Called in a forked child before any other method, once for each core that uses this store; see
    /// [`ConfigSource::after_fork`](crate::ports::ConfigSource::after_fork), which it is like. The default does
    /// nothing, which fits a store that keeps neither locks nor connections.
    fn after_fork(&self) {}
}

/// A store's own reason for a failure. It is logged: put neither keys nor values into it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("data store: {0}")]
pub struct StoreError(Box<str>);

impl StoreError {
    /// A failure with this reason.
    #[must_use]
    pub fn new(reason: impl Into<Box<str>>) -> Self {
        Self(reason.into())
    }

    /// A stable name for logs and dashboards: always `"data_store"`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "data_store"
    }
}

/// An application's store, with its panics turned into failures.
pub(crate) struct Guarded {
    pub(crate) store: Arc<dyn DataStore>,
    pub(crate) guard: PanicGuard,
}

impl Guarded {
    fn guard<T>(&self, call: impl FnOnce(&dyn DataStore) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let result = self.guard.caught("the data store", || call(self.store.as_ref()));
        result.unwrap_or_else(|| Err(StoreError::new("panicked")))
    }

    /// One answer for each of so many, whatever the store has returned.
    fn guard_all<T>(
        &self,
        asked: usize,
        call: impl FnOnce(&dyn DataStore) -> Vec<Result<T, StoreError>>,
    ) -> Vec<Result<T, StoreError>> {
        let given = self.guard.caught("the data store", || call(self.store.as_ref()));
        let missing = if given.is_some() { "returned too few answers" } else { "panicked" };
        let mut answers = given.unwrap_or_default();
        answers.resize_with(asked, || Err(StoreError::new(missing)));
        answers
    }
}

impl DataStore for Guarded {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.guard(|store| store.get(key))
    }

    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.guard(|store| store.set(key, value, ttl))
    }

    fn has(&self, key: &str) -> Result<bool, StoreError> {
        self.guard(|store| store.has(key))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.guard(|store| store.delete(key))
    }

    fn set_if_absent(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool, StoreError> {
        self.guard(|store| store.set_if_absent(key, value, ttl))
    }

    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Value>, StoreError>> {
        self.guard_all(keys.len(), |store| store.get_many(keys))
    }

    fn set_many(&self, entries: &[(&str, Value)], ttl: Option<Duration>) -> Vec<Result<(), StoreError>> {
        self.guard_all(entries.len(), |store| store.set_many(entries, ttl))
    }

    fn claim_many(&self, keys: &[&str], lease: Duration) -> Vec<Result<bool, StoreError>> {
        self.guard_all(keys.len(), |store| store.claim_many(keys, lease))
    }

    fn delete_many(&self, keys: &[&str]) -> Vec<Result<(), StoreError>> {
        self.guard_all(keys.len(), |store| store.delete_many(keys))
    }

    fn after_fork(&self) {
        self.guard.caught("the data store", || self.store.after_fork());
    }
}
