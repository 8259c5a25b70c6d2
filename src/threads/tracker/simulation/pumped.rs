//! One simulated process driven by turns: the real turns and the real exchange of requests, without a `Pump`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, SystemTime};

use super::Bug;
use super::judge::Judge;
use super::process::{Offer, deliveries_of_all, settings};
use super::scope::Scope;
use super::server::{Answer, Seen, calls};
use crate::caught::PanicGuard;
use crate::engine::{FlushReport, FlushRequest, Ledger, Moment, Pending, ReleaseReason, Stats, question};
use crate::http::BATCH_ID;
use crate::options::TransportConfig;
use crate::ports::TransportError;
use crate::threads::clock::{Clock, HostClock};
use crate::threads::{Notifier, TrackerHandle};
use crate::turns::{self, Begun, Handover, PumpReport, RequestId, Turns};

/// A clock that moves when told to, and this many nanoseconds with each look.
#[derive(Clone, Default)]
pub(super) struct Hand {
    time: Arc<AtomicU64>,
    tick: u64,
}

impl Hand {
    pub(super) fn ticking(tick: u64) -> Self {
        Self { tick, ..Self::default() }
    }

    pub(super) fn advance(&self, by: Duration) {
        self.time.fetch_add(u64::try_from(by.as_nanos()).unwrap(), Ordering::Relaxed);
    }
}

