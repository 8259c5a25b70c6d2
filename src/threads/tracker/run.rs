//! The tracker's thread around its state machine: waits, reads the clock, carries out effects.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{never, select};

use super::mailbox::{Channels, long_bytes};
use crate::engine::{
    Claimed, Effect, Effects, FlushRequest, Moment, Outcome, Record, Tracker, TrackerSettings,
};
use crate::threads::clock::Clock;
use crate::threads::outbox::OutboxAnswer;
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
    /// When the machine needs a turn if nothing else happens, as of the last one: looking for it can take long.
    wake_at: Option<Moment>,
    active_until: Option<Moment>,
    /// The most records that a turn takes, where a pump has a budget for it.
    slice: Option<usize>,
    /// How many records are to be taken before the next flush is.
    ahead: Option<usize>,
    /// How many records had been delivered when each waiting flush was first seen, while it waits for them.
    seen: VecDeque<u64>,
    /// This turn has freed space in the inbox.
    made_space: bool,
    /// How many refused records have been logged, and how many for which the backlog had no space.
    refused: u64,
    overflowed: u64,
}

/// Everything that can happen to the tracker.
pub(super) enum Event {
    Record(Record),
    Flush(FlushRequest),
    Ended(Outcome),
    Claimed(Vec<Claimed>),
    Saved(OutboxAnswer),
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
        let tracker = Tracker::new(settings);
        Self {
            channels,
            wake_at: tracker.wake_at(),
            tracker,
            effects: Effects::default(),
            watch: Watch::Resting,
            active_until: None,
            slice: None,
            ahead: None,
            seen: VecDeque::new(),
            made_space: false,
            refused: 0,
            overflowed: 0,
        }
    }

    /// The same, for turns that take no more records than this.
    pub(super) fn in_slices(self, slice: usize) -> Self {
        Self { slice: Some(slice), ..self }
    }

    /// Whether a turn has anything to do now, besides hearing of outcomes.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        let Channels { inbox, asked, signals, .. } = &self.channels;
        !inbox.is_empty()
            || !asked.is_empty()
            || (signals.closed.load(Ordering::SeqCst) && !self.tracker.is_closing())
            || self.wake_at.is_some_and(|wake_at| wake_at <= now)
    }

    /// Whether the next turn probably chooses the records of a request, which takes several times as long as others.
    pub(super) fn is_next_large(&self) -> bool {
        self.slice.is_some_and(|slice| self.tracker.completes_batch_with(slice))
    }

    /// When the next turn is due.
    pub(super) const fn wake_at(&self) -> Option<Moment> {
        self.wake_at
    }

    /// Whether there are records to free.
    pub(super) const fn has_spent(&self) -> bool {
        self.effects.has_spent()
    }

    /// Frees the records that are over, or a slice of them.
    pub(super) fn free(&mut self) {
        self.effects.free(self.slice.unwrap_or(usize::MAX));
    }

    /// The flush that has waited longest, once the records sent before it are taken, so that they fill requests; or
    /// else a tick.
    pub(super) fn next_request(&mut self) -> Event {
        let Channels { asked, inbox, .. } = &self.channels;
        if asked.is_empty() {
            return Event::Tick;
        }
        self.seen.resize(asked.len(), self.tracker.stats().delivered);
        let ahead = *self.ahead.get_or_insert(inbox.len());
        if ahead > 0 && self.tracker.takes_records() {
            return Event::Tick;
        }
        self.ahead = None;
        asked.try_recv().map_or(Event::Tick, Event::Flush)
    }

    pub(super) fn run(mut self, clock: &Clock) {
        let mut now = clock.now();
        loop {
            let event = self.next_event(now, clock);
            now = clock.now();
            if self.turn(event, now, clock.wall()) {
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
            let left = self.take_all(now);
            if left == 0 || self.slice.is_none() {
                self.tracker.close(now, &mut self.effects);
            }
        }
        self.tracker.settle(now, &mut self.effects);
        self.wake_at = self.tracker.wake_at();
        let oldest_pending = self.tracker.oldest_pending();
        self.carry_out(oldest_pending);
        // Only if there is space: a caller that finds none would wake the tracker in turn.
        if std::mem::take(&mut self.made_space) {
            self.channels.signals.space.wake_all();
        }
        if self.slice.is_none() {
            self.free();
        }
        abandoned || self.tracker.is_done()
    }

    pub(super) fn finish(mut self) {
        for answer in self.channels.saved.try_iter() {
            match answer {
                OutboxAnswer::Saved { through, is_kept } => {
                    self.tracker.saved(through, is_kept, Moment::default(), &mut self.effects);
                }
                OutboxAnswer::Removed { deliveries, is_removed } => {
                    self.tracker.removed(deliveries, is_removed, Moment::default());
                }
                // Nothing is sent any more.
                OutboxAnswer::Noted { .. } => {}
                OutboxAnswer::Recovered(recovered) => self.tracker.recovered(recovered, Moment::default()),
            }
        }
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

    fn next_event(&self, now: Moment, clock: &Clock) -> Event {
        let Channels { inbox, asked, woken, outcomes, claimed, saved, .. } = &self.channels;
        if self.watch == Watch::Busy {
            return select! {
                recv(outcomes) -> outcome => outcome.map_or(Event::Abandoned, Event::Ended),
                recv(claimed) -> claimed => claimed.map_or(Event::Abandoned, Event::Claimed),
                recv(saved) -> saved => saved.map_or(Event::Tick, Event::Saved),
                recv(asked) -> request => request.map_or(Event::Abandoned, Event::Flush),
                default => Event::Tick,
            };
        }
        let poll = (self.watch == Watch::Polling).then(|| now + POLL);
        let tick = clock.alarm([self.wake_at, poll].into_iter().flatten().min());
        let unread = never();
        let inbox =
            if self.watch == Watch::Resting && self.tracker.takes_records() { inbox } else { &unread };
        select! {
            recv(outcomes) -> outcome => outcome.map_or(Event::Abandoned, Event::Ended),
            recv(claimed) -> claimed => claimed.map_or(Event::Abandoned, Event::Claimed),
            recv(saved) -> saved => saved.map_or(Event::Tick, Event::Saved),
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
            Event::Saved(OutboxAnswer::Saved { through, is_kept }) => {
                self.tracker.saved(through, is_kept, now, &mut self.effects);
            }
            Event::Saved(OutboxAnswer::Removed { deliveries, is_removed }) => {
                self.tracker.removed(deliveries, is_removed, now);
            }
            Event::Saved(OutboxAnswer::Noted { through }) => {
                self.tracker.noted(through, now, &mut self.effects);
            }
            Event::Saved(OutboxAnswer::Recovered(recovered)) => self.tracker.recovered(recovered, now),
            Event::Woken | Event::Tick => {}
            Event::Abandoned => return true,
            Event::Claimed(claimed) => {
                claimed.into_iter().for_each(|claimed| self.tracker.claimed(claimed, &mut self.effects));
            }
            Event::Flush(request) => {
                // A flush covers what was sent before it, so the requests are read before the records.
                let others = self.channels.asked.try_iter().take(self.slice.unwrap_or(usize::MAX));
                let requests: Vec<_> = std::iter::once(request).chain(others).collect();
                let outside = self.take_all(now);
                let delivered = self.tracker.stats().delivered;
                for request in requests {
                    let before = self.seen.pop_front().unwrap_or(delivered);
                    self.tracker.flush(request, outside, now);
                    self.tracker.credit_flush(delivered - before);
                }
                return false;
            }
        }
        for _ in 0..self.slice.unwrap_or(RECORDS_A_TURN) {
            if !self.tracker.takes_records() || !self.take_next(now) {
                break;
            }
        }
        false
    }

    /// Takes the records that are in the inbox now, or a slice of them; returns how many are left.
    fn take_all(&mut self, now: Moment) -> usize {
        let mut outside = self.channels.inbox.len();
        let kept = self.slice.map_or(0, |slice| outside.saturating_sub(slice));
        while outside > kept && self.tracker.takes_records() && self.take_next(now) {
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
        self.ahead = self.ahead.map(|ahead| ahead.saturating_sub(1));
        let long_bytes = long_bytes(&record.event);
        if long_bytes > 0 {
            self.channels.signals.long_bytes.fetch_sub(long_bytes, Ordering::Relaxed);
        }
        self.tracker.record(record.event, record.verdict, now, &mut self.effects);
    }

    /// First tells the store and the outbox, then publishes the ledger, then informs everyone else: whoever learns of the
    /// step can rely on the store having been told.
    fn carry_out(&mut self, oldest_pending: Option<Moment>) {
        for command in self.effects.take_store_commands() {
            (self.channels.store)(StoreMessage::Command(command));
        }
        if let Some(outbox) = &self.channels.outbox
            && let Some(requests) = self.effects.take_outbox_requests()
        {
            // One that has ended answers nothing, and the tracker waits no longer than for a late one.
            let _ = outbox.send(requests);
        }
        self.channels.ledger.publish(self.tracker.stats(), oldest_pending);
        let refused = self.channels.ledger.refused_full();
        if refused > self.refused {
            self.refused = refused;
            logged!(warn, limited, "the queue of records was full; refused so far: {refused}");
        }
        let overflowed = self.tracker.stats().dropped.overflow.total();
        if overflowed > self.overflowed {
            self.overflowed = overflowed;
            logged!(warn, limited, "the backlog is full; records dropped so far: {overflowed}");
        }
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
