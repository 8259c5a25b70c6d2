//! A simulated world: processes that record, flush, fork and close, lanes that end in any order, an
//! endpoint that fails in any way, and a clock that only moves when told to.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::Bug;
use super::choices::Choices;
use super::process::Process;
use super::server::{Answer, Server};
use crate::flush::FlushLimit;
use crate::options::{DeliveryConfig, OverflowPolicy};

/// What may happen in a run.
#[derive(Clone)]
pub(super) struct Scope {
    pub(super) batch_size: usize,
    pub(super) auto_flush_interval: Option<Duration>,
    pub(super) delivery: DeliveryConfig,
    /// How often each thing may happen at most.
    pub(super) records: usize,
    pub(super) flushes: usize,
    /// How long a flush may go on, and whether it is for one attempt.
    pub(super) flush_ways: Vec<(Duration, bool)>,
    pub(super) closes: usize,
    pub(super) forks: usize,
    pub(super) faults: usize,
    pub(super) advances: usize,
    pub(super) repetitions: bool,
    /// The faults there are.
    pub(super) answers: Vec<Answer>,
    pub(super) bug: Option<Bug>,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
enum Act {
    Record,
    /// The tracker's thread wakes up and looks at its inbox.
    Poll,
    /// It is told that a delivery has ended, or what else was asked.
    Hear,
    /// A delivery ends.
    End(usize),
    Flush,
    /// The time moves to where the tracker wants to be called.
    Advance,
    Fork,
    Close,
    /// The last handle is dropped.
    Abandon,
}

pub(super) struct World<'a, C> {
    choices: &'a mut C,
    scope: Scope,
    server: Arc<Server>,
    processes: Vec<Process>,
    now: Instant,
    next_visitor: usize,
    unknown: HashMap<String, usize>,
    pub(super) outcome: Tally,
}

/// What a run has done, for the tests of the test.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) recorded: u64,
    pub(super) delivered: u64,
    pub(super) deduplicated: u64,
    pub(super) dropped: u64,
    pub(super) faults: u64,
    /// Events that the endpoint has taken more than once.
    pub(super) twice: u64,
    pub(super) flushes: u64,
    pub(super) forks: u64,
}

impl Tally {
    pub(super) const fn add(&mut self, run: Self) {
        self.recorded += run.recorded;
        self.delivered += run.delivered;
        self.deduplicated += run.deduplicated;
        self.dropped += run.dropped;
        self.faults += run.faults;
        self.twice += run.twice;
        self.flushes += run.flushes;
        self.forks += run.forks;
    }
}

impl<'a, C: Choices> World<'a, C> {
    pub(super) fn new(choices: &'a mut C, scope: Scope) -> Self {
        let server = Server::new();
        let first = Process::new(0, &scope, &server);
        let (now, processes) = (Instant::now(), vec![first]);
        let (unknown, outcome) = (HashMap::new(), Tally::default());
        Self { choices, scope, server, processes, now, next_visitor: 0, unknown, outcome }
    }

