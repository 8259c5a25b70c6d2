//! The stored decisions of one visitor.

use std::collections::{HashMap, HashSet};

use smol_str::SmolStr;

use crate::config::{Goals, Number, Numbers};
use crate::engine::Pairs;

/// Above this many, decisions are looked up in a table.
const FEW: usize = 32;

/// How many decisions are kept by number.
const NUMBERED: usize = Pairs::FEW;

/// Decisions, in the order of the first for each experience.
#[derive(Clone, Default)]
pub(crate) struct Bucketing {
    /// Unless there are many.
    few: Few,
    /// More of them, or some that have no number: those of other configs, and all with a data store.
    many: Option<Box<Many>>,
}

/// The usual case, for which memory is laid out.
#[derive(Clone, Default)]
pub(crate) struct Few {
    /// Taken from the first on.
    numbers: [Option<Number>; NUMBERED],
    /// Whether the exposure was handed over in this epoch.
    exposed: [bool; NUMBERED],
    /// The goals whose conversion was handed over in this epoch, also if there are many decisions.
    converted: Goals,
    epoch: u64,
}

/// A decision to remember.
#[derive(Clone, Copy)]
pub(crate) struct Decided<'a> {
    pub(crate) numbers: &'a Numbers,
    pub(crate) number: Option<Number>,
    pub(crate) experience_id: &'a SmolStr,
    pub(crate) variation_id: &'a SmolStr,
}

/// Experience id to variation id.
#[derive(Clone, Default)]
struct Many {
    pairs: Vec<(SmolStr, SmolStr)>,
    /// Bit n is set if the exposure to the nth of them was handed over in this epoch.
    exposed: u64,
    epoch: u64,
    /// Boxed, since most have none.
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
    /// These decisions.
    pub(crate) fn numbered(numbers: [Option<Number>; NUMBERED]) -> Self {
        Self { few: Few { numbers, ..Few::default() }, many: None }
    }

    /// Visits the ids of each decision, and whether its exposure was handed over in this epoch.
    pub(crate) fn each(
        &self,
        numbers: &Numbers,
        epoch: Option<u64>,
        mut visit: impl FnMut(&SmolStr, &SmolStr, bool),
    ) {
        if let Some(many) = &self.many {
            let exposed = if epoch == Some(many.epoch) { many.exposed } else { 0 };
            for (at, (experience_id, variation_id)) in many.pairs.iter().enumerate() {
                visit(experience_id, variation_id, at < u64::BITS as usize && exposed >> at & 1 == 1);
            }
            return;
        }
        for (number, exposed) in self.few.numbers().zip(self.few.exposed_in(epoch)) {
            if let Some((experience_id, variation_id)) = numbers.ids(number) {
                visit(experience_id, variation_id, exposed);
            }
        }
    }

    /// The decisions by number, unless there are many.
    #[inline]
    pub(crate) fn few(&self) -> Option<&Few> {
        self.many.is_none().then_some(&self.few)
    }

    /// The decisions that have no numbers: all of them if the visitor is kept in a data store.
    pub(super) fn pairs(&self) -> &[(SmolStr, SmolStr)] {
        self.many.as_ref().map_or(&[], |many| &many.pairs)
    }

    /// Its size on the heap; long ids are shared with the config.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.many.as_ref().map_or(0, |many| many.bytes())
    }

    /// Remembers a decision, and that its exposure was handed over in this epoch, if it was.
    pub(crate) fn decide(&mut self, decided: Decided<'_>, epoch: Option<u64>) {
        if !self.decide_in_place(decided, epoch) {
            self.many(decided.numbers).decide(decided.experience_id, decided.variation_id, epoch);
        }
    }

    /// [`decide`](Self::decide), if that takes no more memory; returns whether it does not.
    #[inline(always)]
    pub(crate) fn decide_in_place(&mut self, decided: Decided<'_>, epoch: Option<u64>) -> bool {
        if self.many.is_none()
            && decided.number.is_some()
            && let Some(at) = self.few.place(decided)
        {
            self.few.numbers[at] = decided.number;
            if let Some(epoch) = epoch {
                self.few.expose(at, epoch);
            }
            return true;
        }
        false
    }

    /// Remembers that the exposure to an experience was handed over in this epoch.
    pub(crate) fn expose(&mut self, numbers: &Numbers, experience_id: &SmolStr, epoch: u64) {
        if let Some(many) = &mut self.many {
            let found = many.find(experience_id);
            found.into_iter().for_each(|at| many.expose_at(at, epoch));
        } else {
            let found = self.few.numbers().position(|it| is_about(numbers, it, experience_id));
            found.into_iter().for_each(|at| self.few.expose(at, epoch));
        }
    }

    /// Remembers that the conversion of goals was handed over in this epoch.
    pub(crate) fn convert(&mut self, goals: Goals, epoch: u64) {
        self.few.begin(epoch);
        self.few.converted |= goals;
    }

    /// The goals whose conversion was handed over in this epoch.
    #[inline]
    pub(crate) fn converted_in(&self, epoch: Option<u64>) -> Goals {
        if epoch == Some(self.few.epoch) { self.few.converted } else { 0 }
    }

    /// Remembers a decision made without an answer from the store.
    #[cold]
    pub(super) fn guess(&mut self, experience_id: &SmolStr, variation_id: &SmolStr) {
        self.many(&Numbers::default()).guess(experience_id, variation_id);
    }

    /// Applies later decisions on top of these; a guess never replaces one that is known here.
    pub(super) fn merge(&mut self, later: &Self) {
        if let Some(later) = &later.many {
            self.many(&Numbers::default()).merge(later);
        }
    }

    /// The list, made of what was kept by number.
    fn many(&mut self, numbers: &Numbers) -> &mut Many {
        let few = &self.few;
        self.many.get_or_insert_with(|| {
            let pairs = few.numbers().filter_map(|number| numbers.ids(number).cloned()).collect();
            let bits = few.exposed.iter().rev().fold(0, |bits, exposed| bits << 1 | u64::from(*exposed));
            Box::new(Many { pairs, exposed: bits, epoch: few.epoch, extra: None })
        })
    }
}

