//! The store for programs on tokio.

use std::sync::Arc;
use std::time::Duration;

use convert_sdk::ports::{AsyncDataStore, BoxFuture, StoreError};
use redis::{Cmd, FromRedisValue};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use crate::commands::{Answered, Batch, Commands, each, only, parsed, values};
use crate::multiplexed::Shared;

/// An [`AsyncDataStore`] on Redis, on the application's tokio runtime. Requires the feature `async`.
///
/// It has the settings of [`RedisStore`](crate::RedisStore) and sends the same commands, as tasks of the given runtime
/// and over one connection that all calls share. It connects with the first call, and again after a failure. Neither
/// runtime nor connection works in a forked child, which must create its own, and a core on top of them.
///
/// ```no_run
/// use convert_sdk::{AsyncCore, SdkConfig};
/// use convert_sdk_redis::RedisStore;
/// use tokio::runtime::Handle;
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::builder("redis://127.0.0.1/").prefix("convert:").build_async(Handle::current())?;
/// let config = SdkConfig::builder().sdk_key("10035569/10034190").async_data_store(store).build()?;
/// let core = AsyncCore::new(config);
/// core.initialize().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AsyncRedisStore {
    shared: Arc<Shared>,
    runtime: Handle,
    commands: Commands,
}

impl AsyncRedisStore {
    pub(crate) fn new(shared: Shared, runtime: Handle, commands: Commands) -> Self {
        Self { shared: Arc::new(shared), runtime, commands }
    }

    /// Runs one round trip as a task of the runtime; dropping the future cancels it.
    async fn ask<T: FromRedisValue + Send + 'static>(&self, batch: Batch) -> Answered<T> {
        if batch.asked == 0 {
            return Ok(Vec::new());
        }
        let shared = Arc::clone(&self.shared);
        let work = async move { shared.ask(&batch).await };
        AbortOnDropHandle::new(self.runtime.spawn(work)).await.map_err(|error| lost(&error))?
    }

    async fn all<T: FromRedisValue + Send + 'static>(&self, batch: Batch) -> Vec<Result<T, StoreError>> {
        each(batch.asked, self.ask(batch).await)
    }

    async fn one<T: FromRedisValue + Send + 'static>(&self, command: Cmd) -> Result<T, StoreError> {
        only(self.ask(Batch::of([command])).await)
    }
}

impl AsyncDataStore for AsyncRedisStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Value>, StoreError>> {
        Box::pin(async { parsed(self.one(self.commands.get(key)).await?) })
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Value,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.one(self.commands.set(key, &value, ttl)))
    }

    fn has<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.one(self.commands.exists(key)))
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.one(self.commands.delete(key)))
    }

    fn set_if_absent<'a>(
        &'a self,
        key: &'a str,
        value: Value,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let set = self.one::<Option<()>>(self.commands.set_absent(key, &value, ttl));
        Box::pin(async { set.await.map(|done| done.is_some()) })
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a str]) -> BoxFuture<'a, Vec<Result<Option<Value>, StoreError>>> {
        Box::pin(async {
            if keys.is_empty() {
                return Vec::new();
            }
            values(keys.len(), self.one(self.commands.get_all(keys)).await)
        })
    }

    fn set_many<'a>(
        &'a self,
        entries: &'a [(&'a str, Value)],
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        let set = |(key, value): &(&str, Value)| self.commands.set(key, value, ttl);
        Box::pin(self.all(Batch::of(entries.iter().map(set))))
    }

    fn claim_many<'a>(
        &'a self,
        keys: &'a [&'a str],
        lease: Duration,
    ) -> BoxFuture<'a, Vec<Result<bool, StoreError>>> {
        let claim = |key: &&str| self.commands.set_absent(key, &Value::Bool(true), Some(lease));
        let claimed = self.all::<Option<()>>(Batch::of(keys.iter().map(claim)));
        Box::pin(async {
            claimed.await.into_iter().map(|claimed| claimed.map(|done| done.is_some())).collect()
        })
    }

    fn delete_many<'a>(&'a self, keys: &'a [&'a str]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        Box::pin(self.all(Batch::of(keys.iter().map(|key| self.commands.delete(key)))))
    }
}

impl std::fmt::Debug for AsyncRedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsyncRedisStore").field("prefix", &self.commands.prefix).finish_non_exhaustive()
    }
}

fn lost(error: &JoinError) -> StoreError {
    StoreError::new(if error.is_panic() { "panicked" } else { "the runtime has shut down" })
}
