//! The store for programs without a runtime.

use std::time::Duration;

use convert_sdk::ports::{DataStore, StoreError};
use redis::{Cmd, FromRedisValue};
use serde_json::Value;

use crate::builder::{OpenError, RedisStoreBuilder};
use crate::commands::{Batch, Commands, each, only, parsed, values};
use crate::connections::{Connections, Times};

/// A [`DataStore`] on Redis, over the blocking client.
///
/// A batch is one round trip: reads are one `MGET`, claims a pipeline of `SET … NX PX …`, so that of several
/// processes exactly one succeeds; what is written and deleted is a pipeline too, in which each key has an
/// answer of its own. Connections are made when they are needed, as many as there are calls at a time (the SDK
/// makes up to eight), and again after a failure; a forked child makes its own.
///
/// What Redis cannot do is the failure of the call, which the SDK counts
/// ([`Stats::store_failures`](convert_sdk::Stats::store_failures)) and decides by the memory of the process. No
/// command is sent a second time. The reason names the error's kind, such as `OOM` or `READONLY`, and
/// neither a key nor the URL.
pub struct RedisStore {
    connections: Connections,
    times: Times,
    commands: Commands,
}

impl RedisStore {
    /// A store at this URL, with every setting at its default. Makes no connection.
    ///
    /// # Errors
    /// The URL cannot be used.
    pub fn open(url: &str) -> Result<Self, OpenError> {
        Self::builder(url).build()
    }

    /// A store at `redis://`, with TLS `rediss://`, each followed by
    /// `[[user]:password@]host[:port][/database]`, or at `redis+unix:///path`. What is special in a URL is
    /// percent-encoded in a password.
    pub fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url)
    }

    pub(crate) fn new(connections: Connections, times: Times, commands: Commands) -> Self {
        Self { connections, times, commands }
    }

    fn all<T: FromRedisValue>(&self, commands: impl Iterator<Item = Cmd>) -> Vec<Result<T, StoreError>> {
        let batch = Batch::of(commands);
        each(batch.asked, self.connections.ask(&batch))
    }

    fn one<T: FromRedisValue>(&self, command: Cmd) -> Result<T, StoreError> {
        only(self.connections.ask(&Batch::of([command])))
    }
}

impl DataStore for RedisStore {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        parsed(self.one(self.commands.get(key))?)
    }

    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.one(self.commands.set(key, &value, ttl))
    }

    fn has(&self, key: &str) -> Result<bool, StoreError> {
        self.one(self.commands.exists(key))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.one(self.commands.delete(key))
    }

    fn set_if_absent(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool, StoreError> {
        self.one::<Option<()>>(self.commands.set_absent(key, &value, ttl)).map(|done| done.is_some())
    }

    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Value>, StoreError>> {
        if keys.is_empty() {
            return Vec::new();
        }
        values(keys.len(), self.one(self.commands.get_all(keys)))
    }

    fn set_many(&self, entries: &[(&str, Value)], ttl: Option<Duration>) -> Vec<Result<(), StoreError>> {
        self.all(entries.iter().map(|(key, value)| self.commands.set(key, value, ttl)))
    }

    fn claim_many(&self, keys: &[&str], lease: Duration) -> Vec<Result<bool, StoreError>> {
        let claim = |key: &&str| self.commands.set_absent(key, &Value::Bool(true), Some(lease));
        let claimed: Vec<Result<Option<()>, _>> = self.all(keys.iter().map(claim));
        claimed.into_iter().map(|claimed| claimed.map(|done| done.is_some())).collect()
    }

    fn delete_many(&self, keys: &[&str]) -> Vec<Result<(), StoreError>> {
        self.all(keys.iter().map(|key| self.commands.delete(key)))
    }

    fn after_fork(&self) {
        self.connections.after_fork();
    }
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { connections: _, times, commands } = self;
        f.debug_struct("RedisStore")
            .field("prefix", &commands.prefix)
            .field("times", times)
            .finish_non_exhaustive()
    }
}
