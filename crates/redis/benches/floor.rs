//! What Redis itself does with the same commands in the same batches, over plain sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use convert_sdk::ports::{DataStore, StoreError};
use convert_sdk_redis::RedisStore;
use serde_json::Value;

/// The most calls that the SDK makes at a time.
const LANES: usize = 8;
/// What a decision is stored as.
const STATE: &str = r#"{"attributes": {}, "segments": {}, "bucketing": {"100320101": "100330103"}}"#;

/// A call of the SDK, and its number of keys.
#[derive(Clone, Copy)]
enum Call {
    Read(usize),
    Claim(usize, Duration),
    Keep(usize),
    Write(usize),
}

/// The calls of a core, in their order.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    fn note(&self, call: Call) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How long Redis takes for the same, on keys that it does not know.
    pub(crate) fn replayed(&self, port: u16) -> Duration {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = [0; 4];
        let batches: Vec<_> = calls.iter().map(|call| call.encoded(&mut keys)).collect();
        let next = AtomicUsize::new(0);
        let begun = Instant::now();
        thread::scope(|scope| {
            for _ in 0..LANES {
                scope.spawn(|| {
                    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                    stream.set_nodelay(true).unwrap();
                    let mut piece = vec![0; 1 << 16];
                    while let Some((batch, lines)) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                        stream.write_all(batch).unwrap();
                        let mut left = *lines;
                        while left > 0 {
                            let read = stream.read(&mut piece).unwrap();
                            assert!(read > 0, "Redis has closed a connection");
                            left -= piece[..read].iter().filter(|byte| **byte == b'\n').count();
                        }
                    }
                });
            }
        });
        begun.elapsed()
    }
}

impl Call {
    /// Its commands for the next keys of its kind, and the lines of the replies: no key that is read or claimed has a
    /// value.
    fn encoded(self, keys: &mut [usize; 4]) -> (Vec<u8>, usize) {
        let mut batch = Vec::new();
        let lines = match self {
            Self::Read(count) => {
                let read: Vec<_> =
                    next(&mut keys[0], count).map(|key| format!(r#"state:["r{key}"]"#)).collect();
                let words = read.iter().map(String::as_str);
                command(&mut batch, &std::iter::once("MGET").chain(words).collect::<Vec<_>>());
                1 + count
            }
            Self::Claim(count, lease) => {
                let lease = lease.as_millis().to_string();
                let mut claim = |key| command(&mut batch, &["SET", &mark(key), "true", "PX", &lease, "NX"]);
                next(&mut keys[1], count).for_each(&mut claim);
                count
            }
            Self::Keep(count) => {
                next(&mut keys[2], count).for_each(|key| command(&mut batch, &["SET", &mark(key), "true"]));
                count
            }
            Self::Write(count) => {
                let state = |key| format!(r#"state:["v{key}"]"#);
                next(&mut keys[3], count).for_each(|key| command(&mut batch, &["SET", &state(key), STATE]));
                count
            }
        };
        (batch, lines)
    }
}

fn next(first: &mut usize, count: usize) -> std::ops::Range<usize> {
    *first += count;
    *first - count..*first
}

fn mark(key: usize) -> String {
    format!(r#"dedup:["v{key}", "100370101"]"#)
}

fn command(batch: &mut Vec<u8>, words: &[&str]) {
    let _ = write!(batch, "*{}\r\n", words.len());
    words.iter().for_each(|word| _ = write!(batch, "${}\r\n{word}\r\n", word.len()));
}

/// Notes how many keys each call has.
pub(crate) struct Noted {
    pub(crate) store: RedisStore,
    pub(crate) calls: Calls,
}

impl DataStore for Noted {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.store.get(key)
    }

    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.store.set(key, value, ttl)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store.delete(key)
    }

    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Value>, StoreError>> {
        self.calls.note(Call::Read(keys.len()));
        self.store.get_many(keys)
    }

    fn set_many(&self, entries: &[(&str, Value)], ttl: Option<Duration>) -> Vec<Result<(), StoreError>> {
        let are_marks = entries.first().is_some_and(|(_, value)| value.is_boolean());
        self.calls.note(if are_marks { Call::Keep(entries.len()) } else { Call::Write(entries.len()) });
        self.store.set_many(entries, ttl)
    }

    fn claim_many(&self, keys: &[&str], lease: Duration) -> Vec<Result<bool, StoreError>> {
        self.calls.note(Call::Claim(keys.len(), lease));
        self.store.claim_many(keys, lease)
    }

    fn delete_many(&self, keys: &[&str]) -> Vec<Result<(), StoreError>> {
        self.store.delete_many(keys)
    }
}
