//! The tracker's state machine: records, outcomes and time go in, effects come out.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Sender;

use super::flushes::{Fate, Flushes};
use super::{Effect, TrackerCommand, Verdict};
use crate::actors::backoff::{Backoff, Jitter};
use crate::actors::flusher::{Delivery, Outcome};
use crate::events::LifecycleEvent;
use crate::state::{DataStore, MarkKind, Marks, StoreError, Visitors, bucketing_key, goal_key};
use crate::tracking::{Backlog, DeliveryError, Queued, ReleaseReason, Stats, TrackedEvent};
use crate::transport::TransportError;

/// Records in one request at most.
const MAX_REQUEST_RECORDS: usize = 1_000;
/// Deduplication marks kept for each visitor of the visitor bound.
const MARKS_A_VISITOR: usize = 8;

/// What the tracker is made of.
pub(crate) struct TrackerSettings {
    /// Wire events that make a batch.
    pub(crate) batch_size: NonZeroUsize,
    pub(crate) auto_flush_interval: Option<Duration>,
    /// Records in the channel, and as many again in the backlog.
    pub(crate) capacity: NonZeroUsize,
    pub(crate) max_visitors: NonZeroUsize,
    pub(crate) store: Option<Arc<dyn DataStore>>,
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) jitter: Jitter,
}

pub(crate) struct Tracker {
    batch_size: NonZeroUsize,
    auto_flush_interval: Option<Duration>,
    store: Option<Arc<dyn DataStore>>,
    visitors: Arc<Visitors>,
    marks: Marks,
    backlog: Backlog,
    next_sequence: u64,
    /// Records before this one are released for delivery.
    due: u64,
    due_reason: ReleaseReason,
    /// Wire events accepted since the last release.
    open_events: usize,
    /// Records that the flusher has.
    in_flight: usize,
    next_attempt: u64,
    /// Failed attempts since the last success.
    failures: u32,
    /// Halved when the endpoint finds a request too large.
    request_limit: usize,
    backoff: Backoff,
    next_auto_flush: Option<Instant>,
    flushes: Flushes,
    closing: Option<Vec<Sender<Stats>>>,
    stats: Stats,
}

impl Tracker {
    pub(crate) fn new(settings: TrackerSettings) -> Self {
        // Taken apart without `..` so that a new setting cannot be forgotten here.
        let TrackerSettings {
            batch_size,
            auto_flush_interval,
            capacity,
            max_visitors,
            store,
            visitors,
            jitter,
        } = settings;
        let marks = max_visitors.saturating_mul(NonZeroUsize::MIN.saturating_add(MARKS_A_VISITOR - 1));
        Self {
            batch_size,
            auto_flush_interval,
            store,
            visitors,
            marks: Marks::new(marks),
            backlog: Backlog::new(capacity),
            next_sequence: 0,
            due: 0,
            due_reason: ReleaseReason::Size,
            open_events: 0,
            in_flight: 0,
            next_attempt: 0,
            failures: 0,
            request_limit: MAX_REQUEST_RECORDS,
            backoff: Backoff::new(jitter),
            next_auto_flush: None,
            flushes: Flushes::default(),
            closing: None,
            stats: Stats::default(),
        }
    }

    /// Takes one record: a repetition is counted, anything else joins the backlog.
    pub(crate) fn record(&mut self, mut event: TrackedEvent, effects: &mut Vec<Effect>) -> Verdict {
        self.stats.recorded += 1;
        let first = self.mark(&event);
        let repeated = match &mut event {
            TrackedEvent::Exposure(_) => !first,
            TrackedEvent::Conversion(conversion) => {
                conversion.first = first;
                !first && !conversion.force_multiple
            }
        };
        if !repeated || matches!(event, TrackedEvent::Conversion(_)) {
            effects.push(Effect::Notify(LifecycleEvent::recorded(&event, repeated)));
        }
        let wire_events = event.wire_events();
        if repeated || wire_events == 0 {
            self.stats.deduplicated += 1;
            return if repeated { Verdict::Repeated } else { Verdict::Accepted };
        }
        let queued = Queued { sequence: self.next_sequence, event };
        self.next_sequence += 1;
        if let Some(evicted) = self.backlog.push(queued) {
            self.overflow(&evicted);
        }
        self.open_events += wire_events;
        if self.open_events >= self.batch_size.get() {
            self.release(ReleaseReason::Size);
        }
        Verdict::Accepted
    }

