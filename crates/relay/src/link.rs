//! A connection to Redis, and when it is given up for another one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value, cmd};

/// The time limit for a command.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that was idle for this time may have been closed by the server, whose `timeout` is at least as long.
const RESTED: Duration = Duration::from_secs(1);
/// A connection to a replica is given up after this time at the earliest.
const RENEWAL: Duration = Duration::from_secs(1);

/// The connection in use, which its manager opens again if the server closes it, but not if the server falls silent
/// or has become a replica.
pub(crate) struct Link {
    client: Client,
    current: Mutex<Connected>,
    /// When the server last answered.
    answered: Mutex<Option<Instant>>,
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
        Ok(Self { client, current, answered: Mutex::default() })
    }

    /// Runs one command.
    pub(crate) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        let mut connected = self.rested().await?;
        let answered = command.query_async(&mut connected.manager).await;
        self.judged(&connected, answered)
    }

    /// Runs a pipeline, and returns its answers, in which only transactions may have errors.
    pub(crate) async fn query_all(&self, pipeline: &mut Pipeline) -> RedisResult<Vec<Value>> {
        let mut connected = self.rested().await?;
        let answers: RedisResult<Vec<Value>> =
            pipeline.ignore_errors().query_async(&mut connected.manager).await;
        let first = |answers: Vec<Value>| {
            let answers = answers.into_iter().map(|answer| match answer {
                Value::ServerError(error) => Err(RedisError::from(error)),
                answer => Ok(answer),
            });
            answers.collect()
        };
        self.judged(&connected, answers.and_then(first))
    }

    /// The connection; after a rest, one that the server has not closed meanwhile. To find that with the command itself
    /// would leave open whether the server has executed it.
    async fn rested(&self) -> RedisResult<Connected> {
        let mut connected = self.current().clone();
        if self.answered().is_none_or(|at| at.elapsed() >= RESTED) {
            let pinged: RedisResult<()> = cmd("PING").query_async(&mut connected.manager).await;
            // After any other failure the command tells more: a user may lack the right to ask.
            if let Err(error) = self.judged(&connected, pinged)
                && error.is_timeout()
            {
                return Err(error);
            }
        }
        Ok(connected)
    }

    fn answered(&self) -> MutexGuard<'_, Option<Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> MutexGuard<'_, Connected> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the connection up if its server is silent or a replica, so that the next command opens another one.
    fn judged<T>(&self, used: &Connected, answered: RedisResult<T>) -> RedisResult<T> {
        let is_useless = |error: &RedisError| error.is_timeout() || says(error, "READONLY");
        if answered.is_ok() {
            *self.answered() = Some(Instant::now());
        }
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
