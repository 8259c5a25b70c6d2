//! A simulated world: processes that record, flush, fork and close, lanes that finish in any order, an
//! endpoint and a data store that fail in any way, and a clock that moves only when told to.

use std::sync::Arc;
use std::time::Duration;

use super::Bug;
use super::choices::Choices;
use super::judge::Judge;
use super::process::{Offer, Process, calls_of};
use super::server::{Answer, Server};
use super::store::{SimulatedStore, TIMEOUT, Way};
use crate::engine::Moment;
use crate::options::{DeliveryConfig, OverflowPolicy};

/// What may happen in a run.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) batch_size: usize,
    pub(super) auto_flush_interval: Option<Duration>,
    pub(super) delivery: DeliveryConfig,
    /// At the start.
    pub(super) processes: usize,
    /// Whether they share a data store, and with it their visitors.
    pub(super) store: bool,
    /// The most times each thing may happen.
    pub(super) records: usize,
    pub(super) flushes: usize,
    /// How long a flush may take, and whether it is limited to one attempt.
    pub(super) flush_ways: Vec<(Duration, bool)>,
    pub(super) closes: usize,
    pub(super) forks: usize,
    pub(super) faults: usize,
    pub(super) store_faults: usize,
    pub(super) advances: usize,
    pub(super) visitors: Visitors,
    /// The faults that may occur.
    pub(super) answers: Vec<Answer>,
    pub(super) bug: Option<Bug>,
}

/// Which visitors are recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Visitors {
    /// A new one each time.
    New,
    /// Always the same one.
    One,
    /// Most are new, some return, some have long names, and some are refused by the endpoint.
    Many,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Act {
    Record,
    /// The tracker's thread wakes up and checks its inbox.
    Poll,
    /// It receives a delivery's outcome, the store's answer, or another request.
    Hear,
    /// A delivery ends.
    End(usize),
    /// The store actor takes its requests.
    Ask,
    /// A call to the store ends.
    EndStore(usize),
    Flush,
    /// Time moves to when the tracker wants to be called.
    Advance,
    /// Time moves to when the store actor wants to be called.
    AdvanceStore,
    Fork,
    Close,
    /// The last handle is dropped.
    Abandon,
}

pub(super) struct World<'a, C> {
    choices: &'a mut C,
    scope: Scope,
    server: Arc<Server>,
    store: Option<Arc<SimulatedStore>>,
    judge: Judge,
    processes: Vec<Process>,
    now: Moment,
    next_visitor: usize,
    /// Requests that are still to be answered with a 401.
    gone: usize,
    /// How calls to the store end when everything winds down.
    store_way: Way,
    pub(super) outcome: Tally,
}

/// What a run has done, for the tests of the simulation itself.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) recorded: u64,
    pub(super) delivered: u64,
    pub(super) deduplicated: u64,
    pub(super) dropped: u64,
    pub(super) faults: u64,
    pub(super) store_faults: u64,
    /// Records that the endpoint has accepted more than once.
    pub(super) twice: u64,
    pub(super) flushes: u64,
    pub(super) forks: u64,
    /// Dropped records that were recorded again at the end and delivered.
    pub(super) again: u64,
}

impl Tally {
    pub(super) const fn add(&mut self, run: Self) {
        self.recorded += run.recorded;
        self.delivered += run.delivered;
        self.deduplicated += run.deduplicated;
        self.dropped += run.dropped;
        self.faults += run.faults;
        self.store_faults += run.store_faults;
        self.twice += run.twice;
        self.flushes += run.flushes;
        self.forks += run.forks;
        self.again += run.again;
    }
}

impl<'a, C: Choices> World<'a, C> {
    pub(super) fn new(choices: &'a mut C, scope: Scope) -> Self {
        let now = Moment::default();
        let store = scope.store.then(|| SimulatedStore::new(now));
        let judge = Judge::new(&scope.delivery, store.clone());
        let mut world = Self {
            choices,
            server: Server::new(),
            store,
            judge,
            processes: Vec::new(),
            now,
            next_visitor: 0,
            gone: 0,
            store_way: Way::Works,
            outcome: Tally::default(),
            scope,
        };
        (0..world.scope.processes).for_each(|_| world.add_process());
        world
    }

    fn add_process(&mut self) {
        let number = self.processes.len();
        self.judge.add_process();
        self.processes.push(Process::new(number, &self.scope, &self.server, self.store.as_ref()));
    }

