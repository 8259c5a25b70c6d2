//! Forks: what a child inherits, what it starts anew, and that the parent is not affected.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convert_emulator::{Fault, FaultKind, Received, RouteKind};
use convert_sdk::adapters::InMemoryDataStore;
use convert_sdk::config::RefreshConfig;
use convert_sdk::events::LifecycleEventKind;
use convert_sdk::ports::{DataStore, DeliveryFailure, EventBatch, EventSink, Receipt, StoreError};
use convert_sdk::pump::Carrier;
use convert_sdk::{Context, Core, SdkConfig, Stats, attributes, http};
use crossbeam_channel::bounded;
use serde_json::json;

use super::forked::forked;
use crate::carrier::settle;
use crate::child;
use crate::support::{
    PATIENCE, capacity, convert, counts, deadline, direct, direct_to, keyed, network, pro, serve, shop,
    start, unready, until, visitor,
};

fn run(case: &str) {
    child::run("process::fork::in_a_child", case);
}

/// How often each visitor's conversion arrived.
fn conversions(received: &Received) -> BTreeMap<&str, usize> {
    received.by_visitor().into_iter().map(|(visitor, events)| (visitor, events.len())).collect()
}

fn record(core: &Core, who: &str, count: u32) {
    for number in 0..count {
        assert!(visitor(core, &format!("{who}-{number}")).track_conversion("purchase").tracked());
    }
}

/// A ledger of a child that has not done anything yet.
fn untouched(generation: u64) -> Stats {
    let mut stats = Stats::default();
    stats.fork_generation = generation;
    stats
}

/// Everything that this process recorded is delivered, and it was `recorded` records.
fn delivers(core: &Core, recorded: u64) {
    let report = core.shutdown(PATIENCE).unwrap();
    let Stats { recorded: all, delivered, pending, .. } = report.stats;
    assert_eq!((all, delivered, pending), (recorded, recorded, 0));
    assert!(report.stats.is_balanced());
}

#[test]
#[ignore = "run by the other tests of this module, in a child process"]
fn in_a_child() {
    match child::case().as_deref() {
        Some("full speed") => full_speed(),
        Some("churn") => churn(),
        Some("family") => family(),
        Some("pending") => pending(),
        Some("connections") => connections(),
        Some("initialize") => initialize(),
        Some("context") => context(),
        Some("decisions") => decisions(),
        Some("idle") => idle(),
        Some("dropped") => dropped(),
        Some("closed") => closed(),
        Some("memory") => memory(),
        Some("waiting") => waiting(),
        Some("handlers") => handlers(),
        Some("refresh") => refresh(),
        Some("hooks") => hooks(),
        Some("offline") => offline(),
        Some("carrier") => carrier(),
        Some("lost") => lost(),
        Some("batch ids") => batch_ids(),
        Some(other) => panic!("unknown case {other}"),
        None => {}
    }
}

/// Another thread may be inside the tracker, whose lock nobody would release in the child.
#[test]
fn a_child_of_an_offline_core_withholds_its_own_records() {
    run("offline");
}

fn offline() {
    let core = start(direct().offline());
    let go_on = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let mut recorded = 0;
            while go_on.load(Ordering::Relaxed) {
                record(&core, &format!("parent-{recorded}"), 1);
                recorded += 1;
            }
            recorded
        });
        until(&core, |stats| stats.withheld > 0);
        for child in 0..20 {
            let core = &core;
            let forked = forked(move || {
                record(core, &format!("child-{child}"), 5);
                let stats = core.stats();
                assert_eq!((stats.recorded, stats.withheld), (5, 5));
                core.shutdown(PATIENCE).unwrap();
            });
            forked.join();
        }
        go_on.store(false, Ordering::Relaxed);
        let recorded = busy.join().unwrap();
        let stats = core.stats();
        assert_eq!((stats.recorded, stats.withheld), (recorded, recorded));
    });
}

