//! Runs the state machines in turns of the application's loop: no threads, sockets or waits, and a budget.

mod errands;
mod exchange;
mod request;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::request::{Answer, Request, RequestId};

pub(crate) use self::errands::Errand;
use self::errands::Errands;
use self::exchange::{Exchange, Purpose};
use self::request::{Answered, Response};
use crate::engine::{BodyWriter, Delivery, Moment, Outcome};
use crate::http::{config_answer, config_request, delivery_answer, delivery_request, retry_after_by};
use crate::options::TransportConfig;
use crate::ports::{ConfigResponse, DeliveryFailure, Receipt, TransportError, bounded, shortened};
use crate::threads::{
    Alarms, Caller, Clock, Deliveries, Fetch, Fetches, Notifier, PreviewerTurns, RefresherTurns, Sent,
    TrackerTurns,
};

/// How many records are written into a request's body between two readings of the clock.
const WRITTEN_AT_ONCE: usize = 32;

/// What callers hand over to their process's turns.
#[derive(Default)]
pub(crate) struct Handover {
    /// What calls have begun.
    begun: Mutex<Vec<Begun>>,
    alarms: Arc<Alarms>,
    /// Whether all requests must end now.
    interrupted: AtomicBool,
}

/// A machine and what it needs to make its requests, or an errand.
pub(crate) enum Begun {
    Tracker(Box<TrackerTurns>, Deliveries),
    Refresher(Box<RefresherTurns>),
    Previewer(PreviewerTurns, Box<Fetches>),
    Errand(Errand),
}

/// The machines of one process.
pub(crate) struct Turns {
    clock: Clock,
    transport: TransportConfig,
    notifier: Arc<Notifier>,
    handover: Arc<Handover>,
    tracker: Option<(Box<TrackerTurns>, Deliveries)>,
    refresher: Option<Box<RefresherTurns>>,
    previewer: Option<(PreviewerTurns, Box<Fetches>)>,
    /// Whether a fetch is in progress.
    refreshing: bool,
    previewing: bool,
    /// Deliveries that have begun but are not fully written.
    unwritten: VecDeque<(Delivery, BodyWriter)>,
    exchange: Exchange,
    errands: Errands,
    /// The kind of work to try next, so that none starves the others.
    next: usize,
}

/// The kinds of work. Each step does a small part of one.
#[derive(Clone, Copy)]
enum Work {
    Wake,
    Errand,
    Conclude,
    Refresh,
    Preview,
    Track,
    Free,
    Write,
    Notify,
}

impl Work {
    const ALL: [Self; 9] = [
        Self::Wake,
        Self::Errand,
        Self::Conclude,
        Self::Refresh,
        Self::Preview,
        Self::Track,
        Self::Free,
        Self::Write,
        Self::Notify,
    ];
}

/// What a turn did, and what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PumpReport {
    /// Handlers of lifecycle events that were called.
    pub handlers_run: usize,
    /// Requests that became ready for [`next_request`](crate::pump::Pump::next_request).
    pub requests_started: usize,
    /// Requests that were concluded: answered, timed out or ended by a close.
    pub requests_ended: usize,
    /// Whether there was more to do than the budget allowed. Another turn continues with it.
    pub work_left: bool,
    /// How long until there is work again if nothing else happens; zero if there is work now, `None` if none
    /// is to come. Recording, asking and answering create work sooner.
    pub next_due: Option<Duration>,
}

impl Handover {
    pub(crate) fn add(&self, begun: Begun) {
        self.lock().push(begun);
    }

    /// A caller that waits as a task, woken by a turn.
    pub(crate) fn caller(&self) -> Caller {
        Caller::Turns(Arc::clone(&self.alarms))
    }

