//! One store and several threads.

use std::sync::Arc;
use std::time::Duration;

use convert_sdk::ports::DataStore;
use convert_sdk_sqlite::SqliteStore;

use crate::folder::Folder;

#[test]
fn of_several_who_claim_at_once_one_succeeds() {
    let folder = Folder::new();
    let store = Arc::new(SqliteStore::open(folder.join("store.db")).unwrap());
    let keys: Vec<String> = (0..200).map(|number| format!("key-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let wins: usize = std::thread::scope(|scope| {
        let claim = || {
            let parts = keys.chunks(7).flat_map(|part| store.claim_many(part, Duration::from_secs(60)));
            parts.filter(|claimed| claimed.clone().unwrap()).count()
        };
        let all: Vec<_> = (0..8).map(|_| scope.spawn(claim)).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(wins, keys.len());
}
