//! How the SDK behaves under load: latencies by percentile under three conditions, deliveries against the offered load,
//! and cost as the work grows.
//!
//!     cargo bench --bench load [-- draw] [latency] [throughput] [growth]
//!
//! Prints tables; with `draw` it also writes the pictures of docs/performance.md.

#[path = "../support/collector.rs"]
mod collector;
mod growth;
mod latency;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the cases and most of the floor are of other benches")]
mod support;
mod svg;
mod throughput;

use std::process::ExitCode;

use collector::{Failure, ROLE, collect};
use svg::{Chart, page};

/// A part of the report: its name, what measures it, and how many charts are side by side.
type Part = (&'static str, fn() -> Result<Vec<Chart>, Failure>, usize);

const PARTS: [Part; 3] = [
    ("latency", latency::measure, 2),
    ("throughput", throughput::measure, 1),
    ("growth", growth::measure, 2),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = if arguments.first().is_some_and(|it| it == ROLE) { collect() } else { report(&arguments) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn report(arguments: &[String]) -> Result<(), Failure> {
    let asked = |name: &str| arguments.iter().any(|it| it == name);
    let all = !PARTS.iter().any(|(name, ..)| asked(name));
    for (name, measure, columns) in PARTS {
        if all || asked(name) {
            let charts = measure()?;
            charts.iter().for_each(print);
            if asked("draw") {
                let file = format!("{}/docs/pictures/{name}.svg", env!("CARGO_MANIFEST_DIR"));
                std::fs::write(file, page(&charts, columns))?;
            }
        }
    }
    Ok(())
}

fn print(chart: &Chart) {
    println!("\n{}", chart.title);
    print!("{:<44}", chart.x.label);
    let measured = || chart.series.iter().filter(|it| !it.law);
    measured().for_each(|it| print!("{:>28}", it.name));
    println!();
    let Some(first) = measured().next() else { return };
    let steps = (first.points.len() / 10).max(1);
    for (at, (x, _)) in first.points.iter().enumerate().step_by(steps) {
        print!("{:<44}", svg::short(*x));
        measured().for_each(|it| print!("{:>28.1}", it.points[at].1));
        println!();
    }
}
