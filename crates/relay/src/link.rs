//! A connection to Redis, and when it is given up for another one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, Pipeline, RedisError, RedisResult};

/// The time limit for a command.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection to a replica is given up after this time at the earliest.
const RENEWAL: Duration = Duration::from_secs(1);

/// The connection in use, which its manager opens again if the server closes it, but not if the server falls silent
/// or has become a replica.
pub(crate) struct Link {
    client: Client,
    current: Mutex<Connected>,
}

#[derive(Clone)]
struct Connected {
    manager: ConnectionManager,
    since: Instant,
}

impl Link {
    /// Connects with the first command.
    pub(crate) fn new(client: Client) -> RedisResult<Self> {
        let current = Mutex::new(Connected::to(&client)?);
        Ok(Self { client, current })
    }

    /// Runs one command.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let mut connected = self.current().clone();
        let answered = command.query_async(&mut connected.manager).await;
        self.judged(&connected, answered)
    }

    /// Runs a pipeline.
    pub(crate) async fn query_all<T: FromRedisValue>(&self, pipeline: &Pipeline) -> RedisResult<T> {
        let mut connected = self.current().clone();
        let answered = pipeline.query_async(&mut connected.manager).await;
        self.judged(&connected, answered)
    }

    fn current(&self) -> MutexGuard<'_, Connected> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the connection up if its server is silent or a replica, so that the next command opens another one.
    fn judged<T>(&self, used: &Connected, answered: RedisResult<T>) -> RedisResult<T> {
        let is_useless = |error: &RedisError| error.is_timeout() || says(error, "READONLY");
        if answered.as_ref().is_err_and(is_useless) {
            let mut current = self.current();
            if current.since == used.since && current.since.elapsed() >= RENEWAL {
                *current = Connected::to(&self.client)?;
            }
        }
        answered
    }
}

impl Connected {
    fn to(client: &Client) -> RedisResult<Self> {
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(COMMAND_TIMEOUT))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(500));
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), settings)?;
        Ok(Self { manager, since: Instant::now() })
    }
}

/// Whether the server says this, perhaps from within a script or a transaction.
pub(crate) fn says(error: &RedisError, code: &str) -> bool {
    error.code() == Some(code) || error.to_string().contains(code)
}
