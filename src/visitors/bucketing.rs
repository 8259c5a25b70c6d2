//! The stored decisions of one visitor.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;

use smol_str::SmolStr;

/// Above this many, decisions are looked up in a table.
const FEW: usize = 32;

/// Experience id to variation id, in the order of the first decision.
#[derive(Clone, Default)]
pub(crate) struct Bucketing {
    pairs: Vec<(SmolStr, SmolStr)>,
    /// Where the config with this serial has the first few of them; 0 is unknown.
    places: [u64; Self::PLACES],
    serial: u32,
    /// Bit n is set if the exposure to the nth of them was handed over in this epoch.
    exposed: u64,
    epoch: u64,
    /// Boxed, since there are many visitors and most have none.
    extra: Option<Box<Extra>>,
}

/// What few visitors need.
#[derive(Clone, Default)]
struct Extra {
    /// Where each experience's decision is; filled by the first lookup among many.
    places: HashMap<SmolStr, usize>,
    /// Experiences decided without an answer from the store.
    guesses: HashSet<SmolStr>,
}

impl Bucketing {
    /// The places of this many decisions in a config are remembered.
    pub(crate) const PLACES: usize = 4;

    /// Where the config with this serial has every decision, if known.
    #[inline]
    pub(crate) fn places_in(&self, serial: u32) -> Option<[u64; Self::PLACES]> {
        let known = self.places.iter().take_while(|place| **place != 0).count();
        (self.serial == serial && known == self.pairs.len()).then_some(self.places)
    }

    /// Records where the config with this serial has a decision.
    pub(crate) fn place(&mut self, at: usize, serial: u32, place: u64) {
        if self.serial != serial {
            (self.serial, self.places) = (serial, [0; Self::PLACES]);
        }
        if let Some(known) = self.places.get_mut(at) {
            *known = place;
        }
    }

    /// Bit n is set if the exposure to the nth experience was handed over in this epoch.
    #[inline]
    pub(crate) fn exposed_in(&self, epoch: Option<u64>) -> u64 {
        if epoch == Some(self.epoch) { self.exposed } else { 0 }
    }

    /// Records that the exposure to an experience was handed over in this epoch.
    pub(crate) fn expose(&mut self, experience_id: &SmolStr, epoch: u64) {
        if let Some(at) = self.find(experience_id) {
            self.expose_at(at, epoch);
        }
    }

    fn expose_at(&mut self, at: usize, epoch: u64) {
        if self.epoch != epoch {
            (self.epoch, self.exposed) = (epoch, 0);
        }
        if at < u64::BITS as usize {
            self.exposed |= 1 << at;
        }
    }

    /// Its size on the heap; long ids are shared with the config.
    pub(super) const fn bytes(&self) -> usize {
        let extra = if self.extra.is_some() { 4 * size_of::<(SmolStr, usize)>() } else { 0 };
        self.pairs.capacity() * (size_of::<(SmolStr, SmolStr)>() + extra)
    }

    pub(super) fn decide(&mut self, experience_id: &SmolStr, variation_id: &SmolStr) {
        self.decide_exposed(experience_id, variation_id, None);
    }

    /// Adds a decision whose exposure was handed over in this epoch, if any.
    pub(crate) fn decide_exposed(
        &mut self,
        experience_id: &SmolStr,
        variation_id: &SmolStr,
        epoch: Option<u64>,
    ) {
        let at = self.set(experience_id, variation_id);
        if let Some(extra) = &mut self.extra {
            extra.guesses.remove(experience_id);
        }
        if let Some(epoch) = epoch {
            self.expose_at(at, epoch);
        }
    }

    /// Adds a decision made without an answer from the store.
    #[cold]
    pub(super) fn guess(&mut self, experience_id: &SmolStr, variation_id: &SmolStr) {
        self.set(experience_id, variation_id);
        self.extra.get_or_insert_default().guesses.insert(experience_id.clone());
    }

    /// Applies later decisions on top of these; a guess never replaces one that is known here.
    pub(super) fn merge(&mut self, later: &Self) {
        for (experience_id, variation_id) in &later.pairs {
            let guessed = later.extra.as_ref().is_some_and(|extra| extra.guesses.contains(experience_id));
            if !guessed || self.find(experience_id).is_none() {
                self.decide(experience_id, variation_id);
            }
        }
    }

    fn set(&mut self, experience_id: &SmolStr, variation_id: &SmolStr) -> usize {
        match self.find(experience_id) {
            Some(at) => {
                self.pairs[at].1 = variation_id.clone();
                if let Some(place) = self.places.get_mut(at) {
                    *place = 0;
                }
                at
            }
            None => {
                if let Some(extra) = self.extra.as_mut().filter(|extra| !extra.places.is_empty()) {
                    extra.places.insert(experience_id.clone(), self.pairs.len());
                }
                self.pairs.push((experience_id.clone(), variation_id.clone()));
                self.pairs.len() - 1
            }
        }
    }

    fn find(&mut self, experience_id: &SmolStr) -> Option<usize> {
        if self.pairs.len() <= FEW {
            return self.pairs.iter().position(|(known, _)| known == experience_id);
        }
        let pairs = &self.pairs;
        let extra = self.extra.get_or_insert_default();
        if extra.places.is_empty() {
            // From the end, so that the first of equal ids wins.
            extra.places =
                pairs.iter().enumerate().rev().map(|(at, (known, _))| (known.clone(), at)).collect();
        }
        extra.places.get(experience_id).copied()
    }
}

impl Deref for Bucketing {
    type Target = [(SmolStr, SmolStr)];

    fn deref(&self) -> &Self::Target {
        &self.pairs
    }
}

impl FromIterator<(SmolStr, SmolStr)> for Bucketing {
    fn from_iter<I: IntoIterator<Item = (SmolStr, SmolStr)>>(pairs: I) -> Self {
        Self { pairs: pairs.into_iter().collect(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_keep_their_order_and_the_last_one_counts() {
        for count in [3, FEW, 500] {
            let mut bucketing = Bucketing::default();
            let id = |at: usize| SmolStr::from(at.to_string());
            (0..count).for_each(|at| bucketing.decide(&id(at), &id(at)));
            (0..count).step_by(2).for_each(|at| bucketing.decide(&id(at), &"again".into()));
            let expected: Vec<_> =
                (0..count).map(|at| (id(at), if at % 2 == 0 { "again".into() } else { id(at) })).collect();
            assert_eq!(*bucketing, expected);
            let mut read: Bucketing = expected.iter().cloned().collect();
            read.decide(&id(1), &"new".into());
            assert_eq!((read.len(), read[1].1.as_str()), (count, "new"));
        }
    }

    #[test]
    fn a_guess_never_replaces_a_known_decision() {
        let id = |at: usize| SmolStr::from(at.to_string());
        for count in [3, 3 * FEW] {
            let mut later = Bucketing::default();
            (0..count).for_each(|at| later.guess(&id(at), &"guess".into()));
            // The store has answered since.
            later.decide(&id(1), &"known".into());
            let mut stored: Bucketing = (0..2).map(|at| (id(at), "stored".into())).collect();
            stored.merge(&later);
            let expected = |at| {
                if at == 0 {
                    "stored"
                } else if at == 1 {
                    "known"
                } else {
                    "guess"
                }
            };
            assert_eq!(*stored, (0..count).map(|at| (id(at), expected(at).into())).collect::<Vec<_>>());
        }
    }
}
