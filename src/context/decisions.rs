//! One visitor's decisions, as seen by one context.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use smol_str::SmolStr;

use crate::config::{ConfigSnapshot, Goals, Number, Numbers, SnapshotExt};
use crate::decide::{Stored, StoredDecisions};
use crate::engine::Pairs;
use crate::visitors::{Bucketing, Few};

/// Whether an exposure was handed over.
pub(crate) enum Exposed {
    No,
    /// By an earlier context, in this epoch.
    Before(u64),
    /// By this one, before more exposures than this were lost unsent.
    Here(u64),
}

/// This many experiences have their note inline in the context, in order of first use.
const FEW: usize = Pairs::FEW;

/// A note for each decided experience of the snapshot: the variation's position plus one, or a marker if it has none.
/// Notes are independent, so relaxed ordering is enough.
#[derive(Default)]
pub(crate) struct Decisions {
    /// The experience's position plus one in the upper half, its note in the lower; 0 is free. A taken slot stays
    /// with its experience, and slots are taken from the first on.
    few: [AtomicU64; FEW],
    many: Many,
    /// Stored decisions on experiences or variations that are not in the snapshot.
    foreign: Box<[Foreign]>,
    /// The goals whose conversion was handed over by this context or before it, by position.
    converted: AtomicU32,
    /// The epoch in which remembered exposures and those conversions count as made.
    epoch: Option<u64>,
    /// How many exposures were lost unsent when this context handed over those that are noted as such.
    unsent_before: AtomicU64,
    /// What a test forces, by position: experience and variation.
    #[cfg(feature = "testing")]
    forced: Vec<(usize, usize)>,
}

type Notes = Box<[AtomicU32]>;

/// A note for each experience that has no inline slot. Made on first use, without a lock: a fork by another thread
/// would leave that locked in the child.
#[derive(Default)]
struct Many {
    /// Set before the notes are made. Contexts with a few decisions pay for nothing else.
    is_used: AtomicBool,
    notes: ManuallyDrop<ArcSwapOption<Notes>>,
}

/// A stored decision that a note cannot represent.
#[derive(Clone)]
struct Foreign {
    /// The experience's position, if only the variation is unknown.
    experience: Option<usize>,
    experience_id: SmolStr,
    variation_id: SmolStr,
}

/// This context has handed the exposure to the tracker, which counts until exposures are lost unsent.
const EXPOSED: u32 = 1 << 31;
/// The exposure was handed to the tracker by an earlier context, which counts while the epoch lasts.
const REMEMBERED: u32 = 1 << 30;
const FLAGS: u32 = EXPOSED | REMEMBERED;
/// The stored variation no longer exists; its id is among the foreign ones.
const STALE: u32 = REMEMBERED - 1;
/// The same, and the id is empty.
const EMPTY: u32 = REMEMBERED - 2;

impl Decisions {
    /// Loads stored decisions, and their positions in the snapshot, into an empty set. Exposures and conversions of
    /// this epoch count as made.
    #[inline(always)]
    pub(crate) fn hydrate(
        &mut self,
        snapshot: &ConfigSnapshot,
        numbers: &Numbers,
        stored: &Bucketing,
        epoch: Option<u64>,
    ) {
        self.begin(epoch);
        self.converted = numbers.goal_places(snapshot, stored.converted_in(epoch)).into();
        let few = if numbers.is_of(snapshot) { stored.few() } else { None };
        if !few.is_some_and(|few| self.place(numbers, few, epoch)) {
            self.search(snapshot, numbers, stored, epoch);
        }
    }

    /// What is handed over in this epoch counts as made as long as it lasts.
    #[inline]
    pub(crate) const fn begin(&mut self, epoch: Option<u64>) {
        self.epoch = epoch;
    }

    /// Takes over the places of stored decisions; false if the config has not all of them.
    #[inline(always)]
    fn place(&mut self, numbers: &Numbers, stored: &Few, epoch: Option<u64>) -> bool {
        let exposed = stored.exposed_in(epoch);
        for ((slot, number), exposed) in self.few.iter_mut().zip(stored.numbers()).zip(exposed) {
            let place = numbers.place(number);
            if place == 0 {
                return false;
            }
            *slot.get_mut() = place | if exposed { u64::from(REMEMBERED) } else { 0 };
        }
        true
    }

