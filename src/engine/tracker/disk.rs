//! Which records are on disk, if there is an outbox, and what other processes have left there.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::effects::Effects;
use super::flushes::Fate;
use super::machine::Tracker;
use super::{Found, Left, Note, Recovered, Saved, Verdict};
use crate::engine::{
    Backlog, ByClass, Claim, Class, Delivery, LifecycleEvent, Moment, Queued, ReleaseReason, TrackedEvent,
};
use crate::ports::RecordId;

/// How long the outbox may be silent before it counts as late, and records are delivered without it.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look for what other processes have left behind.
const LOOK_EVERY: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The most that is taken over at a time: two requests full for each lane.
const MOST_TAKEN: usize = 4_096;

#[derive(Default)]
pub(super) struct Disk {
    has_outbox: bool,
    /// Requests have ids.
    has_ids: bool,
    /// Handed to the outbox, which has not answered yet; in order.
    writing: VecDeque<u64>,
    /// The same, but they wait for its answer no longer; before all that do. Without a class, they have ended.
    overdue: BTreeMap<u64, Option<Class>>,
    /// Deliveries whose records are still on disk.
    removing: usize,
    /// The same, with those that were waited for long enough, or could not be removed: a successor repeats them.
    unremoved: u64,
    /// Requests that wait until it has noted their ids.
    noting: VecDeque<Delivery>,
    /// Since when it has answered nothing.
    silent_since: Option<Moment>,
    /// Records that are here, but not on disk: the outbox has failed, or is late.
    missed: BTreeMap<u64, Class>,
    /// The outbox is late, and is given nothing more until it answers.
    late: bool,
    /// It has failed or was late, and nothing has been saved since.
    failing: bool,
    most_writing: usize,
    /// Records of other processes that are here, and what the outbox calls them.
    adopted: HashMap<u64, RecordId>,
    /// When to look for more; not while the outbox is looking.
    next_look: Option<Moment>,
    /// What has arrived, but cannot be counted yet.
    arrived: Option<Recovered>,
    /// Known to be left by others, and not read yet.
    unread: u64,
    /// Left there by the close.
    left: u64,
}

impl Disk {
    pub(super) fn new(has_outbox: bool, has_ids: bool, most_writing: usize) -> Self {
        let next_look = has_outbox.then(Moment::default);
        Self { has_outbox, has_ids, most_writing, next_look, ..Self::default() }
    }

    /// Hands a new record over.
    pub(super) fn save(&mut self, sequence: u64, event: &TrackedEvent, now: Moment, effects: &mut Effects) {
        if !self.has_outbox {
            return;
        }
        if self.late || self.writing.len() + self.overdue.len() >= self.most_writing {
            return self.miss(sequence, event.class(), effects);
        }
        self.writing.push_back(sequence);
        self.silent_since.get_or_insert(now);
        effects.save(Saved { sequence, event: event.clone(), at: now });
    }

    /// A record is not what it was when it was handed over.
    pub(super) fn change(&self, queued: &Queued, effects: &mut Effects) {
        let Queued { sequence, event, accepted_at, .. } = queued;
        let was_handed = !self.missed.contains_key(sequence) || self.overdue.contains_key(sequence);
        if self.has_outbox && was_handed {
            effects.change(Saved { sequence: *sequence, event: event.clone(), at: *accepted_at });
        }
    }

    /// A record has come to its end, and need not be kept any longer.
    pub(super) fn forget(&mut self, sequence: u64, effects: &mut Effects) {
        if self.has_outbox {
            // Also one that the outbox was late for: it may get to it.
            self.missed.remove(&sequence);
            if let Some(class) = self.overdue.get_mut(&sequence) {
                *class = None;
            }
            effects.forget(self.name(sequence));
            self.adopted.remove(&sequence);
        }
    }

    /// What the outbox knows this record as.
    fn name(&self, sequence: u64) -> Left {
        self.adopted.get(&sequence).map_or(Left::Own(sequence), |id| Left::Adopted(*id))
    }

    /// Whether there is an outbox.
    pub(super) const fn has_outbox(&self) -> bool {
        self.has_outbox
    }

    /// Records from this one on must not be sent yet.
    pub(super) fn unsaved_from(&self) -> u64 {
        self.writing.front().copied().unwrap_or(u64::MAX)
    }