    /// Runs random steps until no more are allowed, then lets the endpoint recover and everything end.
    pub(super) fn run(mut self, steps: usize) -> Tally {
        for _ in 0..steps {
            let acts = self.acts();
            if acts.is_empty() {
                break;
            }
            let (process, act) = self.choices.pick(&acts);
            self.act(process, act);
        }
        self.end();
        self.outcome
    }

    fn acts(&self) -> Vec<(usize, Act)> {
        let mut acts = Vec::new();
        for (at, process) in self.processes.iter().enumerate() {
            let mut may = |yes: bool, act| acts.extend(yes.then_some((at, act)));
            let (open, advances) = (process.is_open(), self.scope.advances > 0);
            may(open && self.scope.records > 0, Act::Record);
            may(process.has_records(), Act::Poll);
            may(process.has_messages(), Act::Hear);
            (0..process.lanes.len()).for_each(|lane| may(true, Act::End(lane)));
            may(process.has_store_commands(), Act::Ask);
            (0..process.store_calls()).for_each(|lane| may(true, Act::EndStore(lane)));
            may(open && self.scope.flushes > 0, Act::Flush);
            may(advances && process.wake_at().is_some(), Act::Advance);
            may(advances && process.store_wake_at().is_some(), Act::AdvanceStore);
            may(open && self.scope.forks > 0, Act::Fork);
            may(open && self.scope.closes > 0, Act::Close);
            may(open && self.scope.closes > 0, Act::Abandon);
        }
        acts
    }

    fn act(&mut self, at: usize, act: Act) {
        let Self { processes, judge, choices, now, .. } = self;
        match act {
            Act::Record => {
                self.scope.records -= 1;
                self.record(at);
            }
            Act::Poll => processes[at].poll(judge, *now),
            Act::Hear => processes[at].hear(*choices, judge, *now),
            Act::End(lane) => {
                let answer = self.answer();
                self.end_delivery(at, lane, answer);
            }
            Act::Ask => processes[at].turn_store(*now),
            Act::EndStore(lane) => {
                let is_done = self.processes[at].is_done_in_store(lane);
                let way = if is_done { Way::Works } else { self.store_way() };
                self.processes[at].end_store_call(lane, way, self.now);
                if way == Way::Late {
                    self.now += TIMEOUT;
                    self.processes[at].turn_store(self.now);
                }
            }
            Act::Flush => {
                self.scope.flushes -= 1;
                self.outcome.flushes += 1;
                let (timeout, single_attempt) = choices.pick(&self.scope.flush_ways);
                processes[at].flush(*now + timeout, single_attempt, judge);
            }
            Act::Advance => {
                self.scope.advances -= 1;
                *now = processes[at].wake_at().unwrap_or(*now).max(*now);
                processes[at].poll(judge, *now);
            }
            Act::AdvanceStore => {
                self.scope.advances -= 1;
                *now = processes[at].store_wake_at().unwrap_or(*now).max(*now);
                processes[at].turn_store(*now);
            }
            Act::Fork => {
                self.scope.forks -= 1;
                self.outcome.forks += 1;
                self.add_process();
            }
            Act::Close => {
                self.scope.closes -= 1;
                processes[at].close();
            }
            Act::Abandon => {
                self.scope.closes -= 1;
                processes[at].abandon(judge, *now);
            }
        }
        for process in &mut self.processes {
            process.check(&mut self.judge, self.now);
        }
    }

    fn record(&mut self, at: usize) {
        let many = self.scope.visitors == Visitors::Many;
        let first = self.next_visitor == 0;
        let again = match self.scope.visitors {
            Visitors::New => false,
            Visitors::One => !first,
            Visitors::Many => !first && self.choices.once_in(6),
        };
        let visitor = if again { self.choices.below(self.next_visitor) } else { self.next_visitor };
        self.next_visitor += usize::from(!again);
        let asks = !many || self.choices.once_in(2);
        let culprit = many && visitor % 8 == 5;
        let (name, class) = (self.name(at, visitor), visitor % 3);
        let offer = Offer { visitor: &name, class, culprit, asks };
        self.processes[at].record(offer, &mut self.judge, self.now);
    }

