//! The tracker: finds repetitions, keeps what is accepted, decides when to deliver, keeps the account.

mod flushes;
mod machine;
#[cfg(feature = "async")]
mod tasks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, at, bounded, never, select};

pub(crate) use machine::{Tracker, TrackerSettings};

use super::Notifier;
use super::flusher::{Delivery, Flusher, FlusherHandle, Outcome};
use super::reply::Reply;
use super::thread::Worker;
use super::wait::Wakers;
use crate::error::StartError;
use crate::events::LifecycleEvent;
use crate::flush::FlushReport;
use crate::tracking::{Ledger, Refused, ReleaseReason, Stats, TrackedEvent};

/// Records taken from the inbox between two looks at everything else.
const RECORDS_A_TURN: usize = 256;
/// Commands other than records that may wait.
const COMMANDS: usize = 64;

/// The way to the tracker. The last one dropped ends the thread.
pub(crate) struct TrackerHandle {
    records: Sender<Record>,
    commands: Sender<TrackerCommand>,
    /// Tasks that wait for room among the commands.
    #[cfg_attr(not(feature = "async"), expect(dead_code, reason = "no task waits without the feature"))]
    room: Arc<Wakers>,
    /// Keeps what a racing caller still sends after the end countable.
    remains: Receiver<Record>,
    closed: AtomicBool,
    ledger: Arc<Ledger>,
    workers: [Worker; 2],
}

/// A record, and who waits for the tracker's verdict on it.
pub(crate) struct Record {
    event: TrackedEvent,
    verdict: Option<Reply<Verdict>>,
}

/// What the tracker can be asked besides taking a record.
pub(crate) enum TrackerCommand {
    /// Deliver every record sent so far and report.
    Flush(ReleaseReason, Reply<FlushReport>),
    /// Write the visitor state that waits to the data store.
    Persist,
    /// End after the delivery at hand and report what is left.
    Close(Reply<Stats>),
}

/// Whether a record was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Repeated,
}

/// Everything that can happen to the tracker.
enum Event {
    Record(Record),
    Command(TrackerCommand),
    Ended(Outcome),
    Tick,
    Abandoned,
}

/// What is to be done after a step, when the ledger shows what the step did.
pub(crate) enum Effect {
    Deliver(Delivery),
    Notify(LifecycleEvent),
    Report(Reply<FlushReport>, FlushReport),
    Judge(Reply<Verdict>, Verdict),
}

impl TrackerHandle {
    /// Starts the tracker and its flusher.
    pub(crate) fn start(
        settings: TrackerSettings,
        flusher: Flusher,
        notifier: Arc<Notifier>,
        ledger: Arc<Ledger>,
    ) -> Result<Self, StartError> {
        let (records, inbox) = bounded(settings.capacity.get());
        let (commands, control) = bounded(COMMANDS);
        let (outcomes_in, outcomes) = bounded(1);
        let (flusher, flusher_worker) = FlusherHandle::start(flusher, outcomes_in)?;
        let remains = inbox.clone();
        let room = Arc::<Wakers>::default();
        let thread = TrackerThread {
            inbox,
            control,
            room: Arc::clone(&room),
            outcomes,
            flusher,
            notifier,
            ledger: Arc::clone(&ledger),
        };
        let worker = Worker::start("convert-tracker", move || {
            thread.run(Tracker::new(settings));
        })?;
        let closed = AtomicBool::new(false);
        Ok(Self { records, commands, room, remains, closed, ledger, workers: [worker, flusher_worker] })
    }

    /// Hands a record over without waiting; what is refused is counted.
    pub(crate) fn record(&self, event: TrackedEvent) -> Result<(), Refused> {
        self.offer(Record { event, verdict: None })
    }

    /// Hands a record over and waits for the tracker's verdict; `None` where the deadline passed. A
    /// record that the tracker's end left behind is counted there.
    pub(crate) fn confirm(&self, event: TrackedEvent, deadline: Instant) -> Result<Option<Verdict>, Refused> {
        let (reply, verdict) = bounded(1);
        self.offer(Record { event, verdict: Some(reply.into()) })?;
        match self.workers[0].answer(&verdict, deadline) {
            Ok(verdict) => Ok(Some(verdict)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Refused::Closed),
        }
    }

    /// Asks for delivery of every record sent so far; `None` where the deadline passed, or the
    /// tracker ended, before the answer.
    pub(crate) fn flush(&self, reason: ReleaseReason, deadline: Instant) -> Option<FlushReport> {
        let (reply, report) = bounded(1);
        self.commands.send_deadline(TrackerCommand::Flush(reason, reply.into()), deadline).ok()?;
        self.workers[0].answer(&report, deadline).ok()
    }

    /// Tells the tracker that visitor state waits. With no room for that there are other commands
    /// at hand, and it looks for waiting state after each.
    pub(crate) fn persist(&self) {
        let _ = self.commands.try_send(TrackerCommand::Persist);
    }

