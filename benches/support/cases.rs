//! The measured work, each piece beside its floor.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use convert_sdk::{Attributes, Context, Core, ExperienceHandle, RunOptions};
use crossbeam_channel::{Sender, bounded};

use super::floor::{Config, Floor, Visitor};
use super::project::{ASKED, experience_key, project, varied_project, visitor_id};
use super::request::{ASKED_FOR, Request, RequestFloor, asked_keys, request};
use super::{attributes, context, core, plain, quiet, unready};

/// The number of visitors that take turns, so that the bucket cannot be predicted.
const VISITORS: usize = 1_000;
const EXPERIENCES: usize = 100;
const CONFIG_EXPERIENCES: usize = 1_000;
/// The words of an SDK record on its way to the tracker, without the one that distinguishes messages.
const RECORD_WORDS: usize = 16;

pub(crate) trait Case {
    /// Prepares `count` runs, unmeasured.
    fn prepare(&mut self, _count: usize) {}
    /// Runs `count` times.
    fn run(&mut self, count: usize);
}

impl<F: FnMut(usize)> Case for F {
    fn run(&mut self, count: usize) {
        self(count);
    }
}

type Make = fn() -> Box<dyn Case>;

/// Every case: its name, and how it is set up.
pub(crate) const CASES: &[(&str, Make)] = &[
    ("request floor, known", || Box::new(FloorRequests::new(false))),
    ("request floor, new", || Box::new(FloorRequests::new(true))),
    ("request, known", || Box::new(Requests::new(Request::attributes, false))),
    ("request, new", || Box::new(Requests::new(Request::attributes, true))),
    ("request, known, no condition shared", || Box::new(Requests::varied(false))),
    ("request, new, no condition shared", || Box::new(Requests::varied(true))),
    ("request, new, segments of its own", || Box::new(Requests::new(Request::own_attributes, true))),
    ("request, known, no report keys", || Box::new(Requests::new(Request::plain_attributes, false))),
    ("request, new, no report keys", || Box::new(Requests::new(Request::plain_attributes, true))),
    ("context with report keys", || known_contexts(Request::attributes)),
    ("context without report keys", || known_contexts(Request::plain_attributes)),
    ("floor cached", || floor(|floor, key, visitor| floor.cached(key, visitor))),
    ("floor loaded", || floor(|floor, key, visitor| floor.loaded(key, visitor))),
    ("floor without lookup", || floor(|floor, _, visitor| floor.prepared(black_box(ASKED), visitor))),
    ("bare send", || Box::new(Sends::new())),
    ("evaluation by key", || {
        evaluation(|context, key, quiet| context.run_experience_with(key, quiet).is_ok())
    }),
    ("evaluation by handle", || {
        let handle = ExperienceHandle::new(experience_key(ASKED));
        each_visitor(move |context, quiet| context.run_experience_with(black_box(&handle), quiet).is_ok())
    }),
    ("decide_many, a visitor", decide_many),
    ("evaluation remembered", || evaluation(|context, key, _| context.run_experience(key).is_ok())),
    ("context", || context_and(|_, _| true)),
    ("context and evaluation", || {
        context_and(|context, quiet| context.run_experience_with("checkout-experiment-0042", quiet).is_ok())
    }),
    ("first exposure", || Box::new(FirstExposures::new())),
    ("first exposure, not remembered", || Box::new(FirstExposures::forgotten())),
    ("conversion", || Box::new(Conversions::new())),
    ("config, plain structs", || {
        Box::new(Parses { json: project(CONFIG_EXPERIENCES, 2), parsed: Vec::new() })
    }),
    ("config, snapshot", || Box::new(Starts { json: project(CONFIG_EXPERIENCES, 2), cores: Vec::new() })),
    ("100 evaluations by key", || {
        let keys: Vec<String> = (0..EXPERIENCES).map(experience_key).collect();
        each_visitor(move |context, quiet| {
            keys.iter().filter(|key| context.run_experience_with(black_box(key), quiet).is_ok()).count() > 0
        })
    }),
    ("run_experiences over 100", || {
        each_visitor(|context, quiet| !context.run_experiences_with(quiet).is_empty())
    }),
    ("evaluation of the feature's experience", || {
        let key = experience_key(0);
        each_visitor(move |context, quiet| context.run_experience_with(black_box(&key), quiet).is_ok())
    }),
    ("evaluation among 10", || grown(10, 2)),
    ("evaluation among 10,000", || grown(10_000, 2)),
    ("evaluation of 10 rules", || grown(100, 10)),
    ("evaluation of 100 rules", || grown(100, 100)),
    ("context, 50,000 visitors remembered", remembering),
    ("feature with five variables", || {
        each_visitor(|context, quiet| {
            context.run_feature_with(black_box("checkout-form"), quiet).is_ok_and(|feature| {
                black_box((feature.boolean("sticky"), feature.integer("steps"), feature.float("discount")));
                black_box((feature.string("title"), feature.variable("methods")));
                true
            })
        })
    }),
];

