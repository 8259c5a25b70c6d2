//! The tracker's thread around its state machine: waits, reads the clock, carries effects out.

use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, at, never, select};

use super::effects::{Effect, Effects};
use super::handle::Attention;
use super::{Record, Tracker, TrackerCommand};
use crate::actors::Notifier;
use crate::actors::flusher::{FlusherHandle, Outcome};
use crate::tracking::Ledger;

/// Records taken from the inbox between two looks at everything else.
const RECORDS_A_TURN: usize = 1_024;
/// How often the inbox is looked at while records flow. A sender that had to wake the tracker would
/// pay a system call, a hundred times the send.
const POLL: Duration = Duration::from_millis(6);
/// How long after the last record the tracker stops polling and sleeps until it is woken.
const REST_AFTER: Duration = Duration::from_millis(250);

pub(super) struct TrackerThread {
    pub(super) inbox: Receiver<Record>,
    pub(super) control: Receiver<TrackerCommand>,
    pub(super) nudged: Receiver<()>,
    pub(super) outcomes: Receiver<Outcome>,
    pub(super) flusher: FlusherHandle,
    pub(super) notifier: Arc<Notifier>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) attention: Arc<Attention>,
}

/// Everything that can happen to the tracker.
enum Event {
    Record(Record),
    Command(TrackerCommand),
    Ended(Outcome),
    Nudged,
    Tick,
    Abandoned,
}

/// How the thread waits for what happens next.
#[derive(Clone, Copy, PartialEq)]
enum Watch {
    /// Records wait: it does not.
    Busy,
    /// Records have come lately: it looks for more in a moment.
    Polling,
    /// It sleeps until a record or anything else wakes it.
    Resting,
}

impl TrackerThread {
    pub(super) fn run(self, mut tracker: Tracker) {
        let mut effects = Effects::default();
        let mut active_until = None;
        let mut watch = Watch::Resting;
        let mut now = Instant::now();
        loop {
            let event = self.next_event(watch, now, &tracker);
            now = Instant::now();
            effects.heard = self.notifier.is_heard();
            let (nudged, before) = (matches!(event, Event::Nudged), tracker.stats().recorded);
            let abandoned = self.step(&mut tracker, event, now, &mut effects);
            if nudged || tracker.stats().recorded > before {
                active_until = Some(now + REST_AFTER);
            }
            watch = self.watch(&tracker, active_until.is_some_and(|until| until > now));
            tracker.settle(now, &mut effects);
            self.ledger.publish(tracker.stats(), tracker.oldest_pending());
            effects.drain().for_each(|effect| self.carry_out(effect));
            if abandoned || tracker.is_done() {
                break;
            }
        }
        tracker.finish(self.inbox.try_iter().map(|record| record.event), &mut effects);
        self.ledger.publish(tracker.stats(), None);
        effects.drain().for_each(|effect| self.carry_out(effect));
        tracker.answer_close();
    }

    /// How to wait next; said before the machine settles, which then sees all visitor state that a
    /// caller has not woken it for.
    fn watch(&self, tracker: &Tracker, active: bool) -> Watch {
        let watch = match (self.inbox.is_empty() || !tracker.takes_records(), active) {
            (false, _) => Watch::Busy,
            (true, true) => Watch::Polling,
            (true, false) => Watch::Resting,
        };
        self.attention.resting.store(watch == Watch::Resting, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        watch
    }

    fn next_event(&self, watch: Watch, now: Instant, tracker: &Tracker) -> Event {
        let poll = (watch == Watch::Polling).then(|| now + POLL);
        let tick = [tracker.wake_at(), poll].into_iter().flatten().min().map_or_else(never, at);
        let closed = never();
        let inbox = if watch == Watch::Resting && tracker.takes_records() { &self.inbox } else { &closed };
        if watch == Watch::Busy {
            return select! {
                recv(self.outcomes) -> outcome => outcome.map_or(Event::Abandoned, Event::Ended),
                recv(self.control) -> command => command.map_or(Event::Abandoned, Event::Command),
                default => Event::Tick,
            };
        }
        select! {
            recv(self.outcomes) -> outcome => outcome.map_or(Event::Abandoned, Event::Ended),
            recv(self.control) -> command => command.map_or(Event::Abandoned, Event::Command),
            recv(inbox) -> record => record.map_or(Event::Abandoned, Event::Record),
            recv(self.nudged) -> _ => Event::Nudged,
            recv(tick) -> _ => Event::Tick,
        }
    }

    /// Feeds one event and the records behind it to the machine; says whether every handle is gone.
    fn step(&self, tracker: &mut Tracker, event: Event, now: Instant, effects: &mut Effects) -> bool {
        match event {
            Event::Record(record) => self.take(tracker, record, now, effects),
            Event::Ended(outcome) => tracker.ended(outcome, now, SystemTime::now(), effects),
            Event::Nudged | Event::Tick => {}
            Event::Abandoned => return true,
            Event::Command(command) => {
                // A flush covers what was sent before it, so those records go in first.
                let sent = self.inbox.len();
                self.inbox.try_iter().take(sent).for_each(|record| self.take(tracker, record, now, effects));
                tracker.command(command);
                return false;
            }
        }
        for _ in 0..RECORDS_A_TURN {
            if !tracker.takes_records() {
                break;
            }
            let Ok(record) = self.inbox.try_recv() else { break };
            self.take(tracker, record, now, effects);
        }
        false
    }

    fn take(&self, tracker: &mut Tracker, record: Record, now: Instant, effects: &mut Effects) {
        if record.long_bytes > 0 {
            self.attention.long_bytes.fetch_sub(record.long_bytes, Ordering::Relaxed);
        }
        let verdict = tracker.record(record.event, now, effects);
        if let Some(reply) = record.verdict {
            effects.judge(reply, verdict);
        }
    }

    fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Notify(event) => self.notifier.notify(event),
            // Whoever asked may have stopped waiting.
            Effect::Report(reply, report) => drop(reply.send(report)),
            Effect::Judge(reply, verdict) => drop(reply.send(verdict)),
            Effect::Deliver(delivery) => {
                if self.flusher.deliver(delivery).is_err() {
                    log::error!("the flusher is gone");
                }
            }
        }
    }
}
