//! The state of a consumer: entries held, events in flight, what can be acknowledged. No clock, socket or task.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use convert_sdk::delivery::{ByClass, DeliveryConfig};
use convert_sdk::machine::{CutLimit, Dispatch, Jitter, Moment, Parcel};
use convert_sdk::ports::{DeliveryFailure, Receipt, RefusalReason};

use crate::envelope::{Assembly, Envelope, VisitorHead};

/// One entry of the stream, as read.
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) body: Vec<u8>,
}

/// A request to send.
pub(crate) struct Sending {
    pub(crate) attempt: u64,
    pub(crate) project_id: Arc<str>,
    pub(crate) events: usize,
    pub(crate) body: Vec<u8>,
}

/// An entry all of whose events are settled, to be removed from the stream.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) id: String,
    /// The length of its body, which counts towards the stream's bound.
    pub(crate) bytes: usize,
    /// What Convert rejected, to be set aside.
    pub(crate) unaccepted: Vec<Unaccepted>,
}

/// A rejected event, as a request of its own.
#[derive(Debug)]
pub(crate) struct Unaccepted {
    pub(crate) body: Vec<u8>,
    /// The HTTP status; `None` if the rejection has none.
    pub(crate) status: Option<u16>,
}

/// The result of an attempt.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) delivered: usize,
    pub(crate) unaccepted: usize,
    /// The request ended without a response: Convert may have its events, which are sent again.
    pub(crate) fate_unknown: bool,
    pub(crate) settled: Vec<Settlement>,
}

struct Event {
    sequence: u64,
    entry: u64,
    taken_at: Moment,
    suspicion: u32,
    header: Arc<str>,
    project_id: Arc<str>,
    visitor: Arc<VisitorHead>,
    text: Box<str>,
    is_conversion: bool,
}

impl Parcel for Event {
    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn accepted_at(&self) -> Moment {
        self.taken_at
    }

    fn wire_events(&self) -> usize {
        1
    }

    fn count_in(&self, counts: &mut ByClass) {
        *(if self.is_conversion { &mut counts.conversions } else { &mut counts.exposures }) += 1;
    }

    fn count_try(&mut self) {}

    fn count_suspicion(&mut self) -> u32 {
        self.suspicion += 1;
        self.suspicion
    }
}

impl Event {
    fn bytes(&self) -> usize {
        self.text.len() + self.visitor.bytes()
    }

    fn alone(&self) -> Vec<u8> {
        let mut assembly = Assembly::new(&self.header);
        assembly.add(&self.visitor, &self.text);
        assembly.body()
    }
}

/// An entry that is held.
struct Held {
    id: String,
    bytes: usize,
    /// The number of unsettled events.
    left: usize,
    unaccepted: Vec<Unaccepted>,
}

impl Held {
    fn settled(self) -> Settlement {
        Settlement { id: self.id, bytes: self.bytes, unaccepted: self.unaccepted }
    }
}

/// The entries that are held, and the requests that deliver them.
pub(crate) struct Consumer {
    dispatch: Dispatch<Event>,
    /// Events to send, oldest first.
    queue: BTreeMap<u64, Event>,
    /// Where requests start: an event before this one may be why attempts fail.
    begin: u64,
    flying: HashMap<u64, Vec<Event>>,
    held: BTreeMap<u64, Held>,
    numbers: HashMap<String, u64>,
    held_bytes: usize,
    most_bytes: usize,
    next_entry: u64,
    next_sequence: u64,
}

impl Consumer {
    /// A consumer that keeps reading while it holds fewer than `most_bytes`.
    pub(crate) fn new(delivery: &DeliveryConfig, jitter: Jitter, most_bytes: usize) -> Self {
        Self {
            dispatch: Dispatch::new(delivery, jitter),
            queue: BTreeMap::new(),
            begin: 0,
            flying: HashMap::new(),
            held: BTreeMap::new(),
            numbers: HashMap::new(),
            held_bytes: 0,
            most_bytes,
            next_entry: 0,
            next_sequence: 0,
        }
    }

    /// Whether to read more entries.
    pub(crate) const fn has_room(&self) -> bool {
        self.held_bytes < self.most_bytes
    }