pub(crate) fn floor_visitors() -> Vec<Visitor> {
    (0..VISITORS).map(|n| Visitor { id: visitor_id(n), plan: "pro".to_owned(), age: 30.0 }).collect()
}

fn floor(mut decide: impl FnMut(&mut Floor, &str, &Visitor) -> Option<usize> + 'static) -> Box<dyn Case> {
    let cell = Arc::new(ArcSwap::from_pointee(Config::new(EXPERIENCES)));
    let mut floor = Floor::new(&cell);
    let (visitors, key) = (floor_visitors(), experience_key(ASKED));
    Box::new(move |count: usize| {
        for visitor in visitors.iter().cycle().take(count) {
            black_box(decide(&mut floor, black_box(&key), visitor));
        }
    })
}

fn shop() -> Core {
    core(project(EXPERIENCES, 2))
}

fn contexts(core: &Core) -> Vec<Context> {
    (0..VISITORS).map(|n| context(core, &visitor_id(n))).collect()
}

fn each_visitor(mut work: impl FnMut(&Context, &RunOptions) -> bool + 'static) -> Box<dyn Case> {
    let core = shop();
    let (contexts, quiet) = (contexts(&core), quiet());
    Box::new(move |count: usize| {
        for context in contexts.iter().cycle().take(count) {
            assert!(work(context, &quiet));
        }
    })
}

fn evaluation(mut work: impl FnMut(&Context, &str, &RunOptions) -> bool + 'static) -> Box<dyn Case> {
    let key = experience_key(ASKED);
    each_visitor(move |context, quiet| work(context, black_box(&key), quiet))
}

/// Evaluations by key in a config of a different size.
fn grown(experiences: usize, rules: usize) -> Box<dyn Case> {
    let (core, quiet, key) = (core(project(experiences, rules)), quiet(), experience_key(experiences / 2));
    let contexts = contexts(&core);
    Box::new(move |count: usize| {
        for context in contexts.iter().cycle().take(count) {
            assert!(context.run_experience_with(black_box(&key), &quiet).is_ok());
        }
    })
}

/// Contexts beside many visitors with a decision.
fn remembering() -> Box<dyn Case> {
    let (core, key) = (shop(), experience_key(ASKED));
    let storing = RunOptions::new().enable_tracking(false);
    for n in 0..50_000 {
        assert!(context(&core, &visitor_id(VISITORS + n)).run_experience_with(&key, &storing).is_ok());
    }
    let ids: Vec<String> = (0..VISITORS).map(visitor_id).collect();
    Box::new(move |count: usize| {
        for id in ids.iter().cycle().take(count) {
            black_box(context(&core, black_box(id)));
        }
    })
}

fn decide_many() -> Box<dyn Case> {
    let (core, quiet, attributes) = (shop(), quiet(), attributes());
    let handle = ExperienceHandle::new(experience_key(ASKED));
    let ids: Vec<String> = (0..VISITORS).map(visitor_id).collect();
    Box::new(move |count: usize| {
        let Some(config) = core.current_config() else { return };
        let mut results = Vec::with_capacity(count);
        let visitors = ids.iter().cycle().take(count).map(|id| (id, &attributes));
        core.decide_many(&config, &handle, visitors, &quiet, &mut results);
        assert!(black_box(results).iter().all(Result::is_ok));
    })
}