fn full_speed() {
    const CHILDREN: u32 = 8;
    const THREADS: u32 = 3;
    const EACH: u32 = 20;
    let emulator = serve();
    let core = start(keyed(&emulator).delivery(capacity(1_000_000)).batch_size(7));
    let (go_on, recorded) = (AtomicBool::new(true), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (core, go_on, recorded) = (&core, &go_on, &recorded);
            scope.spawn(move || {
                let mut number = 0;
                while go_on.load(Ordering::Relaxed) && number < 20_000 {
                    let id = format!("parent-{thread}-{number}");
                    assert!(visitor(core, &id).track_conversion("purchase").tracked());
                    number += 1;
                    recorded.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for child in 0..CHILDREN {
            // Each fork happens while the recorders are busy.
            let before = recorded.load(Ordering::Relaxed);
            while recorded.load(Ordering::Relaxed) < (before + 50).min(40_000) {
                std::thread::yield_now();
            }
            forked(|| {
                // The first one creates what all of them use.
                std::thread::scope(|scope| {
                    for thread in 0..THREADS {
                        let core = &core;
                        scope.spawn(move || record(core, &format!("child-{child}-{thread}"), EACH));
                    }
                });
                delivers(&core, (THREADS * EACH).into());
            })
            .join();
        }
        go_on.store(false, Ordering::Relaxed);
    });
    let stats = core.shutdown(PATIENCE).unwrap().stats;
    let recorded = recorded.into_inner();
    assert_eq!((stats.recorded, stats.delivered), (recorded.into(), recorded.into()));
    assert_eq!((stats.pending, stats.dropped.total(), stats.fate_unknown), (0, 0, 0));
    assert_eq!(stats.fork_generation, 0);
    let received = emulator.received();
    let conversions = conversions(&received);
    assert_eq!(conversions.len() as u32, recorded + CHILDREN * THREADS * EACH, "nothing is missing");
    assert!(conversions.values().all(|times| *times == 1), "nothing arrived twice");
    let of_children = conversions.keys().filter(|visitor| visitor.starts_with("child")).count();
    assert_eq!(of_children as u32, CHILDREN * THREADS * EACH);
}

/// The parent's threads are in any state: starting, fetching, compiling, in a handshake, ending.
fn churn() {
    const CHILDREN: u32 = 10;
    let emulator = serve();
    let core = start(keyed(&emulator));
    let (go_on, rounds) = (AtomicBool::new(true), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while go_on.load(Ordering::Relaxed) {
                let round = rounds.fetch_add(1, Ordering::Relaxed);
                let core = start(keyed(&emulator));
                record(&core, &format!("parent-{round}"), 1);
                delivers(&core, 1);
            }
        });
        for child in 0..CHILDREN {
            while rounds.load(Ordering::Relaxed) <= child {
                std::thread::yield_now();
            }
            forked(|| {
                record(&core, &format!("heir-{child}"), 1);
                let own = start(keyed(&emulator));
                record(&own, &format!("own-{child}"), 1);
                delivers(&own, 1);
                delivers(&core, 1);
            })
            .join();
        }
        go_on.store(false, Ordering::Relaxed);
    });
    let received = emulator.received();
    let conversions = conversions(&received);
    assert_eq!(conversions.len() as u32, rounds.into_inner() + 2 * CHILDREN);
    assert!(conversions.values().all(|times| *times == 1));
}

fn family() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    record(&core, "parent", 3);
    forked(|| {
        record(&core, "child", 4);
        forked(|| {
            assert_eq!(counts(&core), untouched(2));
            record(&core, "grandchild", 5);
            delivers(&core, 5);
        })
        .join();
        // One whose parent has not used the core since the fork.
        assert_eq!(core.stats().fork_generation, 1);
        delivers(&core, 4);
    })
    .join();
    forked(|| {
        forked(|| {
            record(&core, "heir", 2);
            delivers(&core, 2);
        })
        .join();
    })
    .join();
    delivers(&core, 3);
    assert_eq!(conversions(&emulator.received()).len(), 3 + 4 + 5 + 2);
    assert_eq!(emulator.received().totals.events, 3 + 4 + 5 + 2);
    assert_eq!(emulator.received().totals.config_requests, 1, "nobody fetched the config again");
}

/// A delivery in flight and pending records stay with the parent.
fn pending() {
    let emulator = serve();
    emulator.inject(Fault::track(FaultKind::Hang).times(1));
    let network = network(&emulator).total_timeout(Duration::from_secs(2)).build().unwrap();
    let core = start(keyed(&emulator).transport(network).batch_size(2));
    record(&core, "parent", 2);
    emulator.wait_for_requests(2, PATIENCE).unwrap();
    record(&core, "waiting", 3);
    forked(|| {
        assert_eq!(counts(&core), untouched(1));
        assert_eq!(core.flush(PATIENCE).unwrap().delivered, 0);
        record(&core, "child", 1);
        delivers(&core, 1);
    })
    .join();
    until(&core, |stats| stats.fate_unknown == 1);
    delivers(&core, 5);
    let received = emulator.received();
    assert!(conversions(&received).values().all(|times| *times == 1));
    assert_eq!(received.totals.events, 6);
}

