//! The store: what is asked of SQLite, and how its answers are read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convert_sdk::ports::{DataStore, StoreError};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::Value;

use crate::connections::Connections;

/// The most expired rows that a write removes, so that no call has to remove all of them.
const MOST_EXPIRED: u32 = 1_000;
/// Rows removed at a time when there are too many.
const LEAVING: u32 = 100;
/// The most rows removed in a call, and before the totals are doubted: more than a batch of the SDK's adds.
const MOST_LEAVING: usize = 10_000;

/// A [`DataStore`] in a file, which the processes of a host share.
///
/// A batch is one transaction: reads see one moment, and writes happen together or not at all. Of several processes
/// that claim a mark, exactly one succeeds. Keys are those of the official Python SDK, values the same JSON, as text.
///
/// What was answered outlives the process. After a power failure the last moments can be missing, as they can with
/// any process's memory: a conversion may then be counted again. Later writes remove expired rows.
///
/// A call fails if SQLite does. The SDK counts it
/// ([`Stats::store_failures`](convert_sdk::Stats::store_failures)) and decides from the memory of the process. The
/// reason is SQLite's name for it, such as `SQLITE_FULL`, with neither key nor path.
///
/// After a fork, a child opens connections of its own. A fork waits for a call to end, but only for about 100,000 turns
/// of the scheduler: if the call takes longer, the child is left without the store.
pub struct SqliteStore {
    connections: Connections,
    limits: Limits,
    /// There was too much, by totals that were counted, and not all of the excess is removed yet.
    is_leaving: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

impl SqliteStore {
    pub(crate) const fn new(connections: Connections, limits: Limits) -> Self {
        Self { connections, limits, is_leaving: AtomicBool::new(false) }
    }

    fn reads<T>(
        &self,
        keys: &[&str],
        read: impl Fn(&Connection, &str) -> rusqlite::Result<T>,
    ) -> Vec<Result<T, StoreError>> {
        if keys.is_empty() {
            return Vec::new();
        }
        let read_all =
            |file: &Connection| keys.iter().map(|key| read(file, key)).collect::<Result<Vec<_>, _>>();
        answers(keys.len(), self.connections.read(read_all))
    }

    /// Changes something for each key, and removes what has expired or is too much.
    fn writes<K: Copy, T>(
        &self,
        keys: &[K],
        write: impl Fn(&Connection, K) -> rusqlite::Result<T>,
    ) -> Vec<Result<T, StoreError>> {
        if keys.is_empty() {
            return Vec::new();
        }
        let is_leaving = self.is_leaving.load(Ordering::Relaxed);
        let write_all = |file: &Connection| {
            self.purge(file)?;
            let written = keys.iter().map(|key| write(file, *key)).collect::<Result<Vec<_>, _>>()?;
            Ok((written, self.make_room(file, is_leaving)?))
        };
        let answered = self.connections.write(write_all).map(|(written, is_leaving)| {
            self.is_leaving.store(is_leaving, Ordering::Relaxed);
            written
        });
        answers(keys.len(), answered)
    }

    /// Sets entries whose values are given as text.
    fn set_all(&self, entries: &[(&str, String)], ttl: Option<Duration>) -> Vec<Result<(), StoreError>> {
        let expires = expires(ttl);
        let fits = |(key, text): &&(&str, String)| (key.len() + text.len()) as u64 <= self.limits.bytes;
        let fitting: Vec<_> = entries.iter().filter(fits).map(|(key, text)| (*key, text.as_str())).collect();
        let mut written = self
            .writes(&fitting, |file, (key, text)| {
                delete(file, key)?;
                insert(file, key, text, expires).map(drop)
            })
            .into_iter();
        let too_large = || Err(StoreError::new("larger than max_bytes"));
        let answer = |entry| if fits(&entry) { written.next() } else { None };
        entries.iter().map(answer).map(|answer| answer.unwrap_or_else(too_large)).collect()
    }

    fn claim(&self, keys: &[&str], text: &str, ttl: Option<Duration>) -> Vec<Result<bool, StoreError>> {
        let expires = expires(ttl);
        self.writes(keys, |file, key| {
            let over = "DELETE FROM entries WHERE key = ? AND expires <= ?";
            file.prepare_cached(over)?.execute(params![key, now()])?;
            insert(file, key, text, expires)
        })
    }

    fn purge(&self, file: &Connection) -> rusqlite::Result<()> {
        let over = "DELETE FROM entries WHERE id IN
            (SELECT id FROM entries WHERE expires <= ? ORDER BY expires LIMIT ?)";
        file.prepare_cached(over)?.execute(params![now(), MOST_EXPIRED])?;
        Ok(())
    }

