//! The handle to the tracker, for any thread.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, bounded, never, unbounded};

use super::mailbox::{Mailbox, Signals};
use super::run::{Event, TrackerThread};
use crate::engine::{
    Delivery, FlushReport, FlushRequest, Ledger, Moment, Outcome, Refused, ReleaseReason, Stats,
    TrackedEvent, TrackerSettings, Unanswered, Verdict, question,
};
use crate::error::StartError;
use crate::threads::clock::Clock;
use crate::threads::flusher::{Flusher, FlusherHandle};
use crate::threads::store::StoreMessage;
use crate::threads::wait::{Caller, Limit};
use crate::threads::worker::Running;
use crate::threads::{Deadline, Notifier, OutboxSettings, StoreHandle, Worker};

/// The tracker's machine and its channels, driven by turns. It has ended when this is dropped.
pub(crate) struct TrackerTurns {
    /// `None` after the end. Dropped in this order: no record is accepted after the end, which then is told.
    thread: Option<(TrackerThread, ClosesAtEnd, Running)>,
    deliveries: Receiver<Delivery>,
    clock: Clock,
}

/// The handle to the tracker. Dropping the last one ends the thread.
pub(crate) struct TrackerHandle {
    pub(super) mailbox: Mailbox,
    pub(super) tracker: Worker,
    lanes: Vec<Worker>,
    outbox: Option<Worker>,
}

impl TrackerHandle {
    /// Starts the tracker, its flusher and, if there is one, its outbox.
    pub(crate) fn start(
        mut settings: TrackerSettings,
        flusher: Flusher,
        store: Option<Arc<StoreHandle>>,
        outbox: Option<OutboxSettings>,
        notifier: Arc<Notifier>,
        ledger: Arc<Ledger>,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let lanes = settings.delivery.lanes;
        let (outcomes_in, outcomes) = bounded(lanes);
        let (flusher, lanes) = FlusherHandle::start(flusher, lanes, &outcomes_in)?;
        let (mailbox, mut channels) =
            Mailbox::new(&settings.delivery, flusher, outcomes, notifier, ledger, clock.clone());
        if let Some(store) = &store {
            let (claimed_in, claimed) = unbounded();
            store.send(StoreMessage::Attach(claimed_in));
            channels.claimed = claimed;
        }
        let (claimed, teller) = (channels.claimed.clone(), store.clone());
        channels.store = Box::new(move |message| {
            if let Some(store) = &teller {
                store.send(message);
            }
        });
        let outbox = outbox.and_then(|outbox| {
            let started = crate::threads::outbox::start(outbox, clock.clone());
            let (requests, saved, worker) = started
                .inspect_err(|error| logged!(error, "records are kept in memory alone: {error}"))
                .ok()?;
            (channels.outbox, channels.saved) = (Some(requests), saved);
            Some(worker)
        });
        settings.outbox = outbox.is_some();
        let end = ClosesAtEnd(Arc::clone(&mailbox.signals));
        let thread = TrackerThread::new(channels, settings);
        let run = move || {
            let _end = end;
            thread.run(&clock);
        };
        let tracker = Worker::start("convert-tracker", run).inspect_err(|_| {
            if let Some(store) = &store {
                store.send(StoreMessage::Detach(claimed, HashSet::new()));
            }
        })?;
        Ok(Self { mailbox, tracker, lanes, outbox })
    }

    /// A tracker that whoever holds the second value drives, without a data store or an outbox.
    pub(crate) fn threadless(
        settings: TrackerSettings,
        notifier: Arc<Notifier>,
        ledger: Arc<Ledger>,
        clock: Clock,
    ) -> (Self, TrackerTurns) {
        let (flusher, deliveries) = FlusherHandle::new(settings.delivery.lanes);
        let (mailbox, channels) =
            Mailbox::new(&settings.delivery, flusher, never(), notifier, ledger, clock.clone());
        let end = ClosesAtEnd(Arc::clone(&mailbox.signals));
        let (tracker, running) = Worker::threadless("the tracker");
        let thread = TrackerThread::new(channels, settings).in_slices(TrackerTurns::SLICE);
        let turns = TrackerTurns { thread: Some((thread, end, running)), deliveries, clock };
        (Self { mailbox, tracker, lanes: Vec::new(), outbox: None }, turns)
    }

    /// Hands a record over without waiting, unless the overflow policy says otherwise; refused records are
    /// counted. While records flow the tracker polls for them, and need not be woken.
    #[inline(always)]
    pub(crate) fn record(&self, event: TrackedEvent) -> Result<(), Refused> {
        self.mailbox.offer(self.mailbox.record(event, None))
    }

