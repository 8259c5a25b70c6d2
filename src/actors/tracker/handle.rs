//! The way to the tracker, for any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, TrySendError, bounded};

use super::run::{Ports, TrackerThread};
use super::{Record, TrackerCommand, TrackerSettings, Verdict};
use crate::actors::Notifier;
use crate::actors::flusher::{Flusher, FlusherHandle, Outcome};
use crate::actors::reply::Reply;
use crate::actors::thread::Worker;
use crate::actors::wait::Wakers;
use crate::error::StartError;
use crate::flush::FlushReport;
use crate::options::{DeliveryConfig, OverflowPolicy};
use crate::tracking::{Class, Ledger, Refused, ReleaseReason, Stats, TrackedEvent};

/// Commands other than records that may wait.
const COMMANDS: usize = 64;
/// Bytes of texts in a record from which on they are counted; shorter ones are bounded by the
/// number of records.
const LONG_BYTES: usize = 256;

/// The way to the tracker. The last one dropped ends the thread.
pub(crate) struct TrackerHandle {
    pub(super) mailbox: Mailbox,
    pub(super) tracker: Worker,
    lanes: Vec<Worker>,
}

/// What callers need of the tracker, whatever runs it.
pub(super) struct Mailbox {
    records: Sender<Record>,
    pub(super) commands: Sender<TrackerCommand>,
    /// Tasks that wait for room among the commands.
    #[cfg_attr(not(feature = "async"), expect(dead_code, reason = "no task waits without the feature"))]
    pub(super) room: Arc<Wakers>,
    /// Makes the tracker look at its inbox before its next poll.
    nudges: Sender<()>,
    /// Keeps what a racing caller still sends after the end countable.
    remains: Receiver<Record>,
    attention: Arc<Attention>,
    admission: Admission,
    pub(super) closed: AtomicBool,
    ledger: Arc<Ledger>,
}

/// What callers and the tracker tell each other besides messages.
pub(super) struct Attention {
    /// Bytes of long texts in the channel.
    pub(super) long_bytes: AtomicUsize,
    /// Whether the tracker has stopped polling, and must be woken for what is not a message.
    pub(super) resting: AtomicBool,
}

/// Up to how many waiting records the channel takes another one.
struct Admission {
    /// By class: the last places are kept for the better defended.
    room: [usize; 3],
    max_long_bytes: usize,
    /// From how many waiting records on the tracker is told to hurry.
    crowded: usize,
    patience: Option<Duration>,
}

impl TrackerHandle {
    /// Starts the tracker and its flusher.
    pub(crate) fn start(
        settings: TrackerSettings,
        flusher: Flusher,
        notifier: Arc<Notifier>,
        ledger: Arc<Ledger>,
    ) -> Result<Self, StartError> {
        let lanes = settings.delivery.lanes;
        let (outcomes_in, outcomes) = bounded(lanes);
        let (flusher, lanes) = FlusherHandle::start(flusher, lanes, &outcomes_in)?;
        let (mailbox, ports) = Mailbox::new(&settings.delivery, flusher, outcomes, notifier, ledger);
        let thread = TrackerThread::new(ports, settings);
        let tracker = Worker::start("convert-tracker", move || thread.run())?;
        Ok(Self { mailbox, tracker, lanes })
    }

    /// Hands a record over without waiting, unless the overflow policy says so; what is refused is
    /// counted. While records flow the tracker looks for them by itself, and nobody is woken.
    #[inline]
    pub(crate) fn record(&self, event: TrackedEvent) -> Result<(), Refused> {
        self.mailbox.offer(event, None)
    }

    /// Hands a record over and waits for the tracker's verdict; `None` where the deadline passed. A
    /// record that the tracker's end left behind is counted there.
    pub(crate) fn confirm(&self, event: TrackedEvent, deadline: Instant) -> Result<Option<Verdict>, Refused> {
        let (reply, verdict) = bounded(1);
        self.mailbox.offer(event, Some(reply.into()))?;
        self.mailbox.nudge();
        match self.tracker.answer(&verdict, deadline) {
            Ok(verdict) => Ok(Some(verdict)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Refused::Closed),
        }
    }

    /// Asks for delivery of every record sent so far; `None` where the deadline passed, or the
    /// tracker ended, before the answer.
    pub(crate) fn flush(&self, reason: ReleaseReason, deadline: Instant) -> Option<FlushReport> {
        let (reply, report) = bounded(1);
        self.mailbox.command(TrackerCommand::Flush(reason, reply.into()), deadline)?;
        self.tracker.answer(&report, deadline).ok()
    }

    /// Visitor state waits to be written to the data store. A tracker that polls sees it by itself.
    pub(crate) fn persist(&self) {
        // Either this sees that the tracker rests, or the tracker sees the state before it does.
        fence(Ordering::SeqCst);
        if self.mailbox.attention.resting.load(Ordering::Relaxed) {
            self.mailbox.nudge();
        }
    }

    /// Refuses new records, lets the deliveries at hand end, and reports what is left; `None` where
    /// the deadline passed first.
    pub(crate) fn close(&self, deadline: Instant) -> Option<Stats> {
        let (reply, stats) = bounded(1);
        self.mailbox.close(reply.into(), deadline)?;
        self.tracker.answer(&stats, deadline).ok()
    }

