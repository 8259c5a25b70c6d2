//! Every case against its floor, in rounds: each ratio comes from one round, so that whatever slows the machine down
//! slows both sides. Prints the minimum, the median and the maximum.
//!
//!     cargo bench --bench ratios [-- ROUNDS]

#[path = "../support/rows.rs"]
mod rows;
mod starts;
#[path = "../support/mod.rs"]
mod support;
mod swaps;
mod threads;

use std::time::{Duration, Instant};

use rows::ROWS;
use support::cases::{CASES, Case};

const ROUNDS: usize = 21;
/// Approximately how long one case runs in a round.
const TURN: Duration = Duration::from_millis(5);

struct Measured {
    name: &'static str,
    case: Box<dyn Case>,
    count: usize,
    /// Nanoseconds per run, by round.
    costs: Vec<f64>,
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut measured: Vec<Measured> = CASES.iter().map(|(name, make)| calibrated(name, make())).collect();
    for round in 0..rounds {
        // Back and forth, so that no case always follows the same other one.
        let turn = |at| if round % 2 == 0 { at } else { CASES.len() - 1 - at };
        for at in (0..CASES.len()).map(turn) {
            let it = &mut measured[at];
            let cost = timed(&mut *it.case, it.count);
            it.costs.push(cost);
        }
    }
    println!("{:<60} {:>10} {:>10} {:>10}", "ns", "min", "median", "max");
    for it in &measured {
        print(it.name, &it.costs, "");
    }
    println!("\n{:<60} {:>10} {:>10} {:>10} {:>8} {:>8}", "ratio", "min", "median", "max", "bar", "gate");
    for row in ROWS {
        let ratios: Vec<f64> =
            (0..rounds).map(|round| (row.ratio)(&|name| cost(&measured, name, round))).collect();
        let verdict = if median(&ratios) <= row.bar { "" } else { "  above" };
        print(row.name, &ratios, &format!("{:>9.2} {:>8.2}{verdict}", row.bar, row.gate));
    }
    threads::print(rounds.min(9));
    swaps::print();
    starts::print(rounds);
}

fn calibrated(name: &'static str, mut case: Box<dyn Case>) -> Measured {
    let trial = if name.starts_with("config") { 1 } else { 200 };
    timed(&mut *case, trial);
    let cost = timed(&mut *case, trial).max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of runs")]
    let count = ((TURN.as_nanos() as f64 / cost) as usize).clamp(1, 100_000);
    Measured { name, case, count, costs: Vec::new() }
}

/// Nanoseconds per run, over `count` runs.
fn timed(case: &mut dyn Case, count: usize) -> f64 {
    case.prepare(count);
    let start = Instant::now();
    case.run(count);
    start.elapsed().as_nanos() as f64 / count as f64
}

fn cost(measured: &[Measured], name: &str, round: usize) -> f64 {
    let found = measured.iter().find(|it| it.name == name);
    let Some(it) = found else { unreachable!("a row names a case that is not measured: {name}") };
    it.costs[round]
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(values: &[f64]) -> f64 {
    sorted(values)[values.len() / 2]
}

fn print(name: &str, values: &[f64], rest: &str) {
    let sorted = sorted(values);
    let (least, middle, most) = (sorted[0], median(values), sorted[sorted.len() - 1]);
    println!("{name:<60} {least:>10.2} {middle:>10.2} {most:>10.2}{rest}");
}
