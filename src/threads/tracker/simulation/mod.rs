//! The pipeline under a scheduler of its own, with virtual time and a failing endpoint and store: random
//! runs, every run of a small protocol, and planted bugs that an independent judge must find.

mod both;
mod bugs;
mod choices;
mod frames;
mod judge;
mod outbox;
mod process;
mod pumped;
mod scope;
mod server;
mod store;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bugs::Bug;
use choices::{Every, Seeded};
use scope::{Scope, Visitors, random_scope};
use server::Answer;
use world::{Tally, World};

use crate::engine::Stats;
use crate::options::DeliveryConfig;

/// The number of random runs, unless `SIMULATION_SEEDS` is set.
const SEEDS: u64 = 500;
const STEPS: usize = 400;
/// Unoptimized builds explore some of the interleavings; `scripts/simulate` explores all.
const ALL: usize = if cfg!(debug_assertions) { 0 } else { 1 };

fn random_run(seed: u64, bug: Option<Bug>) -> Tally {
    let mut choices = Seeded(seed);
    let scope = random_scope(&mut choices, bug);
    World::new(&mut choices, scope).run(STEPS)
}

/// `SIMULATION_SEED=n` runs only that seed.
#[test]
fn the_ledger_balances_after_every_step_of_random_runs() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let mut all = Tally::default();
    for seed in seeds.clone() {
        let run = catch_unwind(|| random_run(seed, None));
        let Ok(run) = run else {
            panic!("replay it: SIMULATION_SEED={seed} cargo test --lib the_ledger_balances_after_every_step");
        };
        all.add(run);
    }
    println!("{} runs: {all:?}", seeds.end - seeds.start);
    if seeds.end - seeds.start > 100 {
        let Tally { recorded, delivered, deduplicated, dropped, faults, .. } = all;
        let Tally { store_faults, twice, known, flushes, forks, again, .. } = all;
        let Tally { recovered, outbox_faults, kills, pending, .. } = all;
        let of_outbox = [recovered, outbox_faults, kills, pending];
        assert!(of_outbox.iter().all(|count| *count > 50), "{all:?}");
        let seen = [deduplicated, dropped, faults, store_faults, twice, flushes, forks, again];
        assert!(seen.iter().all(|count| *count > 50) && known > 20, "{all:?}");
        assert_eq!(recorded + recovered, delivered + deduplicated + dropped + pending);
    }
}

