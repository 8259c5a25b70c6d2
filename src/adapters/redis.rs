//! A data store on Redis, on the application's tokio runtime.

use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{Cmd, FromRedisValue, RedisError, RedisResult};
use serde_json::Value;
use tokio::runtime::Handle;

use super::spawned::{Lost, Spawned};
use crate::ports::{AsyncDataStore, StoreError};
use crate::threads::BoxFuture;

/// An [`AsyncDataStore`] on Redis or what speaks its protocol. Needs the feature `async-redis`.
///
/// Values are JSON text under the keys of the official Python SDK, after a prefix of the application's
/// if it gives one. A time to live is kept by Redis, to the millisecond; [`set_if_absent`] is one
/// command, so of several processes exactly one succeeds. Batches are one round trip, `MGET` or a pipeline, in
/// which each key has an answer of its own. Commands run as tasks of the given runtime;
/// how long one may take, and how often a lost connection is tried again, is up to the
/// [`ConnectionManager`]. Neither runtime nor connection works in a forked child, which makes its own and a
/// core over them.
///
/// [`set_if_absent`]: AsyncDataStore::set_if_absent
///
/// ```no_run
/// use convert_sdk::{AsyncCore, SdkConfig, adapters::RedisDataStore};
///
/// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = redis::Client::open("redis://127.0.0.1/")?.get_connection_manager().await?;
/// let store = RedisDataStore::new(connection, tokio::runtime::Handle::current()).with_prefix("convert:");
/// let config = SdkConfig::builder().sdk_key("10035569/10034190").async_data_store(store).build()?;
/// let core = AsyncCore::new(config);
/// core.initialize().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisDataStore {
    connection: ConnectionManager,
    runtime: Handle,
    prefix: Box<str>,
}

impl RedisDataStore {
    /// A store over this connection, whose commands run on this runtime.
    #[must_use]
    pub fn new(connection: ConnectionManager, runtime: Handle) -> Self {
        Self { connection, runtime, prefix: "".into() }
    }

    /// Puts this before every key. Default nothing.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<Box<str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Runs a command as a task of the runtime.
    fn run<T: FromRedisValue + Send + 'static>(&self, command: Cmd) -> BoxFuture<'_, Result<T, StoreError>> {
        let mut connection = self.connection.clone();
        let work = async move { command.query_async(&mut connection).await };
        Box::pin(async move {
            let answered = Spawned::on(&self.runtime, work).await;
            answered.map_err(lost)?.map_err(|error: RedisError| refused(&error))
        })
    }

    /// Runs commands in one round trip, with one answer for each.
    fn run_all<T: FromRedisValue + Send + 'static>(
        &self,
        commands: impl Iterator<Item = Cmd>,
    ) -> BoxFuture<'_, Vec<Result<T, StoreError>>> {
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        let asked = commands.map(|command| _ = pipeline.add_command(command)).count();
        let mut connection = self.connection.clone();
        let work = async move { pipeline.query_async::<Vec<RedisResult<T>>>(&mut connection).await };
        Box::pin(async move {
            if asked == 0 {
                return Vec::new();
            }
            let answered = Spawned::on(&self.runtime, work).await.map_err(lost);
            match answered.and_then(|answers| answers.map_err(|error| refused(&error))) {
                Ok(answers) => {
                    answers.into_iter().map(|answer| answer.map_err(|error| refused(&error))).collect()
                }
                Err(error) => (0..asked).map(|_| Err(error.clone())).collect(),
            }
        })
    }

    fn command(&self, name: &str, key: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg([&*self.prefix, key].concat());
        command
    }

    fn set_command(&self, key: &str, value: &Value, ttl: Option<Duration>) -> Cmd {
        let mut command = self.command("SET", key);
        command.arg(value.to_string());
        if let Some(ttl) = ttl {
            // Redis refuses a time of zero, and anything past this for ever is as good as for ever.
            let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 52);
            command.arg("PX").arg(milliseconds);
        }
        command
    }

    /// Redis answers nil where there is a value already.
    fn set_absent_command(&self, key: &str, value: &Value, ttl: Option<Duration>) -> Cmd {
        let mut command = self.set_command(key, value, ttl);
        command.arg("NX");
        command
    }
}

fn parse(text: Option<Vec<u8>>) -> Result<Option<Value>, StoreError> {
    let Some(text) = text else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).map_err(|_| StoreError::new("a value is no JSON"))
}

impl AsyncDataStore for RedisDataStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Value>, StoreError>> {
        let get = self.run::<Option<Vec<u8>>>(self.command("GET", key));
        Box::pin(async move { parse(get.await?) })
    }

    fn set<'a>(
        &'a self,
        key: &'a str,
        value: Value,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.run(self.set_command(key, &value, ttl))
    }

    fn has<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.run(self.command("EXISTS", key))
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.run(self.command("DEL", key))
    }

    fn set_if_absent<'a>(
        &'a self,
        key: &'a str,
        value: Value,
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let set = self.run::<Option<String>>(self.set_absent_command(key, &value, ttl));
        Box::pin(async move { set.await.map(|done| done.is_some()) })
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a str]) -> BoxFuture<'a, Vec<Result<Option<Value>, StoreError>>> {
        let mut command = redis::cmd("MGET");
        keys.iter().for_each(|key| _ = command.arg([&*self.prefix, key].concat()));
        Box::pin(async move {
            if keys.is_empty() {
                return Vec::new();
            }
            match self.run::<Vec<Option<Vec<u8>>>>(command).await {
                Ok(texts) => texts.into_iter().map(parse).collect(),
                Err(error) => keys.iter().map(|_| Err(error.clone())).collect(),
            }
        })
    }

    fn set_many<'a>(
        &'a self,
        entries: &'a [(&'a str, Value)],
        ttl: Option<Duration>,
    ) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        self.run_all(entries.iter().map(|(key, value)| self.set_command(key, value, ttl)))
    }

    fn claim_many<'a>(
        &'a self,
        keys: &'a [&'a str],
        lease: Duration,
    ) -> BoxFuture<'a, Vec<Result<bool, StoreError>>> {
        let claim = |key: &&str| self.set_absent_command(key, &Value::Bool(true), Some(lease));
        let claimed = self.run_all::<Option<String>>(keys.iter().map(claim));
        Box::pin(async move {
            claimed.await.into_iter().map(|claimed| claimed.map(|done| done.is_some())).collect()
        })
    }

    fn delete_many<'a>(&'a self, keys: &'a [&'a str]) -> BoxFuture<'a, Vec<Result<(), StoreError>>> {
        self.run_all(keys.iter().map(|key| self.command("DEL", key)))
    }
}

impl std::fmt::Debug for RedisDataStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisDataStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// The kind alone: the server's text may quote a key.
fn refused(error: &RedisError) -> StoreError {
    StoreError::new(error.category())
}

fn lost(lost: Lost) -> StoreError {
    StoreError::new(match lost {
        Lost::Panicked => "panicked",
        Lost::RuntimeGone => "the runtime is gone",
    })
}
