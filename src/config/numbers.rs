//! Numbers for the decisions that configs can give, so that remembering one takes four bytes; and a bit for each goal.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU32;
use std::sync::Arc;

use smol_str::SmolStr;

use super::{ConfigSnapshot, SnapshotExt};
use crate::stripes::{Handle, STRIPES, Striped, WeakHandle, stripe};

/// An experience and one of its variations.
pub(crate) type Number = NonZeroU32;

/// Goals, a bit for each.
pub(crate) type Goals = u32;

/// After this many different decisions, further ones get no number: ids of old configs are never forgotten.
const MOST: usize = 1 << 17;

/// A number for each decision, by its ids and for all of a core's configs; and where one config has them.
#[derive(Default)]
pub(crate) struct Numbers {
    ids: Arc<Ids>,
    /// The config that the rest is about; none has serial 0.
    serial: u32,
    /// The same config, for each place: numbers that are kept do not keep it.
    snapshot: Option<Box<[WeakHandle<ConfigSnapshot>; STRIPES]>>,
    /// By number, from 1.
    places: Box<[u64]>,
    /// The numbers of every experience's variations, in config order.
    numbers: Box<[Option<Number>]>,
    /// Where those of each experience start.
    starts: Box<[u32]>,
    /// The bit of every goal, in config order.
    goals: Box<[Goals]>,
    /// The positions of every bit's goals, a bit for each.
    goal_places: Box<[Goals]>,
}

#[derive(Clone, Default)]
struct Ids {
    list: Vec<(SmolStr, SmolStr)>,
    numbers: HashMap<(SmolStr, SmolStr), Number>,
    /// By bit; further goals have none.
    goals: Vec<SmolStr>,
}

impl Ids {
    /// The number of a decision, given now if it has none; `None` if there are too many.
    fn number(&mut self, ids: (SmolStr, SmolStr)) -> Option<Number> {
        match self.numbers.entry(ids) {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(_) if self.list.len() == MOST => None,
            Entry::Vacant(new) => {
                let number = u32::try_from(self.list.len() + 1).ok().and_then(NonZeroU32::new)?;
                self.list.push(new.key().clone());
                Some(*new.insert(number))
            }
        }
    }

    fn goal(&self, id: &SmolStr) -> Option<Goals> {
        self.goals.iter().position(|known| known == id).map(|at| 1 << at)
    }
}