    /// The id of a visitor, known to other processes only through a data store.
    fn name(&self, process: usize, visitor: usize) -> String {
        let process = if self.scope.store { 0 } else { process };
        let is_long = self.scope.visitors == Visitors::Many && visitor % 8 > 5;
        format!("{process}-{visitor}{}", "x".repeat(if is_long { 300 } else { 0 }))
    }

    fn answer(&mut self) -> Answer {
        if self.gone > 0 {
            self.gone -= 1;
            return Answer::Gone;
        }
        if self.scope.faults == 0 {
            return Answer::OK;
        }
        let answer = self.choices.pick(&self.scope.answers);
        if answer != Answer::OK {
            self.scope.faults -= 1;
            self.outcome.faults += 1;
        }
        if answer == Answer::Gone {
            self.gone = self.choices.below(4);
        }
        answer
    }

    fn store_way(&mut self) -> Way {
        const WAYS: [Way; 9] = [
            Way::Works,
            Way::Works,
            Way::Works,
            Way::Works,
            Way::Works,
            Way::Fails,
            Way::FallsShort,
            Way::Late,
            Way::Hangs,
        ];
        if self.scope.store_faults == 0 {
            return Way::Works;
        }
        let way = self.choices.pick(&WAYS);
        if way != Way::Works {
            self.scope.store_faults -= 1;
            self.outcome.store_faults += 1;
        }
        way
    }

    fn end_delivery(&mut self, at: usize, lane: usize, answer: Answer) {
        let process = &mut self.processes[at];
        let refuses = calls_of(&process.lanes[lane]).any(|call| self.judge.is_culprit(call));
        let answer = if refuses { answer.for_a_culprit() } else { answer };
        process.end_delivery(lane, answer, &self.server, &mut self.judge);
    }

    /// From now on the endpoint and the store work, except for calls that hang: every process still open gets
    /// everything delivered, and what was dropped before can be recorded again.
    fn end(&mut self) {
        (self.scope.faults, self.scope.store_faults, self.gone) = (0, 0, 0);
        (0..self.processes.len()).for_each(|at| self.drain(at));
        if self.scope.store {
            // What earlier processes dropped, a later one can deliver.
            self.add_process();
        }
        for at in 0..self.processes.len() {
            for visitor in 0..self.next_visitor {
                self.record_again(at, visitor);
            }
        }
        if self.scope.store {
            self.store_way = Way::Fails;
            (0..self.processes.len()).for_each(|at| self.repeat(at));
        }
        for (at, process) in self.processes.iter().enumerate() {
            let stats = process.stats(self.now);
            assert!(stats.pending == 0 || !process.has_ended(), "{at}: {stats:?}");
            self.outcome.recorded += stats.recorded;
            self.outcome.delivered += stats.delivered;
            self.outcome.deduplicated += stats.deduplicated;
            self.outcome.dropped += stats.dropped.total();
        }
        self.outcome.twice = self.judge.twice;
    }

    /// Runs a process until nothing is pending or in flight.
    fn drain(&mut self, at: usize) {
        for round in 0.. {
            let Self { processes, judge, choices, now, .. } = self;
            let process = &mut processes[at];
            assert!(round < 300, "process {at} does not come to rest: {:?}", process.stats(*now));
            process.turn_store(*now);
            while process.store_calls() > 0 {
                process.end_store_call(0, self.store_way, *now);
                process.turn_store(*now);
            }
            while process.has_messages() && round < 200 {
                let before = process.stats(*now);
                process.hear(*choices, judge, *now);
                if process.stats(*now) == before {
                    break;
                }
            }
            process.poll(judge, *now);
            process.check(judge, *now);
            let at_work = process.has_store_commands() || process.store_calls() > 0;
            let is_done = if process.is_open() {
                process.has_no_flush() && process.stats(*now).pending == 0
            } else {
                process.has_ended()
            };
            if is_done && !at_work && process.lanes.is_empty() && !process.has_messages() {
                return;
            }
            if process.is_open() && process.has_no_flush() && process.stats(*now).pending > 0 {
                let deadline = *now + Duration::from_secs(1_000);
                process.flush(deadline, false, judge);
            }
            let wakes = [process.wake_at(), process.store_wake_at()].into_iter().flatten().min();
            if process.lanes.is_empty()
                && !at_work
                && !process.has_messages()
                && let Some(later) = wakes
            {
                *now = later.max(*now);
            }
            while !self.processes[at].lanes.is_empty() {
                self.end_delivery(at, 0, Answer::OK);
            }
        }
    }