    /// Removes the oldest rows if there is too much; returns whether more must go, by totals that were counted.
    fn make_room(&self, file: &Connection, is_leaving: bool) -> rusqlite::Result<bool> {
        // Whether there is too much, and whether by more than one batch can have added.
        let totals = "SELECT number > ?1 OR bytes > ?2, number - ?1 > ?3 OR bytes / 2 > ?2 FROM totals";
        let limit = |number: u64| number.min(i64::MAX.unsigned_abs());
        let (rows, bytes) = (limit(self.limits.rows), limit(self.limits.bytes));
        let (mut gone, mut is_counted) = (0, false);
        loop {
            let compared: Option<(Option<bool>, Option<bool>)> = file
                .prepare_cached(totals)?
                .query_row(params![rows, bytes, MOST_LEAVING], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            if let Some((Some(is_much), is_odd)) = compared {
                let is_sure = is_leaving || is_counted;
                match is_odd {
                    _ if !is_much => return Ok(false),
                    Some(_) if is_sure && gone >= MOST_LEAVING => return Ok(true),
                    Some(is_odd) if is_sure || !(is_odd || gone >= MOST_LEAVING) => {
                        // No more rows than there are too many, unless there are too many bytes.
                        let oldest =
                            "DELETE FROM entries WHERE id IN (SELECT id FROM entries ORDER BY id LIMIT
                            (SELECT max(1, min(?, number - ?)) FROM totals))";
                        let leaving = file.prepare_cached(oldest)?.execute(params![LEAVING, rows])?;
                        gone += leaving;
                        if leaving > 0 {
                            continue;
                        }
                    }
                    _ => {}
                }
            }
            if std::mem::replace(&mut is_counted, true) {
                return Ok(false);
            }
            count(file)?;
        }
    }
}

impl DataStore for SqliteStore {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        only(self.get_many(&[key]))
    }

    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        only(self.set_all(&[(key, value.to_string())], ttl))
    }

    fn has(&self, key: &str) -> Result<bool, StoreError> {
        only(self.reads(&[key], |file, key| Ok(text(file, key)?.is_some())))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        only(self.delete_many(&[key]))
    }

    fn set_if_absent(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<bool, StoreError> {
        let value = value.to_string();
        if (key.len() + value.len()) as u64 > self.limits.bytes {
            return Err(StoreError::new("larger than max_bytes"));
        }
        only(self.claim(&[key], &value, ttl))
    }

    fn get_many(&self, keys: &[&str]) -> Vec<Result<Option<Value>, StoreError>> {
        self.reads(keys, text).into_iter().map(|text| parsed(text?)).collect()
    }

    fn set_many(&self, entries: &[(&str, Value)], ttl: Option<Duration>) -> Vec<Result<(), StoreError>> {
        let entries: Vec<_> = entries.iter().map(|(key, value)| (*key, value.to_string())).collect();
        self.set_all(&entries, ttl)
    }

    fn claim_many(&self, keys: &[&str], lease: Duration) -> Vec<Result<bool, StoreError>> {
        self.claim(keys, "true", Some(lease))
    }

    fn delete_many(&self, keys: &[&str]) -> Vec<Result<(), StoreError>> {
        self.writes(keys, delete)
    }

    fn after_fork(&self) {
        self.connections.after_fork();
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn text(file: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let valid = "SELECT value FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)";
    file.prepare_cached(valid)?.query_row(params![key, now()], |row| row.get(0)).optional()
}

fn delete(file: &Connection, key: &str) -> rusqlite::Result<()> {
    file.prepare_cached("DELETE FROM entries WHERE key = ?")?.execute([key]).map(drop)
}

/// Whether there was no such key.
fn insert(file: &Connection, key: &str, text: &str, expires: Option<i64>) -> rusqlite::Result<bool> {
    let insert = "INSERT INTO entries (key, value, expires) VALUES (?, ?, ?) ON CONFLICT DO NOTHING";
    Ok(file.prepare_cached(insert)?.execute(params![key, text, expires])? > 0)
}

/// Counts the totals again: they are damaged, or another tool has replaced rows, which fires no trigger.
fn count(file: &Connection) -> rusqlite::Result<()> {
    file.execute_batch(
        "DELETE FROM totals;
        INSERT INTO totals SELECT count(*),
            coalesce(sum(length(CAST(key AS BLOB)) + length(CAST(value AS BLOB))), 0) FROM entries;",
    )
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn expires(ttl: Option<Duration>) -> Option<i64> {
    ttl.map(|ttl| now().saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)))
}

fn parsed(text: Option<String>) -> Result<Option<Value>, StoreError> {
    let Some(text) = text else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|_| StoreError::new("a value is not JSON"))
}

/// One answer for each of so many.
fn answers<T>(asked: usize, answered: Result<Vec<T>, StoreError>) -> Vec<Result<T, StoreError>> {
    match answered {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        Err(error) => (0..asked).map(|_| Err(error.clone())).collect(),
    }
}

fn only<T>(mut answers: Vec<Result<T, StoreError>>) -> Result<T, StoreError> {
    answers.pop().unwrap_or_else(|| Err(StoreError::new("no answer")))
}