impl Few {
    #[inline]
    pub(crate) fn numbers(&self) -> impl Iterator<Item = Number> {
        self.numbers.iter().map_while(|number| *number)
    }

    /// Whether each exposure was handed over in this epoch.
    #[inline]
    pub(crate) fn exposed_in(&self, epoch: Option<u64>) -> [bool; NUMBERED] {
        if epoch == Some(self.epoch) { self.exposed } else { Default::default() }
    }

    #[inline(always)]
    fn expose(&mut self, at: usize, epoch: u64) {
        self.begin(epoch);
        self.exposed[at] = true;
    }

    /// What was handed over in another epoch counts as never handed over.
    fn begin(&mut self, epoch: u64) {
        if self.epoch != epoch {
            (self.epoch, self.exposed, self.converted) = (epoch, Default::default(), 0);
        }
    }

    /// Where a decision belongs: in place of an earlier one for the experience, or behind them all.
    #[inline(always)]
    fn place(&self, Decided { numbers, number, experience_id, .. }: Decided<'_>) -> Option<usize> {
        let experience = |number| numbers.place(number) >> 32;
        let wanted = number.map_or(0, experience);
        // If the config has both decisions, comparing positions is enough.
        let is_same = |it| match experience(it) {
            known @ 1.. if wanted > 0 => known == wanted,
            _ => is_about(numbers, it, experience_id),
        };
        // A loop, which the compiler unrolls.
        for (at, it) in self.numbers.iter().enumerate() {
            if it.is_none_or(is_same) {
                return Some(at);
            }
        }
        None
    }
}

fn is_about(numbers: &Numbers, number: Number, experience_id: &SmolStr) -> bool {
    numbers.ids(number).is_some_and(|(known, _)| known == experience_id)
}

impl Many {
    const fn bytes(&self) -> usize {
        let extra = if self.extra.is_some() { 4 * size_of::<(SmolStr, usize)>() } else { 0 };
        size_of::<Self>() + self.pairs.capacity() * (size_of::<(SmolStr, SmolStr)>() + extra)
    }

    fn expose_at(&mut self, at: usize, epoch: u64) {
        if self.epoch != epoch {
            (self.epoch, self.exposed) = (epoch, 0);
        }
        if at < u64::BITS as usize {
            self.exposed |= 1 << at;
        }
    }

    fn decide(&mut self, experience_id: &SmolStr, variation_id: &SmolStr, epoch: Option<u64>) {
        let at = self.set(experience_id, variation_id);
        if let Some(extra) = &mut self.extra {
            extra.guesses.remove(experience_id);
        }
        if let Some(epoch) = epoch {
            self.expose_at(at, epoch);
        }
    }

    fn guess(&mut self, experience_id: &SmolStr, variation_id: &SmolStr) {
        self.set(experience_id, variation_id);
        self.extra.get_or_insert_default().guesses.insert(experience_id.clone());
    }

    fn merge(&mut self, later: &Self) {
        for (experience_id, variation_id) in &later.pairs {
            let guessed = later.extra.as_ref().is_some_and(|extra| extra.guesses.contains(experience_id));
            if !guessed || self.find(experience_id).is_none() {
                self.decide(experience_id, variation_id, None);
            }
        }
    }

