//! The connection that all calls of an asynchronous store share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use convert_sdk::ports::StoreError;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisResult};
use tokio::sync::Mutex;

use crate::commands::{Answered, Batch, is_from_replica, refused, unreachable};
use crate::connections::Times;

/// Not a `ConnectionManager`: that stays with a replica, and after one refused login it never tries again.
pub(crate) struct Shared {
    client: Client,
    times: Times,
    /// Held while connecting, so that one call connects for all.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// While connecting fails: when an attempt last began or ended.
    failing: Option<Instant>,
}

#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    opened: Instant,
    /// Whether it ever has. One that has not is no better than a failed attempt.
    answered: Arc<AtomicBool>,
}

impl Shared {
    pub(crate) fn new(client: Client, times: Times) -> Self {
        Self { client, times, state: Mutex::default() }
    }

    /// Runs one round trip. After a failure the connection is not used again.
    pub(crate) async fn ask<T: FromRedisValue>(&self, batch: &Batch) -> Answered<T> {
        let mut open = self.open().await?;
        let answered: RedisResult<Vec<RedisResult<T>>> =
            batch.pipeline.query_async(&mut open.connection).await;
        if answered.is_ok() {
            open.answered.store(true, Ordering::Relaxed);
        }
        // The address may still lead to the replica, so it is not tried for every call.
        let may_move = open.opened.elapsed() >= self.times.pause;
        if answered.as_ref().map_or(true, |answers| may_move && answers.iter().any(is_from_replica)) {
            self.forget(&open).await;
        }
        answered.map_err(|error| refused(&error))
    }

    async fn open(&self) -> Result<Open, StoreError> {
        let mut state = self.state.lock().await;
        if let Some(open) = &state.open {
            return Ok(open.clone());
        }
        if state.failing.is_some_and(|failing| failing.elapsed() < self.times.pause) {
            return Err(unreachable());
        }
        // Already now, since the call may be dropped.
        state.failing = Some(Instant::now());
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.times.connect))
            .set_response_timeout(Some(self.times.command));
        let connected = self.client.get_multiplexed_async_connection_with_config(&config).await;
        state.failing = connected.is_err().then(Instant::now);
        let connection = connected.map_err(|error| refused(&error))?;
        let open = Open { connection, opened: Instant::now(), answered: Arc::default() };
        state.open = Some(open.clone());
        Ok(open)
    }

    /// Unless another call was faster, and another connection is open.
    async fn forget(&self, failed: &Open) {
        let mut state = self.state.lock().await;
        if state.open.take_if(|open| Arc::ptr_eq(&open.answered, &failed.answered)).is_some()
            && !failed.answered.load(Ordering::Relaxed)
        {
            state.failing = Some(Instant::now());
        }
    }
}
