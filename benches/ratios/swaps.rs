//! The tail of an evaluation while the config is swapped a hundred times a second.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use convert_sdk::{Core, SdkConfig};

use super::support::cases::floor_visitors;
use super::support::endpoint::Endpoint;
use super::support::floor::{Config, Floor};
use super::support::project::{ASKED, experience_key, project, visitor_id};
use super::support::{context, quiet};

const EVALUATIONS: usize = 400_000;
const BETWEEN_SWAPS: Duration = Duration::from_millis(10);
const ROUNDS: usize = 5;
/// After so many evaluations the contexts are recreated, and see the current config.
const LIFE: usize = 100;

pub(crate) fn print() {
    let config = SdkConfig::builder().sdk_key("shop/key").build().ok();
    let endpoint = Endpoint { config: Some(project(100, 2)), hang: None };
    let built = config.and_then(|config| Core::builder(config).transport(endpoint).build().ok());
    let Some(core) = built else { unreachable!("a valid configuration") };
    assert!(core.initialize().is_ok(), "the generated config");
    let cell = Arc::new(ArcSwap::from_pointee(Config::new(100)));
    println!("\n{:<60} {:>10} {:>10} {:>10}", "ns, with the clock's own", "p50", "p99", "p99.9");
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        let floors = quiet_and_swapping(|| floor(&cell), || cell.store(Arc::new(Config::new(100))));
        let sdks = quiet_and_swapping(
            || sdk(&core),
            || assert!(core.refresh_now_within(Duration::from_secs(10)).is_ok()),
        );
        for (at, (name, tails)) in
            [("floor loaded", floors), ("evaluation by key", sdks)].into_iter().enumerate()
        {
            if round == ROUNDS / 2 {
                for (how, [p50, p99, p999]) in ["quiet", "swapping"].into_iter().zip(&tails) {
                    println!("{:<60} {p50:>10} {p99:>10} {p999:>10}", format!("{name}, {how}"));
                }
            }
            ratios[at].push(tails[1][2] as f64 / tails[0][2] as f64);
        }
    }
    super::print("floor: p99.9 swapping / quiet", &ratios[0], "");
    super::print("evaluation by key: p99.9 swapping / quiet", &ratios[1], "     1.30");
}

fn quiet_and_swapping(mut measure: impl FnMut() -> [u64; 3], swap: impl Fn() + Sync) -> [[u64; 3]; 2] {
    let quiet = measure();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(BETWEEN_SWAPS);
                swap();
            }
        });
        let swapping = measure();
        stop.store(true, Ordering::Relaxed);
        [quiet, swapping]
    })
}

fn floor(cell: &Arc<ArcSwap<Config>>) -> [u64; 3] {
    let (mut floor, visitors, key) = (Floor::new(cell), floor_visitors(), experience_key(ASKED));
    percentiles(visitors.iter().cycle().take(EVALUATIONS).map(|visitor| {
        let start = Instant::now();
        black_box(floor.loaded(black_box(&key), visitor));
        start.elapsed()
    }))
}

fn sdk(core: &Core) -> [u64; 3] {
    let (key, quiet) = (experience_key(ASKED), quiet());
    percentiles((0..EVALUATIONS / LIFE).flat_map(|n| {
        let context = context(core, &visitor_id(n));
        let (key, quiet) = (&key, &quiet);
        (0..LIFE).map(move |_| {
            let start = Instant::now();
            black_box(context.run_experience_with(black_box(key), quiet).is_ok());
            start.elapsed()
        })
    }))
}

fn percentiles(latencies: impl Iterator<Item = Duration>) -> [u64; 3] {
    #[expect(clippy::cast_possible_truncation, reason = "nanoseconds of an evaluation")]
    let mut sorted: Vec<u64> = latencies.map(|latency| latency.as_nanos() as u64).collect();
    sorted.sort_unstable();
    [500, 990, 999].map(|per_mille| sorted[sorted.len() * per_mille / 1_000])
}
