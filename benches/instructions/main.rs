//! The instructions of every case under callgrind, which are free of noise, and the same ratios of them. Exits with 1
//! if a ratio exceeds its gate, that is, if a change has made a call more expensive.
//!
//!     cargo bench --bench instructions

#[path = "../support/rows.rs"]
mod rows;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use rows::ROWS;
use support::cases::{CASES, Case};

/// Runs of a case, over which one-time work is spread. A config is long enough alone.
fn runs(case: &str) -> usize {
    if case.starts_with("config") { 2 } else { 2_000 }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, run, name] = &arguments[..]
        && run == "run"
        && let Some((_, make)) = CASES.iter().find(|(known, _)| known == name)
    {
        let mut case = make();
        // One-time initialization is done beforehand.
        let runs = runs(name);
        case.prepare(runs);
        case.run(runs);
        case.prepare(runs);
        measured_by_callgrind(&mut *case, runs);
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = arguments.iter().skip(1).filter(|it| !it.starts_with("--")).collect();
    let mut costs = BTreeMap::new();
    println!("{:<60} {:>14}", "instructions", "one run");
    for (name, _) in
        CASES.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|it| name.contains(&***it)))
    {
        let Some(count) = instructions(&arguments[0], name) else {
            eprintln!("callgrind did not run; is valgrind installed?");
            return ExitCode::FAILURE;
        };
        let cost = count / runs(name) as f64;
        println!("{name:<60} {cost:>14.1}");
        costs.insert(*name, cost);
    }
    if !wanted.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\n{:<60} {:>14} {:>8} {:>8}", "ratio of instructions", "", "gate", "bar");
    let mut above = false;
    for row in ROWS {
        let ratio = (row.ratio)(&|name| costs.get(name).copied().unwrap_or(f64::NAN));
        let holds = ratio <= row.gate;
        above |= !holds;
        let verdict = if holds { "" } else { "  above" };
        println!("{:<60} {ratio:>14.2} {:>8.2} {:>8.2}{verdict}", row.name, row.gate, row.bar);
    }
    if above { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Callgrind counts from the entry to the end of this function, which it finds by name.
#[inline(never)]
fn measured_by_callgrind(case: &mut dyn Case, count: usize) {
    case.run(count);
}

fn instructions(program: &str, case: &str) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*measured_by_callgrind*"])
        .arg(format!(
            "--callgrind-out-file={}",
            std::env::var("CALLGRIND_OUT").as_deref().unwrap_or("/dev/null")
        ))
        .args([program, "run", case])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :"))?.1;
    collected.trim().parse().ok()
}
