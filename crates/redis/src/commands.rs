//! The commands sent to Redis, and how its replies are read: the same for both stores.

use std::time::Duration;

use convert_sdk::ports::StoreError;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, RedisWrite, ServerErrorKind};
use serde_json::Value;

/// The longest error code that is passed on.
const LONGEST_CODE: usize = 16;

/// The arguments of a claim, and more bytes than a mark takes beside its key.
const USUAL_ARGUMENTS: usize = 6;
const USUAL_BYTES: usize = 32;

/// Commands for keys with a prefix.
#[derive(Clone)]
pub(crate) struct Commands {
    pub(crate) prefix: Box<str>,
}

impl Commands {
    pub(crate) fn get(&self, key: &str) -> Cmd {
        self.command("GET", key)
    }

    pub(crate) fn exists(&self, key: &str) -> Cmd {
        self.command("EXISTS", key)
    }

    pub(crate) fn delete(&self, key: &str) -> Cmd {
        self.command("DEL", key)
    }

    pub(crate) fn get_all(&self, keys: &[&str]) -> Cmd {
        let bytes: usize = keys.iter().map(|key| self.prefix.len() + key.len()).sum();
        let mut command = Cmd::with_capacity(1 + keys.len(), USUAL_BYTES + bytes);
        command.arg("MGET");
        keys.iter().for_each(|key| self.add(&mut command, key));
        command
    }

    pub(crate) fn set(&self, key: &str, value: &Value, ttl: Option<Duration>) -> Cmd {
        let mut command = self.command("SET", key);
        command.write_arg_fmt(value);
        if let Some(ttl) = ttl {
            // Redis rejects a TTL of zero, and one beyond this limit is practically for ever.
            let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 52);
            command.arg("PX").arg(milliseconds);
        }
        command
    }

    /// Redis replies nil if there is a value already.
    pub(crate) fn set_absent(&self, key: &str, value: &Value, ttl: Option<Duration>) -> Cmd {
        let mut command = self.set(key, value, ttl);
        command.arg("NX");
        command
    }

    fn command(&self, name: &str, key: &str) -> Cmd {
        let mut command = Cmd::with_capacity(USUAL_ARGUMENTS, USUAL_BYTES + self.prefix.len() + key.len());
        command.arg(name);
        self.add(&mut command, key);
        command
    }

    /// In place: a batch has up to 1,000 keys.
    fn add(&self, command: &mut Cmd, key: &str) {
        command.write_arg_fmt(format_args!("{}{key}", self.prefix));
    }
}

/// Commands in one round trip, with a reply to each of them.
pub(crate) struct Batch {
    pub(crate) pipeline: Pipeline,
    pub(crate) asked: usize,
}

impl Batch {
    pub(crate) fn of(commands: impl IntoIterator<Item = Cmd>) -> Self {
        let commands = commands.into_iter();
        let mut pipeline = Pipeline::with_capacity(commands.size_hint().0);
        pipeline.ignore_errors();
        let asked = commands.map(|command| _ = pipeline.add_command(command)).count();
        Self { pipeline, asked }
    }
}

/// The results of a batch: the replies, or the one reason why there are none.
pub(crate) type Answered<T> = Result<Vec<RedisResult<T>>, StoreError>;

/// One result for each of `asked` commands.
pub(crate) fn each<T>(asked: usize, answered: Answered<T>) -> Vec<Result<T, StoreError>> {
    match answered {
        Ok(answers) => answers.into_iter().map(|answer| answer.map_err(|error| refused(&error))).collect(),
        Err(error) => vec_of(asked, &error),
    }
}

/// The result of a batch of one.
pub(crate) fn only<T>(answered: Answered<T>) -> Result<T, StoreError> {
    each(1, answered).pop().unwrap_or_else(|| Err(StoreError::new("no answer")))
}

/// The values of so many keys, from the reply to one `MGET`.
pub(crate) fn values(
    asked: usize,
    texts: Result<Vec<Option<Vec<u8>>>, StoreError>,
) -> Vec<Result<Option<Value>, StoreError>> {
    match texts {
        Ok(texts) => texts.into_iter().map(parsed).collect(),
        Err(error) => vec_of(asked, &error),
    }
}

pub(crate) fn parsed(text: Option<Vec<u8>>) -> Result<Option<Value>, StoreError> {
    let Some(text) = text else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).map_err(|_| StoreError::new("a value is not JSON"))
}

fn vec_of<T>(asked: usize, error: &StoreError) -> Vec<Result<T, StoreError>> {
    (0..asked).map(|_| Err(error.clone())).collect()
}

/// The answer of every call during the pause after a failed attempt to connect.
pub(crate) fn unreachable() -> StoreError {
    StoreError::new("was unreachable a moment ago")
}

/// Only the kind: the server's text may quote a key, and an invalid URL contains its password.
pub(crate) fn refused(error: &RedisError) -> StoreError {
    if error.is_timeout() {
        return StoreError::new("timed out");
    }
    if error.is_connection_refusal() {
        return StoreError::new("connection refused");
    }
    // The first word of the server's reply: `OOM`, `READONLY`, `NOAUTH`.
    let is_word = |code: &&str| code.len() <= LONGEST_CODE && code.bytes().all(|b| b.is_ascii_uppercase());
    match error.code().filter(is_word) {
        Some(code) => StoreError::new(format!("rejected with {code}")),
        None => StoreError::new(error.category()),
    }
}

/// Whether the server rejects writes because it is a replica, as an old primary is after a failover.
pub(crate) fn is_from_replica<T>(answer: &RedisResult<T>) -> bool {
    let replica = ErrorKind::Server(ServerErrorKind::ReadOnly);
    answer.as_ref().err().is_some_and(|error| error.kind() == replica)
}