fn context_and(mut work: impl FnMut(&Context, &RunOptions) -> bool + 'static) -> Box<dyn Case> {
    let (core, quiet) = (shop(), quiet());
    let ids: Vec<String> = (0..VISITORS).map(visitor_id).collect();
    Box::new(move |count: usize| {
        for id in ids.iter().cycle().take(count) {
            let Ok(context) = core.create_context(black_box(id), attributes()) else { continue };
            assert!(work(&context, &quiet));
        }
    })
}

/// Evaluations in contexts without decisions, for new visitors.
struct FirstExposures {
    core: Core,
    options: RunOptions,
    key: String,
    fresh: Vec<Context>,
    visitors: usize,
}

impl FirstExposures {
    fn new() -> Self {
        let (core, options) = (shop(), RunOptions::new());
        Self { core, options, key: experience_key(ASKED), fresh: Vec::new(), visitors: 0 }
    }

    fn forgotten() -> Self {
        Self { options: RunOptions::new().enable_storage(false), ..Self::new() }
    }
}

impl Case for FirstExposures {
    fn prepare(&mut self, count: usize) {
        // Earlier records are out of the way.
        self.core.flush(Duration::from_secs(60)).ok();
        let new = self.visitors..self.visitors + count;
        self.visitors = new.end;
        self.fresh = new.map(|n| context(&self.core, &visitor_id(n))).collect();
    }

    fn run(&mut self, count: usize) {
        for context in &self.fresh[..count] {
            assert!(context.run_experience_with(black_box(&self.key), &self.options).is_ok());
        }
    }
}

/// First conversions of visitors with one decision.
struct Conversions {
    core: Core,
    fresh: Vec<Context>,
    visitors: usize,
}

impl Conversions {
    fn new() -> Self {
        Self { core: shop(), fresh: Vec::new(), visitors: 0 }
    }
}

impl Case for Conversions {
    fn prepare(&mut self, count: usize) {
        // Earlier records are out of the way.
        self.core.flush(Duration::from_secs(60)).ok();
        let (key, storing) = (experience_key(ASKED), RunOptions::new().enable_tracking(false));
        let new = self.visitors..self.visitors + count;
        self.visitors = new.end;
        let decided = |id: String| {
            assert!(context(&self.core, &id).run_experience_with(&key, &storing).is_ok());
            // A later one, which has looked the visitor up in memory.
            context(&self.core, &id)
        };
        self.fresh = new.map(visitor_id).map(decided).collect();
    }

    fn run(&mut self, count: usize) {
        for context in &self.fresh[..count] {
            assert!(context.track_conversion(black_box("purchase")).tracked());
        }
    }
}

/// Contexts of visitors with a remembered decision, from owned data.
fn known_contexts(attributes: fn(&Request) -> Attributes) -> Box<dyn Case> {
    let (core, key) = (shop(), experience_key(ASKED));
    let requests: Vec<Request> = (0..VISITORS).map(Request::of).collect();
    let storing = RunOptions::new().enable_tracking(false);
    let context = move |request: &Request| core.create_context(&request.id, attributes(request)).ok();
    for request in &requests {
        let context = context(request);
        assert!(context.is_some_and(|it| it.run_experience_with(&key, &storing).is_ok()));
    }
    Box::new(move |count: usize| {
        for request in requests.iter().cycle().take(count) {
            assert!(black_box(context(black_box(request))).is_some());
        }
    })
}

/// The visitors: the same ones over and over, or a new one each time.
struct Askers {
    requests: Vec<Request>,
    new: bool,
    visitors: usize,
}

impl Askers {
    fn new(new: bool) -> Self {
        Self { requests: (0..VISITORS).map(Request::of).collect(), new, visitors: VISITORS }
    }

    fn prepare(&mut self, count: usize) {
        if self.new {
            let next = self.visitors..self.visitors + count;
            self.visitors = next.end;
            self.requests = next.map(Request::of).collect();
        }
    }