/// A child opens its own connections, and the parent's remain usable after the child's exit.
fn connections() {
    let emulator = serve();
    let deliver = |core: &Core, who: &str| {
        record(core, who, 1);
        core.flush(PATIENCE).unwrap();
    };
    let mut slot = Some(start(direct_to(&emulator)));
    deliver(slot.as_ref().unwrap(), "before");
    forked(|| {
        deliver(slot.as_ref().unwrap(), "child");
        slot.as_ref().unwrap().shutdown(PATIENCE).unwrap();
    })
    .join();
    // Drops everything inherited.
    forked(|| drop(slot.take())).join();
    let core = slot.unwrap();
    deliver(&core, "after");
    let received = emulator.received();
    let over: Vec<_> = received.requests_on(RouteKind::Track).map(|request| request.connection).collect();
    assert_eq!(over.len(), 3);
    assert_eq!(over[0], over[2], "the parent's connection still works");
    assert_ne!(over[0], over[1], "the child has its own");
    assert_eq!(received.totals.failed_handshakes, 0);
}

fn initialize() {
    let emulator = serve();
    let core = unready(keyed(&emulator));
    forked(|| {
        assert!(!core.is_ready());
        core.initialize().unwrap();
        record(&core, "child", 2);
        delivers(&core, 2);
    })
    .join();
    assert!(!core.is_ready());
    // Even if a fetch was in flight for which the child has no thread.
    emulator.inject(Fault::config(FaultKind::Hang).times(1));
    assert!(core.initialize_within(Duration::ZERO).is_err());
    emulator.wait_for_requests(3, PATIENCE).unwrap();
    forked(|| {
        core.initialize().unwrap();
        record(&core, "second", 2);
        delivers(&core, 2);
    })
    .join();
    assert_eq!(emulator.received().totals.events, 4);
}

fn context() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let (visitor, undecided) = (pro(&core, "v"), pro(&core, "w"));
    let shown = visitor.run_experience("price").unwrap().variation_key().to_owned();
    forked(|| {
        // The decision is inherited, the exposure is the parent's, and the conversion is the child's.
        assert_eq!(visitor.run_experience("price").unwrap().variation_key(), shown);
        assert_eq!(core.stats().recorded, 0);
        assert!(visitor.track_conversion("purchase").tracked());
        assert!(undecided.run_experience("price").is_ok());
        delivers(&core, 2);
        assert_eq!(visitor.run_experience("price").unwrap().variation_key(), shown, "after close too");
    })
    .join();
    delivers(&core, 1);
    let totals = emulator.received().totals;
    assert_eq!((totals.bucketing, totals.conversion, totals.config_requests), (2, 1, 1));
}

#[test]
fn a_child_records_the_exposures_that_its_parent_has_lost() {
    run("lost");
}

fn lost() {
    let emulator = serve();
    let core = start(direct_to(&emulator).delivery(capacity(1)));
    let (lost, kept) = (visitor(&core, "lost"), visitor(&core, "kept"));
    assert!(lost.run_experience("banner").is_ok());
    until(&core, |stats| stats.pending_places.in_batch == 1);
    convert(&core, 0..1);
    until(&core, |stats| stats.dropped.overflow.exposures == 1);
    let _ = core.flush(PATIENCE);
    assert!(kept.run_experience("banner").is_ok());
    core.flush(PATIENCE).unwrap();
    forked(|| {
        assert!(kept.run_experience("banner").is_ok());
        assert_eq!(core.stats().recorded, 0, "it is the parent's");
        for _ in 0..2 {
            assert!(lost.run_experience("banner").is_ok());
        }
        delivers(&core, 1);
    })
    .join();
    assert_eq!(emulator.received().by_visitor().len(), 3);
}

#[test]
fn a_childs_batch_ids_are_its_own() {
    run("batch ids");
}

fn batch_ids() {
    let emulator = serve();
    let core = start(direct().transport(network(&emulator).batch_ids(true).build().unwrap()));
    record(&core, "parent", 1);
    core.flush(PATIENCE).unwrap();
    // Two of the same age, which inherit the same.
    for _ in 0..2 {
        forked(|| {
            record(&core, "child", 1);
            delivers(&core, 1);
        })
        .join();
    }
    let received = emulator.received();
    let ids = received.requests.iter().filter_map(|request| request.header(http::BATCH_ID));
    let origins: BTreeSet<_> = ids.map(|id| id.split_once('-').unwrap().0).collect();
    assert_eq!(origins.len(), 3);
}

