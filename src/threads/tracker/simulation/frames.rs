//! A simulated application that gives a pump turns with random budgets, and carries its requests badly.

use std::time::Duration;

use super::Bug;
use super::choices::{Choices, Seeded};
use super::judge::Judge;
use super::process::Offer;
use super::pumped::{Hand, Pumped};
use super::scope::{Scope, random_scope};
use super::server::Answer;
use super::world::Tally;
use crate::options::OverflowPolicy;

const STEPS: usize = 800;
/// With each look at the clock a nanosecond passes, so this is about as many steps.
pub(super) const BUDGETS: [Duration; 5] = [
    Duration::ZERO,
    Duration::ZERO,
    Duration::from_nanos(3),
    Duration::from_nanos(40),
    Duration::from_secs(1),
];

/// One thing that happens.
#[derive(Clone, Copy)]
enum Act {
    Record,
    Turn,
    /// The application asks for requests.
    Take,
    Answer(usize),
    /// An answer for a request that is over.
    AnswerAgain(usize),
    /// A request that will not be answered in time is taken.
    Unheard(usize),
    /// Time moves to when the pump wants its next turn.
    Advance,
    Flush,
    Fork,
    Close,
    Interrupt,
    Drop,
}

struct Application {
    choices: Seeded,
    scope: Scope,
    hand: Hand,
    judge: Judge,
    processes: Vec<Pumped>,
    next_visitor: usize,
    outcome: Tally,
}

pub(super) fn run(seed: u64, bug: Option<Bug>) -> Tally {
    let mut choices = Seeded(seed);
    let mut scope = random_scope(&mut choices, bug);
    if scope.delivery.overflow != OverflowPolicy::DropNewest {
        scope.delivery.overflow = OverflowPolicy::EvictLeastValuable;
    }
    // So much that a body is written in several steps.
    if choices.once_in(4) {
        scope.delivery.queue_capacity = 200;
        scope.delivery.max_pending_records = 200;
        scope.delivery.max_request_events = 100;
        (scope.batch_size, scope.records) = (80, 200);
    }
    scope.slice = Some(1 + choices.below(4));
    let judge = Judge::new(&scope.delivery, None);
    let hand = Hand::ticking(1);
    let (processes, outcome) = (Vec::new(), Tally::default());
    let mut application = Application { choices, scope, hand, judge, processes, next_visitor: 0, outcome };
    application.judge.add_process();
    application.processes.push(Pumped::new(0, &application.scope, &application.hand));
    for _ in 0..STEPS {
        let acts = application.acts();
        let (process, act) = application.choices.pick(&acts);
        application.act(process, act);
    }
    application.end()
}

impl Application {
    fn acts(&self) -> Vec<(usize, Act)> {
        let mut acts = Vec::new();
        for (at, process) in self.processes.iter().enumerate() {
            let mut may = |yes: bool, act| acts.extend(yes.then_some((at, act)));
            let open = process.is_open();
            may(true, Act::Turn);
            may(true, Act::Take);
            (0..process.out.len()).for_each(|request| may(true, Act::Answer(request)));
            may(!process.over.is_empty(), Act::AnswerAgain(self.next_visitor % process.over.len().max(1)));
            may(open && self.scope.records > 0, Act::Record);
            may(open && self.scope.records > 0, Act::Record);
            may(open && self.scope.flushes > 0, Act::Flush);
            may(self.scope.advances > 0, Act::Advance);
            may(self.scope.faults > 0 && !process.out.is_empty(), Act::Unheard(0));
            may(open && self.scope.forks > 0, Act::Fork);
            may(open && self.scope.closes > 0, Act::Close);
            may(open && self.scope.closes > 0, Act::Drop);
            may(process.is_closing() && process.has_turns(), Act::Interrupt);
        }
        acts
    }

