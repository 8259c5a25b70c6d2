//! Finds the conversions that some host has already sent.

use std::collections::HashSet;

use crate::config::tag;
use crate::envelope::{Envelope, EventPart, VisitorPart};

/// A body some of whose conversions may be repetitions.
pub(crate) struct Offered<'a>(pub(crate) &'a Envelope<'a>);

impl Offered<'_> {
    /// The marks of its conversions.
    pub(crate) fn marks(&self) -> Vec<String> {
        self.without(&HashSet::new()).2
    }

    /// The body without the conversions whose marks are known and those that it has twice; the number of its
    /// events; and the marks of its conversions.
    pub(crate) fn without(&self, known: &HashSet<String>) -> (Vec<u8>, usize, Vec<String>) {
        let mut marks = HashSet::new();
        let (body, events) = self.0.of_kept(|visitor, event| {
            self.mark(visitor, event).is_none_or(|mark| !known.contains(&mark) && marks.insert(mark))
        });
        (body, events, marks.into_iter().collect())
    }

    /// Names the project, the visitor and the goal, without showing them.
    fn mark(&self, visitor: &VisitorPart<'_>, event: &EventPart<'_>) -> Option<String> {
        let goal = event.bare_goal()?;
        Some(tag(&format!("{}\n{goal}\n{}", self.0.summary.project_id, visitor.id)))
    }
}
