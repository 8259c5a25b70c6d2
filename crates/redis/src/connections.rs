//! The connections that calls borrow: as many as there are calls at a time, and other ones in a forked child.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use convert_sdk::StoreError;
use redis::{Client, Connection, ConnectionLike, FromRedisValue, RedisResult};

use crate::commands::{Answered, Batch, is_from_replica, refused};

/// The SDK makes up to eight calls at a time.
const MOST_AT_REST: usize = 8;
/// After a rest as long as this the server, or something on the way, may have ended a connection. That is
/// looked for, as not every command could be sent a second time: who claims twice finds its own claim.
const LONG_REST: Duration = Duration::from_secs(1);

pub(crate) struct Connections {
    client: Client,
    times: Times,
    pool: ArcSwap<Pool>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) connect: Duration,
    pub(crate) command: Duration,
    pub(crate) pause: Duration,
}

struct Pool {
    /// Of another process these connections are not, nor is the lock to be trusted.
    process: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    at_rest: Vec<Resting>,
    /// When no connection could be made.
    failed: Option<Instant>,
}

struct Resting {
    connection: Connection,
    since: Instant,
}

impl Connections {
    pub(crate) fn new(client: Client, times: Times) -> Self {
        Self { client, times, pool: ArcSwap::from_pointee(Pool::new()) }
    }

    /// Makes one round trip. A connection that fails is not used again, nor are those that rest beside it.
    pub(crate) fn ask<T: FromRedisValue>(&self, batch: &Batch) -> Answered<T> {
        if batch.asked == 0 {
            return Ok(Vec::new());
        }
        let pool = self.pool.load_full();
        let mut connection = self.borrow(&pool)?;
        let answered: RedisResult<Vec<RedisResult<T>>> = batch.pipeline.query(&mut connection);
        let is_done_for = |answers: &Vec<_>| answers.iter().any(is_from_replica);
        match answered {
            Ok(answers) if !is_done_for(&answers) => {
                pool.give_back(connection);
                Ok(answers)
            }
            other => {
                pool.forget();
                other.map_err(|error| refused(&error))
            }
        }
    }

    fn borrow(&self, pool: &Pool) -> Result<Connection, StoreError> {
        let at_rest = pool.state().at_rest.pop();
        if let Some(Resting { mut connection, since }) = at_rest {
            if since.elapsed() < LONG_REST || connection.check_connection() {
                return Ok(connection);
            }
            // The others have rested for longer.
            pool.forget();
        }
        if pool.state().failed.is_some_and(|failed| failed.elapsed() < self.times.pause) {
            return Err(StoreError::new("could not be reached a moment ago"));
        }
        let connected = self.connect();
        pool.state().failed = connected.is_err().then(Instant::now);
        connected.map_err(|error| refused(&error))
    }

    fn connect(&self) -> RedisResult<Connection> {
        let connection = self.client.get_connection_with_timeout(self.times.connect)?;
        connection.set_read_timeout(Some(self.times.command))?;
        connection.set_write_timeout(Some(self.times.command))?;
        Ok(connection)
    }

    /// The first call in a child, by a core that may not be the only one.
    pub(crate) fn after_fork(&self) {
        if self.pool.load().process != std::process::id() {
            // Neither locked nor dropped: the parent still talks through these sockets.
            std::mem::forget(self.pool.swap(Arc::new(Pool::new())));
        }
    }
}

impl Pool {
    fn new() -> Self {
        Self { process: std::process::id(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, connection: Connection) {
        let mut state = self.state();
        if state.at_rest.len() < MOST_AT_REST {
            state.at_rest.push(Resting { connection, since: Instant::now() });
        }
    }

    fn forget(&self) {
        let forgotten = std::mem::take(&mut self.state().at_rest);
        drop(forgotten);
    }
}