    #[inline(never)]
    fn search(
        &mut self,
        snapshot: &ConfigSnapshot,
        numbers: &Numbers,
        stored: &Bucketing,
        epoch: Option<u64>,
    ) {
        self.few = Default::default();
        let decisions = &*self;
        let mut foreign = Vec::new();
        stored.each(numbers, epoch, |experience_id, variation_id, exposed| {
            let experience = snapshot.experience_index_by_id(experience_id);
            let variation = experience
                .and_then(|position| snapshot.experiences()[position].variation_index(variation_id));
            if let (Some(experience), Some(variation)) = (experience, variation) {
                decisions.set(snapshot, experience, variation);
                if exposed {
                    decisions.change(snapshot, experience, |note| note | REMEMBERED);
                }
                return;
            }
            if let Some(experience) = experience {
                let note = if variation_id.is_empty() { EMPTY } else { STALE };
                decisions.change(snapshot, experience, |_| note);
            }
            let (experience_id, variation_id) = (experience_id.clone(), variation_id.clone());
            foreign.push(Foreign { experience, experience_id, variation_id });
        });
        self.foreign = foreign.into();
    }

    /// No decisions but those that are forced.
    pub(crate) fn afresh(&self) -> Self {
        Self {
            #[cfg(feature = "testing")]
            forced: self.forced.clone(),
            ..Self::default()
        }
    }

    /// Forces decisions over these.
    #[cfg(feature = "testing")]
    pub(crate) fn force(&mut self, forced: Vec<(usize, usize)>) {
        self.forced = forced;
    }

    /// Remembers a decision.
    pub(crate) fn set(&self, snapshot: &ConfigSnapshot, experience: usize, variation: usize) {
        let variation = note_of(variation);
        self.change(snapshot, experience, |note| note & FLAGS | variation);
    }

    #[inline(always)]
    pub(crate) fn exposed(&self, experience: usize) -> Exposed {
        match (self.note(experience) & FLAGS, self.epoch) {
            (REMEMBERED, Some(epoch)) => Exposed::Before(epoch),
            (0 | REMEMBERED, _) => Exposed::No,
            _ => Exposed::Here(self.unsent_before.load(Ordering::Acquire)),
        }
    }

    /// Whether the conversion of a goal was handed over, in what is still the current epoch.
    #[inline]
    pub(crate) fn is_converted(&self, goal: usize, epoch: impl FnOnce() -> u64) -> bool {
        self.converted.load(Ordering::Relaxed) & bit(goal) != 0
            && self.epoch.is_some_and(|remembered| remembered == epoch())
    }

    /// Remembers that this context has handed over the conversion of a goal in this epoch, if it began in it.
    #[inline]
    pub(crate) fn convert(&self, goal: usize, epoch: u64) {
        if self.epoch == Some(epoch) {
            self.converted.fetch_or(bit(goal), Ordering::Relaxed);
        }
    }

    /// Whether there are at least two.
    #[inline]
    pub(crate) fn are_several(&self) -> bool {
        self.few[1].load(Ordering::Relaxed) != 0
    }

    /// Marks the exposure as handed over, and returns whether it was not before. A new decision is remembered with it.
    pub(crate) fn expose(
        &self,
        snapshot: &ConfigSnapshot,
        experience: usize,
        decided: Option<usize>,
        unsent: u64,
    ) -> bool {
        if self.unsent_before.load(Ordering::Acquire) != unsent {
            self.begin_anew(unsent);
        }
        let variation = decided.map(note_of);
        let exposed = |note| variation.map_or(note, |variation| note & FLAGS | variation) | EXPOSED;
        self.change(snapshot, experience, exposed) & EXPOSED == 0
    }

    /// What was handed over before may be lost. A mark that another thread sets meanwhile stays valid: its record has
    /// not been sent yet, and if that is lost, the number changes again.
    #[cold]
    fn begin_anew(&self, unsent: u64) {
        for slot in &self.few {
            slot.fetch_and(!u64::from(EXPOSED), Ordering::Relaxed);
        }
        self.many.clear(EXPOSED);
        self.unsent_before.store(unsent, Ordering::Release);
    }

    /// Clears the mark because the exposure was refused, so that a later call tries again.
    #[cold]
    pub(crate) fn unexpose(&self, snapshot: &ConfigSnapshot, experience: usize) {
        self.change(snapshot, experience, |note| note & !EXPOSED);
    }

