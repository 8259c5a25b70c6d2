//! What a step of the machine wants done once the ledger reflects the step.

use super::{Left, Note, OutboxRequests, Saved, Verdict};
use crate::engine::{ClaimRequest, Delivery, FlushReport, LifecycleEvent, Queued, Reply, StoreCommand};

/// One thing to be done.
pub(crate) enum Effect {
    Deliver(Delivery),
    Notify(LifecycleEvent),
    Report(Reply<FlushReport>, Box<FlushReport>),
    Judge(Reply<Verdict>, Verdict),
}

/// The effects of a step, in order.
#[derive(Default)]
pub(crate) struct Effects {
    list: Vec<Effect>,
    store: StoreRequests,
    outbox: OutboxRequests,
    /// Records that are over, and only to be freed.
    spent: Vec<Queued>,
    /// Records that are not on disk.
    missed: u64,
    /// Whether anyone listens to lifecycle events; if not, none are created.
    pub(crate) has_listeners: bool,
}

/// What a step wants from the data store.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct StoreRequests {
    /// Keys of dropped records.
    pub(super) releases: Vec<String>,
    /// Records that may be the first with their marks.
    pub(super) claims: Vec<ClaimRequest>,
    /// Keys of delivered records.
    pub(super) keeps: Vec<String>,
}

impl Effects {
    pub(super) fn deliver(&mut self, delivery: Delivery) {
        self.list.push(Effect::Deliver(delivery));
    }

    pub(super) fn notify(&mut self, event: impl FnOnce() -> LifecycleEvent) {
        if self.has_listeners {
            self.list.push(Effect::Notify(event()));
        }
    }

    pub(super) fn report(&mut self, reply: Reply<FlushReport>, report: FlushReport) {
        self.list.push(Effect::Report(reply, Box::new(report)));
    }

    pub(super) fn judge(&mut self, reply: Option<Reply<Verdict>>, verdict: Verdict) {
        self.list.extend(reply.map(|reply| Effect::Judge(reply, verdict)));
    }

    pub(super) fn spend(&mut self, records: Vec<Queued>) {
        if self.spent.is_empty() {
            self.spent = records;
        } else {
            self.spent.extend(records);
        }
    }

    /// Whether there are records to free.
    pub(crate) const fn has_spent(&self) -> bool {
        !self.spent.is_empty()
    }

    /// Frees at most this many of the records that are over.
    pub(crate) fn free(&mut self, most: usize) {
        self.spent.truncate(self.spent.len().saturating_sub(most));
        if self.spent.is_empty() {
            self.spent = Vec::new();
        }
    }

    pub(super) fn claim(&mut self, sequence: u64, key: String) {
        self.store.claims.push(ClaimRequest { sequence, key });
    }

    pub(super) fn keep(&mut self, key: String) {
        self.store.keeps.push(key);
    }

    pub(super) fn release(&mut self, key: String) {
        self.store.releases.push(key);
    }

    pub(super) fn save(&mut self, record: Saved) {
        self.outbox.saves.push(record);
    }

    pub(super) fn change(&mut self, record: Saved) {
        self.outbox.changes.push(record);
    }

    pub(super) fn forget(&mut self, record: Left) {
        self.outbox.forgets.push(record);
    }

    /// What is forgotten was delivered.
    pub(super) fn count_delivery(&mut self) {
        self.outbox.deliveries += 1;
    }

    pub(super) fn note(&mut self, note: Note) {
        self.outbox.notes.push(note);
    }

    pub(super) fn adopt(&mut self, most_records: usize, most_bytes: usize) {
        self.outbox.adopt = Some((most_records, most_bytes));
    }

    pub(super) fn missed(&mut self, records: u64) {
        self.missed += records;
    }

    pub(super) fn take_missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    /// Requests to the outbox, if there are any.
    pub(crate) fn take_outbox_requests(&mut self) -> Option<OutboxRequests> {
        let OutboxRequests { saves, changes, forgets, deliveries: _, notes, adopt } = &self.outbox;
        let has_records = !saves.is_empty() || !changes.is_empty() || !forgets.is_empty();
        let is_empty = !has_records && notes.is_empty() && adopt.is_none();
        (!is_empty).then(|| std::mem::take(&mut self.outbox))
    }

    /// Requests to the data store. Releases come first, because a record dropped in this step may have been
    /// recorded again in the same step.
    pub(crate) fn take_store_commands(&mut self) -> impl Iterator<Item = StoreCommand> + use<> {
        let StoreRequests { releases, claims, keeps } = std::mem::take(&mut self.store);
        let releases = (!releases.is_empty()).then_some(StoreCommand::Release(releases));
        let claims = (!claims.is_empty()).then_some(StoreCommand::Claim(claims));
        let keeps = (!keeps.is_empty()).then_some(StoreCommand::Keep(keeps));
        releases.into_iter().chain(claims).chain(keeps)
    }

    /// Everything else.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.list.drain(..)
    }
}

#[cfg(test)]
impl Effects {
    /// Answers the callers waiting for a verdict.
    pub(super) fn take_verdicts(&mut self) {
        for effect in self.list.extract_if(.., |effect| matches!(effect, Effect::Judge(..))) {
            if let Effect::Judge(reply, verdict) = effect {
                reply.send(verdict);
            }
        }
    }

    pub(super) fn take_store_requests(&mut self) -> StoreRequests {
        std::mem::take(&mut self.store)
    }

    pub(super) fn count(&self, is_counted: impl Fn(&Effect) -> bool) -> usize {
        self.list.iter().filter(|effect| is_counted(effect)).count()
    }
}