#[test]
fn a_fork_while_others_decide_leaves_contexts_usable() {
    run("decisions");
}

/// A context keeps its first few decisions in itself and makes room for all others with the next one, in which the fork
/// may find another thread. The more experiences, the longer that takes.
fn decisions() {
    const EXPERIENCES: usize = 3_000;
    const CONTEXTS: usize = 1_000;
    const DECISIONS: usize = 8;
    const FORKS: usize = 12;
    let experience = |number: usize| {
        let variation =
            json!({"id": format!("v{number}"), "key": "on", "traffic_allocation": 100, "status": "running"});
        json!({"id": number.to_string(), "key": format!("e{number}"), "version": 12, "variations": [variation]})
    };
    let mut config = shop();
    config["experiences"] = (0..EXPERIENCES).map(experience).collect();
    let core = start(SdkConfig::builder().data(&config).tracking(false));
    let keys: Vec<String> = (0..DECISIONS).map(|number| format!("e{number}")).collect();
    let decide = |context: &Context| {
        for key in &keys {
            assert!(context.run_experience(key.as_str()).is_ok());
        }
    };
    let contexts: Vec<Context> = (0..CONTEXTS).map(|number| visitor(&core, &number.to_string())).collect();
    let decided = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for half in contexts.chunks(CONTEXTS / 2) {
            scope.spawn(|| {
                half.iter().for_each(|context| {
                    decide(context);
                    decided.fetch_add(1, Ordering::Relaxed);
                })
            });
        }
        for fork in 0..FORKS {
            while decided.load(Ordering::Relaxed) < fork * CONTEXTS / FORKS {
                std::thread::yield_now();
            }
            forked(|| contexts.iter().for_each(&decide)).join();
        }
    });
}

/// Children that do not use the SDK, one of them exiting like a normal program.
fn idle() {
    let emulator = serve();
    let core = start(keyed(&emulator).batch_size(100));
    convert_sdk::register_exit_flush(&core, PATIENCE).unwrap();
    record(&core, "parent", 3);
    forked(|| {}).join();
    let command = std::process::Command::new("true").status();
    assert!(command.unwrap().success());
    assert!(emulator.received().events.is_empty(), "a child's exit does not flush the parent's records");
    record(&core, "parent-later", 2);
    delivers(&core, 5);
    assert_eq!(emulator.received().totals.track_requests, 1);
}

fn dropped() {
    let emulator = serve();
    let core = start(keyed(&emulator).batch_size(100));
    core.on(LifecycleEventKind::Conversion, |_| {}).unwrap();
    let (visitor, events) = (pro(&core, "v"), core.subscribe());
    record(&core, "parent", 3);
    let mut slot = Some((core, visitor, events));
    for used in [false, true] {
        forked(|| {
            let (core, visitor, mut events) = slot.take().unwrap();
            assert_eq!(events.next(), None, "a subscription stays with the parent");
            if used {
                record(&core, "child", 1);
                core.flush(PATIENCE).unwrap();
            }
            drop((core, visitor, events));
        })
        .join();
    }
    let (core, _, events) = slot.unwrap();
    assert!(events.next_before(deadline()).is_some());
    delivers(&core, 3);
    assert_eq!(conversions(&emulator.received()).get("child-0"), Some(&1));
    assert_eq!(emulator.received().totals.events, 4);
}

fn closed() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    record(&core, "parent", 3);
    core.close();
    forked(|| {
        assert_eq!(counts(&core), untouched(1));
        assert!(core.create_context("v", ()).is_err(), "a closed core stays closed");
    })
    .join();
    assert_eq!(core.stats().dropped.closed.total(), 3);
    // A child's close is its own.
    let core = start(keyed(&emulator));
    forked(|| drop(core.close())).join();
    record(&core, "later", 2);
    delivers(&core, 2);
}

/// A store that is down in the process that created it, and healthy in its children.
struct DownInParent {
    parent: u32,
    written: Mutex<Vec<String>>,
}