    pub(crate) fn command(&mut self, command: TrackerCommand) {
        match command {
            TrackerCommand::Persist => {}
            TrackerCommand::Flush(reply) => {
                self.release(ReleaseReason::Explicit);
                let remaining = (self.backlog.len() + self.in_flight) as u64;
                self.flushes.ask(reply, self.next_sequence, remaining, self.next_attempt);
            }
            TrackerCommand::Close(reply) => self.closing.get_or_insert_default().push(reply),
        }
    }

    /// A delivery has ended.
    pub(crate) fn ended(
        &mut self,
        outcome: Outcome,
        now: Instant,
        wall: SystemTime,
        effects: &mut Vec<Effect>,
    ) {
        let Outcome { delivery, result, bytes } = outcome;
        self.in_flight -= delivery.records.len();
        self.stats.requests += 1;
        self.stats.retries += u64::from(delivery.retries > 0);
        let Delivery { records, reason, retries, .. } = &delivery;
        effects.push(Effect::Notify(LifecycleEvent::released(records, *reason, *retries, &result)));
        let failure = match result {
            Ok(response) if response.is_success() => None,
            Ok(response) => Some((TransportError::Status(response.status), response.retry_after)),
            Err(error) => Some((error, None)),
        };
        let failed_attempt = match failure {
            None => {
                self.succeeded(&delivery, bytes);
                None
            }
            Some((cause, retry_after)) => {
                let attempt = delivery.attempt;
                self.stats.fate_unknown += u64::from(fate_is_unknown(&cause));
                self.stats.last_error = Some(DeliveryError { at: wall, cause: cause.clone() });
                self.failed(delivery, &cause, retry_after, now).then_some(attempt)
            }
        };
        self.publishable();
        self.flushes.answer(failed_attempt, &self.stats);
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.next_auto_flush.is_some_and(|due| due <= now) {
            self.release(ReleaseReason::Timeout);
        }
    }