    /// Ends all requests, present and future.
    pub(crate) fn interrupt(&self) {
        self.interrupted.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Begun>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    pub(crate) fn new(
        clock: Clock,
        transport: TransportConfig,
        notifier: Arc<Notifier>,
        handover: Arc<Handover>,
    ) -> Self {
        Self {
            clock,
            transport,
            notifier,
            handover,
            tracker: None,
            refresher: None,
            previewer: None,
            refreshing: false,
            previewing: false,
            unwritten: VecDeque::new(),
            exchange: Exchange::default(),
            errands: Errands::default(),
            next: 0,
        }
    }

    /// For a forked child: it has its own machines and none of the parent's requests.
    pub(crate) fn inherit(&self, notifier: Arc<Notifier>, handover: Arc<Handover>) -> Self {
        let own = Self::new(self.clock.clone(), self.transport.clone(), notifier, handover);
        Self { exchange: Exchange::after(&self.exchange), ..own }
    }

    /// Works for about `budget`; if there is work, does at least one step.
    pub(crate) fn turn(&mut self, budget: Duration) -> PumpReport {
        let mut report = PumpReport::default();
        let start = self.clock.now();
        let mut now = start;
        while let Some(work) = self.next_work(now) {
            if now - start > budget / 2 && self.is_large(work) {
                // The next turn begins with it.
                report.work_left = true;
                break;
            }
            self.step(work, now, &mut report);
            now = self.clock.now();
            if now - start >= budget {
                report.work_left = self.next_work(now).is_some();
                break;
            }
        }
        report.next_due =
            if report.work_left { Some(Duration::ZERO) } else { self.next_due().map(|due| due - now) };
        report
    }

    /// Hands out the next request that is `wanted`. Without one the clock is not read.
    pub(crate) fn next_request(&mut self, wanted: impl Fn(&Request) -> bool) -> Option<Request> {
        self.exchange.hand_out(wanted, || self.clock.now())
    }

    pub(crate) fn answer(&mut self, id: RequestId, answer: Answer) -> bool {
        self.exchange.answer(id, answer)
    }

    /// The last turn, after a close: what is left is counted, and whoever waits is told.
    pub(crate) fn end(mut self) {
        self.take_begun();
        (self.tracker, self.refresher, self.previewer) = (None, None, None);
        self.errands.end();
    }

    fn take_begun(&mut self) {
        let mut left = self.handover.lock();
        if left.is_empty() {
            return;
        }
        let begun = std::mem::take(&mut *left);
        drop(left);
        for begun in begun {
            match begun {
                Begun::Tracker(turns, deliveries) => self.tracker = Some((turns, deliveries)),
                Begun::Refresher(turns) => self.refresher = Some(turns),
                Begun::Previewer(turns, fetches) => self.previewer = Some((turns, fetches)),
                Begun::Errand(errand) => self.errands.take(errand),
            }
        }
    }

    /// The kind of the next step, if there is work.
    fn next_work(&mut self, now: Moment) -> Option<Work> {
        // Also what a handler has begun in this turn.
        self.take_begun();
        let (before, from) = Work::ALL.split_at(self.next);
        from.iter().chain(before).copied().find(|work| self.has(*work, now))
    }

    fn has(&self, work: Work, now: Moment) -> bool {
        match work {
            Work::Wake => self.handover.alarms.next().is_some_and(|next| next <= now),
            Work::Errand => self.errands.is_due(),
            Work::Conclude => {
                self.exchange.has_answers()
                    || self.exchange.next_deadline().is_some_and(|deadline| deadline <= now)
                    || self.is_interrupted()
            }
            Work::Refresh => {
                let refresher = self.refresher.as_ref().filter(|_| !self.refreshing);
                refresher.is_some_and(|turns| turns.is_closed() || turns.is_due(now))
            }
            Work::Preview => {
                let previewer = self.previewer.as_ref().filter(|_| !self.previewing);
                previewer.is_some_and(|(turns, _)| turns.is_closed() || turns.is_due())
            }
            Work::Track => self.tracker.as_ref().is_some_and(|(turns, _)| turns.is_due(now)),
            Work::Free => self.tracker.as_ref().is_some_and(|(turns, _)| turns.has_spent()),
            Work::Write => !self.unwritten.is_empty(),
            Work::Notify => self.notifier.is_due(),
        }
    }

    /// Whether the next step of this kind may exceed what is left of a budget by far.
    fn is_large(&self, work: Work) -> bool {
        matches!(work, Work::Track) && self.tracker.as_ref().is_some_and(|(turns, _)| turns.is_next_large())
    }

    fn next_due(&self) -> Option<Moment> {
        let refresh = self.refresher.as_ref().filter(|_| !self.refreshing);
        let tracker = self.tracker.as_ref();
        let moments = [
            self.handover.alarms.next(),
            self.exchange.next_deadline(),
            refresh.and_then(|turns| turns.next()),
            tracker.and_then(|(turns, _)| turns.next()),
        ];
        moments.into_iter().flatten().min()
    }

    fn step(&mut self, work: Work, now: Moment, report: &mut PumpReport) {
        self.next = (work as usize + 1) % Work::ALL.len();
        match work {
            Work::Wake => drop(self.handover.alarms.wake_next(now)),
            Work::Errand => self.errands.poll_next(),
            Work::Conclude => self.conclude_next(now, report),
            Work::Refresh => self.refresh(now, report),
            Work::Preview => self.preview(report),
            Work::Track => {
                if let Some((turns, _)) = &mut self.tracker {
                    turns.turn(now);
                }
                self.begin_deliveries();
            }
            Work::Free => {
                if let Some((turns, _)) = &mut self.tracker {
                    turns.free();
                }
            }
            Work::Write => self.write(now, report),
            Work::Notify => report.handlers_run += self.notifier.call_next(),
        }
    }

    fn is_interrupted(&self) -> bool {
        self.handover.interrupted.load(Ordering::Acquire) && !self.exchange.is_interrupted()
    }

    fn conclude_next(&mut self, now: Moment, report: &mut PumpReport) {
        if self.is_interrupted() {
            self.exchange.interrupt();
            return;
        }
        let Some((purpose, answered)) = self.exchange.next_ended(now) else { return };
        report.requests_ended += 1;
        match purpose {
            Purpose::Config { conditional, timer } => {
                self.refreshing = false;
                let response = self.config(answered, conditional);
                let Some(turns) = &mut self.refresher else { return };
                let fetch = turns.answered(turns.fetches.config(response, timer));
                self.fetch(fetch, report);
            }
            Purpose::Preview(wanted) => {
                self.previewing = false;
                let response = self.config(answered, false);
                let Some((turns, fetches)) = &self.previewer else { return };
                turns.answered(wanted, fetches.experience(response));
            }
            Purpose::Delivery(sent) => {
                let result = self.receipt(answered);
                self.delivered(sent.ended(result), now);
            }
        }
    }

    fn delivered(&mut self, outcome: Outcome, now: Moment) {
        if let Some((turns, _)) = &mut self.tracker {
            turns.ended(outcome, now);
        }
        self.begin_deliveries();
    }

    /// Prepares to write the bodies of the deliveries that the machine has started.
    fn begin_deliveries(&mut self) {
        let Some((turns, deliveries)) = &self.tracker else { return };
        while let Some(delivery) = turns.next_delivery() {
            let writer = deliveries.envelope.writer(delivery.records.len());
            self.unwritten.push_back((delivery, writer));
        }
        if turns.has_ended() {
            // Whatever is in flight is already counted, and there is nobody left to notify.
            self.tracker = None;
            self.unwritten.clear();
        }
    }

    fn write(&mut self, now: Moment, report: &mut PumpReport) {
        let Some((delivery, writer)) = self.unwritten.front_mut() else { return };
        if !writer.write(&delivery.records, WRITTEN_AT_ONCE) {
            return;
        }
        let Some((delivery, writer)) = self.unwritten.pop_front() else { return };
        let Some((_, deliveries)) = &self.tracker else { return };
        let (body, left_out) = writer.finish();
        let (route_key, id) = (deliveries.route_key(), delivery.id.map(|id| id.to_string()));
        let batch = deliveries.batch(&delivery, &route_key, id.as_deref(), &body);
        let (asked, sent) =
            (delivery_request(&self.transport, &batch), Sent::new(delivery, &batch, left_out));
        match asked {
            Ok(asked) => {
                let purpose = Purpose::Delivery(sent);
                report.requests_started += usize::from(self.exchange.begin("POST", &asked, body, purpose));
            }
            Err(error) => self.delivered(sent.ended(Err(DeliveryFailure::NotSent(error))), now),
        }
    }

    fn refresh(&mut self, now: Moment, report: &mut PumpReport) {
        let Some(turns) = &mut self.refresher else { return };
        if turns.is_closed() {
            self.refresher = None;
            return;
        }
        let (fetch, _) = turns.turn(now);
        self.fetch(fetch, report);
    }

    fn fetch(&mut self, fetch: Option<Fetch>, report: &mut PumpReport) {
        let (Some(Fetch(etag)), Some(turns)) = (fetch, &self.refresher) else { return };
        let asked = config_request(&self.transport, &turns.fetches.request(etag.as_deref()), None);
        let purpose = Purpose::Config { conditional: etag.is_some(), timer: Fetches::timer() };
        report.requests_started += usize::from(self.exchange.begin("GET", &asked, Vec::new(), purpose));
        self.refreshing = true;
    }

    fn preview(&mut self, report: &mut PumpReport) {
        let Some((turns, fetches)) = &self.previewer else { return };
        if turns.is_closed() {
            self.previewer = None;
            return;
        }
        let Some(wanted) = turns.next() else { return };
        let asked = config_request(&self.transport, &fetches.request(None), Some(&wanted.id));
        let purpose = Purpose::Preview(wanted);
        report.requests_started += usize::from(self.exchange.begin("GET", &asked, Vec::new(), purpose));
        self.previewing = true;
    }

    fn config(&self, answered: Answered, conditional: bool) -> Result<ConfigResponse, TransportError> {
        match answered {
            Answered::Response(Response { status, etag, body, .. }) => {
                let response = config_answer(status, conditional, || Ok((body, etag)))?;
                bounded(response, self.transport.max_response_bytes)
            }
            Answered::NotSent(error) | Answered::Lost(error) => Err(shortened(error)),
        }
    }

    fn receipt(&self, answered: Answered) -> Result<Receipt, DeliveryFailure> {
        match answered {
            Answered::Response(Response { status, retry_after, date, .. }) => {
                let now = || self.clock.wall();
                let wait = retry_after.and_then(|value| retry_after_by(&value, date.as_deref(), now));
                delivery_answer(status, wait)
            }
            Answered::NotSent(error) => Err(DeliveryFailure::NotSent(shortened(error))),
            Answered::Lost(error) => Err(DeliveryFailure::Unknown(shortened(error))),
        }
    }
}