    fn is_saved(&self, sequence: u64) -> bool {
        let is_unknown = self.missed.contains_key(&sequence) || self.overdue.contains_key(&sequence);
        let is_own = sequence < self.unsaved_from() && !is_unknown;
        self.has_outbox && (is_own || self.adopted.contains_key(&sequence))
    }

    /// Whether the outbox has not answered yet for this record.
    pub(super) fn is_unsaved(&self, sequence: u64) -> bool {
        let is_overdue = !self.late && self.overdue.contains_key(&sequence);
        let is_handed = sequence >= self.unsaved_from() && !self.missed.contains_key(&sequence);
        is_overdue || is_handed && !self.is_saved(sequence)
    }

    /// How many are on disk alone.
    pub(super) const fn count(&self) -> u64 {
        self.unread + self.left
    }

    /// A delivery was accepted: its records are removed in one go.
    pub(super) fn delivered(&mut self, now: Moment, effects: &mut Effects) {
        self.unremoved += u64::from(self.has_outbox);
        if self.has_outbox && !self.late {
            self.removing += 1;
            self.silent_since.get_or_insert(now);
            effects.count_delivery();
        }
    }

    /// How many deliveries a successor would repeat if the process ended now, besides those in flight. Together they
    /// are no more than there are lanes.
    pub(super) const fn removing(&self) -> usize {
        self.removing
    }

    /// The outbox has answered.
    fn heard(&mut self, now: Moment) {
        self.late = false;
        let owes = self.is_writing() || self.removing > 0 || !self.noting.is_empty();
        self.silent_since = (owes || self.is_looking()).then_some(now);
    }

    /// When the outbox is late.
    pub(super) fn late_at(&self) -> Option<Moment> {
        self.silent_since.map(|since| since + PATIENCE)
    }

    /// The first record of the requests that wait for it.
    pub(super) fn first_noting(&self) -> Option<u64> {
        self.noting.iter().filter_map(|delivery| delivery.records.first()).map(|queued| queued.sequence).min()
    }

    /// Lets the requests up to this attempt be sent.
    fn send(&mut self, through: u64, effects: &mut Effects) {
        let end = self.noting.partition_point(|delivery| delivery.attempt <= through);
        self.noting.drain(..end).for_each(|delivery| effects.deliver(delivery));
    }

    /// Whether it is looking for what others have left, and may find damage.
    pub(super) const fn is_looking(&self) -> bool {
        self.has_outbox && self.next_look.is_none() && !self.late
    }

    pub(super) fn is_writing(&self) -> bool {
        !self.writing.is_empty() || !self.late && !self.overdue.is_empty()
    }

    /// Lets so many records wait for the outbox no longer.
    fn release(&mut self, count: usize, backlog: &Backlog) {
        // One that is not there any more has been dropped, or was a repetition.
        let class = |sequence| backlog.get(sequence).map(|queued| queued.event.class());
        self.overdue.extend(self.writing.drain(..count).map(|sequence| (sequence, class(sequence))));
    }

    /// This record is here, but not on disk.
    fn miss(&mut self, sequence: u64, class: Class, effects: &mut Effects) {
        if self.missed.insert(sequence, class).is_none() {
            effects.missed(1);
        }
    }

    /// The end: what the outbox was handed is as good as on disk.
    pub(super) fn end(&mut self) {
        self.writing.clear();
        self.overdue.clear();
    }
}

impl Tracker {
    /// The outbox has written everything up to this record, or could not.
    pub(crate) fn saved(&mut self, through: u64, is_kept: bool, now: Moment, effects: &mut Effects) {
        self.disk.failing &= !is_kept;
        let end = self.disk.writing.partition_point(|sequence| *sequence <= through);
        if !is_kept || !self.verdicts.is_empty() || !self.disk.overdue.is_empty() {
            self.disk.release(end, &self.backlog);
            let later = self.disk.overdue.split_off(&through.saturating_add(1));
            for (sequence, class) in std::mem::replace(&mut self.disk.overdue, later) {
                match class {
                    Some(_) if is_kept => drop(self.disk.missed.remove(&sequence)),
                    Some(class) => self.disk.miss(sequence, class, effects),
                    None => {}
                }
                self.confirm(sequence, effects);
            }
        } else {
            self.disk.writing.drain(..end);
        }
        self.disk.heard(now);
    }

