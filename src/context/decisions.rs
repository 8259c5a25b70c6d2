//! One visitor's decisions, as seen by one context.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use smol_str::SmolStr;

use crate::config::{ConfigSnapshot, SnapshotExt};
use crate::decide::{Stored, StoredDecisions};
use crate::visitors::Bucketing;

/// This many experiences have their note inline in the context, in order of first use.
const FEW: usize = Bucketing::PLACES;

/// A note for each decided experience of the snapshot: the variation's position plus one, or a marker if it has none.
/// Notes are independent, so relaxed ordering is enough.
#[derive(Default)]
pub(crate) struct Decisions {
    /// The experience's position plus one in the upper half, its note in the lower; 0 is free. A taken slot stays
    /// with its experience, and slots are taken from the first on.
    few: [AtomicU64; FEW],
    /// A note for each experience that has no inline slot.
    many: OnceLock<Box<[AtomicU32]>>,
    /// Stored decisions on experiences or variations that are not in the snapshot.
    foreign: Vec<Foreign>,
    /// The epoch in which remembered exposures count as made.
    epoch: Option<u64>,
}

/// A stored decision that a note cannot represent.
#[derive(Clone)]
struct Foreign {
    /// The experience's position, if only the variation is unknown.
    experience: Option<usize>,
    experience_id: SmolStr,
    variation_id: SmolStr,
}

/// This context has handed the exposure to the tracker.
const EXPOSED: u32 = 1 << 31;
/// The exposure was handed to the tracker by an earlier context, which counts while the epoch lasts.
const REMEMBERED: u32 = 1 << 30;
const FLAGS: u32 = EXPOSED | REMEMBERED;
/// The stored variation no longer exists; its id is among the foreign ones.
const STALE: u32 = REMEMBERED - 1;
/// The same, and the id is empty.
const EMPTY: u32 = REMEMBERED - 2;

impl Decisions {
    /// Loads stored decisions, and their positions in the snapshot. Exposures of this epoch count as made.
    #[inline]
    pub(crate) fn hydrate(snapshot: &ConfigSnapshot, stored: &mut Bucketing, epoch: Option<u64>) -> Self {
        match stored.places_in(snapshot.serial()) {
            Some(places) => Self::placed(places, stored.exposed_in(epoch), epoch),
            None => Self::searched(snapshot, stored, epoch),
        }
    }

    #[inline]
    fn placed(mut places: [u64; FEW], exposed: u64, epoch: Option<u64>) -> Self {
        for (at, place) in places.iter_mut().enumerate() {
            *place |= (exposed >> at & 1) * u64::from(REMEMBERED);
        }
        Self { few: places.map(AtomicU64::new), epoch, ..Self::default() }
    }

    #[inline(never)]
    fn searched(snapshot: &ConfigSnapshot, stored: &mut Bucketing, epoch: Option<u64>) -> Self {
        let (mut decisions, exposed) = (Self { epoch, ..Self::default() }, stored.exposed_in(epoch));
        for at in 0..stored.len() {
            let (experience_id, variation_id) = &stored[at];
            let experience = snapshot.experience_index_by_id(experience_id);
            let variation = experience
                .and_then(|position| snapshot.experiences()[position].variation_index(variation_id));
            if let (Some(experience), Some(variation)) = (experience, variation) {
                decisions.set(snapshot, experience, variation);
                if at < u64::BITS as usize && exposed >> at & 1 == 1 {
                    decisions.change(snapshot, experience, |note| note | REMEMBERED);
                }
                stored.place(at, snapshot.serial(), owner(experience) | u64::from(note_of(variation)));
                continue;
            }
            if let Some(experience) = experience {
                let note = if variation_id.is_empty() { EMPTY } else { STALE };
                decisions.change(snapshot, experience, |_| note);
            }
            let (experience_id, variation_id) = (experience_id.clone(), variation_id.clone());
            decisions.foreign.push(Foreign { experience, experience_id, variation_id });
        }
        decisions
    }

    /// Remembers a decision.
    pub(crate) fn set(&self, snapshot: &ConfigSnapshot, experience: usize, variation: usize) {
        let variation = note_of(variation);
        self.change(snapshot, experience, |note| note & FLAGS | variation);
    }

