//! Two hosts on one Redis that fails: decisions and deliveries go on, and nothing repeats that need not.

use std::sync::Arc;
use std::time::Duration;

use convert_emulator::Emulator;
use convert_sdk::Core;
use convert_sdk::ports::DataStore;
use convert_sdk_redis::{RedisStore, RedisStoreBuilder};

use crate::offers::{convert, host};
use crate::proxy::{Mood, Proxy};
use crate::sdk::{PATIENCE, assert_converted, serve, start, to, visitor};
use crate::server::Redis;

/// In each part of a test.
const VISITORS: u32 = 100;

struct Hosts {
    emulator: Emulator,
    stores: [Arc<RedisStore>; 2],
    cores: [Core; 2],
}

impl Hosts {
    /// Hosts that have seen a Redis that is well.
    fn start(url: &str) -> Self {
        let emulator = serve();
        let stores = [(); 2].map(|()| Arc::new(store(url).build().unwrap()));
        let cores = stores.each_ref().map(|store| host(&emulator, store));
        let hosts = Self { emulator, stores, cores };
        hosts.offer("before", 1);
        hosts
    }

    /// Each host is offered the same conversions, twice.
    fn offer(&self, group: &str, at_most: usize) {
        for core in [&self.cores[0], &self.cores[1], &self.cores[0], &self.cores[1]] {
            convert(core, group, VISITORS);
        }
        assert_converted(&self.emulator, group, VISITORS, at_most);
    }

    /// What each host does while nothing, or not everything, comes from Redis: a host that does not hear of
    /// the other one sends what that has sent, and nothing twice.
    fn go_on(&self) {
        let alone = start(to(&self.emulator).tracking(false));
        for core in &self.cores {
            for number in 0..VISITORS {
                let id = format!("decides-{number}");
                let decided = |core| {
                    let visitor = visitor(core, &id);
                    visitor.run_experience("homepage-headline").unwrap().variation_id().to_owned()
                };
                assert_eq!(decided(core), decided(&alone));
            }
        }
        self.offer("during", 2);
    }

    fn recover(&self) {
        for store in &self.stores {
            while store.set("probe", true.into(), None).is_err() {
                std::thread::yield_now();
            }
        }
        self.offer("after", 1);
    }

    /// A third host, which remembers nothing by itself, finds the marks from before.
    fn nothing_is_forgotten(&self) {
        let third = host(&self.emulator, &self.stores[0]);
        convert(&third, "before", VISITORS);
        convert(&third, "after", VISITORS);
        assert_converted(&self.emulator, "before", VISITORS, 1);
        assert_converted(&self.emulator, "after", VISITORS, 1);
    }
}

/// With each call an attempt, so that a recovery is seen at once.
fn store(url: &str) -> RedisStoreBuilder {
    RedisStore::builder(url).reconnect_pause(Duration::ZERO)
}

fn redis(server: &Redis, words: &[&str]) {
    redis::cmd(words[0]).arg(&words[1..]).exec(&mut server.connect()).unwrap();
}

#[test]
fn a_redis_that_is_killed_and_started_again() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut server) = Redis::start(&durable) else { return };
    let hosts = Hosts::start(&server.url());
    server.kill();
    hosts.go_on();
    server.restart(&durable);
    hosts.recover();
    hosts.nothing_is_forgotten();
}

#[test]
fn a_redis_that_forgets_everything_when_it_is_killed() {
    let Some(mut server) = Redis::start(&[]) else { return };
    let hosts = Hosts::start(&server.url());
    server.kill();
    server.restart(&[]);
    hosts.recover();
    // Each host still knows what itself has sent, or was told of.
    for core in &hosts.cores {
        convert(core, "before", VISITORS);
    }
    assert_converted(&hosts.emulator, "before", VISITORS, 2);
}

#[test]
fn a_redis_that_answers_late_and_in_time() {
    let Some(server) = Redis::start(&[]) else { return };
    let proxy = Proxy::before(server.port);
    let hosts = Hosts::start(&proxy.url());
    proxy.answers(Mood::After(Duration::from_millis(5)));
    // No outage explains any repetition.
    hosts.offer("slow", 1);
    proxy.answers(Mood::AtOnce);
    hosts.recover();
    hosts.nothing_is_forgotten();
}

#[test]
fn a_redis_that_does_not_answer() {
    let Some(server) = Redis::start(&[]) else { return };
    let proxy = Proxy::before(server.port);
    let (emulator, short) = (serve(), Duration::from_millis(10));
    let stores = [(); 2].map(|()| Arc::new(store(&proxy.url()).command_timeout(short).build().unwrap()));
    let cores = stores
        .each_ref()
        .map(|store| start(to(&emulator).shared_data_store(store.clone()).store_timeout(short)));
    let hosts = Hosts { emulator, stores, cores };
    proxy.answers(Mood::Never);
    hosts.go_on();
    proxy.answers(Mood::AtOnce);
    // With patience again: a busy machine is no outage.
    let (stores, emulator) =
        ([(); 2].map(|()| Arc::new(store(&proxy.url()).build().unwrap())), hosts.emulator);
    let patient = |store: &Arc<RedisStore>| {
        start(to(&emulator).shared_data_store(store.clone()).store_timeout(PATIENCE))
    };
    let cores = stores.each_ref().map(patient);
    Hosts { emulator, stores, cores }.recover();
}

#[test]
fn a_redis_without_memory() {
    let Some(server) = Redis::start(&[]) else { return };
    let hosts = Hosts::start(&server.url());
    redis(&server, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    redis(&server, &["CONFIG", "SET", "maxmemory", "1"]);
    let refused = hosts.stores[0].set("k", true.into(), None).unwrap_err();
    assert_eq!(refused.to_string(), "data store: refused with OOM");
    hosts.go_on();
    redis(&server, &["CONFIG", "SET", "maxmemory", "0"]);
    hosts.recover();
    hosts.nothing_is_forgotten();
}

#[test]
fn a_redis_that_has_become_a_replica() {
    let Some(server) = Redis::start(&["--replica-read-only", "yes"]) else { return };
    let hosts = Hosts::start(&server.url());
    // Of a primary that nobody can reach.
    redis(&server, &["REPLICAOF", "127.0.0.1", "1"]);
    let refused = hosts.stores[0].set("k", true.into(), None).unwrap_err();
    assert_eq!(refused.to_string(), "data store: refused with READONLY");
    assert_eq!(hosts.stores[0].has(r#"dedup:["before-0", "100370101"]"#), Ok(true), "reads go on");
    hosts.go_on();
    redis(&server, &["REPLICAOF", "NO", "ONE"]);
    hosts.recover();
    hosts.nothing_is_forgotten();
}

#[test]
fn a_redis_whose_password_was_changed() {
    let Some(server) = Redis::start(&["--user", "host", "on", ">right", "~*", "+@all"]) else { return };
    let hosts = Hosts::start(&server.url().replace("redis://", "redis://host:right@"));
    redis(&server, &["ACL", "SETUSER", "host", "<right", ">other"]);
    redis(&server, &["CLIENT", "KILL", "USER", "host"]);
    assert!(hosts.stores[0].get("k").is_err());
    hosts.go_on();
    redis(&server, &["ACL", "SETUSER", "host", "<other", ">right"]);
    hosts.recover();
    hosts.nothing_is_forgotten();
}
