//! The state of a consumer: entries held, events in flight, what can be acknowledged. No clock, socket or task.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use convert_sdk::delivery::{ByClass, DeliveryConfig};
use convert_sdk::machine::{CutLimit, Dispatch, Jitter, Moment, Parcel};
use convert_sdk::ports::{DeliveryFailure, Receipt, RefusalReason};

use crate::envelope::{Assembly, Envelope, VisitorHead};

/// What an event takes in memory besides its text: its place in the queue, of whose nodes half may be empty, and what
/// the allocator adds.
const EVENT_BYTES: usize = 2 * size_of::<(u64, Event)>() + 16;
/// The same for a visitor.
const VISITOR_BYTES: usize = size_of::<VisitorHead>() + 48;

/// What is set aside of an entry's refused events takes at most this many times the entry's own size: each is a request
/// of its own, with all that it shared with the others.
const ASIDE: usize = 10;

/// The most events, as a power of two, that are tried from the end of the queue: more than any request has.
const MOST_REACH: u32 = 20;

/// One entry of the stream, as read.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) id: String,
    /// What its append was given, to tell it from any other with this id; empty if another program appended it.
    pub(crate) token: String,
    pub(crate) body: Vec<u8>,
}

impl Entry {
    /// Tells apart entries that have the same id because Redis has lost its data in between.
    fn print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.token, &self.body).hash(&mut hasher);
        hasher.finish()
    }
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
    /// Among the entries that this relay has taken.
    pub(crate) number: u64,
    pub(crate) id: String,
    pub(crate) token: String,
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
    /// Those of them that would take too much room to be set aside.
    pub(crate) unkept: usize,
    /// The request ended without a response: Convert may have its events, which are sent again.
    pub(crate) fate_unknown: bool,
    pub(crate) settled: Vec<Settlement>,
}

struct Event {
    sequence: u64,
    entry: u64,
    taken_at: Moment,
    suspicion: u32,
    origin: Arc<Origin>,
    visitor: Arc<VisitorHead>,
    text: Box<str>,
    is_conversion: bool,
}

/// What all events of an entry have in common.
struct Origin {
    header: Box<str>,
    project_id: Arc<str>,
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
    fn alone(&self) -> Vec<u8> {
        body(std::slice::from_ref(self))
    }
}

/// An entry that has been taken and is still in the stream. Its memory is counted until it is settled, so that what
/// waits for that is bounded too.
struct Taken {
    id: String,
    print: u64,
    /// What it takes in memory: its body, or its events.
    packed: usize,
    unpacked: usize,
}

/// An entry with events to be settled.
struct Held {
    id: String,
    token: String,
    bytes: usize,
    /// The number of unsettled events, once they are unpacked.
    left: usize,
    unaccepted: Vec<Unaccepted>,
    /// The bytes of these.
    aside: usize,
}

impl Held {
    fn settled(self, number: u64) -> Settlement {
        let Self { id, token, bytes, unaccepted, .. } = self;
        Settlement { number, id, token, bytes, unaccepted }
    }
}

/// The entries that are held, and the requests that deliver them.
pub(crate) struct Consumer {
    dispatch: Dispatch<Event>,
    /// Entries whose events are not needed yet: as those they take several times the memory.
    packed: VecDeque<(u64, Vec<u8>, Moment)>,
    /// Events to send, oldest first.
    queue: BTreeMap<u64, Event>,
    /// Where requests start: an event before this one may be why attempts fail.
    begin: u64,
    elsewhere: Elsewhere,
    flying: HashMap<u64, Vec<Event>>,
    held: BTreeMap<u64, Held>,
    taken: HashMap<u64, Taken>,
    /// The entries taken, by the ids that they have in the stream.
    numbers: HashMap<String, u64>,
    /// Entries that cannot be parsed.
    unreadable: Vec<Settlement>,
    packed_bytes: usize,
    unpacked_bytes: usize,
    most_bytes: usize,
    next_entry: u64,
    next_sequence: u64,
}

impl Consumer {
    /// A consumer that keeps reading while what it holds takes fewer than `most_bytes`.
    pub(crate) fn new(delivery: &DeliveryConfig, jitter: Jitter, most_bytes: usize) -> Self {
        Self {
            dispatch: Dispatch::new(delivery, jitter),
            packed: VecDeque::new(),
            queue: BTreeMap::new(),
            begin: 0,
            elsewhere: Elsewhere::default(),
            flying: HashMap::new(),
            held: BTreeMap::new(),
            taken: HashMap::new(),
            numbers: HashMap::new(),
            unreadable: Vec::new(),
            packed_bytes: 0,
            unpacked_bytes: 0,
            most_bytes,
            next_entry: 0,
            next_sequence: 0,
        }
    }

    /// Whether to read more entries.
    pub(crate) const fn has_room(&self) -> bool {
        self.bytes() < self.most_bytes
    }

    /// What the entries held take in memory, about.
    pub(crate) const fn bytes(&self) -> usize {
        self.packed_bytes + self.unpacked_bytes
    }

