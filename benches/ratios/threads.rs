//! How evaluations scale from one thread to two, compared with the floor.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use convert_sdk::{Context, Core};

use super::support::cases::floor_visitors;
use super::support::floor::{Config, Floor};
use super::support::project::{ASKED, experience_key, project, visitor_id};
use super::support::{context, core, quiet};

const TURN: Duration = Duration::from_millis(40);
/// Runs between two checks of the clock's flag.
const STRETCH: usize = 1_000;

pub(crate) fn print(rounds: usize) {
    let cell = Arc::new(ArcSwap::from_pointee(Config::new(100)));
    let core = core(project(100, 2));
    let mut ratios = Vec::new();
    println!(
        "\n{:<60} {:>10} {:>10} {:>10}",
        "evaluations a second, in millions", "1 thread", "2 threads", "scale"
    );
    let mut lines = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let floors = [1, 2].map(|threads| rate(threads, || floor(&cell)));
        let sdks = [1, 2].map(|threads| rate(threads, || sdk(&core)));
        ratios.push((sdks[1] / sdks[0]) / (floors[1] / floors[0]));
        lines[0].push(floors);
        lines[1].push(sdks);
    }
    for (name, rates) in ["floor cached", "evaluation by key"].into_iter().zip(&lines) {
        let middle = |of: fn(&[f64; 2]) -> f64| super::median(&rates.iter().map(of).collect::<Vec<_>>());
        println!(
            "{name:<60} {:>10.2} {:>10.2} {:>10.2}",
            middle(|it| it[0]),
            middle(|it| it[1]),
            middle(|it| it[1] / it[0])
        );
    }
    super::print("scale of evaluation by key / scale of floor (bar: at least 0.95)", &ratios, "");
}

/// Evaluations per second of so many threads together, in millions.
fn rate<W: FnMut() + Send>(threads: usize, make: impl Fn() -> W) -> f64 {
    let stop = AtomicBool::new(false);
    let works: Vec<W> = (0..threads).map(|_| make()).collect();
    std::thread::scope(|scope| {
        let counts: Vec<_> = works
            .into_iter()
            .map(|mut work| {
                let stop = &stop;
                scope.spawn(move || {
                    let (start, mut count) = (Instant::now(), 0_usize);
                    while !stop.load(Ordering::Relaxed) {
                        work();
                        count += STRETCH;
                    }
                    count as f64 / start.elapsed().as_secs_f64() / 1e6
                })
            })
            .collect();
        std::thread::sleep(TURN);
        stop.store(true, Ordering::Relaxed);
        counts.into_iter().map(|count| count.join().unwrap_or_default()).sum()
    })
}

fn floor(cell: &Arc<ArcSwap<Config>>) -> impl FnMut() + Send + use<> {
    let (mut floor, visitors, key) = (Floor::new(cell), floor_visitors(), experience_key(ASKED));
    move || {
        for visitor in visitors.iter().cycle().take(STRETCH) {
            black_box(floor.cached(black_box(&key), visitor));
        }
    }
}

fn sdk(core: &Core) -> impl FnMut() + Send + use<> {
    let contexts: Vec<Context> = (0..STRETCH).map(|n| context(core, &visitor_id(n))).collect();
    let (key, quiet) = (experience_key(ASKED), quiet());
    move || {
        for context in &contexts {
            black_box(context.run_experience_with(black_box(&key), &quiet).is_ok());
        }
    }
}