impl Numbers {
    /// The numbers of another config; those given already stay.
    pub(crate) fn with(&self, snapshot: &Striped<ConfigSnapshot>) -> Self {
        let mut ids = Arc::clone(&self.ids);
        if ids.list.is_empty() {
            let variations =
                snapshot.experiences().iter().map(|experience| experience.variations.len()).sum();
            Arc::make_mut(&mut ids).numbers.reserve(MOST.min(variations));
        }
        let (mut numbers, mut starts, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for (at, experience) in (0_u32..).zip(snapshot.experiences()) {
            starts.push(u32::try_from(numbers.len()).unwrap_or(u32::MAX));
            // A repeated id belongs to its first experience, which is where decisions are remembered.
            if experience.home != at {
                continue;
            }
            for (variation, its) in (0_u32..).zip(experience.variations.iter()) {
                let pair = (experience.id.clone(), its.id.clone());
                // Copied only for a decision that has no number yet.
                let number = match Arc::get_mut(&mut ids) {
                    Some(ids) => ids.number(pair),
                    None => match ids.numbers.get(&pair) {
                        Some(known) => Some(*known),
                        None => Arc::make_mut(&mut ids).number(pair),
                    },
                };
                numbers.push(number);
                found.extend(number.map(|number| (number, (at, variation))));
            }
        }
        let mut goals = Vec::new();
        for goal in snapshot.goals() {
            if ids.goals.len() < Goals::BITS as usize && ids.goal(&goal.id).is_none() {
                Arc::make_mut(&mut ids).goals.push(goal.id.clone());
            }
            goals.push(ids.goal(&goal.id).unwrap_or_default());
        }
        let places_of = |bit| {
            let own = (0..Goals::BITS).zip(&goals).filter(|(_, goal)| **goal == bit);
            own.fold(0, |places, (at, _)| places | 1 << at)
        };
        let goal_places = (0..ids.goals.len()).map(|at| places_of(1 << at)).collect();
        let mut places = vec![0; ids.list.len()].into_boxed_slice();
        // From the end, so that the first of equal variations counts, as in a search by id.
        for (number, (experience, variation)) in found.into_iter().rev() {
            places[index(number)] = (u64::from(experience) + 1) << 32 | (u64::from(variation) + 1);
        }
        Self {
            ids,
            serial: snapshot.serial(),
            snapshot: Some(Box::new(snapshot.downgrade())),
            places,
            numbers: numbers.into(),
            starts: starts.into(),
            goals: goals.into(),
            goal_places,
        }
    }

    /// The serial number of the config; 0 if there is none.
    #[inline]
    pub(crate) const fn serial(&self) -> u32 {
        self.serial
    }

    /// The config, if somebody still has it.
    #[inline]
    pub(crate) fn snapshot(&self) -> Option<Handle<ConfigSnapshot>> {
        self.snapshot.as_ref()?[stripe()].upgrade()
    }

    /// Whether these are the numbers of this config.
    #[inline]
    pub(crate) fn is_of(&self, snapshot: &ConfigSnapshot) -> bool {
        self.serial == snapshot.serial()
    }

    /// The number of a decision of this config, by its positions.
    #[inline]
    pub(crate) fn number(
        &self,
        snapshot: &ConfigSnapshot,
        experience: usize,
        variation: usize,
    ) -> Option<Number> {
        let start = self.starts.get(experience).filter(|_| self.is_of(snapshot))?;
        *self.numbers.get(*start as usize + variation)?
    }

    /// The positions of these goals in this config, a bit for each.
    #[inline]
    pub(crate) fn goal_places(&self, snapshot: &ConfigSnapshot, goals: Goals) -> Goals {
        if goals == 0 || !self.is_of(snapshot) {
            return 0;
        }
        let (mut places, mut rest) = (0, goals);
        while rest != 0 {
            places |= self.goal_places.get(rest.trailing_zeros() as usize).copied().unwrap_or_default();
            rest &= rest - 1;
        }
        places
    }

    /// The bit of a goal of this config, by its position; none if there were too many goals before it.
    pub(crate) fn goal(&self, snapshot: &ConfigSnapshot, goal: usize) -> Goals {
        if self.is_of(snapshot) { self.goals.get(goal).copied().unwrap_or_default() } else { 0 }
    }

    /// Where the config has a decision: the experience's position plus one in the upper half, the variation's in the
    /// lower; 0 is nowhere.
    #[inline]
    pub(crate) fn place(&self, number: Number) -> u64 {
        self.places.get(index(number)).copied().unwrap_or_default()
    }

    /// The ids of a decision.
    #[inline]
    pub(crate) fn ids(&self, number: Number) -> Option<&(SmolStr, SmolStr)> {
        self.ids.list.get(index(number))
    }
}

const fn index(number: Number) -> usize {
    number.get() as usize - 1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{CompileOptions, compile};

    fn config(experiences: &[(&str, &[&str])]) -> Striped<ConfigSnapshot> {
        let experiences: Vec<_> = experiences
            .iter()
            .map(|(id, variations)| {
                let variations: Vec<_> = variations.iter().map(|id| json!({"id": id, "key": id})).collect();
                json!({"id": id, "key": id, "variations": variations})
            })
            .collect();
        let config = json!({"account_id": "1", "project": {"id": "2"}, "experiences": experiences});
        Striped::new(Arc::new(compile(config.to_string(), &CompileOptions::default()).unwrap().snapshot))
    }

    #[test]
    fn a_decision_keeps_its_number_in_other_configs() {
        let (old, new) = (config(&[("1", &["a", "b"]), ("2", &["c"])]), config(&[("2", &["d", "c"])]));
        let before = Numbers::default().with(&old);
        let [b, c] = [(0, 1), (1, 0)].map(|(at, variation)| before.number(&old, at, variation).unwrap());
        assert_eq!([b, c].map(|number| before.place(number)), [1 << 32 | 2, 2 << 32 | 1]);
        assert_eq!(before.number(&new, 0, 0), None, "the numbers of another config");

        let after = before.with(&new);
        assert_eq!(after.number(&new, 0, 1), Some(c));
        assert_eq!([b, c].map(|number| after.place(number)), [0, 1 << 32 | 2]);
        assert_eq!(after.ids(b), Some(&("1".into(), "b".into())));
    }

    #[test]
    fn repeated_ids_have_the_number_of_the_first() {
        let config = config(&[("1", &["a", "b", "a"]), ("1", &["b"])]);
        let numbers = Numbers::default().with(&config);
        let first = numbers.number(&config, 0, 0);
        assert!(first.is_some() && first == numbers.number(&config, 0, 2));
        assert_eq!(numbers.place(first.unwrap()), 1 << 32 | 1);
    }

    #[test]
    fn a_goal_keeps_its_bit_in_other_configs() {
        let config = |goals: &[usize]| {
            let goals: Vec<_> = goals.iter().map(|id| json!({"id": id.to_string(), "key": "k"})).collect();
            let config = json!({"account_id": "1", "project": {"id": "2"}, "goals": goals});
            Striped::new(Arc::new(compile(config.to_string(), &CompileOptions::default()).unwrap().snapshot))
        };
        let (old, new) = (config(&[1, 2, 1]), config(&[3, 2]));
        let before = Numbers::default().with(&old);
        assert_eq!([0, 1, 2, 3].map(|at| before.goal(&old, at)), [1, 2, 1, 0]);
        assert_eq!(before.goal_places(&old, 1), 0b101, "a repeated id is one goal");
        assert_eq!((before.goal(&new, 0), before.goal_places(&new, 3)), (0, 0), "of another config");

        let after = before.with(&new);
        assert_eq!([0, 1].map(|at| after.goal(&new, at)), [4, 2]);
        assert_eq!(after.goal_places(&new, 0b011), 0b10, "the first is gone");

        let many = config(&(1..40).collect::<Vec<_>>());
        let after = after.with(&many);
        assert_eq!([31, 32, 38].map(|at| after.goal(&many, at)), [1 << 31, 0, 0]);
        assert_eq!(after.goal_places(&many, Goals::MAX), Goals::MAX);
    }

    #[test]
    fn numbers_are_bounded() {
        let mut ids = Ids::default();
        let added =
            (0..MOST + 2).filter(|id| ids.number((id.to_string().into(), "".into())).is_some()).count();
        assert_eq!((added, ids.list.len(), ids.numbers.len()), (MOST, MOST, MOST));
    }
}