/// The turns of a loop with random budgets, before the same judge.
#[test]
fn the_ledger_balances_after_every_turn_of_random_runs() {
    let seeds =
        std::env::var("SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS / 2);
    let mut all = Tally::default();
    for seed in 0..seeds {
        let run = catch_unwind(|| frames::run(seed, None));
        all.add(run.unwrap_or_else(|_| panic!("seed {seed}")));
    }
    println!("{seeds} runs of a loop: {all:?}");
    let Tally { recorded, delivered, deduplicated, dropped, faults, flushes, forks, again, .. } = all;
    let Tally { twice, known, .. } = all;
    let seen = [deduplicated, dropped, faults, twice, flushes, forks, again];
    assert!(seen.iter().all(|count| *count > 50) && known > 20, "{all:?}");
    assert_eq!(recorded, delivered + deduplicated + dropped);
}

/// Where every input is processed before the next, in every field; otherwise in what became of each record. A late
/// turn sees more records at once, so that their number of requests is another.
#[test]
fn both_drivers_end_with_the_same_ledger() {
    for seed in 0..SEEDS / 2 {
        let (thread, pump) = both::ledgers(seed, true);
        assert_eq!(thread, pump, "seed {seed}");
        let (thread, pump) = both::ledgers(seed, false);
        let fates = |it: &Stats| {
            (it.recorded, it.deduplicated, it.delivered, it.delivered_events, it.dropped, it.pending)
        };
        assert_eq!(fates(&thread), fates(&pump), "seed {seed}");
    }
}

#[test]
fn every_interleaving_of_a_pump_with_a_flush_and_a_close() {
    let slice = Some(1);
    let scope = Scope { records: 1 + ALL, flushes: 1, closes: 1, faults: 1, slice, ..small(two_lanes()) };
    assert!(every_run("a pump's steps with a flush, a fault and a close", &scope) > 100);
}

#[test]
fn each_planted_bug_is_found() {
    type Run = fn(u64, Option<Bug>) -> Tally;
    let of_threads = Bug::ALL.map(|bug| (bug, random_run as Run));
    let of_a_pump = Bug::OF_A_PUMP.map(|bug| (bug, frames::run as Run));
    for (bug, run) in of_threads.into_iter().chain(of_a_pump) {
        let finds = |seed: &u64| catch_unwind(|| run(*seed, Some(bug))).is_err();
        let found = silently(|| (0..SEEDS).find(finds));
        println!("{bug:?} is found by seed {found:?}");
        assert!(found.is_some_and(|seed| seed < 100), "{bug:?} was found by seed {found:?}");
    }
}

/// Runs with the usual panic messages off, since the panics are expected.
fn silently<T>(run: impl FnOnce() -> T) -> T {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(run));
    std::panic::set_hook(usual);
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Every interleaving of a small protocol; returns how many there are.
fn every_run(what: &str, scope: &Scope) -> u64 {
    let (mut choices, mut runs) = (Every::default(), 0);
    loop {
        World::new(&mut choices, scope.clone()).run(usize::MAX);
        runs += 1;
        if !choices.next_run() {
            println!("{runs} interleavings of {what}");
            return runs;
        }
    }
}

fn small(delivery: DeliveryConfig) -> Scope {
    Scope {
        batch_size: 1,
        auto_flush_interval: None,
        delivery,
        processes: 1,
        store: false,
        outbox: false,
        batch_ids: false,
        slice: None,
        records: 0,
        flushes: 0,
        flush_ways: vec![(Duration::from_secs(5), false)],
        closes: 0,
        forks: 0,
        faults: 0,
        store_faults: 0,
        outbox_faults: 0,
        kills: 0,
        kills_senders: false,
        advances: 0,
        visitors: Visitors::New,
        answers: vec![Answer::OK, Answer::Refused, Answer::TakenUnheard],
        bug: None,
    }
}

/// A queue of two, and two lanes of one event each.
fn two_lanes() -> DeliveryConfig {
    DeliveryConfig::builder().lanes(2).max_request_events(1).queue_capacity(2).build().unwrap()
}

#[test]
fn every_interleaving_of_two_records_a_flush_and_a_fault() {
    let scope = Scope { records: 2, flushes: 1, faults: 1, advances: 1, ..small(two_lanes()) };
    assert!(every_run("two records, a flush and a fault", &scope) > 1_000);
    let scope = Scope { records: 1, batch_ids: true, faults: 2, ..scope };
    assert!(every_run("a record, a flush and two faults, with batch ids", &scope) > 100);
}

#[test]
fn every_interleaving_of_a_flush_and_a_close() {
    let scope = Scope { records: 1 + ALL, flushes: 1, closes: 1, faults: 1, ..small(two_lanes()) };
    assert!(every_run("records, a flush, a fault and a close or a dropped handle", &scope) > 100);
}

#[test]
fn every_interleaving_of_more_records_than_fit() {
    let delivery =
        DeliveryConfig::builder().lanes(1).queue_capacity(1).max_pending_records(1).build().unwrap();
    let scope = Scope { records: 3 + ALL, flushes: 1, faults: ALL, ..small(delivery) };
    assert!(every_run("more records than fit, a flush and a fault", &scope) > 1_000);
}

#[test]
fn every_interleaving_of_two_flushes() {
    let scope = Scope { records: 1 + ALL, flushes: 2, faults: 1, ..small(two_lanes()) };
    assert!(every_run("records, two flushes and a fault", &scope) > 100);
}

/// Records on their way to the disk and the endpoint, and a process that is killed anywhere between.
#[test]
fn every_interleaving_of_an_outbox_and_a_kill() {
    let scope = Scope { outbox: true, records: 1 + ALL, kills: 1, ..small(two_lanes()) };
    assert!(every_run("records, an outbox and a kill", &scope) > 5);
    let scope = Scope { records: 1, outbox_faults: 1, advances: ALL, ..scope };
    assert!(every_run("a record, an outbox that fails or hangs, and a kill", &scope) > 100);
    let scope =
        Scope { outbox: true, batch_ids: true, records: 1, kills: 1, faults: 1, ..small(two_lanes()) };
    assert!(every_run("a record, an outbox with batch ids, a fault and a kill", &scope) > 10);
    let scope = Scope { outbox: true, records: 1, closes: 1, faults: 1, ..small(two_lanes()) };
    assert!(every_run("a record, an outbox, a fault and a close", &scope) > 10);
}

/// Two processes that share a store, and a visitor who reaches a goal in each.
fn shared_mark() -> Scope {
    let delivery = DeliveryConfig::builder().lanes(1).queue_capacity(2).build().unwrap();
    Scope { processes: 2, store: true, records: 2, visitors: Visitors::One, ..small(delivery) }
}

#[test]
fn every_interleaving_of_two_processes_that_claim_one_mark() {
    let scope = Scope { faults: 1, ..shared_mark() };
    assert!(every_run("two processes, a claim each, and a fault", &scope) > 1_000);
}

#[test]
fn every_interleaving_of_claims_and_a_close() {
    let scope = Scope { records: 1, closes: 1, ..shared_mark() };
    assert!(every_run("a claim of two processes, and a close or a dropped handle", &scope) > 100);
    let scope = Scope { processes: 1, records: 1 + ALL, closes: 1, store_faults: ALL, ..shared_mark() };
    assert!(every_run("claims, and a close or a dropped handle", &scope) > 10);
}