    /// Waits for the threads to end and says whether they have.
    pub(crate) fn join(&self, deadline: Instant) -> bool {
        // Every thread is waited for, also behind one that is late.
        self.workers().filter(|worker| !worker.join(deadline)).count() == 0
    }

    /// The threads, to be waited for one after the other.
    pub(crate) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.lanes.iter().chain([&self.tracker])
    }

    /// Records that the tracker has not received yet. After its end, those that it never will are
    /// counted as dropped.
    pub(crate) fn in_channel(&self) -> usize {
        if self.tracker.has_ended() {
            self.mailbox.count_remains();
        }
        self.mailbox.in_channel()
    }
}

impl Mailbox {
    /// A mailbox, and the other end of it.
    pub(super) fn new(
        delivery: &DeliveryConfig,
        flusher: FlusherHandle,
        outcomes: Receiver<Outcome>,
        notifier: Arc<Notifier>,
        ledger: Arc<Ledger>,
    ) -> (Self, Ports) {
        let (records, inbox) = bounded(delivery.queue_capacity);
        let (commands, control) = bounded(COMMANDS);
        let (nudges, nudged) = bounded(1);
        let room = Arc::<Wakers>::default();
        let attention = Attention { long_bytes: AtomicUsize::new(0), resting: AtomicBool::new(true) };
        let mailbox = Self {
            records,
            commands,
            room: Arc::clone(&room),
            nudges,
            remains: inbox.clone(),
            attention: Arc::new(attention),
            admission: Admission::new(delivery),
            closed: AtomicBool::new(false),
            ledger: Arc::clone(&ledger),
        };
        let attention = Arc::clone(&mailbox.attention);
        (mailbox, Ports { inbox, control, room, nudged, outcomes, flusher, notifier, ledger, attention })
    }

    pub(super) fn command(&self, command: TrackerCommand, deadline: Instant) -> Option<()> {
        self.commands.send_deadline(command, deadline).ok()
    }

    /// Refuses records from now on, and asks for the end.
    pub(super) fn close(&self, reply: Reply<Stats>, deadline: Instant) -> Option<()> {
        self.closed.store(true, Ordering::SeqCst);
        self.command(TrackerCommand::Close(reply), deadline)
    }

    pub(super) fn in_channel(&self) -> usize {
        self.remains.len()
    }

    /// After the tracker's end: counts what it will never receive.
    pub(super) fn count_remains(&self) {
        for record in self.remains.try_iter() {
            self.ledger.count_refused(Refused::Closed, record.event.class());
        }
    }

    #[inline]
    pub(super) fn offer(&self, event: TrackedEvent, verdict: Option<Reply<Verdict>>) -> Result<(), Refused> {
        let class = event.class();
        let record = Record { long_bytes: long_bytes(&event), event, verdict };
        self.admit(record, class).inspect_err(|refused| self.ledger.count_refused(*refused, class))
    }

    fn admit(&self, record: Record, class: Class) -> Result<(), Refused> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Refused::Closed);
        }
        let waiting = self.records.len();
        if waiting >= self.admission.crowded {
            self.nudge();
        }
        let long_bytes = record.long_bytes;
        if waiting >= self.admission.room[class as usize] || !self.reserve(long_bytes) {
            return Err(Refused::Full);
        }
        let sent = self.records.try_send(record).or_else(|unsent| self.insist(unsent));
        if sent.is_err() && long_bytes > 0 {
            self.attention.long_bytes.fetch_sub(long_bytes, Ordering::Relaxed);
        }
        sent
    }

    /// Waits for room for a record that found none, if the overflow policy says so.
    #[cold]
    fn insist(&self, unsent: TrySendError<Record>) -> Result<(), Refused> {
        let TrySendError::Full(record) = unsent else { return Err(Refused::Closed) };
        let patience = self.admission.patience.ok_or(Refused::Full)?;
        self.records.send_timeout(record, patience).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => Refused::Full,
            SendTimeoutError::Disconnected(_) => Refused::Closed,
        })
    }

    /// Takes room for long texts, which most records do not have.
    fn reserve(&self, long_bytes: usize) -> bool {
        if long_bytes == 0 {
            return true;
        }
        let before = self.attention.long_bytes.fetch_add(long_bytes, Ordering::Relaxed);
        let fits = before.saturating_add(long_bytes) <= self.admission.max_long_bytes;
        if !fits {
            self.attention.long_bytes.fetch_sub(long_bytes, Ordering::Relaxed);
        }
        fits
    }

    pub(super) fn nudge(&self) {
        // One that is not yet seen is enough.
        let _ = self.nudges.try_send(());
    }
}

impl Admission {
    fn new(delivery: &DeliveryConfig) -> Self {
        let capacity = delivery.queue_capacity;
        let (room, patience) = match delivery.overflow {
            OverflowPolicy::EvictLeastValuable => {
                ([capacity - capacity / 4, capacity - capacity / 8, capacity], None)
            }
            OverflowPolicy::DropNewest => ([capacity; 3], None),
            // A full channel is waited for, not refused.
            OverflowPolicy::Wait(patience) => ([usize::MAX; 3], Some(patience)),
        };
        Self { room, max_long_bytes: delivery.max_queued_bytes, crowded: capacity / 2, patience }
    }
}

fn long_bytes(event: &TrackedEvent) -> usize {
    let bytes = event.heap_bytes();
    if bytes > LONG_BYTES { bytes } else { 0 }
}
