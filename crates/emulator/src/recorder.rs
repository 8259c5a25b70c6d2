//! The one place that records what arrives, and wakes the waiting calls.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::WaitTimeout;
use crate::received::{EventData, Received, ReceivedEvent, ReceivedRequest, RouteKind};
use crate::tally::Tally;

/// Records what arrives under one lock and wakes whoever waits for it.
#[derive(Debug)]
pub(crate) struct Recorder {
    book: Mutex<Book>,
    changed: Condvar,
    /// Counts the changes of the record and of what else the page shows.
    version: watch::Sender<u64>,
    request_history: usize,
}

#[derive(Debug, Default)]
struct Book {
    received: Received,
    tally: Tally,
    last_number: u64,
}

impl Recorder {
    pub(crate) fn new(request_history: usize) -> Self {
        let (version, _) = watch::channel(0);
        Self { book: Mutex::default(), changed: Condvar::new(), version, request_history }
    }

    /// Records a request before the response, so that a hanging one is visible; returns its number.
    pub(crate) fn arrived(&self, mut request: ReceivedRequest) -> u64 {
        self.change(|book| {
            book.last_number += 1;
            request.number = book.last_number;
            book.received.totals.requests += 1;
            book.received.totals.flawed += u64::from(request.flaw.is_some());
            match request.route {
                RouteKind::Config => book.received.totals.config_requests += 1,
                RouteKind::Track => book.received.totals.track_requests += 1,
                RouteKind::Unknown => {}
            }
            book.received.requests.push_back(request);
            if book.received.requests.len() > self.request_history {
                book.received.requests.pop_front();
            }
            book.last_number
        })
    }

    /// Records the name of a fault applied to the request.
    pub(crate) fn fault_applied(&self, number: u64, name: &str) {
        self.change(|book| {
            if let Some(request) = book.request(number) {
                request.faults.push(name.to_owned());
            }
        });
    }

    /// Records the events of one accepted request together, so that no reader sees half a batch.
    pub(crate) fn events(&self, number: u64, events: Vec<ReceivedEvent>) {
        self.change(|book| {
            let count = events.len() as u64;
            let bucketing =
                events.iter().filter(|event| matches!(event.event, EventData::Bucketing { .. })).count()
                    as u64;
            book.received.totals.events += count;
            book.received.totals.bucketing += bucketing;
            book.received.totals.conversion += count - bucketing;
            if let Some(request) = book.request(number) {
                request.events = count;
            }
            book.tally.add(&events);
            book.received.events.extend(events);
        });
    }

    /// The number of the request's events that were recorded.
    pub(crate) fn events_in(&self, number: u64) -> u64 {
        self.lock().request(number).map_or(0, |request| request.events)
    }

    pub(crate) fn dropped_as_bot(&self, events: u64) {
        self.change(|book| book.received.totals.dropped_as_bot += events);
    }

    pub(crate) fn refused(&self) {
        self.change(|book| book.received.totals.refused += 1);
    }

    pub(crate) fn handshake_failed(&self) {
        self.change(|book| book.received.totals.failed_handshakes += 1);
    }

    /// Records how the request ended; `None` is a reset without a response.
    pub(crate) fn answered(&self, number: u64, status: Option<u16>) {
        self.change(|book| {
            book.received.totals.answered += 1;
            if let Some(request) = book.request(number) {
                request.status = status;
            }
        });
    }

    pub(crate) fn clear(&self) {
        self.change(|book| *book = Book { last_number: book.last_number, ..Book::default() });
    }

    pub(crate) fn snapshot(&self) -> Received {
        self.lock().received.clone()
    }

    /// Reads the record without a copy of it; nothing is recorded in the meantime.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Received, &Tally) -> T) -> T {
        let book = self.lock();
        read(&book.received, &book.tally)
    }

    /// Follows the number of changes.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Something else than the record has changed: the faults or a config.
    pub(crate) fn changed_elsewhere(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Blocks until `done` accepts the record, and returns the record at that moment.
    pub(crate) fn wait_until(
        &self,
        timeout: Duration,
        mut done: impl FnMut(&Received) -> bool,
    ) -> Result<Received, WaitTimeout> {
        let deadline = Instant::now() + timeout;
        let mut book = self.lock();
        loop {
            if done(&book.received) {
                return Ok(book.received.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(WaitTimeout {
                    requests: book.received.totals.requests,
                    events: book.received.totals.events,
                });
            }
            book = self.changed.wait_timeout(book, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn change<T>(&self, write: impl FnOnce(&mut Book) -> T) -> T {
        let result = write(&mut self.lock());
        self.changed.notify_all();
        self.changed_elsewhere();
        result
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// The request with this number, unless it was cleared or dropped in the meantime.
    fn request(&mut self, number: u64) -> Option<&mut ReceivedRequest> {
        let first = self.received.requests.front()?.number;
        let place = usize::try_from(number.checked_sub(first)?).ok()?;
        self.received.requests.get_mut(place)
    }
}
