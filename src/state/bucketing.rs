//! The stored decisions of one visitor.

use std::collections::HashMap;
use std::ops::Deref;

use smol_str::SmolStr;

/// Above so many decisions a table finds the one of an experience.
const FEW: usize = 32;

/// Experience id to variation id, in the order of the first decision.
#[derive(Clone, Default)]
pub(crate) struct Bucketing {
    pairs: Vec<(SmolStr, SmolStr)>,
    /// Where the decision about an experience is, from the first search among many.
    #[expect(clippy::box_collection, reason = "most visitors have none, and there are many")]
    places: Option<Box<HashMap<SmolStr, usize>>>,
}

impl Bucketing {
    /// What it takes on the heap; long ids are shared with the config.
    pub(super) const fn bytes(&self) -> usize {
        let places = if self.places.is_some() { 2 * size_of::<(SmolStr, usize)>() } else { 0 };
        self.pairs.capacity() * (size_of::<(SmolStr, SmolStr)>() + places)
    }

    pub(super) fn decide(&mut self, experience_id: &SmolStr, variation_id: &SmolStr) {
        match self.place(experience_id) {
            Some(place) => self.pairs[place].1 = variation_id.clone(),
            None => {
                if let Some(places) = &mut self.places {
                    places.insert(experience_id.clone(), self.pairs.len());
                }
                self.pairs.push((experience_id.clone(), variation_id.clone()));
            }
        }
    }

    fn place(&mut self, experience_id: &SmolStr) -> Option<usize> {
        if self.pairs.len() <= FEW {
            return self.pairs.iter().position(|(known, _)| known == experience_id);
        }
        let pairs = &self.pairs;
        let places = self.places.get_or_insert_with(|| {
            // From the end, so that the first of an id counts.
            Box::new(pairs.iter().enumerate().rev().map(|(at, (known, _))| (known.clone(), at)).collect())
        });
        places.get(experience_id).copied()
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
        Self { pairs: pairs.into_iter().collect(), places: None }
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
}