    /// All decisions as ids: those in the snapshot in config order, then the foreign ones.
    pub(crate) fn pairs<C: FromIterator<(SmolStr, SmolStr)>>(&self, snapshot: &ConfigSnapshot) -> C {
        let pair = |decided| pair(snapshot, decided);
        let known = (0..snapshot.experiences().len()).filter_map(|position| match self.stored(position) {
            Stored::Variation(variation) => Some(pair((position, variation))),
            Stored::None | Stored::Stale | Stored::Empty => None,
        });
        let current = |foreign: &&Foreign| {
            foreign.experience.is_none_or(|position| self.note(position) & !FLAGS >= EMPTY)
        };
        let foreign = self.foreign.iter().filter(current);
        known.chain(foreign.map(|it| (it.experience_id.clone(), it.variation_id.clone()))).collect()
    }

    /// All decisions as the memory of visitors keeps them.
    pub(crate) fn remembered(&self, snapshot: &ConfigSnapshot, numbers: &Numbers) -> Bucketing {
        let few = self.numbered(snapshot, numbers).map(Bucketing::numbered);
        few.unwrap_or_else(|| self.pairs(snapshot))
    }

    /// All decisions as a record carries them.
    #[inline]
    pub(crate) fn recorded(&self, snapshot: &ConfigSnapshot, numbers: &Numbers) -> Pairs {
        let few = self.numbered(snapshot, numbers).map(Pairs::Numbers);
        few.unwrap_or_else(|| Pairs::Ids(self.pairs(snapshot)))
    }

    /// All decisions by number, in config order, if they are few and each has one.
    fn numbered(&self, snapshot: &ConfigSnapshot, numbers: &Numbers) -> Option<[Option<Number>; FEW]> {
        if self.many.is_used() || !self.foreign.is_empty() {
            return None;
        }
        let (mut known, mut count) = ([None; FEW], 0);
        self.each_few(|experience, variation| {
            known[count] = numbers.number(snapshot, experience, variation);
            count += 1;
        });
        known[..count].iter().all(Option::is_some).then_some(known)
    }

    /// Visits the inline decisions, in config order.
    fn each_few(&self, mut visit: impl FnMut(usize, usize)) {
        let mut few = self.few.each_ref().map(|slot| slot.load(Ordering::Relaxed));
        let taken = few.iter().take_while(|slot| **slot != 0).count();
        // Sorts by position, which is in the upper half.
        few[..taken].sort_unstable();
        for slot in few.into_iter().take(taken) {
            if let variation @ 1..EMPTY = low(slot) & !FLAGS {
                visit((slot >> 32) as usize - 1, variation as usize - 1);
            }
        }
    }

    #[inline(always)]
    fn note(&self, experience: usize) -> u32 {
        let owner = owner(experience) >> 32;
        for slot in &self.few {
            let slot = slot.load(Ordering::Relaxed);
            if slot >> 32 == owner {
                return low(slot);
            }
        }
        // Notes are kept there only once no slot is free.
        self.many.note(experience)
    }

    /// Changes a note and returns what it was.
    fn change(&self, snapshot: &ConfigSnapshot, experience: usize, change: impl Fn(u32) -> u32) -> u32 {
        let owner = owner(experience);
        for slot in &self.few {
            let mut now = slot.load(Ordering::Relaxed);
            // Free, or this experience's: whoever takes it first, it stays with its experience.
            while now == 0 || now & !LOW == owner {
                let changed = owner | u64::from(change(low(now)));
                match slot.compare_exchange_weak(now, changed, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => return low(now),
                    Err(other) => now = other,
                }
            }
        }
        self.many.change(snapshot, experience, change)
    }
}

impl Many {
    fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    fn clear(&self, flag: u32) {
        if let Some(notes) = &*self.notes.load() {
            notes.iter().for_each(|note| _ = note.fetch_and(!flag, Ordering::Relaxed));
        }
    }

    #[inline]
    fn note(&self, experience: usize) -> u32 {
        if self.is_used() { self.note_used(experience) } else { 0 }
    }

    #[inline(never)]
    fn note_used(&self, experience: usize) -> u32 {
        let notes = self.notes.load();
        let note = notes.as_ref().and_then(|notes| notes.get(experience));
        note.map_or(0, |note| note.load(Ordering::Relaxed))
    }

    fn change(&self, snapshot: &ConfigSnapshot, experience: usize, change: impl Fn(u32) -> u32) -> u32 {
        let change = |notes: &Notes| {
            let change = |note| Some(change(note));
            notes[experience].fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).unwrap_or_default()
        };
        if let Some(notes) = &*self.notes.load() {
            return change(notes);
        }
        self.is_used.store(true, Ordering::Relaxed);
        let made: Notes = snapshot.experiences().iter().map(|_| AtomicU32::new(0)).collect();
        let made = Arc::new(made);
        // Another thread may have been first.
        let before = self.notes.compare_and_swap(&None::<Arc<Notes>>, Some(Arc::clone(&made)));
        change(before.as_ref().unwrap_or(&made))
    }
}

