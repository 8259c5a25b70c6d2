//! A server's whole request: the visitor from owned data, three decisions, one conversion; and, hand-written, the least
//! that it can cost.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use arc_swap::ArcSwap;
use convert_sdk::{Attributes, Core, attributes};
use crossbeam_channel::{Receiver, Sender, bounded};

use super::floor::Config;
use super::project::{ASKED, experience_key};

/// The number of experiences that a request runs.
pub(crate) const ASKED_FOR: usize = 3;
pub(crate) const GOAL: &str = "purchase";
const SHARDS: usize = 16;

/// The data of a request.
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) country: String,
    pub(crate) age: u32,
    pub(crate) browser: String,
    pub(crate) plan: String,
    pub(crate) beta: bool,
}

impl Request {
    pub(crate) fn of(visitor: usize) -> Self {
        Self {
            id: format!("visitor-{visitor:08}"),
            country: "GR".to_owned(),
            age: 30,
            browser: "firefox".to_owned(),
            plan: "pro".to_owned(),
            beta: true,
        }
    }

    /// With two report keys, as most visitors have.
    pub(crate) fn attributes(&self) -> Attributes {
        self.attributes_with(&self.browser)
    }

    /// With segments that no other visitor has.
    pub(crate) fn own_attributes(&self) -> Attributes {
        self.attributes_with(&self.id)
    }

    #[inline(always)]
    fn attributes_with(&self, browser: &str) -> Attributes {
        attributes! {
            "country" => &self.country, "age" => self.age, "browser" => browser,
            "plan" => &self.plan, "beta" => self.beta,
        }
    }

    /// As many, none of them a report key.
    pub(crate) fn plain_attributes(&self) -> Attributes {
        attributes! {
            "country_code" => &self.country, "age" => self.age, "user_agent" => &self.browser,
            "plan" => &self.plan, "beta" => self.beta,
        }
    }
}

pub(crate) fn asked_keys() -> [String; ASKED_FOR] {
    std::array::from_fn(|at| experience_key(ASKED + at))
}

/// One request to the SDK; returns whether everything had a result.
pub(crate) fn request(
    core: &Core,
    request: &Request,
    attributes: fn(&Request) -> Attributes,
    keys: &[String; ASKED_FOR],
) -> bool {
    let Ok(visitor) = core.create_context(&request.id, attributes(request)) else { return false };
    let decided = keys.iter().all(|key| visitor.run_experience(black_box(key)).is_ok());
    decided && visitor.track_conversion(black_box(GOAL)).tracked()
}

/// The attributes that the floor uses.
struct Facts<'a> {
    id: &'a str,
    age: f64,
    plan: &'a str,
    rest: (&'a str, &'a str, bool),
}

type VisitorId = [u8; 16];
type Decided = [(u32, u32); ASKED_FOR];

/// As large as an SDK record on its way to the tracker.
type Message = (VisitorId, [u64; 14]);

/// A hand-written request: one snapshot, a struct of attributes, a sharded table of remembered visitors, one hash of
/// the id, and a message for whatever is new.
pub(crate) struct RequestFloor {
    cell: Arc<ArcSwap<Config>>,
    hashes: RandomState,
    shards: [Mutex<HashMap<VisitorId, Decided, RandomState>>; SHARDS],
    records: Sender<Message>,
}

impl RequestFloor {
    /// The receiver takes the messages one by one.
    pub(crate) fn new(experiments: usize) -> (Self, Receiver<Message>) {
        let (records, receiver) = bounded(1 << 20);
        let floor = Self {
            cell: Arc::new(ArcSwap::from_pointee(Config::new(experiments))),
            hashes: RandomState::with_seeds(1, 2, 3, 4),
            shards: std::array::from_fn(|_| {
                Mutex::new(HashMap::with_hasher(RandomState::with_seeds(5, 6, 7, 8)))
            }),
            records,
        };
        (floor, receiver)
    }

    /// Waits until every message is received.
    pub(crate) fn drain(&self) {
        while !self.records.is_empty() {
            std::thread::yield_now();
        }
    }

    /// One request; returns whether everything had a result.
    pub(crate) fn request(&self, request: &Request, keys: &[String; ASKED_FOR]) -> bool {
        let config = self.cell.load();
        let facts = black_box(Facts {
            id: &request.id,
            age: f64::from(request.age),
            plan: &request.plan,
            rest: (&request.country, &request.browser, request.beta),
        });
        let Some(id) = facts.id.as_bytes().first_chunk().copied() else { return false };
        #[expect(clippy::cast_possible_truncation, reason = "a shard by the lower bits")]
        let shard = &self.shards[self.hashes.hash_one(id) as usize % SHARDS];
        let lock = || shard.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&id).copied();
        let mut decided = Decided::default();
        for (at, key) in keys.iter().enumerate() {
            let Some((position, experiment)) = config.find_at(black_box(key)) else { return false };
            if !experiment.admits(facts.plan, facts.age) {
                return false;
            }
            let remembered = known.and_then(|known| known.iter().find(|it| it.0 == position).copied());
            decided[at] = remembered.unwrap_or_else(|| {
                let variation = u32::from(experiment.bucketed(facts.id) > 0);
                (position, variation)
            });
            if remembered.is_none() && self.records.try_send((id, [u64::from(position); 14])).is_err() {
                return false;
            }
        }
        if known.is_none() {
            lock().insert(id, decided);
        }
        black_box(facts.rest);
        self.records.try_send((id, [decided[0].0.into(); 14])).is_ok()
    }
}