    /// Some visitors with records delivered by a process record there once more; the judge knows that this is
    /// a repetition, whatever the store answers.
    fn repeat(&mut self, at: usize) {
        let names = (0..self.next_visitor).map(|visitor| (visitor, self.name(at, visitor)));
        let known = names.filter(|(_, name)| self.judge.is_delivered_by(at, name)).take(3);
        for (visitor, name) in known.collect::<Vec<_>>() {
            if self.processes[at].is_open() {
                let offer = Offer { visitor: &name, class: visitor % 3, culprit: false, asks: true };
                self.processes[at].record(offer, &mut self.judge, self.now);
                self.drain(at);
            }
        }
    }

    /// A visitor whose records were all dropped records once more, and again if the endpoint has asked for a
    /// wait longer than a record's lifetime.
    fn record_again(&mut self, at: usize, visitor: usize) {
        let name = self.name(at, visitor);
        let fits = name.len() < 256 || self.scope.delivery.max_queued_bytes > 1_000;
        for _ in 0..4 {
            if !self.processes[at].is_open() || !self.judge.is_owed(&name) {
                return;
            }
            // The endpoint now accepts what it refused before.
            let offer = Offer { visitor: &name, class: visitor % 3, culprit: false, asks: true };
            let before = self.processes[at].stats(self.now).dropped.expired;
            let call = self.processes[at].record(offer, &mut self.judge, self.now);
            assert_eq!(self.judge.is_accepted(call), fits, "{name} finds an empty channel");
            if !fits {
                return;
            }
            self.drain(at);
            if self.judge.is_taken(call) {
                self.outcome.again += 1;
                return;
            }
            let stats = self.processes[at].stats(self.now);
            let excused = stats.dropped.expired != before || self.judge.is_excused(call);
            assert!(excused, "{name} is not delivered: {stats:?}");
        }
        assert!(!self.judge.is_owed(&name), "{name} is not delivered");
    }
}

/// A random scope.
pub(super) fn random_scope(choices: &mut impl Choices, bug: Option<Bug>) -> Scope {
    let seconds = |seconds: usize| Duration::from_secs(seconds as u64);
    let delivery = DeliveryConfig::builder()
        .queue_capacity(1 + choices.below(20))
        .max_queued_bytes([200, 1_500, 1 << 20][choices.below(3)])
        .max_pending_records(1 + choices.below(30))
        .max_pending_bytes([2_000, 1 << 20][choices.below(2)])
        .overflow(choices.pick(&[
            OverflowPolicy::EvictLeastValuable,
            OverflowPolicy::EvictLeastValuable,
            OverflowPolicy::DropNewest,
            OverflowPolicy::Wait(Duration::ZERO),
        ]))
        .max_request_events(1 + choices.below(8))
        .max_request_bytes([500, 1 << 20][choices.below(2)])
        .lanes(1 + choices.below(3))
        .max_age(seconds([30, 86_400][choices.below(2)]))
        .backoff_ceiling(seconds(1 + choices.below(60)))
        .breaker_threshold(1 + u32::try_from(choices.below(4)).unwrap())
        .build()
        .unwrap();
    Scope {
        batch_size: 1 + choices.below(6),
        auto_flush_interval: choices.once_in(2).then(|| seconds(1 + choices.below(10))),
        delivery,
        processes: 1,
        store: choices.once_in(2),
        records: 10 + choices.below(60),
        flushes: choices.below(6),
        flush_ways: vec![
            (seconds(0), false),
            (seconds(1), false),
            (seconds(5), false),
            (seconds(60), false),
            (seconds(60), true),
        ],
        closes: usize::from(choices.once_in(3)),
        forks: choices.below(3),
        faults: choices.below(20),
        store_faults: choices.below(12),
        advances: choices.below(20),
        visitors: Visitors::Many,
        answers: vec![
            Answer::OK,
            Answer::OK,
            Answer::Status(500, None),
            Answer::Status(503, Some(7)),
            Answer::Status(503, Some(0)),
            Answer::Status(429, Some(100_000)),
            Answer::Status(408, None),
            Answer::Status(413, None),
            Answer::Gone,
            Answer::Refused,
            Answer::LostUnheard,
            Answer::TakenUnheard,
        ],
        bug,
    }
}