    /// The outbox has removed what so many deliveries carried, and all that it could not remove before; or it could not.
    pub(crate) fn removed(&mut self, deliveries: u64, is_removed: bool, now: Moment) {
        let deliveries = usize::try_from(deliveries).unwrap_or(usize::MAX);
        self.disk.removing = self.disk.removing.saturating_sub(deliveries);
        if is_removed {
            self.disk.unremoved = self.disk.removing as u64;
        }
        self.disk.heard(now);
    }

    /// Begins a delivery. One with an id waits until the outbox has noted that, unless it is late or a flush cannot wait.
    pub(super) fn begin(&mut self, delivery: Delivery, now: Moment, effects: &mut Effects) {
        let Some(id) = delivery.id.filter(|_| self.disk.has_outbox && !self.disk.late) else {
            return effects.deliver(delivery);
        };
        let (attempt, records) = (delivery.attempt, delivery.records.iter());
        let records = records.map(|queued| self.disk.name(queued.sequence)).collect();
        effects.note(Note { attempt, id, records });
        self.disk.silent_since.get_or_insert(now);
        self.disk.noting.push_back(delivery);
        if self.flushes.memory_decides_before(now) > 0 {
            self.disk.send(attempt, effects);
        }
    }

    /// The outbox has noted the ids of the requests up to this attempt, or could not.
    pub(crate) fn noted(&mut self, through: u64, now: Moment, effects: &mut Effects) {
        self.disk.send(through, effects);
        self.disk.heard(now);
    }

    /// Takes back what waits to be noted.
    pub(super) fn take_unsent(&mut self) {
        for Delivery { attempt, records, .. } in std::mem::take(&mut self.disk.noting) {
            self.dispatch.ended(attempt);
            records.into_iter().for_each(|queued| self.backlog.push(queued));
        }
    }

    /// Answers a caller who waits for the disk, unless the data store has not answered yet.
    fn confirm(&mut self, sequence: u64, effects: &mut Effects) {
        let is_asked = |queued: &Queued| matches!(queued.claim, Claim::Asked { .. });
        if !self.backlog.get(sequence).is_some_and(is_asked) {
            effects.judge(self.verdicts.remove(&sequence), Verdict::Accepted);
        }
    }

    /// Lets records be delivered that the outbox is late with. Those that only a flush cannot wait for are still
    /// confirmed, and left on disk by a close, when it answers.
    pub(super) fn give_up_disk(&mut self, now: Moment, effects: &mut Effects) {
        if !self.disk.has_outbox {
            return;
        }
        let is_late = self.disk.late_at().is_some_and(|due| due <= now);
        let end = if is_late { u64::MAX } else { self.flushes.memory_decides_before(now) };
        if end == 0 {
            return;
        }
        self.disk.removing = 0;
        self.disk.send(u64::MAX, effects);
        let released = self.disk.writing.partition_point(|sequence| *sequence < end);
        if released == 0 && !is_late {
            return;
        }
        self.disk.release(released, &self.backlog);
        let overdue: Vec<_> = self.disk.overdue.iter().map(|(sequence, class)| (*sequence, *class)).collect();
        for (sequence, class) in overdue {
            if let Some(class) = class {
                self.disk.miss(sequence, class, effects);
            }
            if is_late {
                self.confirm(sequence, effects);
            }
        }
        if is_late {
            (self.disk.late, self.disk.silent_since) = (true, None);
        }
    }

    /// Counts what is not on disk, and tells about the first.
    pub(super) fn count_missed(&mut self, effects: &mut Effects) {
        let missed = effects.take_missed();
        if missed == 0 {
            return;
        }
        self.stats.outbox_missed += missed;
        if !std::mem::replace(&mut self.disk.failing, true) {
            logged!(error, "the outbox fails or is late; records are delivered from memory alone");
            effects.notify(|| LifecycleEvent::OutboxFailed { records: missed });
        }
    }

    /// Asks for what other processes have left behind, if there is room for it.
    pub(super) fn look_for_left(&mut self, now: Moment, effects: &mut Effects) {
        if self.next_look().is_some_and(|due| due <= now) {
            self.disk.next_look = None;
            self.disk.silent_since.get_or_insert(now);
            let (records, bytes) = self.backlog.half_free();
            effects.adopt(records.min(MOST_TAKEN), bytes / 2);
        }
    }

    /// When to look. What makes room is an event itself.
    pub(super) fn next_look(&self) -> Option<Moment> {
        let (records, bytes) = self.backlog.half_free();
        let has_room = records > 0 && bytes > 0 && self.disk.adopted.len() <= MOST_TAKEN / 2;
        self.disk.next_look.filter(|_| has_room && !self.closing && self.disk.arrived.is_none())
    }