    /// Takes entries, except those it already holds. One with the id of another, which Redis must have lost, is a new
    /// one: the other is delivered too.
    pub(crate) fn take(&mut self, entries: Vec<Entry>, now: Moment) {
        for entry in entries {
            let (print, bytes) = (entry.print(), entry.body.len());
            let known = self.numbers.get(&entry.id).and_then(|number| self.taken.get(number));
            if known.is_some_and(|known| known.print == print) {
                continue;
            }
            let Entry { id, token, body } = entry;
            let number = self.next_entry;
            self.next_entry += 1;
            self.packed_bytes += bytes;
            self.numbers.insert(id.clone(), number);
            self.taken.insert(number, Taken { id: id.clone(), print, packed: bytes, unpacked: 0 });
            self.held.insert(number, Held { id, token, bytes, left: 0, unaccepted: Vec::new(), aside: 0 });
            self.packed.push_back((number, body, now));
        }
    }

    /// Unpacks entries while their events fit into the bound.
    fn unpack(&mut self) {
        while self.unpacked_bytes < self.most_bytes
            && let Some((number, body, taken_at)) = self.packed.pop_front()
        {
            match Envelope::read(&body) {
                Ok(envelope) => {
                    if let Some(held) = self.held.get_mut(&number) {
                        held.left = envelope.summary.events;
                    }
                    let unpacked = self.enqueue(number, &envelope, taken_at);
                    if let Some(taken) = self.taken.get_mut(&number) {
                        self.packed_bytes -= std::mem::take(&mut taken.packed);
                        taken.unpacked = unpacked;
                        self.unpacked_bytes += unpacked;
                    }
                }
                Err(_) => {
                    if let Some(mut held) = self.held.remove(&number) {
                        held.unaccepted.push(Unaccepted { body, status: None });
                        self.unreadable.push(held.settled(number));
                    }
                }
            }
        }
    }

    /// Takes the entries that turned out not to be readable, to be set aside.
    pub(crate) fn take_unreadable(&mut self) -> Vec<Settlement> {
        std::mem::take(&mut self.unreadable)
    }

    /// Returns what the events take in memory.
    fn enqueue(&mut self, entry: u64, envelope: &Envelope<'_>, taken_at: Moment) -> usize {
        let origin = Arc::new(Origin {
            header: envelope.header(),
            project_id: envelope.summary.project_id.as_str().into(),
        });
        let mut bytes = origin.header.len();
        for (visitor, events) in envelope.visitors() {
            let visitor = Arc::new(visitor.head());
            bytes += visitor.bytes() + VISITOR_BYTES;
            for event in events {
                let sequence = self.next_sequence;
                self.next_sequence += 1;
                bytes += event.text.len() + EVENT_BYTES;
                let event = Event {
                    sequence,
                    entry,
                    taken_at,
                    suspicion: 0,
                    origin: Arc::clone(&origin),
                    visitor: Arc::clone(&visitor),
                    text: event.text.into(),
                    is_conversion: event.is_conversion,
                };
                self.queue.insert(sequence, event);
            }
        }
        bytes
    }

