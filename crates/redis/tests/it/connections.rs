//! The number of connections, and what happens to broken ones.

use std::io::Read;
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::time::Duration;

use convert_sdk::ports::DataStore;
use convert_sdk_redis::RedisStore;

use crate::kinds::{Kind, for_both};
use crate::proxy::{Proxy, Replies};
use crate::sdk::PATIENCE;
use crate::server::Redis;

#[test]
fn sequential_calls_share_a_connection() {
    let Some(server) = Redis::start(&[]) else { return };
    let (store, mut redis) = (RedisStore::open(&server.url()).unwrap(), server.connect());
    let before = Redis::info(&mut redis, "total_connections_received");
    for number in 0..50 {
        store.set(&number.to_string(), true.into(), None).unwrap();
    }
    assert_eq!(Redis::info(&mut redis, "total_connections_received") - before, 1);
}

#[test]
fn concurrent_calls_do_not_wait_for_one_another() {
    let Some(server) = Redis::start(&[]) else { return };
    let (proxy, mut redis) = (Proxy::before(server.port), server.connect());
    let store = RedisStore::builder(&proxy.url()).command_timeout(PATIENCE).build().unwrap();
    proxy.set_replies(Replies::Never);
    std::thread::scope(|scope| {
        let store = &store;
        let calls: Vec<_> = (0..8)
            .map(|number| scope.spawn(move || store.set(&number.to_string(), true.into(), None)))
            .collect();
        // Each has reached the server before any reply.
        while redis::cmd("DBSIZE").query::<u32>(&mut redis).unwrap() < 8 {
            std::thread::yield_now();
        }
        proxy.set_replies(Replies::AtOnce);
        calls.into_iter().for_each(|call| call.join().unwrap().unwrap());
    });
}

#[test]
fn a_closed_connection_costs_one_call() {
    let Some(server) = Redis::start(&[]) else { return };
    let (store, mut redis) = (RedisStore::open(&server.url()).unwrap(), server.connect());
    store.has("k").unwrap();
    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("NORMAL").exec(&mut redis).unwrap();
    assert!(store.has("k").is_err());
    store.has("k").unwrap();
}

#[test]
fn a_silent_server_costs_a_timeout_and_its_connection() {
    let Some(server) = Redis::start(&[]) else { return };
    let (proxy, mut redis) = (Proxy::before(server.port), server.connect());
    let store = RedisStore::builder(&proxy.url()).command_timeout(Duration::from_millis(20)).build().unwrap();
    proxy.set_replies(Replies::Never);
    assert_eq!(store.set("late", 1.into(), None).unwrap_err().to_string(), "data store: timed out");
    proxy.set_replies(Replies::AtOnce);
    // Not the reply to the earlier command.
    while store.get("late") != Ok(Some(1.into())) {
        std::thread::yield_now();
    }
    assert!(Redis::info(&mut redis, "total_connections_received") >= 3);
}

#[test]
fn a_batch_waits_once_for_a_silent_server() {
    let Some(server) = Redis::start(&[]) else { return };
    let proxy = Proxy::before(server.port);
    // A timeout for each reply would exceed the test's patience.
    let timeout = Duration::from_millis(100);
    let store = RedisStore::builder(&proxy.url()).command_timeout(timeout).build().unwrap();
    proxy.set_replies(Replies::Never);
    let (ended, ends) = channel();
    std::thread::spawn(move || {
        let keys: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let _ = ended.send(store.claim_many(&keys, PATIENCE));
    });
    let answers = ends.recv_timeout(PATIENCE).unwrap();
    assert!(answers.len() == 1_000 && answers.iter().all(Result::is_err));
}

for_both! {
    an_outage_costs_one_attempt_per_pause
    a_replica_is_left_once_per_pause
}

fn an_outage_costs_one_attempt_per_pause<S: Kind>() {
    // Without a password, an attempt ends before the first command.
    for login in ["user:password@", ""] {
        let attempts = |pause| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("redis://{login}{}/", listener.local_addr().unwrap());
            let (accepted, attempts) = channel();
            std::thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    // Answers nothing, as something before a server that is down.
                    let _ = accepted.send(());
                    let _ = stream.read(&mut [0; 256]);
                }
            });
            let store = S::build(RedisStore::builder(&url).reconnect_pause(pause));
            for _ in 0..10 {
                assert!(store.get("k").is_err());
            }
            attempts.try_iter().count()
        };
        assert_eq!(attempts(Duration::from_secs(3_600)), 1, "{login:?}");
        assert_eq!(attempts(Duration::ZERO), 10, "{login:?}");
    }
}

fn a_replica_is_left_once_per_pause<S: Kind>() {
    let Some(server) = Redis::start(&[]) else { return };
    let mut redis = server.connect();
    // Of an unreachable primary.
    redis::cmd("REPLICAOF").arg(&["127.0.0.1", "1"]).exec(&mut redis).unwrap();
    let mut connections = |pause| {
        let before = Redis::info(&mut redis, "total_connections_received");
        let store = S::build(RedisStore::builder(&server.url()).reconnect_pause(pause));
        for _ in 0..10 {
            assert_eq!(store.set("k").unwrap_err().to_string(), "data store: rejected with READONLY");
        }
        Redis::info(&mut redis, "total_connections_received") - before
    };
    assert_eq!(connections(Duration::from_secs(3_600)), 1);
    assert_eq!(connections(Duration::ZERO), 10);
}
