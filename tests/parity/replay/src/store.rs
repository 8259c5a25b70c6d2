//! The data store of a replay: seeded with the state of one visitor at a time.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use convert_sdk::ports::{DataStore, StoreError};
use serde_json::{Value, json};

/// Keeps everything for ever, and counts the SDK's changes.
#[derive(Default)]
pub(crate) struct Store {
    values: Mutex<HashMap<String, Value>>,
    changes: AtomicU64,
}

impl Store {
    /// Clears the store and inserts one visitor's state in the Python SDK's format.
    pub(crate) fn seed<'a>(
        &self,
        visitor: &str,
        envelope: Option<Value>,
        goal_ids: impl IntoIterator<Item = &'a str>,
    ) {
        let mut values = self.values();
        values.clear();
        if let Some(envelope) = envelope {
            values.insert(key("state:", &[visitor]), envelope);
        }
        for goal_id in goal_ids {
            values.insert(key("dedup:", &[visitor, goal_id]), json!(true));
        }
    }

    /// The number of changes by the SDK.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    fn changing(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        self.changes.fetch_add(1, Ordering::SeqCst);
        self.values()
    }

    fn values(&self) -> MutexGuard<'_, HashMap<String, Value>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DataStore for Store {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        Ok(self.values().get(key).cloned())
    }

    fn set(&self, key: &str, value: Value, _: Option<Duration>) -> Result<(), StoreError> {
        self.changing().insert(key.to_owned(), value);
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.changing().remove(key);
        Ok(())
    }

    fn set_if_absent(&self, key: &str, value: Value, _: Option<Duration>) -> Result<bool, StoreError> {
        if self.values().contains_key(key) {
            return Ok(false);
        }
        self.changing().insert(key.to_owned(), value);
        Ok(true)
    }
}

/// A key of the Python SDK: a prefix and `json.dumps` of the parts.
fn key(prefix: &str, texts: &[&str]) -> String {
    let mut key = String::from(prefix);
    key.push('[');
    for (index, text) in texts.iter().enumerate() {
        key.push_str(if index == 0 { "\"" } else { ", \"" });
        for unit in text.encode_utf16() {
            match u8::try_from(unit) {
                Ok(b'"') => key.push_str("\\\""),
                Ok(b'\\') => key.push_str("\\\\"),
                Ok(b'\n') => key.push_str("\\n"),
                Ok(b'\r') => key.push_str("\\r"),
                Ok(b'\t') => key.push_str("\\t"),
                Ok(8) => key.push_str("\\b"),
                Ok(12) => key.push_str("\\f"),
                Ok(ascii @ b' '..=b'~') => key.push(char::from(ascii)),
                _ => {
                    // Writing to a String cannot fail.
                    let _ = write!(key, "\\u{unit:04x}");
                }
            }
        }
        key.push('"');
    }
    key.push(']');
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each expectation was printed by `json.dumps` of CPython 3.11.
    #[test]
    fn keys_equal_those_of_python() {
        assert_eq!(key("state:", &["v"]), r#"state:["v"]"#);
        assert_eq!(key("dedup:", &["v", "goalId"]), r#"dedup:["v", "goalId"]"#);
        assert_eq!(
            key("state:", &["q\"b\\n\nt\tr\rb\u{8}f\u{c}\u{1}\u{7f}ü\u{1f600}"]),
            "state:[\"q\\\"b\\\\n\\nt\\tr\\rb\\bf\\f\\u0001\\u007f\\u00fc\\ud83d\\ude00\"]"
        );
    }

    #[test]
    fn marks_are_set_once() {
        let store = Store::default();
        store.seed("v", None, ["goal"]);
        let mark = |id| store.set_if_absent(&key("dedup:", &["v", id]), json!(true), None);
        assert_eq!([mark("goal"), mark("other"), mark("other")], [Ok(false), Ok(true), Ok(false)]);
        assert_eq!(store.changes(), 1);
    }
}
