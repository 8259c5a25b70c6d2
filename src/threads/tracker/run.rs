//! The tracker's thread around its state machine: waits, reads the clock, carries out effects.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{never, select};

use super::mailbox::Channels;
use crate::engine::{
    Claimed, Effect, Effects, FlushRequest, Moment, Outcome, Record, Tracker, TrackerSettings,
};
use crate::threads::clock::Clock;
use crate::threads::store::StoreMessage;

/// Records taken from the inbox before anything else is checked again.
const RECORDS_A_TURN: usize = 1_024;
/// How often the inbox is polled while records flow. A sender that had to wake the tracker would pay for a
/// system call, a hundred times the cost of the send.
const POLL: Duration = Duration::from_millis(10);
/// How long after the last record the tracker stops polling and sleeps until woken.
const REST_AFTER: Duration = Duration::from_millis(250);

/// The machine and its channels. The thread adds only waiting and reading the clock, so that a simulation can
/// run everything else.
pub(super) struct TrackerThread {
    channels: Channels,
    pub(super) tracker: Tracker,
    effects: Effects,
    watch: Watch,
    active_until: Option<Moment>,
    /// This turn has freed space in the inbox.
    made_space: bool,
}

/// Everything that can happen to the tracker.
pub(super) enum Event {
    Record(Record),
    Flush(FlushRequest),
    Ended(Outcome),
    Claimed(Vec<Claimed>),
    Woken,
    Tick,
    Abandoned,
}

/// How the thread waits for the next event.
#[derive(Clone, Copy, PartialEq)]
enum Watch {
    /// Records are waiting: not at all.
    Busy,
    /// Records have arrived recently: it polls again shortly.
    Polling,
    /// It sleeps until a record or anything else wakes it.
    Resting,
}

impl TrackerThread {
    pub(super) fn new(channels: Channels, settings: TrackerSettings) -> Self {
        Self {
            channels,
            tracker: Tracker::new(settings),
            effects: Effects::default(),
            watch: Watch::Resting,
            active_until: None,
            made_space: false,
        }
    }

    pub(super) fn run(mut self, clock: Clock) {
        let mut now = clock.now();
        loop {
            let event = self.next_event(now, clock);
            now = clock.now();
            if self.turn(event, now, SystemTime::now()) {
                return self.finish();
            }
        }
    }

    /// Handles one event and all that follows from it; returns whether it was the last.
    pub(super) fn turn(&mut self, event: Event, now: Moment, wall: SystemTime) -> bool {
        self.effects.has_listeners = self.channels.notifier.has_listeners();
        let (woken, before) = (matches!(event, Event::Woken), self.tracker.stats().recorded);
        let abandoned = self.step(event, now, wall);
        if woken || self.tracker.stats().recorded > before {
            self.active_until = Some(now + REST_AFTER);
        }
        self.watch = self.watch(now);
        if self.channels.signals.closed.load(Ordering::SeqCst) && !self.tracker.is_closing() {
            // Records sent before are still judged, and delivered if a batch is full.
            self.take_all(now);
            self.tracker.close(now, &mut self.effects);
        }
        self.tracker.settle(now, &mut self.effects);
        let oldest_pending = self.tracker.oldest_pending();
        self.carry_out(oldest_pending);
        // Only if there is space: a caller that finds none would wake the tracker in turn.
        if std::mem::take(&mut self.made_space) {
            self.channels.signals.space.wake_all();
        }
        abandoned || self.tracker.is_done()
    }

    pub(super) fn finish(mut self) {
        self.tracker.finish(self.channels.inbox.try_iter().map(|record| record.event), &mut self.effects);
        self.carry_out(None);
        (self.channels.store)(StoreMessage::Detach(self.channels.claimed, self.tracker.held_claims()));
    }

    /// How to wait next.
    fn watch(&self, now: Moment) -> Watch {
        let active = self.active_until.is_some_and(|until| until > now);
        match (self.channels.inbox.is_empty() || !self.tracker.takes_records(), active) {
            (false, _) => Watch::Busy,
            (true, true) => Watch::Polling,
            (true, false) => Watch::Resting,
        }
    }