    /// The next request, if one can be sent now.
    pub(crate) fn next(&mut self, now: Moment) -> Option<Sending> {
        self.unpack();
        let until = self.dispatch.until();
        let (queue, begin, elsewhere) = (&mut self.queue, self.begin, &mut self.elsewhere);
        let mut is_elsewhere = false;
        let (attempt, events) = self.dispatch.next(now, until, |mut limit| {
            is_elsewhere = limit.elsewhere;
            if !is_elsewhere {
                return cut(queue, begin, limit);
            }
            limit.events = limit.events.min(elsewhere.events());
            cut(queue, elsewhere.start(queue), limit)
        })?;
        if is_elsewhere {
            self.elsewhere.attempt = Some(attempt);
        }
        let sending = Sending {
            attempt,
            project_id: events.first().map(|event| Arc::clone(&event.origin.project_id)).unwrap_or_default(),
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
        self.elsewhere.ended(attempt, result.is_ok());
        match result {
            Ok(_) => {
                self.dispatch.succeeded(attempt);
                self.begin = 0;
                ended.delivered = events.len();
                events.into_iter().for_each(|event| self.finish(&event, None, &mut ended));
            }
            Err(cause) => {
                let origin = events.first().map(|event| Arc::clone(&event.origin));
                let last = events.last().map_or(0, Parcel::sequence);
                let failure = self.dispatch.failed(attempt, events, &cause, now);
                ended.fate_unknown = failure.fate_unknown;
                if let Some(last) = failure.pass_by {
                    self.begin = last + 1;
                } else if !is_of_the_events(&cause) {
                    // Perhaps only this project's host fails: the next attempt goes to another one, if any waits.
                    let others = self.queue.range(last + 1..);
                    let header = origin.as_ref().map(|origin| &origin.header);
                    let other = others.into_iter().find(|(_, event)| Some(&event.origin.header) != header);
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
        if let Some(unaccepted) = unaccepted {
            if held.aside + unaccepted.body.len() <= ASIDE * held.bytes {
                held.aside += unaccepted.body.len();
                held.unaccepted.push(unaccepted);
            } else {
                ended.unkept += 1;
            }
        }
        held.left -= 1;
        if held.left == 0
            && let Some(held) = self.held.remove(&event.entry)
        {
            ended.settled.push(held.settled(event.entry));
        }
    }

    /// Forgets entries that are no longer in the stream. Until then they stay known, and counted, so that
    /// they are not taken again.
    pub(crate) fn settled(&mut self, entries: &[u64]) {
        entries.iter().for_each(|number| self.forget(*number));
    }

    fn forget(&mut self, number: u64) {
        let Some(taken) = self.taken.remove(&number) else { return };
        self.packed_bytes -= taken.packed;
        self.unpacked_bytes -= taken.unpacked;
        if self.numbers.get(&taken.id) == Some(&number) {
            self.numbers.remove(&taken.id);
        }
    }

    /// The entries held, including those being settled; none of them must look abandoned.
    pub(crate) fn in_hand(&self) -> impl Iterator<Item = &str> {
        self.numbers.keys().map(String::as_str)
    }

    /// The number of entries held.
    pub(crate) fn entries(&self) -> usize {
        self.taken.len()
    }

    /// Whether entries are done but still in the stream.
    pub(crate) fn has_unsettled(&self) -> bool {
        self.taken.len() > self.held.len()
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
            if let Some(place) = self.packed.iter().position(|(packed, ..)| *packed == number) {
                self.packed.remove(place);
            } else {
                let waiting = self.queue.values().filter(|event| event.entry == number).count();
                if self.held.get(&number).is_none_or(|held| held.left != waiting) {
                    continue;
                }
                self.queue.retain(|_, event| event.entry != number);
            }
            self.held.remove(&number);
            self.forget(number);
        }
    }
}

/// Whether the endpoint finds fault with what was sent, and not with who sends it, or with itself.
const fn is_of_the_events(cause: &DeliveryFailure) -> bool {
    matches!(cause, DeliveryFailure::Refused(refusal)
        if matches!(refusal.reason, RefusalReason::Events | RefusalReason::TooLarge))
}

/// Where a request starts that is to have others than the oldest events, and how many: near the end of the queue, twice
/// as many as last time while they are accepted. If the last one alone is refused, anywhere.
#[derive(Default)]
struct Elsewhere {
    /// The latest such attempt.
    attempt: Option<u64>,
    /// As a power of two, how many events from the end.
    reach: u32,
    is_anywhere: bool,
    leaps: u64,
}

impl Elsewhere {
    const fn events(&self) -> usize {
        1 << self.reach
    }

    /// The start of an entry.
    fn start(&mut self, queue: &BTreeMap<u64, Event>) -> u64 {
        /// The golden ratio, whose multiples fall evenly between 0 and 1, as a part of 2^32.
        const STEP: u64 = 0x9e37_79b9;
        let mut places = queue.iter();
        let found = if self.is_anywhere {
            self.leaps += 1;
            let part = self.leaps.wrapping_mul(STEP) & u64::from(u32::MAX);
            places.nth(((queue.len() as u64 * part) >> 32) as usize)
        } else {
            places.nth(queue.len().saturating_sub(self.events()))
        };
        let Some((from, event)) = found else { return 0 };
        let before = queue.range(..from).rev().take_while(|(_, other)| other.entry == event.entry);
        before.last().map_or(*from, |(start, _)| *start)
    }

    fn ended(&mut self, attempt: u64, is_accepted: bool) {
        if self.attempt != Some(attempt) {
            return;
        }
        if is_accepted {
            self.reach = (self.reach + 1).min(MOST_REACH);
        } else {
            self.is_anywhere = self.reach == 0 && !self.is_anywhere;
            self.reach = 0;
        }
    }
}

/// Takes the oldest events that fit into one request, starting at `begin` if there are any. An entry is
/// split only if it exceeds `limit` by itself: if this relay died in between, the delivered part would be sent again.
fn cut(queue: &mut BTreeMap<u64, Event>, begin: u64, limit: CutLimit) -> Vec<Event> {
    let begin = if queue.range(begin..).next().is_some() { begin } else { 0 };
    let Some((_, first)) = queue.range(begin..).next() else { return Vec::new() };
    let header = &first.origin.header;
    let mut assembly = Assembly::new(header);
    let (mut taken, mut bytes) = (Vec::new(), header.len());
    let (mut entry, mut whole) = (first.entry, 0);
    for (sequence, event) in queue.range(begin..) {
        if event.entry != entry {
            (entry, whole) = (event.entry, taken.len());
        }
        let is_alike = event.origin.header == *header;
        let added = is_alike.then(|| assembly.add(&event.visitor, &event.text)).flatten();
        bytes += added.unwrap_or_default();
        let fits = taken.is_empty() || (taken.len() < limit.events && bytes <= limit.bytes);
        if !fits || added.is_none() {
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
    let mut assembly = Assembly::new(&first.origin.header);
    for event in events {
        assembly.add(&event.visitor, &event.text);
    }
    assembly.body()
}