    /// Takes entries, except those it already holds. One that cannot be parsed is settled at once and set
    /// aside.
    pub(crate) fn take(&mut self, entries: Vec<Entry>, now: Moment) -> Vec<Settlement> {
        let mut settled = Vec::new();
        for entry in entries {
            if self.numbers.contains_key(&entry.id) {
                continue;
            }
            let number = self.next_entry;
            self.next_entry += 1;
            let bytes = entry.body.len();
            self.held_bytes += bytes;
            self.numbers.insert(entry.id.clone(), number);
            let mut held = Held { id: entry.id, bytes, left: 0, unaccepted: Vec::new() };
            match Envelope::read(&entry.body) {
                Ok(envelope) => {
                    held.left = envelope.summary.events;
                    self.held.insert(number, held);
                    self.enqueue(number, &envelope, now);
                }
                Err(_) => {
                    held.unaccepted.push(Unaccepted { body: entry.body, status: None });
                    settled.push(held.settled());
                }
            }
        }
        settled
    }

    fn enqueue(&mut self, entry: u64, envelope: &Envelope<'_>, now: Moment) {
        let project_id: Arc<str> = envelope.summary.project_id.as_str().into();
        let header = envelope.header();
        for (visitor, events) in envelope.visitors() {
            let visitor = Arc::new(visitor.head());
            for event in events {
                let sequence = self.next_sequence;
                self.next_sequence += 1;
                let event = Event {
                    sequence,
                    entry,
                    taken_at: now,
                    suspicion: 0,
                    header: Arc::clone(&header),
                    project_id: Arc::clone(&project_id),
                    visitor: Arc::clone(&visitor),
                    text: event.text.into(),
                    is_conversion: event.is_conversion,
                };
                self.queue.insert(sequence, event);
            }
        }
    }

    /// The next request, if one can be sent now.
    pub(crate) fn next(&mut self, now: Moment) -> Option<Sending> {
        let until = self.dispatch.until();
        let (queue, begin) = (&mut self.queue, self.begin);
        let (attempt, events) = self.dispatch.next(now, until, |limit| cut(queue, begin, limit))?;
        let sending = Sending {
            attempt,
            project_id: events.first().map(|event| Arc::clone(&event.project_id)).unwrap_or_default(),
            events: events.len(),
            body: body(&events),
        };
        self.flying.insert(attempt, events);
        Some(sending)
    }

    /// When the next request can be sent, if it has to wait.
    pub(crate) fn until(&self) -> Option<Moment> {
        let has_work = !self.queue.is_empty() || self.dispatch.has_groups();
        self.dispatch.until().filter(|_| has_work && self.flying.is_empty())
    }

    /// The number of requests without a response so far.
    pub(crate) fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// Handles the end of an attempt.
    pub(crate) fn ended(
        &mut self,
        attempt: u64,
        result: Result<Receipt, DeliveryFailure>,
        now: Moment,
    ) -> Ended {
        let mut ended = Ended::default();
        let Some(events) = self.flying.remove(&attempt) else { return ended };
        self.dispatch.ended(attempt);
        match result {
            Ok(_) => {
                self.dispatch.succeeded(attempt);
                self.begin = 0;
                ended.delivered = events.len();
                events.into_iter().for_each(|event| self.finish(&event, None, &mut ended));
            }
            Err(cause) => {
                let header = events.first().map(|event| Arc::clone(&event.header));
                let last = events.last().map_or(0, Parcel::sequence);
                let failure = self.dispatch.failed(attempt, events, &cause, now);
                ended.fate_unknown = failure.fate_unknown;
                if let Some(last) = failure.pass_by {
                    self.begin = last + 1;
                } else if !is_of_the_events(&cause) {
                    // Perhaps only this project's host fails: the next attempt goes to another one, if any waits.
                    let others = self.queue.range(last + 1..);
                    let other = others.into_iter().find(|(_, event)| Some(&event.header) != header.as_ref());
                    self.begin = other.map_or(0, |(sequence, _)| *sequence);
                }
                for event in failure.rejected {
                    ended.unaccepted += 1;
                    let unaccepted = Unaccepted { body: event.alone(), status: cause.status() };
                    self.finish(&event, Some(unaccepted), &mut ended);
                }
                self.queue.extend(failure.retry.into_iter().map(|event| (event.sequence, event)));
            }
        }
        ended
    }

