//! The connections that calls borrow: one per concurrent call, and new ones in a forked child.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use convert_sdk::ports::StoreError;
use redis::{Client, Connection, ConnectionLike, FromRedisValue, RedisResult};

use crate::commands::{Answered, Batch, is_from_replica, refused};

/// The SDK makes at most eight calls at a time.
const MOST_AT_REST: usize = 8;
/// A connection idle for this long may have been closed by the server or something in between, so it is checked first:
/// not every command can be retried, as a repeated claim would find its own mark.
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
    /// In another process neither these connections nor the lock can be used.
    process: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    at_rest: Vec<Resting>,
    /// While connecting fails: when an attempt last began or ended.
    failing: Option<Instant>,
}

struct Resting {
    connection: Connection,
    since: Instant,
}

impl Connections {
    pub(crate) fn new(client: Client, times: Times) -> Self {
        Self { client, times, pool: ArcSwap::from_pointee(Pool::new()) }
    }

    /// Runs one round trip. After a failure neither that connection nor the idle ones are used again.
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
            // The others have been idle for longer.
            pool.forget();
        }
        if let Some(failing) = &mut pool.state().failing {
            if failing.elapsed() < self.times.pause {
                return Err(StoreError::new("was unreachable a moment ago"));
            }
            *failing = Instant::now();
        }
        let connected = self.connect();
        pool.state().failing = connected.is_err().then(Instant::now);
        connected.map_err(|error| refused(&error))
    }

    fn connect(&self) -> RedisResult<Connection> {
        let connection = self.client.get_connection_with_timeout(self.times.connect)?;
        connection.set_read_timeout(Some(self.times.command))?;
        connection.set_write_timeout(Some(self.times.command))?;
        Ok(connection)
    }

    /// The first call in a child, possibly by one of several cores.
    pub(crate) fn after_fork(&self) {
        if self.pool.load().process != std::process::id() {
            // Neither locked nor dropped: the parent still uses these sockets.
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use redis::IntoConnectionInfo;

    use super::*;
    use crate::commands::only;

    /// Connections to a server that closes each of them after its first reply.
    fn short_lived() -> Connections {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("redis://{}/", listener.local_addr().unwrap()).into_connection_info().unwrap();
        // Sends nothing when it connects.
        let login = server.redis_settings().clone().set_skip_set_lib_name();
        let client = Client::open(server.set_redis_settings(login)).unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 256]);
                let _ = stream.write_all(b":1\r\n");
            }
        });
        let second = Duration::from_secs(1);
        Connections::new(client, Times { connect: second, command: second, pause: Duration::ZERO })
    }

    fn ask(connections: &Connections) -> Result<u32, StoreError> {
        only(connections.ask(&Batch::of([redis::cmd("EXISTS").arg("k").to_owned()])))
    }

    #[test]
    fn a_connection_closed_during_a_long_idle_costs_no_call() {
        let connections = short_lived();
        for _ in 0..5 {
            assert_eq!(ask(&connections), Ok(1));
            let pool = connections.pool.load();
            pool.state().at_rest.iter_mut().for_each(|resting| resting.since -= LONG_REST);
        }
    }

    #[test]
    fn a_connection_closed_during_a_short_idle_costs_one_call() {
        let connections = short_lived();
        assert_eq!(ask(&connections), Ok(1));
        assert!(ask(&connections).is_err());
        assert_eq!(ask(&connections), Ok(1));
    }

    #[test]
    fn during_an_outage_one_of_several_calls_tries_to_connect() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://user:password@{}/", listener.local_addr().unwrap());
        let minute = Duration::from_secs(60);
        let connections = Connections::new(
            Client::open(url).unwrap(),
            Times { connect: Duration::from_secs(1), command: minute, pause: minute },
        );
        // The pause is over.
        connections.pool.load().state().failing = Some(Instant::now() - minute);
        thread::scope(|scope| {
            let first = scope.spawn(|| ask(&connections));
            // It waits for the reply to its login.
            let (stream, _) = listener.accept().unwrap();
            let second = ask(&connections).unwrap_err().to_string();
            assert_eq!(second, "data store: was unreachable a moment ago");
            drop(stream);
            assert!(first.join().unwrap().is_err());
        });
    }
}
