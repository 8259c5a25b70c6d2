//! The deliveries that the flusher has.

use std::collections::HashSet;

use crate::engine::{ByClass, Claim, Moment, Queued};

/// What is known of the records that are on their way out.
#[derive(Default)]
pub(super) struct AtHand {
    deliveries: Vec<Carried>,
    /// Records whose leases became known meanwhile.
    leased: HashSet<u64>,
}

struct Carried {
    attempt: u64,
    first_sequence: u64,
    oldest_at: Moment,
    by_class: ByClass,
}

impl AtHand {
    /// A delivery of these records begins.
    pub(super) fn begin(&mut self, attempt: u64, records: &[Queued]) {
        let Some(first) = records.first() else { return };
        let mut by_class = ByClass::default();
        records.iter().for_each(|queued| by_class.count(queued.event.class()));
        let (first_sequence, oldest_at) = (first.sequence, first.accepted_at);
        self.deliveries.push(Carried { attempt, first_sequence, oldest_at, by_class });
    }

    /// A delivery has ended; its records are back.
    pub(super) fn end(&mut self, attempt: u64, records: &mut [Queued]) {
        self.deliveries.retain(|carried| carried.attempt != attempt);
        if !self.leased.is_empty() {
            let leased = records.iter_mut().filter(|queued| self.leased.remove(&queued.sequence));
            leased.for_each(|queued| queued.claim = Claim::Leased);
        }
    }

    /// A record that is on its way has a lease after all.
    pub(super) fn lease(&mut self, sequence: u64) {
        self.leased.insert(sequence);
    }

    /// Nobody waits for the ends any more: counts what was at hand as dropped.
    pub(super) fn abandon(&mut self, dropped: &mut ByClass) {
        self.deliveries.drain(..).for_each(|carried| dropped.add_all(carried.by_class));
    }

    pub(super) const fn deliveries(&self) -> usize {
        self.deliveries.len()
    }

    pub(super) fn records(&self) -> u64 {
        self.deliveries.iter().map(|carried| carried.by_class.total()).sum()
    }

    /// Whether any record from before `end` is at hand.
    pub(super) fn has_before(&self, end: u64) -> bool {
        self.deliveries.iter().any(|carried| carried.first_sequence < end)
    }

    pub(super) fn oldest_at(&self) -> Option<Moment> {
        self.deliveries.iter().map(|carried| carried.oldest_at).min()
    }
}
