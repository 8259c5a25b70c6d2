//! The handle to the tracker, for any thread.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crossbeam_channel::{bounded, unbounded};

use super::mailbox::{Mailbox, Signals};
use super::run::TrackerThread;
use crate::engine::{
    FlushReport, FlushRequest, Ledger, Refused, ReleaseReason, Stats, TrackedEvent, TrackerSettings,
    Unanswered, Verdict, question,
};
use crate::error::StartError;
use crate::threads::clock::Clock;
use crate::threads::flusher::{Flusher, FlusherHandle};
use crate::threads::store::StoreMessage;
use crate::threads::wait::{Caller, Limit};
use crate::threads::{Notifier, StoreHandle, Worker};

/// The handle to the tracker. Dropping the last one ends the thread.
pub(crate) struct TrackerHandle {
    pub(super) mailbox: Mailbox,
    pub(super) tracker: Worker,
    lanes: Vec<Worker>,
    clock: Clock,
}

impl TrackerHandle {
    /// Starts the tracker and its flusher.
    pub(crate) fn start(
        settings: TrackerSettings,
        flusher: Flusher,
        store: Option<Arc<StoreHandle>>,
        notifier: Arc<Notifier>,
        ledger: Arc<Ledger>,
    ) -> Result<Self, StartError> {
        let lanes = settings.delivery.lanes;
        let (outcomes_in, outcomes) = bounded(lanes);
        let (flusher, lanes) = FlusherHandle::start(flusher, lanes, &outcomes_in)?;
        let (mailbox, mut channels) = Mailbox::new(&settings.delivery, flusher, outcomes, notifier, ledger);
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
        let end = ClosesAtEnd(Arc::clone(&mailbox.signals));
        let thread = TrackerThread::new(channels, settings);
        let clock = Clock::start();
        let run = move || {
            let _end = end;
            thread.run(clock);
        };
        let tracker = Worker::start("convert-tracker", run).inspect_err(|_| {
            if let Some(store) = &store {
                store.send(StoreMessage::Detach(claimed, HashSet::new()));
            }
        })?;
        Ok(Self { mailbox, tracker, lanes, clock })
    }

    /// Hands a record over without waiting, unless the overflow policy says otherwise; refused records are
    /// counted. While records flow the tracker polls for them, and need not be woken.
    #[inline]
    pub(crate) fn record(&self, event: TrackedEvent) -> Result<(), Refused> {
        self.mailbox.offer(self.mailbox.record(event, None))
    }

    /// Hands a record over and waits for the tracker's verdict; `None` if the deadline passed. A record left
    /// behind by the tracker's end is counted there.
    pub(crate) async fn confirm(
        &self,
        event: TrackedEvent,
        deadline: Instant,
        caller: &Caller,
    ) -> Result<Option<Verdict>, Refused> {
        let (reply, verdict) = question();
        let record = self.mailbox.record(event, Some(reply));
        self.mailbox.hand_over(record, Some(deadline), caller).await?;
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
        deadline: Instant,
        single_attempt: bool,
        caller: &Caller,
    ) -> Option<FlushReport> {
        let (reply, report) = question();
        let until = self.clock.moment(deadline);
        self.mailbox.flush(FlushRequest { reason, deadline: until, single_attempt, reply });
        self.tracker.answer(report, &mut caller.until(deadline)).await.ok()
    }

    /// Refuses new records and lets the deliveries in flight finish, until the limit at most.
    pub(crate) async fn close(&self, limit: &mut Limit<'_>) {
        self.mailbox.close();
        self.tracker.ended(limit).await;
    }

    /// The threads, to be joined one by one.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.lanes.iter().chain([&self.tracker])
    }

    /// The current ledger. If the tracker has ended, what it will never receive is first counted as dropped.
    pub(crate) fn stats(&self) -> Stats {
        if self.tracker.has_ended() {
            self.mailbox.count_unread();
        }
        self.mailbox.ledger.read(self.clock.now())
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
