//! The store for programs without a runtime.

use std::time::Duration;

use convert_sdk::ports::{DataStore, StoreError};
use redis::{Cmd, FromRedisValue};
use serde_json::Value;

use crate::commands::{Batch, Commands, each, only, parsed, values};
use crate::connections::{Connections, Times};

/// A [`DataStore`] on Redis, over the blocking client.
///
/// A batch is one round trip: reads are one `MGET`; claims are a pipeline of `SET … NX PX …`, so that exactly one of
/// several processes succeeds; writes and deletes are a pipeline too, with a result for each key. Connections are
/// opened on demand, one per concurrent call (the SDK makes at most eight), and again after a failure; a forked child
/// opens its own.
///
/// When Redis fails, the call fails, and the SDK counts it
/// ([`Stats::store_failures`](convert_sdk::Stats::store_failures)) and falls back to the process's memory. No command
/// is retried. The error names the kind of failure, such as `OOM` or `READONLY`, but neither a key nor the URL.
pub struct RedisStore {
    connections: Connections,
    times: Times,
    commands: Commands,
}

impl RedisStore {
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