impl HostClock for Hand {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.time.fetch_add(self.tick, Ordering::Relaxed))
    }

    fn time_of_day(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

pub(super) struct Pumped {
    number: usize,
    clock: Clock,
    tracker: TrackerHandle,
    /// `None` after the drop of its pump.
    turns: Option<Turns>,
    handover: Arc<Handover>,
    /// Requests that the application has, by their age.
    pub(super) out: Vec<Carried>,
    /// Answers that no turn has handled yet.
    answered: VecDeque<(Carried, Answer)>,
    /// Numbers of requests that are over, and of those that are the parent's.
    pub(super) over: Vec<RequestId>,
    flushes: Vec<Ticket>,
    /// When the last turn began that left nothing to do.
    rested_at: Option<Moment>,
    closing: bool,
    interrupted: bool,
    bug: Option<Bug>,
}

/// A request on its way, and the calls whose records are in it.
pub(super) struct Carried {
    id: RequestId,
    deadline: Moment,
    calls: Vec<usize>,
    seen: Seen,
    /// The endpoint has taken it, and nobody will hear of it.
    unheard: bool,
}

/// A flush awaiting its answer.
struct Ticket {
    report: Pending<FlushReport>,
    deadline: Moment,
    single_attempt: bool,
    next_call: usize,
    acknowledged: u64,
}

impl Pumped {
    pub(super) fn new(number: usize, scope: &Scope, hand: &Hand) -> Self {
        let clock = Clock::Given(Arc::new(hand.clone()));
        let network = TransportConfig::builder().build().unwrap();
        let make = |notifier, handover| Turns::new(clock.clone(), network, notifier, handover);
        Self::with(number, scope, clock.clone(), make)
    }

    fn with(
        number: usize,
        scope: &Scope,
        clock: Clock,
        turns: impl FnOnce(Arc<Notifier>, Arc<Handover>) -> Turns,
    ) -> Self {
        let notifier = Arc::new(Notifier::threadless(PanicGuard::default()));
        let handover = Arc::<Handover>::default();
        let (tracker, machine) = TrackerHandle::threadless(
            settings(number, scope),
            Arc::clone(&notifier),
            Arc::<Ledger>::default(),
            clock.clone(),
        );
        let machine = machine.in_slices(scope.slice.expect("a pump works in slices"));
        handover.add(Begun::Tracker(Box::new(machine), deliveries_of_all()));
        Self {
            number,
            turns: Some(turns(notifier, Arc::clone(&handover))),
            clock,
            tracker,
            handover,
            out: Vec::new(),
            answered: VecDeque::new(),
            over: Vec::new(),
            flushes: Vec::new(),
            rested_at: None,
            closing: false,
            interrupted: false,
            bug: scope.bug,
        }
    }

    /// A forked child's, to whom the application may bring answers for its parent's requests.
    pub(super) fn fork(&self, number: usize, scope: &Scope, hand: &Hand) -> Self {
        let parents = self.turns.as_ref().filter(|_| self.bug != Some(Bug::SharedNumbers));
        let mut child = match parents {
            Some(parents) => {
                let inherit = |notifier, handover| parents.inherit(notifier, handover);
                Self::with(number, scope, self.clock.clone(), inherit)
            }
            None => Self::new(number, scope, hand),
        };
        child.over = self.over.iter().copied().chain(self.out.iter().map(|carried| carried.id)).collect();
        child
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.now()
    }

    pub(super) fn is_open(&self) -> bool {
        !self.closing && !self.has_ended()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    pub(super) fn has_turns(&self) -> bool {
        self.turns.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.tracker.tracker.has_ended()
    }

    pub(super) fn has_no_flush(&self) -> bool {
        self.flushes.is_empty()
    }

    pub(super) fn stats(&self) -> Stats {
        self.tracker.stats()
    }

    pub(super) fn record(&mut self, offer: Offer<'_>, judge: &mut Judge) -> usize {
        offer.made(self.number, &self.tracker.mailbox, judge, self.now())
    }

    pub(super) fn flush(&mut self, timeout: Duration, single_attempt: bool, judge: &Judge) {
        let ((reply, report), deadline) = (question(), self.now() + timeout);
        let request = FlushRequest { reason: ReleaseReason::Explicit, deadline, single_attempt, reply };
        self.tracker.mailbox.flushes.try_send(request).expect("space for a flush");
        let (next_call, acknowledged) = (judge.next_call(), judge.acknowledged(self.number));
        self.flushes.push(Ticket { report, deadline, single_attempt, next_call, acknowledged });
    }

    pub(super) fn close(&mut self) {
        self.tracker.stop();
        self.closing = true;
    }

    /// As a close does whose time is over.
    pub(super) fn interrupt(&mut self) {
        self.handover.interrupt();
        self.interrupted = true;
    }

    /// Drops the pump.
    pub(super) fn abandon(&mut self) {
        self.close();
        self.turns.take().into_iter().for_each(Turns::end);
        self.out.clear();
        self.answered.clear();
    }

    /// A turn; what it says that it has done and left is held against what is known.
    pub(super) fn turn(&mut self, budget: Duration, judge: &mut Judge) -> PumpReport {
        let is_over = self.has_ended();
        let Some(turns) = &mut self.turns else { return PumpReport::default() };
        let begun = self.clock.now();
        let mut report = turns.turn(budget);
        if self.bug == Some(Bug::EarlyStop) && budget.is_zero() {
            (report.work_left, report.next_due) = (false, None);
        }
        for _ in 0..if is_over { 0 } else { report.requests_ended } {
            self.conclude(judge);
        }
        if !report.work_left && !self.has_ended() {
            let stats = self.stats();
            assert!(self.answered.is_empty(), "a turn leaves answers and does not say so");
            assert_eq!(stats.pending_places.in_channel, 0, "a turn leaves records and does not say so");
            self.rested_at = Some(begun);
        }
        report
    }

    /// The tracker has learned of the next request's end, in the order in which the answers were given; then of
    /// those whose time is over.
    fn conclude(&mut self, judge: &mut Judge) {
        let Some((carried, answer)) = self.answered.pop_front() else {
            if !self.interrupted {
                let carried = self.out.remove(0);
                assert!(carried.deadline <= self.clock.now(), "a request ends before its time limit");
                self.over.push(carried.id);
            }
            return;
        };
        if answer.is_success() {
            carried.calls.iter().for_each(|call| judge.acknowledge(self.number, *call));
        }
        if let (Answer::Status(status @ (400 | 413), _), [call]) = (answer, &carried.calls[..]) {
            judge.refuse_alone(self.number, *call, status == 413);
        }
    }

    /// The application takes what there is to carry.
    pub(super) fn take_requests(&mut self) {
        while let Some(request) = self.turns.as_mut().and_then(|turns| turns.next_request(|_| true)) {
            let mut calls: Vec<usize> = calls(&request.body).into_keys().collect();
            calls.sort_unstable();
            let deadline = self.clock.now() + request.timeout;
            let id = request.headers.iter().find(|(name, _)| name == BATCH_ID);
            let seen = Seen { id: id.map(|(_, id)| id.clone()), body: request.body };
            self.out.push(Carried { id: request.id, deadline, calls, seen, unheard: false });
        }
    }

    /// The application brings what became of a request.
    pub(super) fn answer(&mut self, at: usize, answer: Answer, judge: &mut Judge) {
        let Some(turns) = &mut self.turns else { return };
        let is_culprit = self.out[at].calls.iter().any(|call| judge.is_culprit(*call));
        let answer = if is_culprit { answer.for_a_culprit() } else { answer };
        let carried = self.out.remove(at);
        let answer = if carried.unheard { Answer::LostUnheard } else { answer };
        let answer = judge.asked(&carried.seen, answer);
        let waited = turns.answer(carried.id, brought(answer));
        assert!(waited || self.interrupted || carried.deadline <= self.clock.now(), "it is waited for");
        judge.answered(&carried.seen, answer, waited);
        self.over.push(carried.id);
        if waited {
            self.answered.push_back((carried, answer));
        }
    }

    /// The endpoint takes a request that the application will hear of too late, if at all.
    pub(super) fn taken_unheard(&mut self, at: usize, judge: &mut Judge) {
        let carried = &mut self.out[at];
        carried.unheard = true;
        if !carried.calls.iter().any(|call| judge.is_culprit(*call)) {
            let answer = judge.asked(&carried.seen, Answer::TakenUnheard);
            judge.answered(&carried.seen, answer, false);
        }
    }

    /// The application brings an answer for a request that is over.
    pub(super) fn answer_again(&mut self, at: usize) {
        let id = self.over[at];
        let Some(turns) = &mut self.turns else { return };
        if self.bug == Some(Bug::LateAnswer) && !self.out.is_empty() {
            let carried = self.out.remove(0);
            let _ = turns.answer(carried.id, brought(Answer::OK));
            self.answered.push_back((carried, Answer::OK));
            return;
        }
        assert!(!turns.answer(id, brought(Answer::OK)), "{id:?} is over, or the parent's");
    }

    /// What must hold after every step.
    pub(super) fn check(&mut self, judge: &mut Judge) {
        let (stats, now) = (self.stats(), self.now());
        let in_channel = usize::try_from(stats.pending_places.in_channel).unwrap();
        let closing = self.closing || self.has_ended();
        judge.check(self.number, &stats, in_channel, closing, now);
        let mut waiting = Vec::new();
        for ticket in std::mem::take(&mut self.flushes) {
            match ticket.report.try_recv() {
                Ok(report) => self.check_report(&ticket, &report, judge, now),
                Err(TryRecvError::Empty) => {
                    let late = self.rested_at.is_some_and(|rested_at| rested_at > ticket.deadline);
                    assert!(!late, "a flush runs past its deadline: {stats:?}");
                    waiting.push(ticket);
                }
                Err(TryRecvError::Disconnected) => assert!(self.has_ended(), "a flush was never answered"),
            }
        }
        self.flushes = waiting;
    }

    fn check_report(&self, ticket: &Ticket, report: &FlushReport, judge: &Judge, now: Moment) {
        let early = report.pending > 0 && !ticket.single_attempt && now < ticket.deadline;
        assert!(!early || self.closing, "a flush gives up early: {report:?}");
        let delivered = judge.acknowledged(self.number) - ticket.acknowledged;
        assert!(report.delivered <= delivered, "{report:?} claims more than the {delivered} acknowledged");
        assert!(report.stats.is_balanced(), "{report:?}");
        if report.is_complete() && !self.has_ended() {
            let on_the_way = self.out.iter().chain(self.answered.iter().map(|(carried, _)| carried));
            let covered = on_the_way.flat_map(|carried| &carried.calls).any(|call| *call < ticket.next_call);
            assert!(!covered, "a record that it covers is in flight: {report:?}");
        }
    }
}

/// An answer as an application gives it.
fn brought(answer: Answer) -> turns::Answer {
    match answer {
        Answer::Status(status, wait) => {
            let response = turns::Answer::response(status);
            wait.map(|wait| wait.to_string()).iter().fold(response, |it, wait| it.header("Retry-After", wait))
        }
        Answer::TakenFailing => turns::Answer::response(503),
        Answer::Gone => turns::Answer::response(401),
        Answer::Refused => turns::Answer::not_sent(TransportError::Connect),
        Answer::LostUnheard | Answer::TakenUnheard => {
            turns::Answer::lost(TransportError::Timeout("waiting for the answer"))
        }
    }
}