    /// Lets things happen until nothing more may, then lets the endpoint work and everything end.
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
            let open = process.is_open();
            may(open && self.scope.records > 0, Act::Record);
            may(process.has_records(), Act::Poll);
            may(process.has_messages(), Act::Hear);
            (0..process.lanes.len()).for_each(|lane| may(true, Act::End(lane)));
            may(open && self.scope.flushes > 0, Act::Flush);
            may(self.scope.advances > 0 && process.wake_at().is_some(), Act::Advance);
            may(open && self.scope.forks > 0, Act::Fork);
            may(open && self.scope.closes > 0, Act::Close);
            may(open && self.scope.closes > 0, Act::Abandon);
        }
        acts
    }

    fn act(&mut self, at: usize, act: Act) {
        let (now, wall) = (self.now, SystemTime::UNIX_EPOCH);
        match act {
            Act::Record => {
                self.scope.records -= 1;
                let repeats = self.scope.repetitions && self.next_visitor > 0 && self.choices.once_in(6);
                let visitor = if repeats { self.choices.below(self.next_visitor) } else { self.next_visitor };
                self.next_visitor += usize::from(!repeats);
                self.processes[at].record(visitor);
            }
            Act::Poll => self.processes[at].poll(now, wall),
            Act::Hear => {
                let outcome_first = !self.processes[at].has_a_choice() || self.choices.once_in(2);
                self.processes[at].hear(outcome_first, now, wall);
            }
            Act::End(lane) => {
                let answer = self.answer();
                self.finish_delivery(at, lane, answer);
            }
            Act::Flush => {
                self.scope.flushes -= 1;
                self.outcome.flushes += 1;
                let ways = self.scope.flush_ways.clone();
                let (timeout, single_attempt) = self.choices.pick(&ways);
                let limit = FlushLimit { deadline: now + timeout, single_attempt };
                self.processes[at].flush(limit);
            }
            Act::Advance => {
                self.scope.advances -= 1;
                self.now = self.processes[at].wake_at().unwrap_or(now).max(now);
                let now = self.now;
                self.processes[at].poll(now, wall);
            }
            Act::Fork => {
                self.scope.forks -= 1;
                self.outcome.forks += 1;
                let generation = self.processes.len();
                self.processes.push(Process::new(generation, &self.scope, &self.server));
            }
            Act::Close => {
                self.scope.closes -= 1;
                self.processes[at].close();
            }
            Act::Abandon => {
                self.scope.closes -= 1;
                self.processes[at].abandon(now, wall);
            }
        }
        for process in &mut self.processes {
            process.check(self.now);
        }
    }

    fn answer(&mut self) -> Answer {
        if self.scope.faults == 0 {
            return Answer::OK;
        }
        let answers = self.scope.answers.clone();
        let answer = self.choices.pick(&answers);
        if answer != Answer::OK {
            self.scope.faults -= 1;
            self.outcome.faults += 1;
        }
        answer
    }

    fn finish_delivery(&mut self, at: usize, lane: usize, answer: Answer) {
        for visitor in self.processes[at].end_delivery(lane, answer, &self.server) {
            let unknown = self.unknown.entry(visitor.clone()).or_default();
            let taken = self.server.taken(&visitor);
            assert!(taken <= 1 + *unknown, "{visitor} was taken {taken} times, {unknown} answers were lost");
            *unknown += usize::from(answer.is_unknown());
        }
    }

    /// The endpoint works from now on: every process that is still open gets everything delivered.
    fn end(&mut self) {
        self.scope.faults = 0;
        let wall = SystemTime::UNIX_EPOCH;
        for at in 0..self.processes.len() {
            for round in 0.. {
                assert!(
                    round < 200,
                    "process {at} does not come to an end: {:?}",
                    self.processes[at].stats(self.now)
                );
                if self.processes[at].is_open() && self.processes[at].has_no_flush() {
                    if self.processes[at].stats(self.now).pending == 0 {
                        break;
                    }
                    let deadline = self.now + Duration::from_secs(1_000);
                    self.processes[at].flush(FlushLimit { deadline, single_attempt: false });
                }
                if !self.processes[at].is_open() && self.processes[at].has_ended() {
                    break;
                }
                if self.processes[at].lanes.is_empty()
                    && let Some(later) = self.processes[at].wake_at()
                {
                    self.now = self.now.max(later);
                }
                while !self.processes[at].lanes.is_empty() {
                    self.finish_delivery(at, 0, Answer::OK);
                }
                self.processes[at].hear(true, self.now, wall);
                self.processes[at].poll(self.now, wall);
                self.processes[at].check(self.now);
            }
            self.account(at);
        }
    }

    /// Every event of a process was delivered or is counted.
    fn account(&mut self, at: usize) {
        let stats = self.processes[at].stats(self.now);
        let process = &self.processes[at];
        assert!(stats.is_balanced() && stats.pending == 0, "{stats:?}");
        if matches!(self.scope.delivery.overflow, OverflowPolicy::Wait(_)) {
            assert_eq!(stats.dropped.overflow.total(), 0, "where callers wait, what is kept stays");
        }
        let mut recorded = HashSet::new();
        for visitor in process.visitors() {
            recorded.insert(visitor.clone());
            let taken = self.server.taken(&visitor);
            let acknowledged = process.is_acknowledged(&visitor);
            assert!(taken > 0 || !acknowledged, "{visitor} is said to be delivered and is not");
            self.outcome.twice += taken.saturating_sub(1) as u64;
        }
        self.outcome.recorded += stats.recorded;
        self.outcome.delivered += stats.delivered;
        self.outcome.deduplicated += stats.deduplicated;
        self.outcome.dropped += stats.dropped.total();
        let repetitions = process.offers() - recorded.len() as u64;
        assert!(stats.deduplicated <= repetitions, "{stats:?}");
    }
}

/// A random scope.
pub(super) fn random_scope(choices: &mut impl Choices, bug: Option<Bug>) -> Scope {
    let seconds = |seconds: usize| Duration::from_secs(seconds as u64);
    let delivery = DeliveryConfig::builder()
        .queue_capacity(1 + choices.below(20))
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
        advances: choices.below(20),
        repetitions: true,
        answers: vec![
            Answer::OK,
            Answer::OK,
            Answer::Status(500, None),
            Answer::Status(503, Some(7)),
            Answer::Status(503, Some(0)),
            Answer::Status(429, Some(100_000)),
            Answer::Status(408, None),
            Answer::Status(413, None),
            Answer::Status(400, None),
            Answer::Status(401, None),
            Answer::Refused,
            Answer::LostUnheard,
            Answer::TakenUnheard,
        ],
        bug,
    }
}
