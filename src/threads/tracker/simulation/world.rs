//! A simulated world: processes that record, flush, fork and close, lanes that finish in any order, an
//! endpoint and a data store that fail in any way, and a clock that moves only when told to.

use std::sync::Arc;
use std::time::Duration;

use super::choices::Choices;
use super::judge::Judge;
use super::outbox::{DiskWay, SimulatedDisk};
use super::process::{Offer, Process, calls_of};
use super::scope::{Scope, Visitors};
use super::server::{Answer, Server};
use super::store::{SimulatedStore, TIMEOUT, Way};
use crate::engine::Moment;

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
    /// The outbox takes its requests, or goes on.
    Keep,
    Flush,
    /// Time moves to when the tracker wants to be called.
    Advance,
    /// Time moves to when the store actor wants to be called.
    AdvanceStore,
    Fork,
    Close,
    /// The last handle is dropped.
    Abandon,
    /// The process is killed.
    Kill,
}

pub(super) struct World<'a, C> {
    choices: &'a mut C,
    scope: Scope,
    server: Arc<Server>,
    store: Option<Arc<SimulatedStore>>,
    disk: Option<Arc<SimulatedDisk>>,
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
    /// Requests that the endpoint knew by their ids.
    pub(super) known: u64,
    pub(super) flushes: u64,
    pub(super) forks: u64,
    /// Dropped records that were recorded again at the end and delivered.
    pub(super) again: u64,
    pub(super) recovered: u64,
    pub(super) outbox_faults: u64,
    pub(super) kills: u64,
    /// On disk, or in a process that was killed, when the run ended.
    pub(super) pending: u64,
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
        self.known += run.known;
        self.flushes += run.flushes;
        self.forks += run.forks;
        self.again += run.again;
        self.recovered += run.recovered;
        self.outbox_faults += run.outbox_faults;
        self.kills += run.kills;
        self.pending += run.pending;
    }
}

impl<'a, C: Choices> World<'a, C> {
    pub(super) fn new(choices: &'a mut C, scope: Scope) -> Self {
        let now = Moment::default();
        let store = scope.store.then(|| SimulatedStore::new(now));
        let disk = scope.outbox.then(Arc::<SimulatedDisk>::default);
        let judge = Judge::new(&scope.delivery, store.clone());
        let mut world = Self {
            choices,
            server: Server::new(),
            store,
            disk,
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
        let (store, disk) = (self.store.as_ref(), self.disk.as_ref());
        self.processes.push(Process::new(number, &self.scope, &self.server, store, disk));
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
            may(process.has_work(self.now), Act::Poll);
            may(process.has_messages(), Act::Hear);
            (0..process.lanes.len()).for_each(|lane| may(true, Act::End(lane)));
            may(process.has_store_commands(), Act::Ask);
            (0..process.store_calls()).for_each(|lane| may(true, Act::EndStore(lane)));
            may(process.has_outbox_work(), Act::Keep);
            may(open && self.scope.flushes > 0, Act::Flush);
            may(advances && process.wake_at().is_some(), Act::Advance);
            may(advances && process.store_wake_at().is_some(), Act::AdvanceStore);
            may(open && self.scope.forks > 0, Act::Fork);
            may(open && self.scope.closes > 0, Act::Close);
            may(open && self.scope.closes > 0, Act::Abandon);
            let may_die = !self.scope.kills_senders || !process.lanes.is_empty();
            may(process.has_kept() && may_die && self.scope.kills > 0, Act::Kill);
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
            Act::Keep => {
                let way = self.disk_way(at);
                self.processes[at].turn_outbox(way, self.now);
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
            Act::Kill => {
                self.scope.kills -= 1;
                self.outcome.kills += 1;
                // What is in flight may arrive, but nobody hears the answer.
                while !self.processes[at].lanes.is_empty() {
                    let arrives = self.choices.once_in(2);
                    let answer = if arrives { Answer::TakenUnheard } else { Answer::LostUnheard };
                    self.end_delivery(at, 0, answer);
                }
                self.processes[at].kill(&mut self.judge);
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
        // One that is refused when its process is gone would have to be told from one that is lost.
        let culprit = many && visitor % 8 == 5 && !self.scope.outbox;
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

    fn disk_way(&mut self, at: usize) -> DiskWay {
        const WAYS: [DiskWay; 6] =
            [DiskWay::Works, DiskWay::Works, DiskWay::Works, DiskWay::Fails, DiskWay::Hangs, DiskWay::Hangs];
        if self.scope.outbox_faults == 0 || self.processes[at].hangs_in_outbox() {
            return DiskWay::Works;
        }
        let way = self.choices.pick(&WAYS);
        if way != DiskWay::Works {
            self.scope.outbox_faults -= 1;
            self.outcome.outbox_faults += 1;
        }
        way
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
        (self.scope.faults, self.scope.store_faults, self.scope.outbox_faults, self.gone) = (0, 0, 0, 0);
        for at in 0..self.processes.len() {
            self.drain(at);
            // What could not be removed is tried again with the next look for what others have left, which is one of
            // the next things that it wakes for.
            for _ in 0..4 {
                if self.processes[at].is_open() && self.processes[at].has_kept() {
                    self.wait(at);
                    self.drain(at);
                }
            }
            self.processes[at].check_disk(self.now);
        }
        if self.disk.is_some() {
            self.recover();
        }
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
            let pending = stats.pending - stats.pending_places.on_disk;
            assert!(pending == 0 || !process.has_ended() || process.is_killed(), "{at}: {stats:?}");
            self.outcome.pending += stats.pending;
            self.outcome.recovered += stats.recovered;
            self.outcome.recorded += stats.recorded;
            self.outcome.delivered += stats.delivered;
            self.outcome.deduplicated += stats.deduplicated;
            self.outcome.dropped += stats.dropped.total();
        }
        (self.outcome.twice, self.outcome.known) = (self.judge.twice, self.judge.known);
    }

    /// A new process delivers what the others have left behind.
    fn recover(&mut self) {
        self.add_process();
        let (at, disk) = (self.processes.len() - 1, self.disk.clone().expect("a disk"));
        for round in 0.. {
            assert!(round < 100, "not all is recovered: {:?}", self.processes[at].stats(self.now));
            self.drain(at);
            if disk.left_behind().is_empty() {
                break;
            }
            self.wait(at);
        }
        self.judge.check_left();
    }

    /// Until a process wakes by itself.
    fn wait(&mut self, at: usize) {
        self.now = self.processes[at].wake_at().unwrap_or(self.now).max(self.now);
        self.processes[at].poll(&mut self.judge, self.now);
    }

    /// Runs a process until nothing is pending or in flight.
    fn drain(&mut self, at: usize) {
        for round in 0.. {
            let Self { processes, judge, choices, now, .. } = self;
            let process = &mut processes[at];
            assert!(round < 300, "process {at} does not come to rest: {:?}", process.stats(*now));
            while process.has_outbox_work() {
                process.turn_outbox(DiskWay::Works, *now);
            }
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
            let at_work =
                process.has_store_commands() || process.store_calls() > 0 || process.has_outbox_work();
            let is_done = if process.is_open() {
                process.has_no_flush() && process.stats(*now).pending == 0
            } else {
                process.has_ended()
            };
            if is_done && !at_work && process.lanes.is_empty() && !process.has_messages() {
                return;
            }
            // A flush does not ask for what is on disk alone: the next look does.
            let stats = process.stats(*now);
            let is_here = stats.pending > stats.pending_places.on_disk;
            if process.is_open() && process.has_no_flush() && is_here {
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
