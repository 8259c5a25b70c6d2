//! Two hosts on one Redis that fails: decisions and deliveries continue, and nothing is repeated without need.

use std::time::Duration;

use convert_emulator::Emulator;
use convert_sdk::Core;
use convert_sdk_redis::{RedisStore, RedisStoreBuilder};

use crate::kinds::{Kind, for_both};
use crate::offers::convert;
use crate::proxy::{Proxy, Replies};
use crate::sdk::{PATIENCE, assert_converted, serve, start, to, visitor};
use crate::server::Redis;

/// The number of visitors in each part of a test.
const VISITORS: u32 = 100;

for_both! {
    redis_is_killed_and_restarted
    redis_loses_everything_when_killed
    redis_replies_late_and_in_time
    redis_does_not_reply
    redis_is_out_of_memory
    redis_becomes_a_replica
    the_password_of_redis_changes
}

struct Hosts<S> {
    cores: [Core; 2],
    stores: [S; 2],
    emulator: Emulator,
}

impl<S: Kind> Hosts<S> {
    /// Hosts that have used a healthy Redis.
    fn start(url: &str) -> Self {
        let hosts = Self::on(serve(), || store(url), None);
        hosts.offer("before", 1);
        hosts
    }

    /// Hosts with these stores, which wait for them as long as said.
    fn on(emulator: Emulator, store: impl Fn() -> RedisStoreBuilder, patience: Option<Duration>) -> Self {
        let stores = [(); 2].map(|()| S::build(store()));
        let cores = stores.each_ref().map(|store| {
            let config = store.add_to(to(&emulator));
            start(match patience {
                Some(patience) => config.store_timeout(patience),
                None => config,
            })
        });
        Self { cores, stores, emulator }
    }

    /// Offers the same conversions to each host, twice.
    fn offer(&self, group: &str, at_most: usize) {
        for core in [&self.cores[0], &self.cores[1], &self.cores[0], &self.cores[1]] {
            convert(core, group, VISITORS);
        }
        assert_converted(&self.emulator, group, VISITORS, at_most);
    }

    /// Two hosts while Redis fails at least partly: a host without news of the other sends what that has sent, and
    /// nothing twice.
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
            while store.set("probe").is_err() {
                std::thread::yield_now();
            }
        }
        self.offer("after", 1);
    }

    /// A third host, without memory of its own, finds the earlier marks.
    fn nothing_is_forgotten(&self) {
        let third = start(self.stores[0].add_to(to(&self.emulator)));
        convert(&third, "before", VISITORS);
        convert(&third, "after", VISITORS);
        assert_converted(&self.emulator, "before", VISITORS, 1);
        assert_converted(&self.emulator, "after", VISITORS, 1);
    }
}

/// Attempts to connect on every call, so that a recovery is noticed at once.
fn store(url: &str) -> RedisStoreBuilder {
    RedisStore::builder(url).reconnect_pause(Duration::ZERO)
}

fn redis(server: &Redis, words: &[&str]) {
    redis::cmd(words[0]).arg(&words[1..]).exec(&mut server.connect()).unwrap();
}

fn redis_is_killed_and_restarted<S: Kind>() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut server) = Redis::start(&durable) else { return };
    let hosts: Hosts<S> = Hosts::start(&server.url());
    server.kill();
    hosts.go_on();
    server.restart(&durable);
    hosts.recover();
    hosts.nothing_is_forgotten();
}

fn redis_loses_everything_when_killed<S: Kind>() {
    let Some(mut server) = Redis::start(&[]) else { return };
    let hosts: Hosts<S> = Hosts::start(&server.url());
    server.kill();
    server.restart(&[]);
    hosts.recover();
    // Each host still knows what it has sent itself, or learnt from Redis.
    for core in &hosts.cores {
        convert(core, "before", VISITORS);
    }
    assert_converted(&hosts.emulator, "before", VISITORS, 2);
}

fn redis_replies_late_and_in_time<S: Kind>() {
    let Some(server) = Redis::start(&[]) else { return };
    let proxy = Proxy::before(server.port);
    let hosts: Hosts<S> = Hosts::start(&proxy.url());
    proxy.set_replies(Replies::After(Duration::from_millis(5)));
    // Without an outage there is no excuse for a repetition.
    hosts.offer("slow", 1);
    proxy.set_replies(Replies::AtOnce);
    hosts.recover();
    hosts.nothing_is_forgotten();
}

fn redis_does_not_reply<S: Kind>() {
    let Some(server) = Redis::start(&[]) else { return };
    let (proxy, short) = (Proxy::before(server.port), Duration::from_millis(10));
    let hosts: Hosts<S> = Hosts::on(serve(), || store(&proxy.url()).command_timeout(short), Some(short));
    proxy.set_replies(Replies::Never);
    hosts.go_on();
    proxy.set_replies(Replies::AtOnce);
    // Patient again: a busy machine is not an outage.
    Hosts::<S>::on(hosts.emulator, || store(&proxy.url()), Some(PATIENCE)).recover();
}

fn redis_is_out_of_memory<S: Kind>() {
    let Some(server) = Redis::start(&[]) else { return };
    let hosts: Hosts<S> = Hosts::start(&server.url());
    redis(&server, &["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    redis(&server, &["CONFIG", "SET", "maxmemory", "1"]);
    let refused = hosts.stores[0].set("k").unwrap_err();
    assert_eq!(refused.to_string(), "data store: rejected with OOM");
    hosts.go_on();
    redis(&server, &["CONFIG", "SET", "maxmemory", "0"]);
    hosts.recover();
    hosts.nothing_is_forgotten();
}

fn redis_becomes_a_replica<S: Kind>() {
    let Some(server) = Redis::start(&["--replica-read-only", "yes"]) else { return };
    let hosts: Hosts<S> = Hosts::start(&server.url());
    // Of an unreachable primary.
    redis(&server, &["REPLICAOF", "127.0.0.1", "1"]);
    let refused = hosts.stores[0].set("k").unwrap_err();
    assert_eq!(refused.to_string(), "data store: rejected with READONLY");
    let mark = hosts.stores[0].get(r#"dedup:["before-0", "100370101"]"#);
    assert_eq!(mark, Ok(Some(true.into())), "reads go on");
    hosts.go_on();
    redis(&server, &["REPLICAOF", "NO", "ONE"]);
    hosts.recover();
    hosts.nothing_is_forgotten();
}

fn the_password_of_redis_changes<S: Kind>() {
    let Some(server) = Redis::start(&["--user", "host", "on", ">right", "~*", "+@all"]) else { return };
    let hosts: Hosts<S> = Hosts::start(&server.url().replace("redis://", "redis://host:right@"));
    redis(&server, &["ACL", "SETUSER", "host", "<right", ">other"]);
    redis(&server, &["CLIENT", "KILL", "USER", "host"]);
    assert!(hosts.stores[0].get("k").is_err());
    hosts.go_on();
    redis(&server, &["ACL", "SETUSER", "host", "<other", ">right"]);
    hosts.recover();
    hosts.nothing_is_forgotten();
}