impl DataStore for DownInParent {
    fn get(&self, _: &str) -> Result<Option<serde_json::Value>, StoreError> {
        Ok(None)
    }
    fn set(&self, key: &str, _: serde_json::Value, _: Option<Duration>) -> Result<(), StoreError> {
        if std::process::id() == self.parent {
            return Err(StoreError::new("down"));
        }
        self.written.lock().unwrap().push(key.to_owned());
        Ok(())
    }
    fn delete(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

/// What waits for the store at the fork is for the parent to write.
fn waiting() {
    // Every shard of the memory has some of both.
    const VISITORS: u32 = 200;
    let emulator = serve();
    let store = Arc::new(DownInParent { parent: std::process::id(), written: Mutex::default() });
    let core = start(direct_to(&emulator).shared_data_store(Arc::clone(&store) as Arc<dyn DataStore>));
    let decide = |who: &str| {
        for number in 0..VISITORS {
            assert!(pro(&core, &format!("{who}-{number}")).run_experience("price").is_ok());
        }
    };
    decide("parent");
    until(&core, |stats| stats.store_failures > 0);
    forked(|| {
        decide("child");
        let of = |who: &str| store.written.lock().unwrap().iter().filter(|key| key.contains(who)).count();
        until(&core, |_| of("child") >= VISITORS as usize);
        core.shutdown(PATIENCE).unwrap();
        assert_eq!(of("parent"), 0, "the child has written what is its parent's to write");
    })
    .join();
}

/// What a visitor was and was shown survives the fork, while other threads change it.
fn memory() {
    let core = start(direct());
    let mut known = pro(&core, "v");
    known.set_attributes(attributes! { "colour" => "blue" });
    let store: Arc<dyn DataStore> = Arc::new(InMemoryDataStore::new());
    store.set("k", serde_json::json!(1), None).unwrap();
    let go_on = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in (0..).take_while(|_| go_on.load(Ordering::Relaxed)) {
                pro(&core, &format!("other-{number}")).run_experience("price").unwrap();
                store.set(&number.to_string(), serde_json::json!(number), None).unwrap();
            }
        });
        let mut kept = 0;
        for _ in 0..20 {
            let (told, tell) = std::io::pipe().unwrap();
            forked(|| {
                // Neither hangs, whoever held which lock at the fork.
                store.set("own", serde_json::json!(2), None).unwrap();
                let remembered = visitor(&core, "v").attributes().get("colour").is_some();
                (&tell).write_all(&[u8::from(remembered)]).unwrap();
            })
            .join();
            let mut answer = [0];
            (&told).read_exact(&mut answer).unwrap();
            kept += answer[0];
        }
        go_on.store(false, Ordering::Relaxed);
        // A shard in use at the fork is lost in the child, which is rare.
        assert!(kept > 0, "every child forgot the visitor");
    });
    assert!(store.get("own").unwrap().is_none());
}

/// A handler keeps working in the child, unless it was running at the fork.
fn handlers() {
    let emulator = serve();
    let core = start(keyed(&emulator));
    let (heard, hear) = bounded(10);
    core.on(LifecycleEventKind::Conversion, move |_| {
        // In a child this channel is a copy that no thread of the parent uses.
        let _ = heard.try_send(());
    })
    .unwrap();
    forked(|| {
        record(&core, "child", 1);
        hear.recv_timeout(PATIENCE).unwrap();
        delivers(&core, 1);
    })
    .join();
    assert!(hear.is_empty(), "the parent does not receive the child's events");
    let (running, run) = bounded(0);
    let (end, ended) = bounded::<()>(0);
    core.on(LifecycleEventKind::ApiQueueReleased, move |_| {
        let _ = running.send(());
        let _ = ended.recv();
    })
    .unwrap();
    record(&core, "parent", 1);
    core.flush(PATIENCE).unwrap();
    run.recv_timeout(PATIENCE).unwrap();
    forked(|| {
        record(&core, "second", 1);
        delivers(&core, 1);
    })
    .join();
    drop(end);
    delivers(&core, 1);
}

/// A child of a process that refreshes does so too, with the inherited ETag.
fn refresh() {
    let emulator = serve();
    let policy = RefreshConfig::builder().interval(Duration::from_millis(20)).jitter(Duration::ZERO);
    let core = start(keyed(&emulator).refresh(policy.build().unwrap()));
    let (told, tell) = std::io::pipe().unwrap();
    let child = forked(|| {
        // Any use will do.
        visitor(&core, "v");
        (&told).read_exact(&mut [0]).unwrap();
        core.close();
    });
    // The parent has one connection, and the child another.
    let of_child = |received: &Received| {
        let first = received.requests[0].connection;
        let answered = received.requests.iter().filter(|request| request.status.is_some());
        answered.filter(|request| request.connection != first).map(|it| it.status).collect::<Vec<_>>()
    };
    let received = emulator.wait_until(PATIENCE, |received| of_child(received).len() >= 3).unwrap();
    assert!(of_child(&received).iter().all(|status| *status == Some(304)));
    (&tell).write_all(&[0]).unwrap();
    child.join();
    core.close();
}

