//! The way to the tracker, for any thread.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, never, unbounded};

use super::run::{Ports, TrackerThread};
use super::space::Space;
use super::{FlushRequest, Record, TrackerSettings, Verdict};
use crate::actors::Notifier;
use crate::actors::flusher::{Flusher, FlusherHandle, Outcome};
use crate::actors::reply::Reply;
use crate::actors::store::{StoreCommand, StoreHandle};
use crate::actors::thread::Worker;
use crate::deadline::deadline_after;
use crate::error::StartError;
use crate::flush::{FlushLimit, FlushReport};
use crate::options::{DeliveryConfig, OverflowPolicy};
use crate::tracking::{Class, Ledger, Refused, ReleaseReason, TrackedEvent};

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
    /// As many as there are callers that wait: the tracker takes them out without waiting for anything.
    pub(super) flushes: Sender<FlushRequest>,
    /// Makes the tracker look at its inbox before its next poll.
    nudges: Sender<()>,
    /// Keeps what a racing caller still sends after the end countable.
    unread: Receiver<Record>,
    pub(super) attention: Arc<Attention>,
    admission: Admission,
    pub(super) ledger: Arc<Ledger>,
}

/// What callers and the tracker tell each other besides messages.
pub(super) struct Attention {
    /// Bytes of long texts in the channel.
    pub(super) long_bytes: AtomicUsize,
    /// No more records are taken, and the tracker ends: no queue can be too full to say so.
    pub(super) closed: AtomicBool,
    pub(super) space: Space,
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

/// What became of a record at the channel.
pub(super) enum Admitted {
    Taken,
    Refused(Refused),
    /// There is no space, for which a caller can wait.
    NotNow(Record),
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
        let (mailbox, mut ports) = Mailbox::new(&settings.delivery, flusher, outcomes, notifier, ledger);
        if let Some(store) = &store {
            let (claimed_in, claimed) = unbounded();
            store.tell(StoreCommand::Attach(claimed_in));
            ports.claimed = claimed;
        }
        let (claimed, teller) = (ports.claimed.clone(), store.clone());
        ports.store = Box::new(move |command| {
            if let Some(store) = &teller {
                store.tell(command);
            }
        });
        let thread = TrackerThread::new(ports, settings);
        let tracker = Worker::start("convert-tracker", move || thread.run()).inspect_err(|_| {
            if let Some(store) = &store {
                store.tell(StoreCommand::Detach(claimed, HashSet::new()));
            }
        })?;
        Ok(Self { mailbox, tracker, lanes })
    }

    /// Hands a record over without waiting, unless the overflow policy says so; what is refused is
    /// counted. While records flow the tracker looks for them by itself, and nobody is woken.
    #[inline]
    pub(crate) fn record(&self, event: TrackedEvent) -> Result<(), Refused> {
        self.mailbox.offer(event, None, None)
    }

    /// Hands a record over and waits for the tracker's verdict; `None` where the deadline passed. A
    /// record that the tracker's end left behind is counted there.
    pub(crate) fn confirm(&self, event: TrackedEvent, deadline: Instant) -> Result<Option<Verdict>, Refused> {
        let (reply, verdict) = bounded(1);
        self.mailbox.offer(event, Some(reply.into()), Some(deadline))?;
        self.mailbox.nudge();
        match self.tracker.answer(&verdict, deadline) {
            Ok(verdict) => Ok(Some(verdict)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Refused::Closed),
        }
    }

    /// Asks for delivery of every record sent so far; `None` where the deadline passed, or the
    /// tracker ended, before the answer.
    pub(crate) fn flush(&self, reason: ReleaseReason, limit: FlushLimit) -> Option<FlushReport> {
        let (reply, report) = Reply::to_thread();
        self.mailbox.flush(FlushRequest { reason, limit, reply });
        self.tracker.answer(report.answer(), limit.deadline).ok()
    }

