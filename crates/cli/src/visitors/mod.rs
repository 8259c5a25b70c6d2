//! Many visitors, decided on all processors.

mod listed;
mod numbered;
mod rules;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use convert_evaluation::Attributes;
use serde::Deserialize;

pub(crate) use listed::{Listed, STDIN};
pub(crate) use numbered::Numbered;
pub(crate) use rules::Rules;

use crate::args::VisitorArgs;
use crate::error::Failure;
use crate::input::{self, Object};

/// Visitors that a thread takes at once.
const CHUNK: u64 = 1_024;

/// One visitor.
pub(crate) struct Visitor<'a> {
    /// From 1.
    pub(crate) number: u64,
    pub(crate) id: &'a str,
    pub(crate) facts: &'a VisitorFacts,
}

/// What rules see of a visitor.
#[derive(Clone, Default)]
pub(crate) struct VisitorFacts {
    pub(crate) attributes: Attributes,
    pub(crate) location: Attributes,
}

/// One visitor as a line of JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VisitorLine {
    pub(crate) visitor: String,
    #[serde(default)]
    attributes: Option<Object>,
    #[serde(default)]
    location: Option<Object>,
}

impl VisitorFacts {
    /// What the options say of every visitor.
    pub(crate) fn of(args: &VisitorArgs) -> Result<Self, Failure> {
        Ok(Self {
            attributes: input::object("--attributes", args.attributes.as_deref())?.into(),
            location: input::object("--location", args.location.as_deref())?.into(),
        })
    }
}

impl VisitorLine {
    /// The id, and what the line says, or else the options.
    pub(crate) fn over(self, options: &VisitorFacts) -> (String, VisitorFacts) {
        let or = |own: Option<Object>, option: &Attributes| own.map_or_else(|| option.clone(), Into::into);
        let attributes = or(self.attributes, &options.attributes);
        (self.visitor, VisitorFacts { attributes, location: or(self.location, &options.location) })
    }
}

/// Visitors that several threads take in chunks.
pub(crate) trait Population: Sync {
    /// Calls `each` with the visitors of the next chunk, in ascending order; `false` where there is none.
    fn next_chunk(&self, each: &mut dyn FnMut(&Visitor<'_>)) -> Result<bool, Failure>;
}

/// What each thread has counted of its visitors. The first invalid visitor ends it.
pub(crate) fn tally<T: Send>(
    population: &dyn Population,
    new: impl Fn() -> T + Sync,
    count: impl Fn(&mut T, &Visitor<'_>) + Sync,
) -> Result<Vec<T>, Failure> {
    let has_failed = AtomicBool::new(false);
    let work = || {
        let mut total = new();
        while !has_failed.load(Ordering::Relaxed) {
            match population.next_chunk(&mut |visitor| count(&mut total, visitor)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(failure) => {
                    has_failed.store(true, Ordering::Relaxed);
                    return Err(failure);
                }
            }
        }
        Ok(total)
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let count = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        let panicked = |_| Err(Failure::Sdk("a thread panicked".to_owned()));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect()
    });
    let (mut totals, mut failures) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(total) => totals.push(total),
            Err(failure) => failures.push(failure),
        }
    }
    // Chunks are taken in order and all processed, so which failure is the first does not depend on the threads.
    match failures.into_iter().min_by_key(Failure::line) {
        Some(first) => Err(first),
        None => Ok(totals),
    }
}
