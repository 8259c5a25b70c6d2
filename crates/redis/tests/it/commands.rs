//! The command that each call sends, and how it reads the reply.

use std::time::Duration;

use convert_sdk::ports::DataStore;
use convert_sdk_redis::RedisStore;
use redis::Commands;
use serde_json::json;

use crate::server::Redis;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_value_round_trips_and_lives_for_its_ttl() {
    let Some(server) = Redis::start(&[]) else { return };
    let (store, mut redis) = (RedisStore::open(&server.url()).unwrap(), server.connect());
    let value = json!({"a": [1, 0.1, null, true], "ü": "\u{1f600}\n\""});
    assert_eq!((store.get("k"), store.has("k")), (Ok(None), Ok(false)));
    store.set("k", value.clone(), None).unwrap();
    assert_eq!((store.get("k"), store.has("k")), (Ok(Some(value)), Ok(true)));
    assert_eq!(redis.pttl::<_, i64>("k").unwrap(), -1);
    assert_eq!(store.set_if_absent("k", json!(1), None), Ok(false));
    store.delete("k").unwrap();
    store.delete("k").unwrap();
    assert_eq!(store.set_if_absent("k", json!(true), Some(MINUTE)), Ok(true));
    assert_eq!(redis.get::<_, String>("k").unwrap(), "true");
    assert!((1..=60_000).contains(&redis.pttl::<_, i64>("k").unwrap()));
    // Neither the shortest nor the longest TTL is rejected.
    store.set("long", json!(2), Some(Duration::MAX)).unwrap();
    assert!(redis.pttl::<_, i64>("long").unwrap() > 1 << 51);
    store.set("short", json!(2), Some(Duration::ZERO)).unwrap();
}

#[test]
fn a_batch_has_a_result_for_each_key() {
    let Some(server) = Redis::start(&["--user", "some", "on", ">pass", "~p:ok*", "+@all"]) else { return };
    let url = server.url().replace("redis://", "redis://some:pass@");
    let store = RedisStore::builder(&url).prefix("p:").build().unwrap();
    let mut redis = server.connect();
    assert_eq!(store.claim_many(&["ok-a", "ok-b", "ok-a"], MINUTE), [Ok(true), Ok(true), Ok(false)]);
    assert_eq!(redis.get::<_, String>("p:ok-b").unwrap(), "true");
    assert!((1..=60_000).contains(&redis.pttl::<_, i64>("p:ok-b").unwrap()));
    // Keys that this user has no access to.
    let claimed = store.claim_many(&["ok-c", "no", "ok-b"], MINUTE);
    assert!(matches!(claimed[..], [Ok(true), Err(_), Ok(false)]), "{claimed:?}");
    let set = store.set_many(&[("no", json!(1)), ("ok-d", json!([2]))], None);
    assert!(matches!(set[..], [Err(_), Ok(())]), "{set:?}");
    assert_eq!(store.get_many(&["ok-d", "ok-e"]), [Ok(Some(json!([2]))), Ok(None)]);
    redis.set::<_, _, ()>("p:ok-e", "no json").unwrap();
    let read = store.get_many(&["ok-d", "ok-e"]);
    assert!(matches!(&read[..], [Ok(Some(_)), Err(_)]), "{read:?}");
    let deleted = store.delete_many(&["ok-a", "no", "ok-never"]);
    assert!(matches!(deleted[..], [Ok(()), Err(_), Ok(())]), "{deleted:?}");
    assert!(!redis.exists::<_, bool>("p:ok-a").unwrap());
    assert!(store.get_many(&[]).is_empty() && store.delete_many(&[]).is_empty());
}

#[test]
fn a_batch_is_one_round_trip() {
    let Some(server) = Redis::start(&[]) else { return };
    let (store, mut redis) = (RedisStore::open(&server.url()).unwrap(), server.connect());
    let keys: Vec<String> = (0..20).map(|number| format!("key-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let entries: Vec<_> = keys.iter().map(|key| (*key, json!(true))).collect();
    store.get("").unwrap();
    // One read by the server is one round trip; the request for the counter is a read too.
    let mut reads = || Redis::info(&mut redis, "total_reads_processed");
    let mut of = |call: &dyn Fn()| {
        let before = reads();
        call();
        reads() - before - 1
    };
    assert_eq!(of(&|| drop(store.get_many(&keys))), 1);
    assert_eq!(of(&|| drop(store.claim_many(&keys, MINUTE))), 1);
    assert_eq!(of(&|| drop(store.set_many(&entries, None))), 1);
    assert_eq!(of(&|| drop(store.delete_many(&keys))), 1);
}

#[test]
fn exactly_one_of_several_concurrent_claims_succeeds() {
    let Some(server) = Redis::start(&[]) else { return };
    let keys: Vec<String> = (0..500).map(|number| format!("key-{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let wins: usize = std::thread::scope(|scope| {
        let claim = || {
            let store = RedisStore::open(&server.url()).unwrap();
            store.claim_many(&keys, MINUTE).into_iter().filter(|claimed| claimed.clone().unwrap()).count()
        };
        let all: Vec<_> = (0..8).map(|_| scope.spawn(claim)).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(wins, 500);
}

#[test]
fn an_error_names_its_kind_and_neither_key_nor_value() {
    let Some(server) = Redis::start(&[]) else { return };
    let (store, mut redis) = (RedisStore::open(&server.url()).unwrap(), server.connect());
    redis.set::<_, _, ()>("secret-key", "secret-value").unwrap();
    assert_eq!(store.get("secret-key").unwrap_err().to_string(), "data store: a value is not JSON");
    redis.lpush::<_, _, ()>("secret-list", "secret-value").unwrap();
    assert_eq!(store.get("secret-list").unwrap_err().to_string(), "data store: rejected with WRONGTYPE");
}
