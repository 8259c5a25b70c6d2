//! How cost grows with the input, at four sizes: nanoseconds per element and, under callgrind, instructions, which are
//! free of noise. Exits with 1 if the cost per element grows.
//!
//!     cargo bench --bench growth [-- CASE]

mod cases;

use std::process::{Command, ExitCode};
use std::time::Instant;

use cases::{CASES, Work};

const SIZES: [usize; 4] = [5_000, 10_000, 20_000, 40_000];
/// Smaller sizes for callgrind, which is fifty times slower.
const COUNTED: [usize; 2] = [2_000, 16_000];
/// How much more an element may cost among eight times as many; a sort or a tree is at 1.3.
const GATE: f64 = 1.6;
const ROUNDS: usize = 3;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, run, name, size] = &arguments[..]
        && run == "run"
        && let Some((_, make)) = CASES.iter().find(|(known, _)| known == name)
        && let Ok(size) = size.parse()
    {
        measured_by_callgrind(make(size));
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&String> = arguments.iter().skip(1).filter(|it| !it.starts_with("--")).collect();
    print!("{:<48}", "ns for each of");
    SIZES.iter().for_each(|size| print!("{size:>10}"));
    println!("{:>14} {:>8} {:>6}", "instructions", "growth", "gate");
    let mut above = false;
    for (name, make) in CASES {
        if !wanted.is_empty() && !wanted.iter().any(|it| name.contains(&***it)) {
            continue;
        }
        print!("{name:<48}");
        for size in SIZES {
            let rounds = (0..ROUNDS).map(|_| {
                let work = make(size);
                let start = Instant::now();
                work();
                start.elapsed().as_nanos() as f64 / size as f64
            });
            print!("{:>10.0}", rounds.fold(f64::INFINITY, f64::min));
        }
        let counted = COUNTED.map(|size| instructions(&arguments[0], name, size).map(|it| it / size as f64));
        let [Some(few), Some(many)] = counted else {
            println!();
            eprintln!("callgrind did not run; is valgrind installed?");
            return ExitCode::FAILURE;
        };
        let holds = many / few <= GATE;
        above |= !holds;
        println!("{many:>14.0} {:>8.2} {GATE:>6.1}{}", many / few, if holds { "" } else { "  above" });
    }
    if above { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Callgrind counts from the entry to the end of this function, which it finds by name.
#[inline(never)]
fn measured_by_callgrind(work: Work) {
    work();
}

fn instructions(program: &str, case: &str, size: usize) -> Option<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*measured_by_callgrind*"])
        .args(["--callgrind-out-file=/dev/null", program, "run", case, &size.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :"))?.1;
    collected.trim().parse().ok()
}