    /// Whether records are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.mailbox.signals.closed.load(Ordering::Relaxed)
    }

    /// Hands a record over and waits for the tracker's verdict; `None` if the deadline passed. A record left
    /// behind by the tracker's end is counted there.
    pub(crate) async fn confirm(
        &self,
        event: TrackedEvent,
        deadline: Deadline,
        caller: &Caller,
    ) -> Result<Option<Verdict>, Refused> {
        let (reply, verdict) = question();
        let record = self.mailbox.record(event, Some(reply));
        self.mailbox.hand_over(record, Some(deadline.clone()), caller).await?;
        self.mailbox.wake_tracker();
        match self.tracker.answer(verdict, &mut caller.until(deadline)).await {
            Ok(verdict) => Ok(Some(verdict)),
            Err(Unanswered::Timeout) => Ok(None),
            Err(Unanswered::Ended) => Err(Refused::Closed),
        }
    }

    /// Requests delivery of every record sent so far; `None` if the deadline passed, or the tracker ended,
    /// before the answer.
    pub(crate) async fn flush(
        &self,
        reason: ReleaseReason,
        deadline: &Deadline,
        single_attempt: bool,
        caller: &Caller,
    ) -> Option<FlushReport> {
        let (reply, report) = question();
        let until = self.mailbox.clock.moment(deadline);
        self.mailbox.flush(FlushRequest { reason, deadline: until, single_attempt, reply });
        self.tracker.answer(report, &mut caller.until(deadline.clone())).await.ok()
    }

    /// Refuses new records, and ends the tracker after the deliveries in flight.
    pub(crate) fn stop(&self) {
        self.mailbox.close();
    }

    /// Refuses new records and lets the deliveries in flight finish, until the limit at most.
    pub(crate) async fn close(&self, limit: &mut Limit<'_>) {
        self.stop();
        self.tracker.ended(limit).await;
    }

    /// The threads, to be joined one by one.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Worker> {
        // The outbox last: it removes what the others have delivered.
        self.lanes.iter().chain([&self.tracker]).chain(&self.outbox)
    }

    /// The current ledger. If the tracker has ended, what it will never receive is first counted as dropped.
    pub(crate) fn stats(&self) -> Stats {
        if self.tracker.has_ended() {
            self.mailbox.count_unread();
        }
        self.mailbox.ledger.read(self.mailbox.clock.now())
    }
}

impl TrackerTurns {
    /// The records that one turn takes.
    pub(crate) const SLICE: usize = 16;

    /// The same, taking no more records at once than this.
    #[cfg(test)]
    pub(super) fn in_slices(mut self, slice: usize) -> Self {
        let thread = self.thread.take();
        self.thread = thread.map(|(thread, end, running)| (thread.in_slices(slice), end, running));
        self
    }

    /// Whether a turn has anything to do now, besides hearing of outcomes.
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        self.thread.as_ref().is_some_and(|(thread, ..)| thread.is_due(now))
    }

    /// Whether the next turn probably takes several times as long as others.
    pub(crate) fn is_next_large(&self) -> bool {
        self.thread.as_ref().is_some_and(|(thread, ..)| thread.is_next_large())
    }

    /// When the next turn is due.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.thread.as_ref()?.0.wake_at()
    }

    /// Handles the flush that has waited longest, and a slice of the records.
    pub(crate) fn turn(&mut self, now: Moment) {
        if let Some((thread, ..)) = &mut self.thread {
            let event = thread.next_request();
            self.handle(event, now);
        }
    }

    /// Whether there are records to free.
    pub(crate) fn has_spent(&self) -> bool {
        self.thread.as_ref().is_some_and(|(thread, ..)| thread.has_spent())
    }

    /// Frees a slice of the records that are over.
    pub(crate) fn free(&mut self) {
        if let Some((thread, ..)) = &mut self.thread {
            thread.free();
        }
    }

    /// A delivery has ended.
    pub(crate) fn ended(&mut self, outcome: Outcome, now: Moment) {
        self.handle(Event::Ended(outcome), now);
    }

    /// The next delivery that begins.
    pub(crate) fn next_delivery(&self) -> Option<Delivery> {
        self.deliveries.try_recv().ok()
    }

    /// Whether it has ended, after a close.
    pub(crate) const fn has_ended(&self) -> bool {
        self.thread.is_none()
    }

    fn handle(&mut self, event: Event, now: Moment) {
        if self.thread.as_mut().is_some_and(|(thread, ..)| thread.turn(event, now, self.clock.wall())) {
            self.finish();
        }
    }

    fn finish(&mut self) {
        let Some((thread, end, running)) = self.thread.take() else { return };
        thread.finish();
        drop(end);
        drop(running);
    }
}

/// Counts what is left, like a tracker's thread whose handles are gone.
impl Drop for TrackerTurns {
    fn drop(&mut self) {
        self.finish();
    }
}

/// However the tracker ends, no record is accepted after it that would never be read.
struct ClosesAtEnd(Arc<Signals>);

impl Drop for ClosesAtEnd {
    fn drop(&mut self) {
        self.0.closed.store(true, Ordering::SeqCst);
        self.0.space.wake_all();
    }
}