    fn act(&mut self, at: usize, act: Act) {
        let Self { processes, judge, choices, scope, hand, .. } = self;
        let process = &mut processes[at];
        match act {
            Act::Record => {
                scope.records -= 1;
                self.record(at);
            }
            Act::Turn => _ = process.turn(choices.pick(&BUDGETS), judge),
            Act::Take => process.take_requests(),
            Act::Answer(request) => {
                let is_fault = scope.faults > 0 && choices.once_in(2);
                let answer = if is_fault { choices.pick(&scope.answers) } else { Answer::OK };
                if answer != Answer::OK {
                    scope.faults -= 1;
                    self.outcome.faults += 1;
                }
                process.answer(request, answer, judge);
            }
            Act::AnswerAgain(request) => process.answer_again(request),
            Act::Unheard(request) => {
                scope.faults -= 1;
                self.outcome.faults += 1;
                if choices.once_in(2) {
                    process.taken_unheard(request, judge);
                }
                // Nothing is heard of any of them.
                hand.advance(Duration::from_secs(10));
            }
            Act::Advance => {
                scope.advances -= 1;
                let report = process.turn(Duration::ZERO, judge);
                hand.advance(report.next_due.unwrap_or_default());
            }
            Act::Flush => {
                scope.flushes -= 1;
                self.outcome.flushes += 1;
                let (timeout, single_attempt) = choices.pick(&scope.flush_ways);
                process.flush(timeout, single_attempt, judge);
            }
            Act::Fork => {
                scope.forks -= 1;
                self.outcome.forks += 1;
                judge.add_process();
                let number = processes.len();
                let child = processes[at].fork(number, scope, hand);
                processes.push(child);
            }
            Act::Close => {
                scope.closes -= 1;
                process.close();
            }
            Act::Interrupt => process.interrupt(),
            Act::Drop => {
                scope.closes -= 1;
                process.abandon();
            }
        }
        for process in &mut self.processes {
            process.check(&mut self.judge);
        }
    }

    fn record(&mut self, at: usize) {
        let again = self.next_visitor > 0 && self.choices.once_in(6);
        let visitor = if again { self.choices.below(self.next_visitor) } else { self.next_visitor };
        self.next_visitor += usize::from(!again);
        let (name, asks) = (name(at, visitor), self.choices.once_in(2));
        let offer = Offer { visitor: &name, class: visitor % 3, culprit: visitor % 8 == 5, asks };
        self.processes[at].record(offer, &mut self.judge);
    }

    /// From now on every request is answered: everything comes to rest, and what was dropped can be recorded again.
    fn end(mut self) -> Tally {
        self.scope.faults = 0;
        for at in 0..self.processes.len() {
            self.drain(at);
            for visitor in 0..self.next_visitor {
                self.record_again(at, visitor);
            }
            let (process, stats) = (&self.processes[at], self.processes[at].stats());
            assert!(stats.pending == 0 && (process.is_open() || process.has_ended()), "{at}: {stats:?}");
            self.outcome.recorded += stats.recorded;
            self.outcome.delivered += stats.delivered;
            self.outcome.deduplicated += stats.deduplicated;
            self.outcome.dropped += stats.dropped.total();
        }
        (self.outcome.twice, self.outcome.known) = (self.judge.twice, self.judge.known);
        self.outcome
    }

    /// Gives turns when the pump says that it has something to do, and only then.
    fn drain(&mut self, at: usize) {
        let Self { processes, judge, choices, hand, .. } = self;
        let process = &mut processes[at];
        for round in 0.. {
            assert!(round < 100_000, "process {at} does not come to rest: {:?}", process.stats());
            if process.is_open() && process.has_no_flush() && process.stats().pending > 0 {
                process.flush(Duration::from_secs(1_000), false, judge);
            }
            let report = process.turn(choices.pick(&BUDGETS), judge);
            process.take_requests();
            let answers = process.out.len();
            (0..answers).for_each(|_| process.answer(0, Answer::OK, judge));
            process.check(judge);
            if report.work_left || answers > 0 {
                continue;
            }
            let is_open = process.is_open();
            if if is_open {
                process.stats().pending == 0 && process.has_no_flush()
            } else {
                process.has_ended()
            } {
                return;
            }
            let due = report.next_due.unwrap_or_else(|| panic!("nothing is due: {:?}", process.stats()));
            hand.advance(due);
        }
    }

    /// A visitor whose records were all dropped records once more, and again if the endpoint has asked for a wait longer
    /// than a record's lifetime.
    fn record_again(&mut self, at: usize, visitor: usize) {
        let name = name(at, visitor);
        for _ in 0..4 {
            if !self.processes[at].is_open() || !self.judge.is_owed(&name) {
                return;
            }
            let offer = Offer { visitor: &name, class: visitor % 3, culprit: false, asks: true };
            let before = self.processes[at].stats().dropped.expired;
            let call = self.processes[at].record(offer, &mut self.judge);
            assert!(self.judge.is_accepted(call), "{name} finds an empty channel");
            self.drain(at);
            if self.judge.is_taken(call) {
                self.outcome.again += 1;
                return;
            }
            let stats = self.processes[at].stats();
            assert!(stats.dropped.expired != before, "{name} is not delivered: {stats:?}");
        }
        assert!(!self.judge.is_owed(&name), "{name} is not delivered");
    }
}

fn name(process: usize, visitor: usize) -> String {
    format!("{process}-{visitor}")
}