    fn set(&mut self, experience_id: &SmolStr, variation_id: &SmolStr) -> usize {
        match self.find(experience_id) {
            Some(at) => {
                self.pairs[at].1 = variation_id.clone();
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

impl FromIterator<(SmolStr, SmolStr)> for Bucketing {
    fn from_iter<I: IntoIterator<Item = (SmolStr, SmolStr)>>(pairs: I) -> Self {
        let many = Many { pairs: pairs.into_iter().collect(), ..Many::default() };
        Self { few: Few::default(), many: Some(Box::new(many)) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{CompileOptions, ConfigSnapshot, compile};
    use crate::stripes::Striped;

    fn id(at: usize) -> SmolStr {
        at.to_string().into()
    }

    /// Twice as many experiences as are kept by number, with two variations each.
    fn config() -> ConfigSnapshot {
        let experience = |at: usize| {
            let variations = ["first", "again"].map(|id| json!({"id": id, "key": id}));
            json!({"id": id(at), "key": id(at), "variations": variations})
        };
        let experiences: Vec<_> = (0..2 * NUMBERED).map(experience).collect();
        let config = json!({"account_id": "1", "project": {"id": "2"}, "experiences": experiences});
        compile(config.to_string(), &CompileOptions::default()).unwrap().snapshot
    }

    fn listed(bucketing: &Bucketing, numbers: &Numbers, epoch: u64) -> Vec<(SmolStr, SmolStr, bool)> {
        let mut listed = Vec::new();
        bucketing.each(numbers, Some(epoch), |experience, variation, exposed| {
            listed.push((experience.clone(), variation.clone(), exposed));
        });
        listed
    }

    #[test]
    fn decisions_are_the_same_with_and_without_numbers() {
        let config = Striped::new(std::sync::Arc::new(config()));
        let numbers = Numbers::default().with(&config);
        for count in 1..=2 * NUMBERED {
            for numbered in [0, NUMBERED / 2, count] {
                let mut bucketing = Bucketing::default();
                bucketing.convert(1, 6);
                let mut decide = |at: usize, variation: usize, epoch| {
                    let number = numbers.number(&config, at, variation).filter(|_| at < numbered);
                    let name = SmolStr::from(["first", "again"][variation]);
                    let (experience_id, variation_id) = (&id(at), &name);
                    let decided = Decided { numbers: &numbers, number, experience_id, variation_id };
                    bucketing.decide(decided, epoch);
                };
                (0..count).for_each(|at| decide(at, 0, (at % 3 == 0).then_some(7)));
                (0..count).step_by(2).for_each(|at| decide(at, 1, None));
                bucketing.expose(&numbers, &id(1), 7);
                [2, 4].into_iter().for_each(|goal| bucketing.convert(goal, 7));
                let converted = [6, 7].map(|epoch| bucketing.converted_in(Some(epoch)));
                assert_eq!((converted, bucketing.converted_in(None)), ([0, 6], 0));
                assert_eq!(bucketing.few().is_some(), numbered >= count && count <= NUMBERED);
                let expected = |at: usize| {
                    (
                        id(at),
                        if at.is_multiple_of(2) { "again" } else { "first" }.into(),
                        at.is_multiple_of(3) || at == 1,
                    )
                };
                assert_eq!(listed(&bucketing, &numbers, 7), (0..count).map(expected).collect::<Vec<_>>());
                assert!(listed(&bucketing, &numbers, 8).iter().all(|(.., exposed)| !exposed));
            }
        }
    }

    fn decide(bucketing: &mut Bucketing, experience_id: &SmolStr, variation_id: &SmolStr) {
        let numbers = &Numbers::default();
        bucketing.decide(Decided { numbers, number: None, experience_id, variation_id }, None);
    }

    #[test]
    fn decisions_keep_their_order_and_the_last_one_counts() {
        for count in [3, FEW, 500] {
            let mut bucketing = Bucketing::default();
            (0..count).for_each(|at| decide(&mut bucketing, &id(at), &id(at)));
            (0..count).step_by(2).for_each(|at| decide(&mut bucketing, &id(at), &"again".into()));
            let expected: Vec<_> =
                (0..count).map(|at| (id(at), if at % 2 == 0 { "again".into() } else { id(at) })).collect();
            assert_eq!(bucketing.pairs(), expected);
            let mut read: Bucketing = expected.iter().cloned().collect();
            decide(&mut read, &id(1), &"new".into());
            assert_eq!((read.pairs().len(), read.pairs()[1].1.as_str()), (count, "new"));
        }
    }

    #[test]
    fn a_guess_never_replaces_a_known_decision() {
        for count in [3, 3 * FEW] {
            let mut later = Bucketing::default();
            (0..count).for_each(|at| later.guess(&id(at), &"guess".into()));
            // The store has answered since.
            decide(&mut later, &id(1), &"known".into());
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
            assert_eq!(
                stored.pairs(),
                (0..count).map(|at| (id(at), expected(at).into())).collect::<Vec<_>>()
            );
        }
    }
}
