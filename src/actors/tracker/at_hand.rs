//! The deliveries that the flusher has.

use std::time::Instant;

use crate::tracking::{ByClass, Queued};

/// What is known of the records that are on their way out.
#[derive(Default)]
pub(super) struct AtHand(Vec<Carried>);

struct Carried {
    attempt: u64,
    first_sequence: u64,
    oldest_at: Instant,
    by_class: ByClass,
}

impl AtHand {
    /// A delivery of these records begins.
    pub(super) fn begin(&mut self, attempt: u64, records: &[Queued]) {
        let Some(first) = records.first() else { return };
        let mut by_class = ByClass::default();
        records.iter().for_each(|queued| by_class.count(queued.event.class()));
        let (first_sequence, oldest_at) = (first.sequence, first.accepted_at);
        self.0.push(Carried { attempt, first_sequence, oldest_at, by_class });
    }

    /// A delivery has ended; its records are back.
    pub(super) fn end(&mut self, attempt: u64) {
        self.0.retain(|carried| carried.attempt != attempt);
    }

    /// Nobody waits for the ends any more: counts what was at hand as dropped.
    pub(super) fn abandon(&mut self, dropped: &mut ByClass) {
        self.0.drain(..).for_each(|carried| dropped.add_all(carried.by_class));
    }

    pub(super) const fn deliveries(&self) -> usize {
        self.0.len()
    }

    pub(super) fn records(&self) -> u64 {
        self.0.iter().map(|carried| carried.by_class.total()).sum()
    }

    /// Whether any record from before `end` is at hand.
    pub(super) fn has_before(&self, end: u64) -> bool {
        self.0.iter().any(|carried| carried.first_sequence < end)
    }

    pub(super) fn oldest_at(&self) -> Option<Instant> {
        self.0.iter().map(|carried| carried.oldest_at).min()
    }
}
