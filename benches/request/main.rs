//! A whole request beside the least that it can cost: its time in rounds of bursts, how it scales from one thread to
//! two, and what the default queue rejects when two threads send as fast as they can.
//!
//!     cargo bench --bench request [-- ROUNDS]

#[path = "../support/mod.rs"]
mod support;

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use convert_sdk::{Core, SdkConfig};
use support::cases::{CASES, Case};
use support::endpoint::Endpoint;
use support::project::project;
use support::request::{Request, RequestFloor, asked_keys, request};

const ROUNDS: usize = 201;
/// Requests per burst.
const BURST: usize = 500;
const TURN: Duration = Duration::from_millis(40);
const VISITORS: usize = 1_000;
const EXPERIENCES: usize = 100;
/// A round counts if the floor took at most this many times its best.
const QUIET: f64 = 1.15;

/// Each request, and the floor that it is compared with.
const PAIRS: [(&str, &str); 4] = [
    ("request, known", "request floor, known"),
    ("request, new", "request floor, new"),
    ("request, known, no report keys", "request floor, known"),
    ("request, new, no report keys", "request floor, new"),
];

fn main() {
    let rounds = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(ROUNDS);
    println!("{:<40} {:>8} {:>8} {:>8} {:>8}", "ns a request", "floor", "SDK", "ratio", "rounds");
    for (name, floor) in PAIRS {
        print(name, &mut *case(floor), &mut *case(name), rounds);
    }
    scale(rounds.min(15));
    refused();
}

fn case(name: &str) -> Box<dyn Case> {
    let found = CASES.iter().find(|(known, _)| *known == name);
    let Some((_, make)) = found else { unreachable!("{name} is no case") };
    make()
}

fn timed(case: &mut dyn Case) -> f64 {
    case.prepare(BURST);
    let start = Instant::now();
    case.run(BURST);
    start.elapsed().as_nanos() as f64 / BURST as f64
}

/// The medians of the quiet rounds.
fn print(name: &str, floor: &mut dyn Case, sdk: &mut dyn Case, rounds: usize) {
    let pairs: Vec<(f64, f64)> = (0..rounds).map(|_| (timed(floor), timed(sdk))).collect();
    let best = pairs.iter().map(|(floor, _)| *floor).fold(f64::INFINITY, f64::min);
    let quiet: Vec<_> = pairs.into_iter().filter(|(floor, _)| *floor <= QUIET * best).collect();
    let middle = |of: fn(&(f64, f64)) -> f64| median(quiet.iter().map(of).collect());
    println!(
        "{name:<40} {:>8.0} {:>8.0} {:>8.2} {:>8}",
        middle(|it| it.0),
        middle(|it| it.1),
        middle(|it| it.1 / it.0),
        quiet.len()
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Known visitors. Only the passes are timed; between them every queue drains, so that nothing is rejected.
fn scale(rounds: usize) {
    let (floor, records) = RequestFloor::new(EXPERIENCES);
    std::thread::spawn(move || records.iter().for_each(|record| _ = black_box(record)));
    let (core, keys) = (support::core(project(EXPERIENCES, 2)), asked_keys());
    let visitors = |thread: usize| (0..VISITORS).map(move |at| Request::of(thread * VISITORS + at));
    let pairs: Vec<(f64, f64)> = (0..rounds)
        .map(|_| {
            let floors = [1, 2]
                .map(|threads| rate(threads, visitors, |it| floor.request(it, &keys), || floor.drain()));
            let sdks = [1, 2].map(|threads| {
                let ask = |it: &Request| request(&core, it, Request::attributes, &keys);
                rate(threads, visitors, ask, || drop(core.flush(Duration::from_secs(60))))
            });
            (floors[1] / floors[0], sdks[1] / sdks[0])
        })
        .collect();
    let middle = |of: fn(&(f64, f64)) -> f64| median(pairs.iter().map(of).collect());
    println!(
        "\ntwo threads / one: floor {:.2}, SDK {:.2}, SDK / floor {:.2}",
        middle(|it| it.0),
        middle(|it| it.1),
        middle(|it| it.1 / it.0)
    );
}

/// Requests per second of so many threads together.
fn rate<I: Iterator<Item = Request>>(
    threads: usize,
    visitors: impl Fn(usize) -> I,
    ask: impl Fn(&Request) -> bool + Sync,
    settle: impl Fn() + Sync,
) -> f64 {
    let stop = AtomicBool::new(false);
    let requests: Vec<Vec<Request>> = (0..threads).map(|thread| visitors(thread).collect()).collect();
    std::thread::scope(|scope| {
        let counts: Vec<_> = requests
            .iter()
            .map(|requests| {
                let (stop, ask, settle) = (&stop, &ask, &settle);
                scope.spawn(move || {
                    requests.iter().for_each(|it| assert!(ask(it)));
                    let (mut taken, mut count) = (Duration::ZERO, 0_usize);
                    while !stop.load(Ordering::Relaxed) || count == 0 {
                        settle();
                        let start = Instant::now();
                        requests.iter().for_each(|it| assert!(ask(black_box(it))));
                        (taken, count) = (taken + start.elapsed(), count + requests.len());
                    }
                    count as f64 / taken.as_secs_f64()
                })
            })
            .collect();
        std::thread::sleep(TURN);
        stop.store(true, Ordering::Relaxed);
        counts.into_iter().map(|count| count.join().unwrap_or_default()).sum()
    })
}

/// Two threads without a pause, default settings, known visitors.
fn refused() {
    const REQUESTS: usize = 200_000;
    let config = SdkConfig::builder().data_json(project(EXPERIENCES, 2)).build();
    let core =
        config.ok().and_then(|config| Core::builder(config).transport(Endpoint::default()).build().ok());
    let Some(core) = core.filter(|core| core.initialize().is_ok()) else { return };
    let keys = asked_keys();
    let ask = |it: &Request| _ = request(&core, it, Request::attributes, &keys);
    let requests: Vec<Vec<Request>> =
        (0..2).map(|thread| (0..VISITORS).map(|at| Request::of(thread * VISITORS + at)).collect()).collect();
    requests.iter().flatten().for_each(ask);
    core.flush(Duration::from_secs(60)).ok();
    let before = core.stats();
    std::thread::scope(|scope| {
        for requests in &requests {
            scope.spawn(|| requests.iter().cycle().take(REQUESTS).for_each(ask));
        }
    });
    let after = core.stats();
    let (recorded, refused) = (after.recorded - before.recorded, after.dropped.queue_full.total());
    println!("refused of {recorded} records of {} requests: {refused}", 2 * REQUESTS);
}
