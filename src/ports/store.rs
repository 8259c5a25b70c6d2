//! The persistence boundary: what an application can put behind the SDK's memory.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use crate::caught::PanicGuard;

/// A store that outlives the process or is shared between processes. Methods, keys and values are the official Python
/// SDK's, so both SDKs can share one store.
///
/// All calls come from the SDK's own threads, up to eight at a time, in batches of up to 1,000 keys, and with a
/// deadline ([`store_timeout`](crate::SdkConfigBuilder::store_timeout), default 1 s): a slow store delays decisions,
/// recording and delivery by no more than that. Only [`Core::create_context`](crate::Core::create_context),
/// [`Core::decide_many`](crate::Core::decide_many) and
/// [`Context::track_conversion_confirmed`](crate::Context::track_conversion_confirmed) wait for an answer; a flush
/// and a close wait for pending writes until their own deadline, whatever `store_timeout` is. A decision made without
/// an answer never replaces a stored one. Failures and late answers are counted
/// ([`Stats::store_failures`](crate::Stats::store_failures), [`store_timeouts`](crate::Stats::store_timeouts)), and
/// this process's memory decides instead.
///
/// Changes to a visitor are merged into what is stored, by a read and then a write: if two processes write the same
/// visitor at the same instant, one can overwrite the other. Deduplication marks are claimed atomically, as a lease
/// that outlasts every retry; they are kept when the record is delivered and released when it is dropped. A lease
/// left by a killed process expires.
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
    /// The store could not be read.
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError>;

    /// Sets a key, permanently or with a time to live. A store shared between processes must honour the time to live:
    /// leases rely on it, including those of killed processes.
    ///
    /// # Errors
    /// The value was not stored.
    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError>;

    /// Whether a key has a value that has not expired.
    ///
    /// # Errors
    /// The store could not be read.
    fn has(&self, key: &str) -> Result<bool, StoreError> {
        self.get(key).map(|value| value.is_some())
    }

    /// Removes a key; removing a missing key is not an error.
    ///
    /// # Errors
    /// The value was not removed.
    fn delete(&self, key: &str) -> Result<(), StoreError>;

    /// Sets a key unless it has a value, and returns whether it did. The default checks and then sets, so two
    /// processes can race: a shared store should do both in one atomic step.
    ///
    /// # Errors
    /// The store could not be read, or the value was not stored.
    fn set_if_absent(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool, StoreError> {
        if self.has(key)? {
            return Ok(false);
        }
        self.set(key, value, ttl).map(|()| true)
    }

    /// The values of many keys, one answer per key, in order. The SDK passes up to 1,000 keys at a time; a store
    /// should answer in one round trip if it can. The default calls [`get`](Self::get) for each key in turn.
    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Value>, StoreError>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// Sets many keys, permanently or with a time to live, with one answer per key, in order. Like
    /// [`get_many`](Self::get_many), with [`set`](Self::set).
    fn set_many(&self, entries: &[(&str, Value)], ttl: Option<Duration>) -> Vec<Result<(), StoreError>> {
        entries.iter().map(|(key, value)| self.set(key, value.clone(), ttl)).collect()
    }

    /// Sets each key to `true` for the duration of a lease unless it has a value, and returns for each whether it
    /// did. Like [`get_many`](Self::get_many), with [`set_if_absent`](Self::set_if_absent).
    fn claim_many(&self, keys: &[&str], lease: Duration) -> Vec<Result<bool, StoreError>> {
        keys.iter().map(|key| self.set_if_absent(key, true.into(), Some(lease))).collect()
    }

    /// Removes many keys, with one answer per key, in order. Like [`get_many`](Self::get_many), with
    /// [`delete`](Self::delete).
    fn delete_many(&self, keys: &[&str]) -> Vec<Result<(), StoreError>> {
        keys.iter().map(|key| self.delete(key)).collect()
    }

    /// Called in a forked child before any other method, once per core that uses this store; the rules of
    /// [`ConfigSource::after_fork`](crate::ports::ConfigSource::after_fork) apply. The default does nothing, which
    /// suits a store without locks or connections.
    fn after_fork(&self) {}
}

/// A store's own reason for a failure. It is logged: do not include keys or values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("data store: {0}")]
pub struct StoreError(Box<str>);

impl StoreError {
    /// An error with this reason.
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

/// An application's store, with panics turned into errors.
pub(crate) struct Guarded {
    pub(crate) store: Arc<dyn DataStore>,
    pub(crate) guard: PanicGuard,
}

impl Guarded {
    fn guard<T>(&self, call: impl FnOnce(&dyn DataStore) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let result = self.guard.caught("the data store", || call(self.store.as_ref()));
        result.unwrap_or_else(|| Err(StoreError::new("panicked")))
    }

    /// Exactly this many answers, whatever the store returned.
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