    /// Refuses new records and lets the deliveries at hand end, at most until then.
    pub(crate) fn close(&self, deadline: Instant) {
        self.mailbox.close();
        self.tracker.has_ended_by(deadline);
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

    /// After the tracker's end: counts what it will never receive as dropped.
    pub(crate) fn count_unread(&self) {
        if self.tracker.has_ended() {
            self.mailbox.count_unread();
        }
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
        let (flushes, asked) = unbounded();
        let (nudges, nudged) = bounded(1);
        let attention = Attention {
            long_bytes: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            space: Space::default(),
        };
        let mailbox = Self {
            records,
            flushes,
            nudges,
            unread: inbox.clone(),
            attention: Arc::new(attention),
            admission: Admission::new(delivery),
            ledger: Arc::clone(&ledger),
        };
        let attention = Arc::clone(&mailbox.attention);
        let (claimed, store) = (never(), Box::new(|_| {}));
        let ports =
            Ports { inbox, asked, nudged, outcomes, claimed, store, flusher, notifier, ledger, attention };
        (mailbox, ports)
    }

    /// A tracker that has ended is asked in vain.
    pub(super) fn flush(&self, request: FlushRequest) {
        let _ = self.flushes.send(request);
    }

    /// Refuses records from now on, sends those home who wait for space, and asks for the end.
    pub(super) fn close(&self) {
        self.attention.closed.store(true, Ordering::SeqCst);
        self.attention.space.changed();
        self.nudge();
    }

    /// After the tracker's end: counts what it will never receive.
    pub(super) fn count_unread(&self) {
        for record in self.unread.try_iter() {
            self.ledger.count_refused(Refused::Closed, record.event.class());
        }
    }

    /// Takes a record, or counts it as refused. Where the overflow policy lets callers wait, this one
    /// does, until its own deadline at the latest.
    #[inline]
    pub(super) fn offer(
        &self,
        event: TrackedEvent,
        verdict: Option<Reply<Verdict>>,
        deadline: Option<Instant>,
    ) -> Result<(), Refused> {
        let record = self.record(event, verdict);
        let class = record.event.class();
        let sent = match self.admit(record, class) {
            Admitted::Taken => Ok(()),
            Admitted::Refused(refused) => Err(refused),
            Admitted::NotNow(record) => self.wait(record, class, deadline),
        };
        sent.inspect_err(|refused| self.ledger.count_refused(*refused, class))
    }

    /// A record on its way, which is counted from now on.
    #[inline]
    pub(super) fn record(&self, event: TrackedEvent, verdict: Option<Reply<Verdict>>) -> Record {
        self.ledger.count_offered();
        Record { long_bytes: long_bytes(&event), event, verdict }
    }

    /// How long a caller may wait for space; nothing at all under most policies.
    #[cfg(feature = "async")]
    pub(super) fn patience(&self) -> Duration {
        self.admission.patience.unwrap_or_default()
    }

    /// Takes a record if there is space for it now.
    #[inline]
    pub(super) fn admit(&self, record: Record, class: Class) -> Admitted {
        if self.attention.closed.load(Ordering::Relaxed) {
            return Admitted::Refused(Refused::Closed);
        }
        let waiting = self.records.len();
        if waiting >= self.admission.crowded {
            self.nudge();
        }
        let long_bytes = record.long_bytes;
        if waiting >= self.admission.room[class as usize] {
            return Admitted::Refused(Refused::Full);
        }
        if !self.reserve(long_bytes) {
            let fits = long_bytes <= self.admission.max_long_bytes;
            return if fits { Admitted::NotNow(record) } else { Admitted::Refused(Refused::Full) };
        }
        let Err(unsent) = self.records.try_send(record) else { return Admitted::Taken };
        self.free(long_bytes);
        match unsent {
            TrySendError::Full(record) => Admitted::NotNow(record),
            TrySendError::Disconnected(_) => Admitted::Refused(Refused::Closed),
        }
    }

    /// Waits for space, if the overflow policy says so: until there is some, the caller's own deadline,
    /// the end of the policy's patience, or the close.
    #[cold]
    fn wait(&self, record: Record, class: Class, deadline: Option<Instant>) -> Result<(), Refused> {
        let patience = deadline_after(self.admission.patience.ok_or(Refused::Full)?);
        let deadline = deadline.map_or(patience, |own| own.min(patience));
        let mut record = Some(record);
        self.attention
            .space
            .wait(deadline, || match self.admit(record.take()?, class) {
                Admitted::Taken => Some(Ok(())),
                Admitted::Refused(refused) => Some(Err(refused)),
                Admitted::NotNow(unsent) => {
                    record = Some(unsent);
                    None
                }
            })
            .unwrap_or(Err(Refused::Full))
    }

    /// Takes room for long texts, which most records do not have.
    fn reserve(&self, long_bytes: usize) -> bool {
        if long_bytes == 0 {
            return true;
        }
        let before = self.attention.long_bytes.fetch_add(long_bytes, Ordering::Relaxed);
        let fits = before.saturating_add(long_bytes) <= self.admission.max_long_bytes;
        if !fits {
            self.free(long_bytes);
        }
        fits
    }

    fn free(&self, long_bytes: usize) {
        if long_bytes > 0 {
            self.attention.long_bytes.fetch_sub(long_bytes, Ordering::Relaxed);
        }
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