impl Clone for Many {
    fn clone(&self) -> Self {
        let copy = |note: &AtomicU32| AtomicU32::new(note.load(Ordering::Relaxed));
        let copied = |notes: &Arc<Notes>| Arc::new(notes.iter().map(copy).collect());
        let notes = if self.is_used() { self.notes.load().as_ref().map(copied) } else { None };
        Self { is_used: notes.is_some().into(), notes: ManuallyDrop::new(notes.into()) }
    }
}

impl Drop for Many {
    fn drop(&mut self) {
        // Dropping the cell looks through what every thread has borrowed; an empty one needs no drop.
        if *self.is_used.get_mut() {
            drop(ManuallyDrop::into_inner(std::mem::take(&mut self.notes)));
        }
    }
}

/// A decision as ids.
#[inline(always)]
fn pair(snapshot: &ConfigSnapshot, (experience, variation): (usize, usize)) -> (SmolStr, SmolStr) {
    let experience = &snapshot.experiences()[experience];
    (experience.id.clone(), experience.variations[variation].id.clone())
}

const LOW: u64 = u32::MAX as u64;

/// The note of a variation, by its position. A config holds far fewer variations than 2^30.
fn note_of(variation: usize) -> u32 {
    u32::try_from(variation + 1).unwrap_or(STALE)
}

/// The bit of a goal, by its position; further goals have none.
const fn bit(goal: usize) -> Goals {
    if goal < Goals::BITS as usize { 1 << goal } else { 0 }
}

const fn owner(experience: usize) -> u64 {
    (experience as u64 + 1) << 32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
const fn low(slot: u64) -> u32 {
    slot as u32
}

impl Clone for Decisions {
    fn clone(&self) -> Self {
        // First, so that earlier notes are not taken for later ones.
        let unsent_before = self.unsent_before.load(Ordering::Acquire).into();
        // Inline slots last, so that one taken after the other notes were copied is included.
        let many = self.many.clone();
        let few = self.few.each_ref().map(|slot| AtomicU64::new(slot.load(Ordering::Relaxed)));
        Self {
            few,
            many,
            foreign: self.foreign.clone(),
            converted: self.converted.load(Ordering::Relaxed).into(),
            epoch: self.epoch,
            unsent_before,
            #[cfg(feature = "testing")]
            forced: self.forced.clone(),
        }
    }
}

impl StoredDecisions for Decisions {
    #[inline(always)]
    fn stored(&self, experience: usize) -> Stored {
        match self.note(experience) & !FLAGS {
            0 => Stored::None,
            STALE => Stored::Stale,
            EMPTY => Stored::Empty,
            variation => Stored::Variation(variation as usize - 1),
        }
    }

    #[cfg(feature = "testing")]
    fn forced(&self, experience: usize) -> Option<usize> {
        self.forced.iter().find(|(forced, _)| *forced == experience).map(|(_, variation)| *variation)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{CompileOptions, compile};

    #[test]
    fn a_removed_variation_is_known_without_a_search() {
        let experience = |id: usize| json!({"id": id.to_string(), "key": id.to_string()});
        let experiences: Vec<_> = (0..2 * FEW).map(experience).collect();
        let config = json!({"account_id": "1", "project": {"id": "2"}, "experiences": experiences});
        let snapshot = compile(config.to_string(), &CompileOptions::default()).unwrap().snapshot;
        let is_empty = |id: usize| id % 2 == 1;
        let variation = |id| if is_empty(id) { "" } else { "gone" };
        let stored: Vec<_> = (0..2 * FEW).map(|id| (id.to_string().into(), variation(id).into())).collect();
        let remembered = stored.iter().cloned().collect();
        let mut decisions = Decisions::default();
        decisions.hydrate(&snapshot, &Numbers::default(), &remembered, None);
        assert_eq!(decisions.pairs::<Vec<_>>(&snapshot), stored, "kept unchanged");
        // The list that a search would scan for each of them.
        decisions.foreign = Box::default();
        for id in 0..2 * FEW {
            let found = (decisions.stored(id), is_empty(id));
            assert!(matches!(found, (Stored::Stale, false) | (Stored::Empty, true)), "{id}");
        }
    }
}