    /// After each step: writes waiting visitor state, answers flushes with nothing to wait for, and
    /// begins the next delivery if there is one to begin.
    pub(crate) fn settle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.visitors.has_store() {
            let (written, left) = self.visitors.write_behind();
            if written + left > 0 {
                effects.push(Effect::Notify(LifecycleEvent::DataStoreQueueReleased { written, left }));
            }
        }
        if self.open_events > 0 && self.next_auto_flush.is_none() {
            self.next_auto_flush = self.auto_flush_interval.map(|interval| now + interval);
        }
        if let Some(delivery) = self.next_delivery(now) {
            self.in_flight = delivery.records.len();
            effects.push(Effect::Deliver(delivery));
        }
        self.publishable();
        self.flushes.answer(None, &self.stats);
    }

    /// When the machine wants to be called again though nothing happens.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let retry = (self.in_flight == 0 && self.closing.is_none() && self.backlog.has_before(self.due))
            .then(|| self.backoff.until())
            .flatten();
        [retry, self.next_auto_flush].into_iter().flatten().min()
    }

    pub(crate) const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Whether a close was asked for and no delivery is at hand.
    pub(crate) const fn is_done(&self) -> bool {
        self.closing.is_some() && self.in_flight == 0
    }

    /// The end: what is left, and the `unread` records behind it, is dropped and counted.
    pub(crate) fn finish(&mut self, unread: u64) {
        let left = (self.backlog.len() + self.in_flight) as u64;
        self.backlog.cut(u64::MAX, usize::MAX);
        self.in_flight = 0;
        self.stats.recorded += unread;
        self.stats.dropped.closed += left + unread;
        self.publishable();
        if left + unread > 0 {
            log::warn!("closed with {} records undelivered; they are dropped", left + unread);
        }
        self.flushes.abandon(&self.stats);
    }

    /// Answers whoever asked for the end. Comes last, when everything is counted.
    pub(crate) fn answer_close(&mut self) {
        for reply in self.closing.take().unwrap_or_default() {
            let _ = reply.send(self.stats.clone());
        }
    }

    /// Sets the mark of a record and says whether it is the first.
    fn mark(&mut self, event: &TrackedEvent) -> bool {
        let (kind, visitor_id, entity_id) = match event {
            TrackedEvent::Exposure(it) => (MarkKind::Exposure, &it.visitor_id, &it.experience_id),
            TrackedEvent::Conversion(it) => (MarkKind::Conversion, &it.visitor_id, &it.goal_id),
        };
        let Some(store) = &self.store else { return self.marks.insert(kind, visitor_id, entity_id) };
        let key = match kind {
            MarkKind::Exposure => bucketing_key(visitor_id, entity_id),
            MarkKind::Conversion => goal_key(visitor_id, entity_id),
        };
        match store.set_if_absent(&key, true.into(), None) {
            Ok(first) => first,
            Err(error) => self.mark_without_store(&error, kind, visitor_id, entity_id),
        }
    }

    /// A failing store must not lose an event, nor let one go out again and again.
    fn mark_without_store(
        &mut self,
        error: &StoreError,
        kind: MarkKind,
        visitor: &str,
        entity: &str,
    ) -> bool {
        self.visitors.count_failure(error);
        self.marks.insert(kind, visitor, entity)
    }

    fn release(&mut self, reason: ReleaseReason) {
        self.due = self.next_sequence;
        self.due_reason = reason;
        self.open_events = 0;
        self.next_auto_flush = None;
    }

    fn next_delivery(&mut self, now: Instant) -> Option<Delivery> {
        let waiting = self.backoff.until().is_some_and(|until| until > now) && self.flushes.is_empty();
        if self.in_flight > 0 || self.closing.is_some() || waiting {
            return None;
        }
        let records = self.backlog.cut(self.due, self.request_limit);
        if records.is_empty() {
            return None;
        }
        let attempt = self.next_attempt;
        self.next_attempt += 1;
        Some(Delivery { attempt, records, reason: self.due_reason, retries: self.failures })
    }

    fn succeeded(&mut self, delivery: &Delivery, bytes: usize) {
        self.failures = 0;
        self.request_limit = MAX_REQUEST_RECORDS;
        self.backoff.succeeded();
        self.stats.delivered += delivery.records.len() as u64;
        self.stats.delivered_bytes += bytes as u64;
        for queued in &delivery.records {
            self.stats.delivered_events += queued.event.wire_events() as u64;
            self.flushes.resolve(queued.sequence, Fate::Delivered);
        }
    }

    /// Keeps the records for a retry, or drops them where a retry is no use. Says whether they are
    /// kept.
    fn failed(
        &mut self,
        delivery: Delivery,
        cause: &TransportError,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> bool {
        let records = delivery.records;
        match remedy(cause, records.len()) {
            Remedy::Drop => {
                log::warn!("the endpoint refused {} records: {cause}; they are dropped", records.len());
                self.stats.dropped.rejected += records.len() as u64;
                for queued in &records {
                    self.flushes.resolve(queued.sequence, Fate::Dropped);
                }
                return false;
            }
            Remedy::Split => {
                self.request_limit = records.len().div_ceil(2);
                self.put_back(records);
                return false;
            }
            Remedy::Retry => {}
        }
        log::warn!("delivery of {} records failed: {cause}; they are kept", records.len());
        self.failures = self.failures.saturating_add(1);
        self.backoff.failed(now, retry_after);
        self.put_back(records);
        true
    }

    fn put_back(&mut self, records: Vec<Queued>) {
        for evicted in self.backlog.put_back(records) {
            self.overflow(&evicted);
        }
    }

    fn overflow(&mut self, evicted: &Queued) {
        if self.stats.dropped.overflow == 0 {
            log::warn!("the backlog is full; records are dropped from now on, exposures first");
        }
        self.stats.dropped.overflow += 1;
        self.flushes.resolve(evicted.sequence, Fate::Dropped);
    }

    fn publishable(&mut self) {
        self.stats.pending = (self.backlog.len() + self.in_flight) as u64;
        self.stats.store_failures = self.visitors.store_failures();
        self.stats.visitors_evicted = self.visitors.evicted();
        self.stats.marks_evicted = self.marks.evicted();
    }
}

/// What to do about a failed delivery.
enum Remedy {
    Retry,
    Split,
    Drop,
}

/// Another try can help after a broken connection, a timeout, and statuses that say so; other 4xx
/// mean that the endpoint will never take these records.
const fn remedy(cause: &TransportError, records: usize) -> Remedy {
    match cause.status() {
        Some(413) if records > 1 => Remedy::Split,
        Some(408 | 425 | 429) | None => Remedy::Retry,
        Some(400..=499) => Remedy::Drop,
        Some(_) => Remedy::Retry,
    }
}

/// Whether the endpoint may have the records although no answer came.
const fn fate_is_unknown(cause: &TransportError) -> bool {
    matches!(
        cause,
        TransportError::Timeout(_)
            | TransportError::Broken(_)
            | TransportError::Protocol
            | TransportError::Interrupted
            | TransportError::Panicked
    )
}