#[derive(Default)]
struct Hooked(AtomicU32);

impl Hooked {
    fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl EventSink for Hooked {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        http::delivery_answer(if self.count() == 1 { 200 } else { 500 }, None)
    }

    fn after_fork(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("harmless");
    }
}

impl DataStore for Hooked {
    fn get(&self, _: &str) -> Result<Option<serde_json::Value>, StoreError> {
        Ok(None)
    }
    fn set(&self, _: &str, _: serde_json::Value, _: Option<Duration>) -> Result<(), StoreError> {
        Ok(())
    }
    fn delete(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
    fn after_fork(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn hooks() {
    let (sink, store) = (Arc::new(Hooked::default()), Arc::new(Hooked::default()));
    let config = direct().shared_data_store(Arc::clone(&store) as Arc<dyn DataStore>).build().unwrap();
    let core = Core::builder(config).event_sink(Arc::clone(&sink));
    let core = core.build().unwrap();
    core.initialize().unwrap();
    convert(&core, 0..3);
    forked(|| {
        convert(&core, 0..2);
        assert_eq!((sink.count(), store.count()), (1, 1));
        delivers(&core, 2);
    })
    .join();
    assert_eq!((sink.count(), store.count()), (0, 0));
}

#[test]
fn forks_under_load_lose_and_repeat_nothing() {
    run("full speed");
}

#[test]
fn a_child_starts_wherever_the_parents_threads_were() {
    run("churn");
}

#[test]
fn descendants_deliver_with_the_inherited_config() {
    run("family");
}

#[test]
fn a_child_leaves_the_parents_records_to_the_parent() {
    run("pending");
}

#[test]
fn a_child_has_its_own_connections() {
    run("connections");
}

#[test]
fn a_child_can_initialize_a_core_the_parent_had_not() {
    run("initialize");
}

#[test]
fn a_context_from_before_the_fork_works_in_the_child() {
    run("context");
}

#[test]
fn a_child_that_does_not_use_the_sdk_exits_cleanly() {
    run("idle");
}

#[test]
fn a_child_that_drops_what_it_inherited_disturbs_nothing() {
    run("dropped");
}

#[test]
fn a_close_before_the_fork_holds_and_a_childs_is_its_own() {
    run("closed");
}

#[test]
fn a_child_remembers_visitors_despite_inherited_locks() {
    run("memory");
}

#[test]
fn a_child_does_not_write_its_parents_pending_state() {
    run("waiting");
}

#[test]
fn handlers_work_in_the_child_except_a_running_one() {
    run("handlers");
}

#[test]
fn a_child_refreshes_with_the_inherited_etag() {
    run("refresh");
}

#[test]
fn transports_and_stores_learn_of_a_fork_first() {
    run("hooks");
}

#[test]
fn a_carrier_works_on_both_sides_of_a_fork() {
    run("carrier");
}

/// The parent's request is on its way at the fork.
fn carrier() {
    let emulator = serve();
    let config = keyed(&emulator).for_game_loop().build().unwrap();
    let (core, mut pump) = Core::builder(config).pumped().unwrap();
    let mut slot = Some(Carrier::new(&pump));
    let carrier = slot.as_mut().unwrap();
    let asked = pump.initialize();
    assert!(settle(&mut pump, carrier, asked).is_ok());
    record(&core, "parent", 3);
    emulator.inject(Fault::track(FaultKind::Delay { ms: 200 }).times(1));
    let flush = pump.flush(PATIENCE);
    while pump.turn(Duration::ZERO).requests_started == 0 {}
    carrier.carry(&mut pump);
    forked(|| {
        record(&core, "child", 2);
        let asked = pump.shutdown(PATIENCE);
        let report = settle(&mut pump, slot.as_mut().unwrap(), asked).unwrap();
        assert_eq!((report.stats.recorded, report.stats.delivered), (2, 2));
        drop(slot.take());
    })
    .join();
    assert_eq!(settle(&mut pump, slot.as_mut().unwrap(), flush).unwrap().delivered, 3);
    let received = emulator.received();
    let expected = ["child-0", "child-1", "parent-0", "parent-1", "parent-2"];
    assert_eq!(conversions(&received), expected.map(|visitor| (visitor, 1)).into());
}
