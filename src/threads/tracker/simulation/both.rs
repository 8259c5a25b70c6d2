//! The same inputs for a tracker on a thread and one driven by turns, with a network that answers at once.

use std::sync::Arc;
use std::time::Duration;

use super::choices::{Choices, Seeded};
use super::frames::BUDGETS;
use super::judge::Judge;
use super::process::{Offer, Process, calls_of};
use super::pumped::{Hand, Pumped};
use super::scope::{Scope, random_scope};
use super::server::{Answer, Server};
use crate::engine::{Moment, Stats};
use crate::options::OverflowPolicy;

const INPUTS: usize = 60;

#[derive(Clone, Copy)]
enum Input {
    /// The visitor.
    Record(usize),
    Flush,
    Pass(Duration),
}

/// Takes the inputs, and works off what follows from them.
trait Driver {
    fn input(&mut self, input: Input);
    fn work(&mut self);
    fn close(&mut self) -> Stats;
}

/// What both end with. `at_once`: each input is processed before the next.
pub(super) fn ledgers(seed: u64, at_once: bool) -> (Stats, Stats) {
    let mut choices = Seeded(seed);
    let mut scope = random_scope(&mut choices, None);
    (scope.store, scope.outbox) = (false, false);
    if !at_once {
        // What overflows or expires depends on when it is looked at.
        scope.delivery.max_age = Duration::from_secs(86_400);
        scope.delivery.queue_capacity = INPUTS;
        scope.delivery.max_pending_records = INPUTS;
        (scope.delivery.max_queued_bytes, scope.delivery.max_pending_bytes) = (1 << 20, 1 << 20);
    }
    if scope.delivery.overflow != OverflowPolicy::DropNewest {
        scope.delivery.overflow = OverflowPolicy::EvictLeastValuable;
    }
    let slice = 1 + choices.below(4);
    let mut thread = Thread::new(scope.clone());
    let mut frames = Frames::new(Scope { slice: Some(slice), ..scope }, Seeded(seed + 1));
    let mut new = 0;
    for _ in 0..INPUTS {
        let input = match choices.below(8) {
            0 => Input::Flush,
            1 => Input::Pass(Duration::from_millis(choices.below(20_000) as u64)),
            // One that was refused is not a repetition once that is known.
            2 if new > 0 && (at_once || (new - 1) % 8 != 5) => Input::Record(new - 1),
            _ => {
                new += 1;
                Input::Record(new - 1)
            }
        };
        for driver in [&mut thread as &mut dyn Driver, &mut frames] {
            driver.input(input);
            if at_once || choices.once_in(3) {
                driver.work();
            }
        }
    }
    (thread.close(), frames.close())
}

fn offer(visitor: usize, name: &str) -> Offer<'_> {
    Offer { visitor: name, class: visitor % 3, culprit: visitor % 8 == 5, asks: false }
}

struct Thread {
    process: Process,
    server: Arc<Server>,
    judge: Judge,
    now: Moment,
}

impl Thread {
    fn new(scope: Scope) -> Self {
        let (server, mut judge) = (Server::new(), Judge::new(&scope.delivery, None));
        judge.add_process();
        let process = Process::new(0, &scope, &server, None, None);
        Self { process, server, judge, now: Moment::default() }
    }
}

impl Driver for Thread {
    fn input(&mut self, input: Input) {
        match input {
            Input::Record(visitor) => {
                let name = visitor.to_string();
                self.process.record(offer(visitor, &name), &mut self.judge, self.now);
            }
            Input::Flush => {
                self.process.flush(self.now + Duration::from_secs(1_000), false, &self.judge);
            }
            Input::Pass(time) => {
                let until = self.now + time;
                while let Some(due) = self.process.wake_at().filter(|due| *due <= until) {
                    self.now = due.max(self.now);
                    self.work();
                }
                self.now = until;
            }
        }
    }

    fn work(&mut self) {
        let Self { process, server, judge, now } = self;
        loop {
            while process.has_messages() {
                process.hear(&mut Seeded(0), judge, *now);
            }
            process.poll(judge, *now);
            // In the order in which they began.
            process.lanes.reverse();
            while let Some(delivery) = process.lanes.last() {
                let refused = calls_of(delivery).any(|call| judge.is_culprit(call));
                let answer = if refused { Answer::OK.for_a_culprit() } else { Answer::OK };
                process.end_delivery(process.lanes.len() - 1, answer, server, judge);
            }
            if !process.has_messages() && !process.has_work(*now) {
                process.check(judge, *now);
                return;
            }
        }
    }

    fn close(&mut self) -> Stats {
        self.input(Input::Flush);
        self.work();
        self.process.close();
        self.work();
        assert!(self.process.has_ended());
        self.process.stats(self.now)
    }
}

/// A loop whose clock moves between frames only.
struct Frames {
    process: Pumped,
    judge: Judge,
    hand: Hand,
    choices: Seeded,
}

impl Frames {
    fn new(scope: Scope, choices: Seeded) -> Self {
        let (hand, mut judge) = (Hand::default(), Judge::new(&scope.delivery, None));
        judge.add_process();
        Self { process: Pumped::new(0, &scope, &hand), judge, hand, choices }
    }

    /// Gives turns while there is work; returns when there is some again.
    fn rest(&mut self) -> Option<Duration> {
        let Self { process, judge, choices, .. } = self;
        loop {
            let report = process.turn(choices.pick(&BUDGETS), judge);
            process.take_requests();
            let answers = process.out.len();
            (0..answers).for_each(|_| process.answer(0, Answer::OK, judge));
            if !report.work_left && answers == 0 {
                process.check(judge);
                return report.next_due;
            }
        }
    }
}

impl Driver for Frames {
    fn input(&mut self, input: Input) {
        match input {
            Input::Record(visitor) => {
                let name = visitor.to_string();
                self.process.record(offer(visitor, &name), &mut self.judge);
            }
            Input::Flush => self.process.flush(Duration::from_secs(1_000), false, &self.judge),
            Input::Pass(mut time) => {
                while let Some(due) = self.rest().filter(|due| *due <= time) {
                    self.hand.advance(due);
                    time -= due;
                }
                self.hand.advance(time);
            }
        }
    }

    fn work(&mut self) {
        self.rest();
    }

    fn close(&mut self) -> Stats {
        self.input(Input::Flush);
        self.work();
        self.process.close();
        self.work();
        assert!(self.process.has_ended());
        self.process.stats()
    }
}