    /// Whether the exposure is on its way: this context handed it over, or an earlier one did in what is still
    /// the current epoch.
    #[inline]
    pub(crate) fn is_exposed(&self, experience: usize, epoch: impl FnOnce() -> Option<u64>) -> bool {
        match self.note(experience) & FLAGS {
            0 => false,
            REMEMBERED => self.epoch.is_some() && epoch() == self.epoch,
            _ => true,
        }
    }

    /// Marks the exposure as handed over, and returns whether it was not before.
    pub(crate) fn expose(&self, snapshot: &ConfigSnapshot, experience: usize) -> bool {
        self.change(snapshot, experience, |note| note | EXPOSED) & EXPOSED == 0
    }

    /// Clears the mark because the exposure was refused, so that a later call tries again.
    #[cold]
    pub(crate) fn unexpose(&self, snapshot: &ConfigSnapshot, experience: usize) {
        self.change(snapshot, experience, |note| note & !EXPOSED);
    }

    /// All decisions as ids: those in the snapshot in config order, then the foreign ones. A visitor with a few
    /// decisions costs one allocation.
    pub(crate) fn pairs<C: FromIterator<(SmolStr, SmolStr)>>(&self, snapshot: &ConfigSnapshot) -> C {
        let pair = |decided| pair(snapshot, decided);
        if self.many.get().is_none() && self.foreign.is_empty() {
            let (mut known, mut count) = ([(0, 0); FEW], 0);
            self.each_few(|position, variation| {
                known[count] = (position, variation);
                count += 1;
            });
            return known[..count].iter().copied().map(pair).collect();
        }
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

    #[inline]
    fn note(&self, experience: usize) -> u32 {
        let owner = owner(experience);
        for slot in &self.few {
            let slot = slot.load(Ordering::Relaxed);
            if slot == 0 {
                return 0;
            }
            if slot & !LOW == owner {
                return low(slot);
            }
        }
        let many = self.many.get().and_then(|many| many.get(experience));
        many.map_or(0, |note| note.load(Ordering::Relaxed))
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
        let many = self.many.get().unwrap_or_else(|| {
            // Allocated before touching the cell: a fork during its initialization would leave it locked in the child.
            let made = snapshot.experiences().iter().map(|_| AtomicU32::new(0)).collect();
            self.many.get_or_init(|| made)
        });
        let change = |note| Some(change(note));
        many[experience].fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).unwrap_or_default()
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

const fn owner(experience: usize) -> u64 {
    (experience as u64 + 1) << 32
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half")]
const fn low(slot: u64) -> u32 {
    slot as u32
}

impl Clone for Decisions {
    fn clone(&self) -> Self {
        let copy = |note: &AtomicU32| AtomicU32::new(note.load(Ordering::Relaxed));
        // Inline slots last, so that one taken after the other notes were copied is included.
        let many = OnceLock::new();
        if let Some(notes) = self.many.get() {
            let _ = many.set(notes.iter().map(copy).collect());
        }
        let few = self.few.each_ref().map(|slot| AtomicU64::new(slot.load(Ordering::Relaxed)));
        Self { few, many, foreign: self.foreign.clone(), epoch: self.epoch }
    }
}

impl StoredDecisions for Decisions {
    #[inline]
    fn stored(&self, experience: usize) -> Stored {
        match self.note(experience) & !FLAGS {
            0 => Stored::None,
            STALE => Stored::Stale,
            EMPTY => Stored::Empty,
            variation => Stored::Variation(variation as usize - 1),
        }
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
        let mut decisions = Decisions::hydrate(&snapshot, &mut stored.iter().cloned().collect(), None);
        assert_eq!(decisions.pairs::<Vec<_>>(&snapshot), stored, "kept unchanged");
        // The list that a search would scan for each of them.
        decisions.foreign.clear();
        for id in 0..2 * FEW {
            let found = (decisions.stored(id), is_empty(id));
            assert!(matches!(found, (Stored::Stale, false) | (Stored::Empty, true)), "{id}");
        }
    }
}