    /// Settles an event, and its entry with the last one.
    fn finish(&mut self, event: &Event, unaccepted: Option<Unaccepted>, ended: &mut Ended) {
        let Some(held) = self.held.get_mut(&event.entry) else { return };
        held.unaccepted.extend(unaccepted);
        held.left -= 1;
        if held.left == 0
            && let Some(held) = self.held.remove(&event.entry)
        {
            ended.settled.push(held.settled());
        }
    }

    /// Forgets entries that are no longer in the stream. Until then they stay known, and counted, so that
    /// they are not taken again.
    pub(crate) fn settled(&mut self, entries: &[(String, usize)]) {
        for (id, bytes) in entries {
            if self.numbers.remove(id).is_some() {
                self.held_bytes -= bytes;
            }
        }
    }

    /// The entries held, including those being settled; none of them must look abandoned.
    pub(crate) fn in_hand(&self) -> impl Iterator<Item = &str> {
        self.numbers.keys().map(String::as_str)
    }

    /// The number of entries held.
    pub(crate) fn entries(&self) -> usize {
        self.numbers.len()
    }

    /// Whether entries are done but still in the stream.
    pub(crate) fn has_unsettled(&self) -> bool {
        self.numbers.len() > self.held.len()
    }

    /// Whether parts of a rejected request are to be sent on their own.
    #[cfg(test)]
    pub(crate) fn is_bisecting(&self) -> bool {
        self.dispatch.has_groups()
    }

    /// Another relay has taken these over; whatever is unsent is left to it.
    pub(crate) fn lost(&mut self, ids: &[String]) {
        for id in ids {
            let Some(&number) = self.numbers.get(id) else { continue };
            let waiting = self.queue.values().filter(|event| event.entry == number).count();
            if self.held.get(&number).is_some_and(|held| held.left == waiting)
                && let Some(held) = self.held.remove(&number)
            {
                self.queue.retain(|_, event| event.entry != number);
                self.numbers.remove(id);
                self.held_bytes -= held.bytes;
            }
        }
    }
}

/// Whether the endpoint finds fault with what was sent, and not with who sends it, or with itself.
const fn is_of_the_events(cause: &DeliveryFailure) -> bool {
    matches!(cause, DeliveryFailure::Refused(refusal)
        if matches!(refusal.reason, RefusalReason::Events | RefusalReason::TooLarge))
}

/// Takes the oldest events that fit into one request, starting at `begin` if there are any. An entry is
/// split only if it exceeds `limit` by itself, with a visitor's fields counted for each event, or has one visitor with
/// different fields: if this relay died in between, the delivered part would be sent again.
fn cut(queue: &mut BTreeMap<u64, Event>, begin: u64, limit: CutLimit) -> Vec<Event> {
    let begin = if queue.range(begin..).next().is_some() { begin } else { 0 };
    let Some((_, first)) = queue.range(begin..).next() else { return Vec::new() };
    let mut assembly = Assembly::new(&first.header);
    let (mut taken, mut bytes) = (Vec::new(), first.header.len());
    let (mut entry, mut whole) = (first.entry, 0);
    for (sequence, event) in queue.range(begin..) {
        if event.entry != entry {
            (entry, whole) = (event.entry, taken.len());
        }
        bytes += event.bytes();
        let fits = taken.is_empty() || (taken.len() < limit.events && bytes <= limit.bytes);
        if !fits || event.header != first.header || !assembly.add(&event.visitor, &event.text) {
            if whole > 0 {
                taken.truncate(whole);
            }
            break;
        }
        taken.push(*sequence);
    }
    drop(assembly);
    taken.iter().filter_map(|sequence| queue.remove(sequence)).collect()
}

fn body(events: &[Event]) -> Vec<u8> {
    let Some(first) = events.first() else { return Vec::new() };
    let mut assembly = Assembly::new(&first.header);
    for event in events {
        assembly.add(&event.visitor, &event.text);
    }
    assembly.body()
}