    /// Refuses new records, lets the delivery at hand end, and reports what is left; `None` where
    /// the deadline passed first.
    pub(crate) fn close(&self, deadline: Instant) -> Option<Stats> {
        self.closed.store(true, Ordering::SeqCst);
        let (reply, stats) = bounded(1);
        self.commands.send_deadline(TrackerCommand::Close(reply.into()), deadline).ok()?;
        self.workers[0].answer(&stats, deadline).ok()
    }

    /// Whether the tracker has ended, so that what is in the channel stays there.
    pub(crate) fn has_ended(&self) -> bool {
        self.workers[0].has_ended()
    }

    /// Waits for the threads to end and says whether they have.
    pub(crate) fn join(&self, deadline: Instant) -> bool {
        // Every thread is waited for, also behind one that is late.
        let late = self.workers.iter().filter(|worker| !worker.join(deadline)).count();
        late == 0
    }

    /// Records that the tracker has not received; after the end, those that it never will.
    pub(crate) fn in_channel(&self) -> usize {
        self.remains.len()
    }

    fn offer(&self, record: Record) -> Result<(), Refused> {
        let refused = if self.closed.load(Ordering::Relaxed) {
            Refused::Closed
        } else {
            match self.records.try_send(record) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(_)) => Refused::Full,
                Err(TrySendError::Disconnected(_)) => Refused::Closed,
            }
        };
        self.ledger.count_refused(refused);
        Err(refused)
    }
}

/// The thread around the state machine: waits, reads the clock, carries effects out.
struct TrackerThread {
    inbox: Receiver<Record>,
    control: Receiver<TrackerCommand>,
    room: Arc<Wakers>,
    outcomes: Receiver<Outcome>,
    flusher: FlusherHandle,
    notifier: Arc<Notifier>,
    ledger: Arc<Ledger>,
}

impl TrackerThread {
    fn run(self, mut tracker: Tracker) {
        let mut effects = Vec::new();
        loop {
            let event = self.next_event(tracker.wake_at());
            let now = Instant::now();
            let ended = self.step(&mut tracker, event, now, &mut effects);
            tracker.settle(now, &mut effects);
            self.ledger.publish(tracker.stats());
            for effect in effects.drain(..) {
                self.carry_out(effect);
            }
            if ended || tracker.is_done() {
                break;
            }
        }
        tracker.finish(self.drain(usize::MAX).count() as u64, &mut effects);
        self.ledger.publish(tracker.stats());
        effects.drain(..).for_each(|effect| self.carry_out(effect));
        tracker.answer_close();
    }

    fn next_event(&self, wake_at: Option<Instant>) -> Event {
        let tick = wake_at.map_or_else(never, at);
        select! {
            recv(self.outcomes) -> outcome => outcome.map_or(Event::Abandoned, Event::Ended),
            recv(self.control) -> command => {
                self.room.wake_all();
                command.map_or(Event::Abandoned, Event::Command)
            }
            recv(self.inbox) -> record => record.map_or(Event::Abandoned, Event::Record),
            recv(tick) -> _ => Event::Tick,
        }
    }

    /// Feeds one event and the records behind it to the machine; says whether every handle is gone.
    fn step(&self, tracker: &mut Tracker, event: Event, now: Instant, effects: &mut Vec<Effect>) -> bool {
        // A flush covers what was sent before it, so those records go in first.
        let behind = if matches!(event, Event::Command(_)) { self.inbox.len() } else { RECORDS_A_TURN };
        match event {
            Event::Record(record) => Self::take(tracker, record, effects),
            Event::Ended(outcome) => tracker.ended(outcome, now, SystemTime::now(), effects),
            Event::Tick => tracker.tick(now),
            Event::Abandoned => return true,
            Event::Command(command) => {
                self.drain(behind).for_each(|record| Self::take(tracker, record, effects));
                tracker.command(command);
                return false;
            }
        }
        self.drain(behind).for_each(|record| Self::take(tracker, record, effects));
        false
    }

    fn drain(&self, most: usize) -> impl Iterator<Item = Record> {
        self.inbox.try_iter().take(most)
    }

    fn take(tracker: &mut Tracker, record: Record, effects: &mut Vec<Effect>) {
        let verdict = tracker.record(record.event, effects);
        if let Some(reply) = record.verdict {
            effects.push(Effect::Judge(reply, verdict));
        }
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Notify(event) => self.notifier.notify(event),
            Effect::Report(reply, report) => reply.send(report),
            Effect::Judge(reply, verdict) => reply.send(verdict),
            Effect::Deliver(delivery) => {
                if self.flusher.deliver(delivery).is_err() {
                    log::error!("the flusher is gone");
                }
            }
        }
    }
}
