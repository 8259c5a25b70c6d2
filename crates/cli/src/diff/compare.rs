//! Decides visitors under both configs, and counts those who move.

use std::collections::HashMap;

use convert_evaluation::Attributes;
use convert_evaluation::decide::Explanation;
use serde::Serialize;
use serde_json::Value;

use super::changes::{Change, Served};
use super::side::{Memory, Side, Successors};
use crate::chart::part;
use crate::error::Failure;
use crate::visitors::{Population, Visitor, VisitorFacts, tally};

/// Two configs to compare.
pub(super) struct Comparison<'a> {
    pub(super) old: &'a Side<'a>,
    pub(super) new: &'a Side<'a>,
    /// Whether decisions under the old config are remembered under the new one.
    pub(super) remembered: bool,
    /// The most examples per experience and kind of move.
    pub(super) examples: usize,
    pub(super) shows_values: bool,
}

/// Who moves.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) visitors: u64,
    /// Visitors who move in at least one experience.
    pub(super) moved: u64,
    pub(super) moved_percent: f64,
    pub(super) experiences: Vec<ExperienceReport>,
}

/// Who moves in one experience, which is identified by key.
#[derive(Serialize)]
pub(super) struct ExperienceReport {
    pub(super) key: String,
    pub(super) change: Change,
    #[serde(flatten)]
    pub(super) counts: Counts,
    pub(super) examples: Vec<Example>,
}

/// Counts of visitors in one experience.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Counts {
    /// Visitors with a variation under the old config, and under the new one.
    pub(super) in_old: u64,
    pub(super) in_new: u64,
    pub(super) another: u64,
    pub(super) enter: u64,
    pub(super) leave: u64,
}

/// A visitor who moves, and why.
#[derive(Serialize)]
pub(super) struct Example {
    pub(super) visitor: String,
    #[serde(rename = "move")]
    pub(super) kind: Move,
    /// `None` if the config has no such experience.
    pub(super) old: Option<Explanation>,
    pub(super) new: Option<Explanation>,
    /// What rules see of the visitor, if values are shown and there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attributes: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<Value>,
}

/// What happens to a visitor whose result changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Move {
    Another,
    Enter,
    Leave,
}

/// One experience, by its positions in the two configs.
struct Pair {
    key: String,
    old: Option<usize>,
    new: Option<usize>,
}

/// The counts of one thread.
struct Tally {
    visitors: u64,
    moved: u64,
    counts: Vec<Counts>,
    /// In the order of the visitors.
    examples: Vec<Found>,
    before: Vec<Option<usize>>,
    after: Vec<Option<usize>>,
    old_memory: Memory,
    new_memory: Memory,
}

/// A visitor kept as an example.
struct Found {
    pair: usize,
    kind: Move,
    number: u64,
    id: String,
    facts: VisitorFacts,
}

