//! The decisions of one visitor, as one context sees them.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use smol_str::SmolStr;

use crate::config::ConfigSnapshot;
use crate::decide::{Stored, StoredDecisions};

/// One slot for each experience of the snapshot, made at the first decision: the position of the
/// variation plus one, or a note about it. Slots are independent, so relaxed order is enough.
#[derive(Default)]
pub(crate) struct Decisions {
    slots: OnceLock<Box<[AtomicU32]>>,
    /// Stored decisions about experiences or variations that the snapshot does not have.
    foreign: Vec<Foreign>,
}

/// A stored decision that the snapshot cannot hold.
struct Foreign {
    /// The position of the experience, where only the variation is unknown.
    experience: Option<usize>,
    experience_id: SmolStr,
    variation_id: SmolStr,
}

/// The exposure was handed to the tracker by this context.
const EXPOSED: u32 = 1 << 31;
/// The stored variation does not exist any more; its id is among the foreign ones.
const STALE: u32 = EXPOSED - 1;

impl Decisions {
    /// Takes up stored decisions.
    pub(crate) fn hydrate(snapshot: &ConfigSnapshot, bucketing: Vec<(SmolStr, SmolStr)>) -> Self {
        let mut decisions = Self::default();
        for (experience_id, variation_id) in bucketing {
            let experience = snapshot.experience_index_by_id(&experience_id);
            let variation = experience
                .and_then(|position| snapshot.experiences()[position].variation_index(&variation_id));
            if let (Some(experience), Some(variation)) = (experience, variation) {
                decisions.set(snapshot, experience, variation);
                continue;
            }
            if let Some(experience) = experience {
                decisions.slot(snapshot, experience).store(STALE, Ordering::Relaxed);
            }
            decisions.foreign.push(Foreign { experience, experience_id, variation_id });
        }
        decisions
    }

    /// Remembers a decision.
    pub(crate) fn set(&self, snapshot: &ConfigSnapshot, experience: usize, variation: usize) {
        let slot = self.slot(snapshot, experience);
        // A config holds far fewer variations than 2^31.
        let variation = u32::try_from(variation + 1).unwrap_or(STALE);
        let exposed = slot.load(Ordering::Relaxed) & EXPOSED;
        slot.store(exposed | variation, Ordering::Relaxed);
    }

    /// Notes that the exposure is on its way; says whether it was not before.
    pub(crate) fn expose(&self, snapshot: &ConfigSnapshot, experience: usize) -> bool {
        let slot = self.slot(snapshot, experience);
        slot.fetch_or(EXPOSED, Ordering::Relaxed) & EXPOSED == 0
    }

    /// Every decision as ids: those about the snapshot in config order, then the foreign ones.
    pub(crate) fn pairs(&self, snapshot: &ConfigSnapshot) -> impl Iterator<Item = (SmolStr, SmolStr)> {
        let slots = self.slots.get().map_or(&[][..], |slots| slots);
        let known = slots.iter().zip(snapshot.experiences()).filter_map(|(slot, experience)| {
            match slot.load(Ordering::Relaxed) & !EXPOSED {
                0 | STALE => None,
                variation => {
                    let variation = experience.variations.get(variation as usize - 1)?;
                    Some((experience.id.clone(), variation.id.clone()))
                }
            }
        });
        let current = |foreign: &&Foreign| {
            foreign.experience.is_none_or(|position| matches!(self.stored(position), Stored::Stale(_)))
        };
        let foreign = self.foreign.iter().filter(current);
        known.chain(foreign.map(|it| (it.experience_id.clone(), it.variation_id.clone())))
    }

    fn slot(&self, snapshot: &ConfigSnapshot, experience: usize) -> &AtomicU32 {
        let slots = self.slots.get().unwrap_or_else(|| {
            // Made before the cell is touched, which a fork meanwhile would leave locked in the child.
            let made = snapshot.experiences().iter().map(|_| AtomicU32::new(0)).collect();
            self.slots.get_or_init(|| made)
        });
        &slots[experience]
    }
}

impl StoredDecisions for Decisions {
    fn stored(&self, experience: usize) -> Stored<'_> {
        let slot = self.slots.get().and_then(|slots| slots.get(experience));
        match slot.map_or(0, |slot| slot.load(Ordering::Relaxed) & !EXPOSED) {
            0 => Stored::None,
            STALE => {
                let stale = self.foreign.iter().find(|it| it.experience == Some(experience));
                Stored::Stale(stale.map_or("", |it| &it.variation_id))
            }
            variation => Stored::Variation(variation as usize - 1),
        }
    }
}
