//! Between callers and the tracker: what is accepted, what is refused, and what waits for space.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never, unbounded};

use crate::engine::{
    Claimed, Class, FlushRequest, Ledger, OutboxRequests, Outcome, Record, Refused, Reply, TrackedEvent,
    Verdict,
};
use crate::options::{DeliveryConfig, OverflowPolicy};
use crate::threads::flusher::FlusherHandle;
use crate::threads::outbox::OutboxAnswer;
use crate::threads::store::StoreMessage;
use crate::threads::wait::{Caller, Wakers, blocking};
use crate::threads::{Clock, Deadline, Notifier};

/// A record's strings are counted above this many bytes; shorter ones are bounded by the number of records.
const LONG_BYTES: usize = 256;

/// What callers need from the tracker, whoever runs it.
pub(super) struct Mailbox {
    records: Sender<Record>,
    /// Bounded only by the number of waiting callers: the tracker takes them out without blocking.
    pub(super) flushes: Sender<FlushRequest>,
    /// Makes the tracker look at its inbox before its next poll.
    wake_ups: Sender<()>,
    /// For counting records that racing callers send after the end.
    unread: Receiver<Record>,
    pub(super) signals: Arc<Signals>,
    admission: Admission,
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Clock,
}

/// What callers and the tracker tell each other outside of messages.
pub(super) struct Signals {
    /// Bytes of long strings in the channel.
    pub(super) long_bytes: AtomicUsize,
    /// Refuse records and end the tracker: a flag, since a queue could be too full for a message.
    pub(super) closed: AtomicBool,
    /// Callers waiting for the tracker to take something out of the channel, or to stop taking records.
    pub(super) space: Arc<Wakers>,
}

/// How full the channel may be for another record to be accepted.
struct Admission {
    /// By class: the last slots are reserved for the more valuable classes.
    capacity: [usize; 3],
    max_long_bytes: usize,
    /// With this many records waiting, the tracker is woken.
    crowded: usize,
    patience: Option<Duration>,
}

/// The channel's decision on a record.
pub(super) enum Admitted {
    Taken,
    Refused(Refused),
    /// There is no space; the caller may wait for some.
    NotNow(Record),
}

/// What the tracker's thread reads and writes.
pub(super) struct Channels {
    pub(super) inbox: Receiver<Record>,
    pub(super) asked: Receiver<FlushRequest>,
    pub(super) woken: Receiver<()>,
    pub(super) outcomes: Receiver<Outcome>,
    pub(super) claimed: Receiver<Vec<Claimed>>,
    /// Sends to the data store; does nothing if there is none.
    pub(super) store: Box<dyn Fn(StoreMessage) + Send>,
    pub(super) saved: Receiver<OutboxAnswer>,
    /// To the outbox, if there is one.
    pub(super) outbox: Option<Sender<OutboxRequests>>,
    pub(super) flusher: FlusherHandle,
    pub(super) notifier: Arc<Notifier>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) signals: Arc<Signals>,
}

impl Mailbox {
    /// A mailbox and its other end.
    pub(super) fn new(
        delivery: &DeliveryConfig,
        flusher: FlusherHandle,
        outcomes: Receiver<Outcome>,
        notifier: Arc<Notifier>,
        ledger: Arc<Ledger>,
        clock: Clock,
    ) -> (Self, Channels) {
        let (records, inbox) = bounded(delivery.queue_capacity);
        let (flushes, asked) = unbounded();
        let (wake_ups, woken) = bounded(1);
        let signals = Signals {
            long_bytes: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            space: Arc::default(),
        };
        let mailbox = Self {
            records,
            flushes,
            wake_ups,
            unread: inbox.clone(),
            signals: Arc::new(signals),
            admission: Admission::new(delivery),
            ledger: Arc::clone(&ledger),
            clock,
        };
        let signals = Arc::clone(&mailbox.signals);
        let (claimed, store) = (never(), Box::new(|_| {}));
        let (saved, outbox) = (never(), None);
        let channels = Channels {
            inbox,
            asked,
            woken,
            outcomes,
            claimed,
            store,
            saved,
            outbox,
            flusher,
            notifier,
            ledger,
            signals,
        };
        (mailbox, channels)
    }

    /// A tracker that has ended does not answer.
    pub(super) fn flush(&self, request: FlushRequest) {
        let _ = self.flushes.send(request);
    }

    /// Refuses records from now on, wakes callers waiting for space, and requests the end.
    pub(super) fn close(&self) {
        self.signals.closed.store(true, Ordering::SeqCst);
        self.signals.space.wake_all();
        self.wake_tracker();
    }

    /// Counts what the tracker will never receive, once it has ended.
    pub(super) fn count_unread(&self) {
        for record in self.unread.try_iter() {
            self.ledger.count_refused(Refused::Closed, record.event.class());
        }
    }

    /// Takes a record, or counts it as refused. If the overflow policy lets callers wait, this one blocks.
    #[inline(always)]
    pub(super) fn offer(&self, record: Record) -> Result<(), Refused> {
        let class = record.event.class();
        match self.admit(record, class) {
            Admitted::Taken => Ok(()),
            refused => self.not_taken(refused, class),
        }
    }