impl Comparison<'_> {
    /// Decides all visitors.
    pub(super) fn of(&self, population: &dyn Population) -> Result<Report, Failure> {
        let pairs = self.pairs();
        let successors = Successors::of(self.old, self.new);
        let new = || Tally {
            visitors: 0,
            moved: 0,
            counts: vec![Counts::default(); pairs.len()],
            examples: Vec::new(),
            before: vec![None; self.old.config.counts().experiences],
            after: vec![None; self.new.config.counts().experiences],
            old_memory: Memory::default(),
            new_memory: Memory::default(),
        };
        let tallies =
            tally(population, new, |tally, visitor| self.count(tally, visitor, &pairs, &successors))?;
        Ok(self.report(pairs, tallies, &successors))
    }

    fn pairs(&self) -> Vec<Pair> {
        let key = |side: &Side<'_>, position| side.experience(position).key.to_string();
        let before = self.old.positions().iter();
        let pair = |&position: &usize| Pair { key: key(self.old, position), old: Some(position), new: None };
        let mut pairs: Vec<Pair> = before.map(pair).collect();
        let known: HashMap<String, usize> = pairs.iter().map(|pair| pair.key.clone()).zip(0..).collect();
        for &position in self.new.positions() {
            let key = key(self.new, position);
            match known.get(&key).and_then(|at| pairs.get_mut(*at)) {
                Some(pair) => pair.new = Some(position),
                None => pairs.push(Pair { key, old: None, new: Some(position) }),
            }
        }
        pairs
    }

    fn count(&self, tally: &mut Tally, visitor: &Visitor<'_>, pairs: &[Pair], successors: &Successors) {
        let Tally { before, after, old_memory, new_memory, .. } = tally;
        old_memory.forget();
        self.old.decide(visitor, old_memory, |position, variation| before[position] = variation);
        if self.remembered {
            old_memory.passed_on(successors, new_memory);
        } else {
            new_memory.forget();
        }
        self.new.decide(visitor, new_memory, |position, variation| after[position] = variation);
        tally.visitors += 1;
        let mut has_moved = false;
        for (at, pair) in pairs.iter().enumerate() {
            let old = pair.old.and_then(|position| Some((position, tally.before[position]?)));
            let new = pair.new.and_then(|position| Some((position, tally.after[position]?)));
            let counts = &mut tally.counts[at];
            counts.in_old += u64::from(old.is_some());
            counts.in_new += u64::from(new.is_some());
            let kind = match (old, new) {
                (None, None) => continue,
                (None, Some(_)) => Move::Enter,
                (Some(_), None) => Move::Leave,
                (Some((old, before)), Some((new, after))) => {
                    let before = &self.old.experience(old).variations[before];
                    if before.id == self.new.experience(new).variations[after].id {
                        continue;
                    }
                    Move::Another
                }
            };
            has_moved = true;
            let seen = counts.of(kind);
            *seen += 1;
            if *seen <= self.examples as u64 {
                let (id, facts) = (visitor.id.to_owned(), visitor.facts.clone());
                tally.examples.push(Found { pair: at, kind, number: visitor.number, id, facts });
            }
        }
        tally.moved += u64::from(has_moved);
    }

    fn report(&self, pairs: Vec<Pair>, tallies: Vec<Tally>, successors: &Successors) -> Report {
        let (mut visitors, mut moved) = (0, 0);
        let mut counts = vec![Counts::default(); pairs.len()];
        let mut found = Vec::new();
        for tally in tallies {
            visitors += tally.visitors;
            moved += tally.moved;
            counts.iter_mut().zip(&tally.counts).for_each(|(all, some)| all.add(some));
            found.extend(tally.examples);
        }
        found.sort_by_key(|example| example.number);
        let mut examples: Vec<[Vec<Found>; 3]> = pairs.iter().map(|_| Default::default()).collect();
        for example in found {
            let of_kind = &mut examples[example.pair][example.kind as usize];
            if of_kind.len() < self.examples {
                of_kind.push(example);
            }
        }
        let (old, new) = (Served::new(&self.old.served), Served::new(&self.new.served));
        let experiences = pairs.into_iter().zip(counts).zip(examples).map(|((pair, counts), found)| {
            let examples =
                found.iter().flatten().map(|found| self.example(&pair, found, successors)).collect();
            let change = new.change(&old, &pair.key);
            ExperienceReport { key: pair.key, change, counts, examples }
        });
        let experiences = experiences.collect();
        Report { visitors, moved, moved_percent: part(moved, visitors) * 100.0, experiences }
    }

    fn example(&self, pair: &Pair, found: &Found, successors: &Successors) -> Example {
        let visitor = Visitor { number: found.number, id: &found.id, facts: &found.facts };
        let explain = |side: &Side<'_>, memory, position: Option<usize>| {
            position.map(|position| side.explain(&visitor, memory, position, self.shows_values))
        };
        let mut remembered = Memory::default();
        if self.remembered {
            let mut decided = Memory::default();
            self.old.decide(&visitor, &mut decided, |_, _| {});
            decided.passed_on(successors, &mut remembered);
        }
        let shown = |attributes: &Attributes| {
            let values = attributes.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
            Some(values).filter(|values| self.shows_values && values.len() > 0).map(Iterator::collect)
        };
        Example {
            attributes: shown(&found.facts.attributes),
            location: shown(&found.facts.location),
            visitor: found.id.clone(),
            kind: found.kind,
            old: explain(self.old, Memory::default(), pair.old),
            new: explain(self.new, remembered, pair.new),
        }
    }
}

impl Counts {
    pub(super) const fn moved(&self) -> u64 {
        self.another + self.enter + self.leave
    }

    const fn of(&mut self, kind: Move) -> &mut u64 {
        match kind {
            Move::Another => &mut self.another,
            Move::Enter => &mut self.enter,
            Move::Leave => &mut self.leave,
        }
    }

    fn add(&mut self, other: &Self) {
        self.in_old += other.in_old;
        self.in_new += other.in_new;
        self.another += other.another;
        self.enter += other.enter;
        self.leave += other.leave;
    }
}
