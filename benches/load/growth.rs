//! Cost as the work grows, each beside its expected law.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use convert_sdk::{Context, Core, RunOptions, SdkConfig};

use super::collector::Failure;
use super::support::cases::floor_visitors;
use super::support::endpoint::Endpoint;
use super::support::floor::{Config, Floor};
use super::support::project::{ASKED, experience_key, project, visitor_id};
use super::support::{attributes, context, core, quiet};
use super::svg::{Axis, Chart, Series};

const ROUNDS: usize = 9;
const CALLS: usize = 20_000;
const VISITORS: usize = 1_000;
/// How long the threads of one measurement run.
const TURN: Duration = Duration::from_millis(300);
/// Visits positions in an order that caches cannot predict.
const STRIDE: usize = 7_919;

pub(crate) fn measure() -> Result<Vec<Chart>, Failure> {
    let constant = |_: f64| 1.0;
    Ok(vec![
        chart(
            "Evaluation among more experiences: constant",
            "experiences in the config",
            constant,
            experiences(),
        ),
        chart("Evaluation of more rules: linear", "rules of the audience", |n| n, rules()),
        chart("Context of a known visitor: constant", "visitors remembered", constant, remembered()?),
        chart("Evaluation of contexts in turn: constant", "contexts alive", constant, alive()),
        threads(),
    ])
}

fn experiences() -> Vec<(f64, f64)> {
    // The requested key stays the same, so there are never fewer experiences than that.
    let sizes = [50, 100, 1_000, 10_000];
    sizes.map(|size| (size as f64, evaluation(&core(project(size, 2)), VISITORS))).to_vec()
}

fn rules() -> Vec<(f64, f64)> {
    [1, 2, 5, 10, 20, 50, 100]
        .map(|size| (size as f64, evaluation(&core(project(50, size)), VISITORS)))
        .to_vec()
}

fn alive() -> Vec<(f64, f64)> {
    let core = core(project(100, 2));
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000]
        .map(|size| (size as f64, evaluation(&core, size)))
        .to_vec()
}

/// Nanoseconds per evaluation, with so many contexts in turn.
fn evaluation(core: &Core, contexts: usize) -> f64 {
    let contexts: Vec<Context> = (0..contexts).map(|n| context(core, &visitor_id(n))).collect();
    let (key, quiet) = (experience_key(ASKED), quiet());
    cost(|n| {
        let context = &contexts[n * STRIDE % contexts.len()];
        black_box(context.run_experience_with(black_box(&key), &quiet).is_ok());
    })
}

fn remembered() -> Result<Vec<(f64, f64)>, Failure> {
    let mut points = Vec::new();
    for size in [1_000, 10_000, 100_000, 1_000_000, 10_000_000] {
        let config = SdkConfig::builder().data_json(project(100, 2)).max_visitors(2 * size).build()?;
        let core = Core::builder(config).transport(Endpoint::default()).build()?;
        core.initialize()?;
        let (key, untracked) = (experience_key(ASKED), RunOptions::new().enable_tracking(false));
        for n in 0..size {
            black_box(context(&core, &visitor_id(n)).run_experience_with(&key, &untracked).is_ok());
        }
        assert_eq!(core.stats().visitors_evicted, 0, "all are remembered");
        let ids: Vec<String> = (0..CALLS).map(|n| visitor_id(n * STRIDE % size)).collect();
        let nanoseconds = cost(|n| {
            black_box(core.create_context(ids[n % CALLS].as_str(), attributes()).is_ok());
        });
        points.push((size as f64, nanoseconds));
    }
    Ok(points)
}

/// Nanoseconds per call, the median of several rounds.
fn cost(mut call: impl FnMut(usize)) -> f64 {
    let mut rounds: Vec<f64> = (0..=ROUNDS)
        .map(|round| {
            let start = Instant::now();
            (0..CALLS).for_each(|n| call(round * CALLS + n));
            start.elapsed().as_nanos() as f64 / CALLS as f64
        })
        .skip(1)
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn chart(title: &'static str, label: &'static str, law: fn(f64) -> f64, points: Vec<(f64, f64)>) -> Chart {
    let (start, first) = points[0];
    let lawful: Vec<(f64, f64)> = points.iter().map(|(x, _)| (*x, first * law(*x) / law(start))).collect();
    let values: Vec<f64> = points.iter().chain(&lawful).map(|it| it.1).collect();
    Chart {
        title,
        x: Axis::log(label, points.iter().map(|it| it.0)),
        y: Axis::log("ns", values.iter().copied()),
        series: vec![
            Series { name: "measured".to_owned(), points, colour: 0, law: false },
            Series { name: "law".to_owned(), points: lawful, colour: 4, law: true },
        ],
    }
}

fn threads() -> Chart {
    let counts = 1..=8_u8;
    let sdk = core(project(100, 2));
    let cell = Arc::new(ArcSwap::from_pointee(Config::new(100)));
    let (key, quiet) = (experience_key(ASKED), quiet());
    let of_sdk = counts.clone().map(|threads| {
        let rate = rate(threads, || {
            let contexts: Vec<Context> = (0..VISITORS).map(|n| context(&sdk, &visitor_id(n))).collect();
            let (key, quiet) = (&key, &quiet);
            move |n| black_box(contexts[n % VISITORS].run_experience_with(black_box(key), quiet)).is_ok()
        });
        (f64::from(threads), rate)
    });
    let of_floor = counts.clone().map(|threads| {
        let rate = rate(threads, || {
            let (mut floor, visitors, key) = (Floor::new(&cell), floor_visitors(), &key);
            move |n| black_box(floor.loaded(black_box(key), &visitors[n % VISITORS])).is_some()
        });
        (f64::from(threads), rate)
    });
    let (of_sdk, of_floor): (Vec<_>, Vec<_>) = (of_sdk.collect(), of_floor.collect());
    let cores = std::thread::available_parallelism().map_or(1.0, |it| it.get() as f64);
    let one = of_sdk[0].1;
    let law = of_sdk.iter().map(|(threads, _)| (*threads, one * threads.min(cores))).collect();
    let most = of_floor.iter().chain(&of_sdk).map(|it| it.1).fold(0.0, f64::max);
    Chart {
        title: "Evaluations a second: linear up to the cores",
        x: Axis::linear("threads", 8.0),
        y: Axis::linear("a second, all threads", most),
        series: vec![
            Series { name: "by key".to_owned(), points: of_sdk, colour: 0, law: false },
            Series { name: "law".to_owned(), points: law, colour: 4, law: true },
            Series { name: "floor loaded".to_owned(), points: of_floor, colour: 2, law: false },
        ],
    }
}

/// Calls per second of so many threads together.
fn rate<Work: FnMut(usize) -> bool>(threads: u8, make: impl Fn() -> Work + Sync) -> f64 {
    let counts: Vec<f64> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut work = make();
                    let start = Instant::now();
                    let mut done = 0;
                    while start.elapsed() < TURN {
                        (0..1_000).for_each(|n| {
                            black_box(work(done + n));
                        });
                        done += 1_000;
                    }
                    done as f64 / start.elapsed().as_secs_f64()
                })
            })
            .collect();
        running.into_iter().filter_map(|it| it.join().ok()).collect()
    });
    counts.iter().sum()
}