    #[cold]
    #[inline(never)]
    fn not_taken(&self, admitted: Admitted, class: Class) -> Result<(), Refused> {
        let refused = match admitted {
            Admitted::Taken => return Ok(()),
            Admitted::Refused(refused) => refused,
            Admitted::NotNow(record) if self.admission.patience.is_some() => return self.wait(record),
            Admitted::NotNow(_) => Refused::Full,
        };
        self.ledger.count_refused(refused, class);
        Err(refused)
    }

    /// A record being handed over, counted from now on.
    #[inline(always)]
    pub(super) fn record(&self, event: TrackedEvent, verdict: Option<Reply<Verdict>>) -> Record {
        self.ledger.count_offered();
        Record { event, verdict }
    }

    /// Takes a record if there is space for it now.
    #[inline(always)]
    pub(super) fn admit(&self, record: Record, class: Class) -> Admitted {
        if self.signals.closed.load(Ordering::Relaxed) {
            return Admitted::Refused(Refused::Closed);
        }
        let waiting = self.records.len();
        if waiting >= self.admission.crowded {
            self.wake_tracker();
        }
        let long_bytes = long_bytes(&record.event);
        if waiting >= self.admission.capacity[class as usize] {
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

    fn wait(&self, record: Record) -> Result<(), Refused> {
        blocking(async |caller| self.hand_over(record, None, caller).await)
    }

    /// Hands a record over, or counts it as refused. If the overflow policy lets callers wait, this one
    /// waits: until there is some, its own deadline, the end of the policy's patience, or the close.
    pub(super) async fn hand_over(
        &self,
        record: Record,
        deadline: Option<Deadline>,
        caller: &Caller,
    ) -> Result<(), Refused> {
        let (class, space) = (record.event.class(), self.signals.space.waiter());
        let patience = self.admission.patience.map(|patience| self.clock.deadline_after(patience));
        let mut limit = patience.map(|patience| {
            let own = deadline.unwrap_or_else(|| patience.clone());
            caller.until(own.min(patience))
        });
        let (mut record, mut offer) =
            (Some(record), Offer { mailbox: self, class, refused: Some(Refused::Full) });
        let sent = poll_fn(|context| {
            space.register(context);
            let Some(waiting) = record.take() else { return Poll::Ready(Err(Refused::Full)) };
            match (self.admit(waiting, class), &mut limit) {
                (Admitted::Taken, _) => Poll::Ready(Ok(())),
                (Admitted::Refused(refused), _) => Poll::Ready(Err(refused)),
                (Admitted::NotNow(_), None) => Poll::Ready(Err(Refused::Full)),
                (Admitted::NotNow(unsent), Some(limit)) => {
                    record = Some(unsent);
                    limit.poll(context).map(|()| Err(Refused::Full))
                }
            }
        });
        let sent = sent.await;
        offer.refused = sent.err();
        sent
    }

    /// Reserves bytes for long strings, which most records do not have.
    #[inline]
    fn reserve(&self, long_bytes: usize) -> bool {
        if long_bytes == 0 {
            return true;
        }
        let with = |before: usize| {
            before.checked_add(long_bytes).filter(|bytes| *bytes <= self.admission.max_long_bytes)
        };
        // What does not fit reserves nothing, not even briefly, since that could refuse another record.
        self.signals.long_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).is_ok()
    }

    fn free(&self, long_bytes: usize) {
        if long_bytes > 0 {
            self.signals.long_bytes.fetch_sub(long_bytes, Ordering::Relaxed);
        }
    }

    #[cold]
    pub(super) fn wake_tracker(&self) {
        // One pending signal is enough.
        let _ = self.wake_ups.try_send(());
    }
}

/// A record being handed over. If the task gives up first, it is counted as refused.
struct Offer<'a> {
    mailbox: &'a Mailbox,
    class: Class,
    refused: Option<Refused>,
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        if let Some(refused) = self.refused {
            self.mailbox.ledger.count_refused(refused, self.class);
        }
    }
}

impl Admission {
    fn new(delivery: &DeliveryConfig) -> Self {
        let capacity = delivery.queue_capacity;
        let (capacity_by_class, patience) = match delivery.overflow {
            OverflowPolicy::EvictLeastValuable => {
                ([capacity - capacity / 4, capacity - capacity / 8, capacity], None)
            }
            OverflowPolicy::DropNewest => ([capacity; 3], None),
            // A full channel is waited for, not refused.
            OverflowPolicy::Wait(patience) => ([usize::MAX; 3], Some(patience)),
        };
        Self {
            capacity: capacity_by_class,
            max_long_bytes: delivery.max_queued_bytes,
            crowded: capacity / 2,
            patience,
        }
    }
}

/// What a record in the channel counts for: the same before and after.
pub(super) fn long_bytes(event: &TrackedEvent) -> usize {
    let bytes = event.heap_bytes();
    if bytes > LONG_BYTES { bytes } else { 0 }
}
