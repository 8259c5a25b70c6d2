//! The persistence boundary, for applications with an asynchronous client.

use std::time::Duration;

use serde_json::Value;

use super::{BoxFuture, StoreError};

/// The asynchronous [`DataStore`](crate::ports::DataStore). Install it with
/// [`SdkConfigBuilder::async_data_store`](crate::SdkConfigBuilder::async_data_store).
///
/// [`AsyncCore::create_context`](crate::AsyncCore::create_context) awaits `get` in the calling task. Every other call
/// comes from the SDK's store threads, which poll the future themselves and start no runtime: a client that must be
/// polled inside its runtime holds a handle to it, as `AsyncRedisStore` in the crate `convert-sdk-redis` does. Such a
/// call is abandoned after 10 s and counts as failed, even if `store_timeout` is longer.
/// [`Core::create_context`](crate::Core::create_context) works too, but **blocks** the calling thread for up to
/// `store_timeout`: do not call it on an executor's thread.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::{Mutex, PoisonError};
/// use std::time::Duration;
///
/// use convert_sdk::ports::{AsyncDataStore, BoxFuture, StoreError};
/// use serde_json::Value;
///
/// #[derive(Default)]
/// struct Shelf(Mutex<BTreeMap<String, Value>>);
///
/// impl AsyncDataStore for Shelf {
///     fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Value>, StoreError>> {
///         Box::pin(async { Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()) })
///     }
///
///     fn set<'a>(
///         &'a self,
///         key: &'a str,
///         value: Value,
///         _ttl: Option<Duration>,
///     ) -> BoxFuture<'a, Result<(), StoreError>> {
///         Box::pin(async move {
///             self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), value);
///             Ok(())
///         })
///     }
///
///     fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
///         Box::pin(async {
///             self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
///             Ok(())
///         })
///     }
/// }
///
/// # futures_executor::block_on(async {
/// let store = Shelf::default();
/// assert!(store.set_if_absent("mark", true.into(), None).await?);
/// assert!(!store.set_if_absent("mark", true.into(), None).await?);
/// # Ok::<(), StoreError>(())
/// # }).unwrap();
/// ```
pub trait AsyncDataStore: Send + Sync + 'static {
    /// Like [`DataStore::get`](crate::ports::DataStore::get).
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Value>, StoreError>>;

    /// Like [`DataStore::set`](crate::ports::DataStore::set).
    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Value,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Like [`DataStore::has`](crate::ports::DataStore::has).
    fn has<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move { self.get(key).await.map(|value| value.is_some()) })
    }

    /// Like [`DataStore::delete`](crate::ports::DataStore::delete).
    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Like [`DataStore::set_if_absent`](crate::ports::DataStore::set_if_absent): the default checks and then sets; a
    /// shared store should do both in one atomic step.
    fn set_if_absent<'a>(
        &'a self,
        key: &'a str,
        value: Value,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            if self.has(key).await? {
                return Ok(false);
            }
            self.set(key, value, ttl).await.map(|()| true)
        })
    }

    /// Like [`DataStore::get_many`](crate::ports::DataStore::get_many).
    fn get_many<'a>(&'a self, keys: &'a [&'a str]) -> BoxFuture<'a, Vec<Result<Option<Value>, StoreError>>> {
        Box::pin(async move {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.get(key).await);
            }
            values
        })
    }

    /// Like [`DataStore::set_many`](crate::ports::DataStore::set_many).
    fn set_many<'a>(
        &'a self,
        entries: &'a [(&'a str, Value)],
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                answers.push(self.set(key, value.clone(), ttl).await);
            }
            answers
        })
    }

    /// Like [`DataStore::claim_many`](crate::ports::DataStore::claim_many).
    fn claim_many<'a>(
        &'a self,
        keys: &'a [&'a str],
        lease: Duration,
    ) -> BoxFuture<'a, Vec<Result<bool, StoreError>>> {
        Box::pin(async move {
            let mut claimed = Vec::with_capacity(keys.len());
            for key in keys {
                claimed.push(self.set_if_absent(key, true.into(), Some(lease)).await);
            }
            claimed
        })
    }

    /// Like [`DataStore::delete_many`](crate::ports::DataStore::delete_many).
    fn delete_many<'a>(&'a self, keys: &'a [&'a str]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(keys.len());
            for key in keys {
                answers.push(self.delete(key).await);
            }
            answers
        })
    }

    /// Like [`DataStore::after_fork`](crate::ports::DataStore::after_fork). A runtime whose threads belong to the
    /// parent does not run in the child: if the client needs one, create the store, and the core that uses it, in the
    /// child.
    fn after_fork(&self) {}
}
