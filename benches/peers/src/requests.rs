//! A whole request to each: the visitor out of owned data, three flags by key, one conversion where there are any. What
//! is recorded goes to a sink in this process.

use std::hint::black_box;
use std::time::{Duration, Instant};

use convert_sdk::{Core, SdkConfig, delivery::DeliveryConfig};

use crate::endpoint::Endpoint;
use crate::project::project;
use crate::request::{ASKED_FOR, Request, RequestFloor, asked_keys, request};
use crate::{EXPERIENCES, Evaluate, allocations, others};

/// Answers requests.
pub(crate) trait Server {
    /// Makes one request; returns whether everything had a result.
    fn ask(&mut self, request: &Request) -> bool;
    /// Waits until everything recorded is delivered.
    fn settle(&mut self) {}
}

impl<F: FnMut(&Request) -> bool> Server for F {
    fn ask(&mut self, request: &Request) -> bool {
        self(request)
    }
}

const BURST: usize = 500;
const ROUNDS: usize = 61;
/// A burst counts if the floor's evaluations around it took at most this many times their best. They send nothing: with
/// a send, their time is that of a second thread, which is slower when it has a core to itself.
const QUIET: f64 = 1.15;
const EVALUATIONS: usize = 1_000;

struct Subject {
    name: &'static str,
    records: &'static str,
    server: Box<dyn Server>,
    known: Costs,
    new: Costs,
}

/// What the bursts of one kind cost for each request.
#[derive(Default)]
struct Costs {
    /// The nanoseconds of the floor's evaluations around the burst, and of the burst.
    times: Vec<(f64, f64)>,
    allocations: u64,
}

/// Prints medians, for visitors who have made the request before and for new ones.
///
/// A server under steady load has its code, its flags and its queues in the caches, so a burst of the same kind goes
/// right before each that counts: of the same visitors if they are known, of others if they are new. Between the
/// subjects all records are taken out, as one's delivery would otherwise run beside the next one's requests.
pub(crate) fn measure() {
    let mut subjects = [
        subject("floor, by hand", "what is new, and each conversion", Floor::new()),
        subject("this SDK", "what is new for the visitor", ThisSdk::new()),
        subject(
            "eppo_core 10.0.0",
            "each exposure, to a callback of the application; it has no conversions",
            others::eppo::requests(EXPERIENCES),
        ),
        subject(
            "configcat 0.1.7",
            "nothing: it has neither exposures nor conversions",
            others::configcat::requests(EXPERIENCES),
        ),
        subject(
            "feature-probe-server-sdk 2.3.2",
            "nothing: it records only with a server of its own",
            others::featureprobe::requests(EXPERIENCES),
        ),
        subject(
            "launchdarkly-server-sdk 3.2.0",
            "each exposure and conversion",
            others::launchdarkly::requests(EXPERIENCES),
        ),
        subject(
            "statsig-rust 0.24.0",
            "an exposure once a minute, each conversion",
            others::statsig::requests(EXPERIENCES),
        ),
    ];
    let (mut floor, known) = (crate::floor(|floor, key, visitor| floor.cached(key, visitor)), visitors(0));
    let mut next = BURST;
    for round in 0..ROUNDS {
        for turn in 0..subjects.len() {
            let at = if round % 2 == 0 { turn } else { subjects.len() - 1 - turn };
            let subject = &mut subjects[at];
            let new = [visitors(next), visitors(next + BURST)];
            subject.known.measure(&mut *subject.server, &known, &known, &mut floor);
            subject.new.measure(&mut *subject.server, &new[0], &new[1], &mut floor);
        }
        next += 2 * BURST;
    }
    print(&subjects);
}

fn subject(name: &'static str, records: &'static str, server: impl Server + 'static) -> Subject {
    Subject { name, records, server: Box::new(server), known: Costs::default(), new: Costs::default() }
}

fn visitors(first: usize) -> Vec<Request> {
    (first..first + BURST).map(Request::of).collect()
}

