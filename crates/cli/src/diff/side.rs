//! One of the two configs, and a visitor's decisions under it.

use std::collections::HashSet;
use std::path::Path;

use convert_evaluation::Attributes;
use convert_evaluation::config::{BucketOrder, ConfigSnapshot, Experience, SnapshotExt as _};
use convert_evaluation::decide::{
    DecisionSource, Explanation, Facts, Stored, StoredDecisions, decide_experience, explain_experience,
    explain_experience_with_values,
};
use serde_json::Value;

use crate::error::{Failure, Flaw};
use crate::offline;
use crate::visitors::Visitor;

/// Visitors have no segments here: those come from calls of an application.
static NOTHING: Attributes = Attributes::new();

/// A config to decide with.
pub(super) struct Side<'a> {
    pub(super) config: ConfigSnapshot,
    /// The same as JSON.
    pub(super) served: Value,
    environment: Option<&'a str>,
    /// The experiences that `run_experiences` would decide, in that order.
    positions: Vec<usize>,
}

/// The remembered decisions of one visitor, by the position of the experience.
#[derive(Default)]
pub(super) struct Memory(Vec<Place>);

#[derive(Clone, Copy)]
enum Place {
    Empty,
    Variation(usize),
    /// A variation that is no longer in the experience.
    Gone,
}

/// Maps the decisions of one config to another, for remembered visitors.
pub(super) struct Successors(Vec<Option<Successor>>);

struct Successor {
    home: usize,
    /// By the previous position of the variation.
    variations: Vec<Option<usize>>,
}

impl StoredDecisions for Memory {
    fn stored(&self, experience: usize) -> Stored {
        match self.0.get(experience) {
            Some(Place::Variation(variation)) => Stored::Variation(*variation),
            Some(Place::Gone) => Stored::Stale,
            Some(Place::Empty) | None => Stored::None,
        }
    }
}

impl<'a> Side<'a> {
    pub(super) fn read(
        path: &Path,
        order: BucketOrder,
        environment: Option<&'a str>,
    ) -> Result<Self, Failure> {
        let config = offline::snapshot(path, order)?;
        // A byte order mark is not part of the document.
        let text = config.served_text();
        let served = serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        let served = served.map_err(|error| Flaw::of(path.display().to_string(), error))?;
        // A duplicate key means the first experience each time.
        let mut seen = HashSet::new();
        let positions = config.keyed_experiences().filter(|position| seen.insert(*position)).collect();
        Ok(Self { config, served, environment, positions })
    }

    pub(super) fn experience(&self, position: usize) -> &Experience {
        &self.config.experiences()[position]
    }

    /// The experiences that an application can ask for, in config order.
    pub(super) fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// Decides the visitor's experiences in order, and remembers the decisions.
    pub(super) fn decide(
        &self,
        visitor: &Visitor<'_>,
        memory: &mut Memory,
        mut each: impl FnMut(usize, Option<usize>),
    ) {
        for &position in &self.positions {
            let decided = decide_experience(&self.config, position, &self.facts(visitor, memory)).ok();
            let variation = decided.map(|decision| decision.variation);
            if let Some(decision) = decided.filter(|decision| decision.source != DecisionSource::Stored) {
                let home = self.experience(position).home as usize;
                memory.remember(home, Place::Variation(decision.variation));
            }
            each(position, variation);
        }
    }

    /// Why a visitor gets their result, given that the preceding experiences have been decided.
    pub(super) fn explain(
        &self,
        visitor: &Visitor<'_>,
        mut memory: Memory,
        position: usize,
        shows_values: bool,
    ) -> Explanation {
        for &earlier in self.positions.iter().take_while(|earlier| **earlier != position) {
            if let Ok(decision) = decide_experience(&self.config, earlier, &self.facts(visitor, &memory)) {
                memory.remember(self.experience(earlier).home as usize, Place::Variation(decision.variation));
            }
        }
        let facts = self.facts(visitor, &memory);
        let (_, explanation) = if shows_values {
            explain_experience_with_values(&self.config, position, &facts)
        } else {
            explain_experience(&self.config, position, &facts)
        };
        explanation
    }

    fn facts<'b>(&'b self, visitor: &'b Visitor<'_>, memory: &'b Memory) -> Facts<'b, Memory> {
        Facts {
            visitor_id: visitor.id,
            attributes: &visitor.facts.attributes,
            location: &visitor.facts.location,
            environment: self.environment,
            decisions: memory,
            segments: &NOTHING,
            answers: None,
            custom_segments: &[],
            forced_variation: None,
        }
    }
}

impl Memory {
    pub(super) fn forget(&mut self) {
        self.0.fill(Place::Empty);
    }

    fn remember(&mut self, home: usize, place: Place) {
        if self.0.len() <= home {
            self.0.resize(home + 1, Place::Empty);
        }
        self.0[home] = place;
    }

    /// This memory as seen by another config.
    pub(super) fn passed_on(&self, successors: &Successors, next: &mut Self) {
        next.forget();
        for (place, successor) in self.0.iter().zip(&successors.0) {
            if let (Place::Variation(variation), Some(successor)) = (place, successor) {
                let variation = successor.variations.get(*variation).copied().flatten();
                next.remember(successor.home, variation.map_or(Place::Gone, Place::Variation));
            }
        }
    }
}

impl Successors {
    /// Matches experiences and variations by id.
    pub(super) fn of(old: &Side<'_>, new: &Side<'_>) -> Self {
        let successor = |before: &Experience| {
            let home = new.config.experience_index_by_id(&before.id)?;
            let after = &new.experience(home).variations;
            let find = |id: &str| after.iter().position(|variation| variation.id == id);
            let variations = before.variations.iter().map(|variation| find(&variation.id)).collect();
            Some(Successor { home, variations })
        };
        Self(old.config.experiences().iter().map(successor).collect())
    }
}
