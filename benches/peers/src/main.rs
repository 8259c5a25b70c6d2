//! One question for each: a 50/50 experiment, found by key among a hundred, with an audience of a text equality and a
//! number comparison. Visitors and their attributes exist beforehand; nothing is recorded. Prints the nanoseconds of
//! one evaluation, in interleaved rounds, and the allocations of the calling thread; then what `requests.rs` measures.
//!
//!     benches/peers/run

mod allocations;
#[path = "../../support/endpoint.rs"]
mod endpoint;
#[path = "../../support/floor.rs"]
mod floor;
mod others;
#[expect(dead_code, reason = "the benches use more of it")]
#[path = "../../support/project.rs"]
mod project;
#[expect(dead_code, reason = "the benches use more of it")]
#[path = "../../support/request.rs"]
mod request;
mod requests;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use convert_sdk::{Core, ExperienceHandle, RunOptions, SdkConfig, attributes};

use floor::{Config, Floor, Visitor};
use project::{ASKED, experience_key, visitor_id};
use requests::Server;

const EXPERIENCES: usize = 100;
const VISITORS: usize = 10_000;
const ROUNDS: usize = 15;
const TURN: Duration = Duration::from_millis(20);

/// Evaluates for one visitor, by position; returns whether there was a variation.
type Evaluate = Box<dyn FnMut(usize) -> bool>;

fn main() {
    match std::env::args().nth(1).as_deref() {
        // Read by benches/peers/official.py.
        Some("--config") => return print!("{}", project::project(EXPERIENCES, 2)),
        Some("--requests") => return requests::measure(),
        _ => {}
    }
    let mut subjects: Vec<(&str, Evaluate)> = vec![
        ("floor, cached snapshot", floor(|floor, key, visitor| floor.cached(key, visitor))),
        (
            "floor, cached snapshot, no lookup",
            floor(|floor, _, visitor| floor.prepared(black_box(ASKED), visitor)),
        ),
        ("floor, loaded snapshot, key composed", floor(|floor, key, visitor| floor.loaded(key, visitor))),
        (
            "this SDK, by handle",
            convert(|context, _, handle, quiet| context.run_experience_with(handle, quiet).is_ok()),
        ),
        (
            "this SDK, by key",
            convert(|context, key, _, quiet| context.run_experience_with(key, quiet).is_ok()),
        ),
        ("this SDK, by key, with a new context", convert_with_context()),
        ("eppo_core 10.0.0", others::eppo::evaluator(EXPERIENCES, VISITORS)),
        ("launchdarkly-server-sdk-evaluation 2.2.1", others::launchdarkly::evaluator(EXPERIENCES, VISITORS)),
        ("optimizely 0.5.0", others::optimizely::client(EXPERIENCES, VISITORS)),
        ("unleash-yggdrasil 0.21.7", others::unleash::evaluator(EXPERIENCES, VISITORS)),
        ("feature-probe-server-sdk 2.3.2", others::featureprobe::client(EXPERIENCES, VISITORS)),
        ("open-feature 0.3.0, no-op provider", others::openfeature::client(VISITORS)),
        ("configcat 0.1.7", others::configcat::client(EXPERIENCES, VISITORS)),
        ("launchdarkly-server-sdk 3.2.0", others::launchdarkly::client(EXPERIENCES, VISITORS)),
        ("statsig-rust 0.24.0", others::statsig::client(EXPERIENCES, VISITORS)),
        ("growthbook-rust 0.4.0", others::growthbook::client(EXPERIENCES, VISITORS)),
    ];
    let counts: Vec<usize> = subjects.iter_mut().map(|(name, evaluate)| calibrated(name, evaluate)).collect();
    let mut costs = vec![Vec::new(); subjects.len()];
    for round in 0..ROUNDS {
        for turn in 0..subjects.len() {
            let at = if round % 2 == 0 { turn } else { subjects.len() - 1 - turn };
            costs[at].push(timed(&mut subjects[at].1, counts[at]));
        }
    }
    println!(
        "{:<45} {:>8} {:>8} {:>8} {:>12}",
        "ns for one evaluation", "min", "median", "max", "allocations"
    );
    for ((name, evaluate), costs) in subjects.iter_mut().zip(&mut costs) {
        costs.sort_by(f64::total_cmp);
        let (min, median, max) = (costs[0], costs[ROUNDS / 2], costs[ROUNDS - 1]);
        println!("{name:<45} {min:>8.0} {median:>8.0} {max:>8.0} {:>12}", allocations(evaluate));
    }
    requests::measure();
}

fn calibrated(name: &str, evaluate: &mut Evaluate) -> usize {
    // Also proves that the question is understood: the audience admits everybody.
    assert!((0..VISITORS).all(&mut *evaluate), "{name} gives no variation");
    let cost = timed(evaluate, VISITORS);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of runs")]
    let count = (TURN.as_nanos() as f64 / cost) as usize;
    count.max(100)
}

/// The average per evaluation, rounded: occasional allocations do not show.
fn allocations(evaluate: &mut Evaluate) -> u64 {
    let before = allocations::count();
    for at in 0..VISITORS {
        black_box(evaluate(at));
    }
    let (made, visitors) = (allocations::count() - before, VISITORS as u64);
    (made + visitors / 2) / visitors
}

fn timed(evaluate: &mut Evaluate, count: usize) -> f64 {
    let start = Instant::now();
    for at in 0..count {
        black_box(evaluate(at % VISITORS));
    }
    start.elapsed().as_nanos() as f64 / count as f64
}

fn floor(mut decide: impl FnMut(&mut Floor, &str, &Visitor) -> Option<usize> + 'static) -> Evaluate {
    let cell = Arc::new(ArcSwap::from_pointee(Config::new(EXPERIENCES)));
    let visitor = |n| Visitor { id: visitor_id(n), plan: "pro".to_owned(), age: 30.0 };
    let visitors: Vec<Visitor> = (0..VISITORS).map(visitor).collect();
    let (mut floor, key) = (Floor::new(&cell), experience_key(ASKED));
    Box::new(move |at| black_box(decide(&mut floor, black_box(&key), &visitors[at])).is_some())
}

fn core() -> Core {
    let config = SdkConfig::builder().data_json(project::project(EXPERIENCES, 2)).build();
    let Ok(config) = config else { unreachable!("the generated config is valid") };
    let core = Core::new(config);
    assert!(core.initialize().is_ok(), "the generated config");
    core
}

fn convert(
    mut run: impl FnMut(&convert_sdk::Context, &str, &ExperienceHandle, &RunOptions) -> bool + 'static,
) -> Evaluate {
    let (core, key) = (core(), experience_key(ASKED));
    let context = |n| core.create_context(visitor_id(n), attributes! { "age" => 30, "plan" => "pro" });
    let contexts: Vec<_> = (0..VISITORS).filter_map(|n| context(n).ok()).collect();
    let (handle, quiet) = (ExperienceHandle::new(key.as_str()), quiet());
    Box::new(move |at| run(&contexts[at], black_box(&key), &handle, &quiet))
}

fn convert_with_context() -> Evaluate {
    let (core, key, quiet) = (core(), experience_key(ASKED), quiet());
    let ids: Vec<String> = (0..VISITORS).map(visitor_id).collect();
    Box::new(move |at| {
        let context = core.create_context(&ids[at], attributes! { "age" => 30, "plan" => "pro" });
        context.is_ok_and(|context| context.run_experience_with(black_box(&key), &quiet).is_ok())
    })
}

fn quiet() -> RunOptions {
    RunOptions::new().enable_tracking(false).enable_storage(false)
}