    fn take(&self, count: usize) -> impl Iterator<Item = &Request> {
        self.requests.iter().cycle().take(count)
    }
}

/// Whole requests.
struct Requests {
    core: Core,
    keys: [String; ASKED_FOR],
    attributes: fn(&Request) -> Attributes,
    askers: Askers,
}

impl Requests {
    fn new(attributes: fn(&Request) -> Attributes, new: bool) -> Self {
        Self::to(shop(), attributes, new)
    }

    fn varied(new: bool) -> Self {
        Self::to(core(varied_project(EXPERIENCES, 2)), Request::attributes, new)
    }

    fn to(core: Core, attributes: fn(&Request) -> Attributes, new: bool) -> Self {
        let (keys, askers) = (asked_keys(), Askers::new(new));
        assert!(askers.take(VISITORS).all(|it| request(&core, it, attributes, &keys)));
        Self { core, keys, attributes, askers }
    }
}

impl Case for Requests {
    fn prepare(&mut self, count: usize) {
        self.core.flush(Duration::from_secs(60)).ok();
        self.askers.prepare(count);
    }

    fn run(&mut self, count: usize) {
        for it in self.askers.take(count) {
            assert!(request(&self.core, black_box(it), self.attributes, &self.keys));
        }
    }
}

/// Whole requests to the floor.
struct FloorRequests {
    floor: RequestFloor,
    keys: [String; ASKED_FOR],
    askers: Askers,
}

impl FloorRequests {
    fn new(new: bool) -> Self {
        let (floor, records) = RequestFloor::new(EXPERIENCES);
        std::thread::spawn(move || {
            for record in records {
                black_box(record);
            }
        });
        let (keys, askers) = (asked_keys(), Askers::new(new));
        assert!(askers.take(VISITORS).all(|it| floor.request(it, &keys)));
        Self { floor, keys, askers }
    }
}

impl Case for FloorRequests {
    fn prepare(&mut self, count: usize) {
        self.floor.drain();
        self.askers.prepare(count);
    }

    fn run(&mut self, count: usize) {
        for it in self.askers.take(count) {
            assert!(self.floor.request(black_box(it), &self.keys));
        }
    }
}

/// A config from its text to plain structs, which are dropped later.
struct Parses {
    json: String,
    parsed: Vec<plain::Config>,
}

impl Case for Parses {
    fn prepare(&mut self, _: usize) {
        self.parsed.clear();
    }

    fn run(&mut self, count: usize) {
        self.parsed.extend((0..count).filter_map(|_| plain::parse(black_box(&self.json))));
        assert_eq!(self.parsed.len(), count);
    }
}

/// A config from its text to a ready core.
struct Starts {
    json: String,
    cores: Vec<Core>,
}

impl Case for Starts {
    fn prepare(&mut self, count: usize) {
        self.cores = (0..count).map(|_| unready(self.json.clone())).collect();
    }

    fn run(&mut self, count: usize) {
        assert!(self.cores.iter().take(count).all(|core| core.initialize().is_ok()));
    }
}

/// Messages of a record's size into a bounded channel whose receiver takes them one by one.
struct Sends {
    sender: Sender<Message>,
}

enum Message {
    Record([u64; RECORD_WORDS]),
    Drained(Sender<()>),
}

impl Sends {
    fn new() -> Self {
        let (sender, receiver) = bounded(1 << 20);
        std::thread::spawn(move || {
            for message in receiver {
                match message {
                    Message::Record(words) => drop(black_box(words)),
                    Message::Drained(reply) => drop(reply.send(())),
                }
            }
        });
        Self { sender }
    }
}

impl Case for Sends {
    fn prepare(&mut self, _: usize) {
        let (reply, drained) = bounded(1);
        assert!(self.sender.send(Message::Drained(reply)).is_ok());
        assert!(drained.recv().is_ok());
    }

    fn run(&mut self, count: usize) {
        for n in 0..count {
            assert!(self.sender.try_send(Message::Record(black_box([n as u64; RECORD_WORDS]))).is_ok());
        }
    }
}