impl Costs {
    fn measure(
        &mut self,
        server: &mut dyn Server,
        before: &[Request],
        measured: &[Request],
        floor: &mut Evaluate,
    ) {
        // The first one brings the floor back into the caches.
        let mut quiet = || [(); 2].map(|()| crate::timed(floor, EVALUATIONS))[1];
        let earlier = quiet();
        timed(server, before);
        let allocated = allocations::count();
        let cost = timed(server, measured);
        let burst = BURST as u64;
        self.allocations = (allocations::count() - allocated + burst / 2) / burst;
        self.times.push((earlier.max(quiet()), cost));
        server.settle();
    }

    /// The median of the quiet bursts, and their number.
    fn median(&self, best: f64) -> (f64, usize) {
        let quiet = self.times.iter().filter(|(floor, _)| *floor <= QUIET * best);
        let mut costs: Vec<f64> = quiet.map(|(_, cost)| *cost).collect();
        costs.sort_by(f64::total_cmp);
        (costs.get(costs.len() / 2).copied().unwrap_or(f64::NAN), costs.len())
    }
}

fn timed(server: &mut dyn Server, requests: &[Request]) -> f64 {
    let start = Instant::now();
    let answered = requests.iter().all(|it| server.ask(black_box(it)));
    let cost = start.elapsed().as_nanos() as f64 / requests.len() as f64;
    assert!(answered, "a flag without a variation");
    cost
}

fn print(subjects: &[Subject]) {
    let times = subjects.iter().flat_map(|it| it.known.times.iter().chain(&it.new.times));
    let best = times.map(|(floor, _)| *floor).fold(f64::INFINITY, f64::min);
    let medians = |it: &Subject| [it.known.median(best), it.new.median(best)];
    let own = medians(&subjects[1]);
    println!(
        "{:<40} {:>9} {:>9} {:>6} {:>6} {:>7} {:>7} {:>6}  recorded",
        "ns a request", "known", "new", "/ SDK", "/ SDK", "allocs", "allocs", "quiet"
    );
    for it in subjects {
        let [known, new] = medians(it);
        println!(
            "{:<40} {:>9.0} {:>9.0} {:>6.2} {:>6.2} {:>7} {:>7} {:>6}  {}",
            it.name,
            known.0,
            new.0,
            known.0 / own[0].0,
            new.0 / own[1].0,
            it.known.allocations,
            it.new.allocations,
            known.1 + new.1,
            it.records
        );
    }
}

struct Floor {
    floor: RequestFloor,
    keys: [String; ASKED_FOR],
}

impl Floor {
    fn new() -> Self {
        let (floor, records) = RequestFloor::new(EXPERIENCES);
        std::thread::spawn(move || records.into_iter().for_each(|record| _ = black_box(record)));
        Self { floor, keys: asked_keys() }
    }
}

impl Server for Floor {
    fn ask(&mut self, request: &Request) -> bool {
        self.floor.request(request, &self.keys)
    }

    fn settle(&mut self) {
        self.floor.drain();
    }
}

struct ThisSdk {
    core: Core,
    keys: [String; ASKED_FOR],
}

impl ThisSdk {
    fn new() -> Self {
        let delivery = DeliveryConfig::builder().queue_capacity(1 << 20).build().unwrap_or_default();
        let config = SdkConfig::builder().data_json(project(EXPERIENCES, 2)).delivery(delivery).build();
        let core = config.ok().and_then(|it| Core::builder(it).transport(Endpoint::default()).build().ok());
        let Some(core) = core.filter(|core| core.initialize().is_ok()) else {
            unreachable!("the generated config is valid")
        };
        Self { core, keys: asked_keys() }
    }
}

impl Server for ThisSdk {
    fn ask(&mut self, it: &Request) -> bool {
        request(&self.core, it, Request::attributes, &self.keys)
    }

    fn settle(&mut self) {
        assert!(self.core.flush(Duration::from_secs(60)).is_ok(), "a sink");
    }
}
