//! One call to the data store, as made by the store's threads.

use serde_json::Value;

use crate::engine::{Call, Done};
use crate::ports::{DataStore, StoreError};
use crate::visitors::Visitors;

/// Makes a call and gets one answer per key. Failures are counted here, as they happen.
pub(crate) fn perform(call: Call, store: &dyn DataStore, visitors: &Visitors) -> Done {
    let failed = |error: &StoreError| visitors.count_failure(error);
    match call {
        Call::Read(keys) => Done::Read(store.get_many(&texts(&keys))),
        Call::Claim(keys, lease) => {
            let claimed = store.claim_many(&texts(&keys), lease);
            claimed.iter().filter_map(|answer| answer.as_ref().err()).for_each(failed);
            Done::Claim(claimed)
        }
        Call::Keep(keys, ttl) => {
            let entries: Vec<_> = keys.iter().map(|key| (key.as_str(), Value::Bool(true))).collect();
            let kept = store.set_many(&entries, ttl);
            kept.iter().filter_map(|answer| answer.as_ref().err()).for_each(failed);
            Done::KeysUpdated
        }
        Call::Release(keys) => {
            let released = store.delete_many(&texts(&keys));
            released.iter().filter_map(|answer| answer.as_ref().err()).for_each(failed);
            Done::KeysUpdated
        }
        Call::Write(most) => {
            let (written, refused) = visitors.write_waiting(store, most);
            Done::Write { written, refused, next: visitors.first_waiting() }
        }
    }
}

fn texts(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}
