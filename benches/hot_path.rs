//! Every measured case by itself, for people: its time and spread. The ratios that count are in `ratios` and
//! `instructions`.
//!
//!     cargo bench --bench hot_path [-- CASE]

#[path = "support/mod.rs"]
mod support;

use std::cell::RefCell;

use divan::Bencher;
use divan::counter::ItemsCount;
use support::cases::CASES;

fn main() {
    divan::main();
}

#[divan::bench(args = CASES.iter().map(|(name, _)| *name), sample_size = 1)]
fn cost(bencher: Bencher<'_, '_>, name: &str) {
    let Some((_, make)) = CASES.iter().find(|(known, _)| *known == name) else { return };
    // Reading a config takes milliseconds, everything else less than the clock's resolution.
    let runs = if name.starts_with("config") { 1 } else { 1_000 };
    let case = RefCell::new(make());
    bencher
        .counter(ItemsCount::new(runs))
        .with_inputs(|| case.borrow_mut().prepare(runs))
        .bench_local_values(|()| case.borrow_mut().run(runs));
}