    fn next_event(&self, now: Moment, clock: Clock) -> Event {
        let Channels { inbox, asked, woken, outcomes, claimed, .. } = &self.channels;
        if self.watch == Watch::Busy {
            return select! {
                recv(outcomes) -> outcome => outcome.map_or(Event::Abandoned, Event::Ended),
                recv(claimed) -> claimed => claimed.map_or(Event::Abandoned, Event::Claimed),
                recv(asked) -> request => request.map_or(Event::Abandoned, Event::Flush),
                default => Event::Tick,
            };
        }
        let poll = (self.watch == Watch::Polling).then(|| now + POLL);
        let tick = clock.alarm([self.tracker.wake_at(), poll].into_iter().flatten().min());
        let unread = never();
        let inbox =
            if self.watch == Watch::Resting && self.tracker.takes_records() { inbox } else { &unread };
        select! {
            recv(outcomes) -> outcome => outcome.map_or(Event::Abandoned, Event::Ended),
            recv(claimed) -> claimed => claimed.map_or(Event::Abandoned, Event::Claimed),
            recv(asked) -> request => request.map_or(Event::Abandoned, Event::Flush),
            recv(inbox) -> record => record.map_or(Event::Abandoned, Event::Record),
            recv(woken) -> _ => Event::Woken,
            recv(tick) -> _ => Event::Tick,
        }
    }

    /// Feeds one event and the records behind it to the machine; returns whether all handles are gone.
    fn step(&mut self, event: Event, now: Moment, wall: SystemTime) -> bool {
        match event {
            Event::Record(record) => self.take(record, now),
            Event::Ended(outcome) => self.tracker.ended(outcome, now, wall, &mut self.effects),
            Event::Woken | Event::Tick => {}
            Event::Abandoned => return true,
            Event::Claimed(claimed) => {
                claimed.into_iter().for_each(|claimed| self.tracker.claimed(claimed, &mut self.effects));
            }
            Event::Flush(request) => {
                // A flush covers what was sent before it, so the requests are read before the records.
                let requests: Vec<_> =
                    std::iter::once(request).chain(self.channels.asked.try_iter()).collect();
                let outside = self.take_all(now);
                requests.into_iter().for_each(|request| self.tracker.flush(request, outside, now));
                return false;
            }
        }
        for _ in 0..RECORDS_A_TURN {
            if !self.tracker.takes_records() || !self.take_next(now) {
                break;
            }
        }
        false
    }

    /// Takes the records that are in the inbox now; returns how many did not fit yet.
    fn take_all(&mut self, now: Moment) -> usize {
        let mut outside = self.channels.inbox.len();
        while outside > 0 && self.tracker.takes_records() && self.take_next(now) {
            outside -= 1;
        }
        outside
    }

    /// Takes a record from the inbox, and returns whether there was one.
    fn take_next(&mut self, now: Moment) -> bool {
        self.channels.inbox.try_recv().is_ok_and(|record| {
            self.take(record, now);
            true
        })
    }

    fn take(&mut self, record: Record, now: Moment) {
        self.made_space = true;
        if record.long_bytes > 0 {
            self.channels.signals.long_bytes.fetch_sub(record.long_bytes, Ordering::Relaxed);
        }
        self.tracker.record(record.event, record.verdict, now, &mut self.effects);
    }

    /// First tells the store, then publishes the ledger, then informs everyone else: whoever learns of the
    /// step can rely on the store having been told.
    fn carry_out(&mut self, oldest_pending: Option<Moment>) {
        for command in self.effects.take_store_commands() {
            (self.channels.store)(StoreMessage::Command(command));
        }
        self.channels.ledger.publish(self.tracker.stats(), oldest_pending);
        for effect in self.effects.drain() {
            match effect {
                Effect::Notify(event) => self.channels.notifier.notify(event),
                Effect::Report(reply, report) => reply.send(*report),
                Effect::Judge(reply, verdict) => reply.send(verdict),
                Effect::Deliver(delivery) => {
                    if self.channels.flusher.deliver(delivery).is_err() {
                        logged!(error, "the delivery threads have exited");
                    }
                }
            }
        }
    }
}
