//! The connections that calls borrow: one per concurrent call, and new ones in a forked child.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use convert_sdk::ports::StoreError;
use redis::{Client, Connection, ConnectionLike, FromRedisValue, RedisResult, Value, from_redis_value};

use crate::commands::{Answered, Batch, is_from_replica, refused, unreachable};

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
    at_rest: Vec<Open>,
    /// While connecting fails: when an attempt last began or ended.
    failing: Option<Instant>,
}

struct Open {
    connection: Connection,
    opened: Instant,
    /// When it last answered. One that never has is no better than a failed attempt.
    answered: Option<Instant>,
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
        let pool = self.pool();
        let mut open = self.borrow(&pool)?;
        match exchange(&mut open.connection, batch) {
            Ok(answers) => {
                open.answered = Some(Instant::now());
                // The address may still lead to the replica, so it is not tried for every call.
                let may_move = open.opened.elapsed() >= self.times.pause;
                if may_move && answers.iter().any(is_from_replica) {
                    pool.forget();
                } else {
                    pool.give_back(open);
                }
                Ok(answers)
            }
            Err(error) => {
                pool.forget();
                if open.answered.is_none() {
                    pool.state().failing = Some(Instant::now());
                }
                Err(refused(&error))
            }
        }
    }

    fn borrow(&self, pool: &Pool) -> Result<Open, StoreError> {
        let at_rest = pool.state().at_rest.pop();
        if let Some(mut open) = at_rest {
            let is_fresh = open.answered.is_some_and(|answered| answered.elapsed() < LONG_REST);
            if is_fresh || open.connection.check_connection() {
                return Ok(open);
            }
            // The others have been idle for longer.
            pool.forget();
        }
        if let Some(failing) = &mut pool.state().failing {
            if failing.elapsed() < self.times.pause {
                return Err(unreachable());
            }
            *failing = Instant::now();
        }
        let connected = self.connect();
        pool.state().failing = connected.is_err().then(Instant::now);
        let connection = connected.map_err(|error| refused(&error))?;
        Ok(Open { connection, opened: Instant::now(), answered: None })
    }

    fn connect(&self) -> RedisResult<Connection> {
        let connection = self.client.get_connection_with_timeout(self.times.connect)?;
        connection.set_read_timeout(Some(self.times.command))?;
        connection.set_write_timeout(Some(self.times.command))?;
        Ok(connection)
    }

    /// This process's own, which a child makes with its first call.
    fn pool(&self) -> Arc<Pool> {
        let inherited = self.pool.load_full();
        if inherited.process == std::process::id() {
            return inherited;
        }
        // Another thread may have been faster.
        drop(self.pool.compare_and_swap(&inherited, Arc::new(Pool::new())));
        // Neither locked nor dropped: the parent still uses these sockets.
        std::mem::forget(inherited);
        self.pool.load_full()
    }
}

/// Sends a batch and reads its replies, up to the first that does not come: `Pipeline::query` would wait for each of
/// the others in turn.
fn exchange<T: FromRedisValue>(
    connection: &mut Connection,
    batch: &Batch,
) -> RedisResult<Vec<RedisResult<T>>> {
    connection.send_packed_command(&batch.pipeline.get_packed_pipeline())?;
    let replies = (0..batch.asked).map(|_| connection.recv_response());
    let answer = |reply: Value| -> RedisResult<T> { Ok(from_redis_value(reply.extract_error()?)?) };
    replies.map(|reply| reply.map(answer)).collect()
}

impl Pool {
    fn new() -> Self {
        Self { process: std::process::id(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, open: Open) {
        let mut state = self.state();
        if state.at_rest.len() < MOST_AT_REST {
            state.at_rest.push(open);
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
            for open in &mut pool.state().at_rest {
                open.answered = open.answered.map(|answered| answered - LONG_REST);
            }
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