    /// The outbox has looked; `None` if it could not.
    pub(crate) fn recovered(&mut self, recovered: Option<Recovered>, now: Moment) {
        let has_some = recovered.as_ref().is_some_and(|it| it.left > 0 || !it.records.is_empty());
        self.disk.next_look = Some(match (has_some, self.disk.adopted.is_empty()) {
            (true, _) => now,
            // It may not want to have more open at a time.
            (false, false) => now + LOOK_AGAIN,
            (false, true) => now + LOOK_EVERY,
        });
        self.disk.arrived = recovered;
        self.disk.heard(now);
    }

    /// Takes what has arrived, unless a flush has counted on the next numbers.
    pub(super) fn take_recovered(&mut self, now: Moment) {
        if !self.closing && self.flushes.expect(self.next_sequence) {
            return;
        }
        let Some(recovered) = self.disk.arrived.take() else { return };
        let Recovered { records, batches, damaged, left, killed } = recovered;
        if self.closing {
            // The records stay where they are, but what is damaged is gone.
            let known = damaged.min(self.disk.unread);
            self.disk.unread -= known;
            self.stats.recovered += damaged - known;
            self.stats.dropped.damaged += damaged;
            self.stats.fate_unknown += killed;
            return;
        }
        let known = std::mem::replace(&mut self.disk.unread, left);
        // Some that were known to be there are not, or cannot be read.
        let damaged = damaged.max(known.saturating_sub(left + records.len() as u64));
        let found = (records.len() as u64 + damaged + left).saturating_sub(known);
        if found > 0 || damaged > 0 {
            logged!(info, "records that an earlier process has left were found: {found}; damaged: {damaged}");
        }
        self.stats.recovered += found;
        self.stats.dropped.damaged += damaged;
        // Their last requests may have been answered when nobody was there to hear it.
        self.stats.fate_unknown += killed;
        if records.is_empty() {
            return;
        }
        let mut records = records.into_iter();
        // Without ids of its own, this process could not keep a request as it was either.
        let batches = if self.disk.has_ids { batches } else { Vec::new() };
        for (id, of) in batches {
            let records = records.by_ref().take(of).map(|found| self.adopted(found, now)).collect();
            self.dispatch.hold(id, records);
        }
        for found in records {
            let queued = self.adopted(found, now);
            self.backlog.push(queued);
        }
        self.reserve();
        self.release(ReleaseReason::Timeout);
    }

    /// A record that another process has left.
    fn adopted(&mut self, (id, event, age): Found, now: Moment) -> Queued {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.disk.adopted.insert(sequence, id);
        let mark = self.mark_of(&event);
        let repeats = matches!(&event, TrackedEvent::Conversion(conversion) if !conversion.first);
        // Whatever is known here about its visitor: it was accepted before, so it is not a repetition.
        let owns_mark = !repeats && !self.marks.contains(mark, now);
        let number = if owns_mark { self.marks.set(mark, now) } else { 0 };
        let claim = match (owns_mark, self.store) {
            (true, false) => Claim::Local,
            // It was claimed by the process that accepted it.
            (true, true) => Claim::Leased,
            (false, true) if !repeats => Claim::Inherited,
            (false, _) => Claim::None,
        };
        let accepted_at = now.checked_sub(age).unwrap_or_default();
        Queued::new(sequence, event, accepted_at).with(claim, number)
    }

    /// The core is closing: a record on disk stays there for the next process. Returns the others.
    pub(super) fn leave_on_disk(&mut self, queued: Queued) -> Option<Queued> {
        if !self.disk.is_saved(queued.sequence) {
            return Some(queued);
        }
        self.disk.left += 1;
        self.flushes.resolve(queued.sequence, Fate::Left);
        None
    }

    /// Records of so many requests in flight at the end: those on disk stay there; returns the others.
    pub(super) fn leave_in_flight(&mut self, requests: usize, in_flight: ByClass) -> ByClass {
        if !self.disk.has_outbox {
            return in_flight;
        }
        let mut missed = ByClass::default();
        self.disk.missed.values().for_each(|class| missed.count(*class));
        let left = in_flight.total().saturating_sub(missed.total());
        self.disk.left += left;
        // The next process sends them again, and what could not be removed.
        let repeated = if left > 0 { requests as u64 } else { 0 };
        self.stats.fate_unknown += repeated + self.disk.unremoved;
        missed
    }
}
