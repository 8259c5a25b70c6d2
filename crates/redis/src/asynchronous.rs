//! The store for programs on tokio.

use std::time::Duration;

use convert_sdk::ports::{AsyncDataStore, BoxFuture, StoreError};
use redis::aio::ConnectionManager;
use redis::{Cmd, FromRedisValue, RedisResult};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use crate::commands::{Answered, Batch, Commands, each, only, parsed, refused, values};

/// An [`AsyncDataStore`] on Redis, on the application's tokio runtime. Requires the feature `async`.
///
/// It sends the same commands as [`RedisStore`](crate::RedisStore), as tasks of the given runtime. How long one may
/// take, how often a lost connection is retried, and certificates are up to the [`ConnectionManager`], which stays with a
/// server that has become a replica until that closes the connection. Neither runtime nor connection works in a forked
/// child, which must create its own, and a core on top of them.
///
/// ```no_run
/// use convert_sdk::{AsyncCore, SdkConfig};
/// use convert_sdk_redis::{AsyncRedisStore, redis};
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = redis::Client::open("redis://127.0.0.1/")?.get_connection_manager().await?;
/// let store = AsyncRedisStore::new(connection, tokio::runtime::Handle::current()).with_prefix("convert:");
/// let config = SdkConfig::builder().sdk_key("10035569/10034190").async_data_store(store).build()?;
/// let core = AsyncCore::new(config);
/// core.initialize().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct AsyncRedisStore {
    connection: ConnectionManager,
    runtime: Handle,
    commands: Commands,
}

impl AsyncRedisStore {
    /// A store over this connection, whose commands run on this runtime.
    #[must_use]
    pub fn new(connection: ConnectionManager, runtime: Handle) -> Self {
        Self { connection, runtime, commands: Commands { prefix: "".into() } }
    }

    /// Prepends this to every key. Default: empty, as in the official Python SDK.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<Box<str>>) -> Self {
        self.commands.prefix = prefix.into();
        self
    }

    /// Runs one round trip as a task of the runtime; dropping the future cancels it.
    async fn ask<T: FromRedisValue + Send + 'static>(&self, batch: Batch) -> Answered<T> {
        if batch.asked == 0 {
            return Ok(Vec::new());
        }
        let mut connection = self.connection.clone();
        let work = async move { batch.pipeline.query_async(&mut connection).await };
        let answered: Result<RedisResult<_>, _> = AbortOnDropHandle::new(self.runtime.spawn(work)).await;
        answered.map_err(|error| lost(&error))?.map_err(|error| refused(&error))
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
