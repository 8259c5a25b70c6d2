//! How the tracker detects repeated records: from memory, and with the data store.

use super::Verdict;
use super::claims::{Owner, parts, repetition};
use super::effects::Effects;
use super::flushes::Fate;
use super::machine::Tracker;
use crate::engine::{Claim, ClaimAnswer, Claimed, LifecycleEvent, Mark, Queued, Reply, TrackedEvent};

impl Tracker {
    /// The data store has answered, or will not in time, in which case this process's memory decides.
    pub(crate) fn claimed(&mut self, claimed: Claimed, effects: &mut Effects) {
        let Claimed { sequence: number, key, answer } = claimed;
        if answer == ClaimAnswer::Late {
            if let Some(Owner::Record(sequence)) = self.claims.late(number) {
                self.give_up_claim(sequence, effects);
            }
            return;
        }
        match self.claims.answered(number) {
            Some(Owner::Record(sequence)) => match self.backlog.take_asked(sequence) {
                Some(queued) => self.answered(queued, answer, effects),
                // Memory has already decided.
                None if answer == ClaimAnswer::First => self.lease(sequence),
                None => {}
            },
            // A store that claims in two steps may have undone a change made in between.
            Some(Owner::Delivered) if answer == ClaimAnswer::First => effects.keep(key),
            Some(Owner::Nobody(_)) | None if answer == ClaimAnswer::First => effects.release(key),
            Some(Owner::Delivered | Owner::Nobody(_)) | None => {}
        }
    }

    /// The store has decided about a record that waited for it, or left the decision to memory.
    fn answered(&mut self, mut queued: Queued, answer: ClaimAnswer, effects: &mut Effects) {
        let (sequence, mark) = (queued.sequence, self.mark_of(&queued.event));
        let delivered = queued.claim == Claim::Asked { delivered: true };
        queued.claim = match answer {
            ClaimAnswer::First => Claim::Leased,
            ClaimAnswer::Repeated => Claim::None,
            ClaimAnswer::Failed | ClaimAnswer::Unasked | ClaimAnswer::Late if delivered => Claim::None,
            ClaimAnswer::Failed | ClaimAnswer::Unasked | ClaimAnswer::Late => Claim::Local,
        };
        if matches!(answer, ClaimAnswer::Unasked | ClaimAnswer::Late) {
            if self.stats.store_timeouts == 0 {
                logged!(warn, "the data store did not answer in time; repetitions are detected from memory");
            }
            self.stats.store_timeouts += 1;
        }
        let verdict = self.verdicts.remove(&sequence);
        if queued.claim == Claim::None {
            // A lease that it may still get has no owner.
            self.claims.dropped(sequence, mark);
            if delivered {
                self.marks.leave_to_store(mark);
            } else {
                // The owner of the mark may release it, so the store is asked again next time.
                self.marks.release(mark, queued.mark);
            }
            if let Some(found) = repetition(&mut queued.event) {
                self.disk.forget(sequence, effects);
                return self.repeated(sequence, &queued.event, verdict, found, effects);
            }
            // A successor is not to take it for the first.
            self.disk.change(&queued, effects);
        }
        self.accept(&queued.event, effects);
        self.backlog.push(queued);
        if self.disk.is_unsaved(sequence) {
            self.verdicts.extend(verdict.map(|verdict| (sequence, verdict)));
        } else {
            effects.judge(verdict, Verdict::Accepted);
        }
    }

    /// Lets memory decide about a record that is waiting for the data store.
    pub(super) fn give_up_claim(&mut self, sequence: u64, effects: &mut Effects) {
        if let Some(queued) = self.backlog.take_asked(sequence) {
            self.claims.given_up(sequence);
            self.answered(queued, ClaimAnswer::Late, effects);
        }
    }

    /// Lets memory decide about all records before `end` that are waiting for the data store.
    pub(super) fn give_up_claims(&mut self, end: u64, effects: &mut Effects) {
        while let Some(sequence) = self.backlog.first_asked().filter(|sequence| *sequence < end) {
            self.give_up_claim(sequence, effects);
        }
    }

    /// A record that memory has accepted turns out to have a lease.
    fn lease(&mut self, sequence: u64) {
        match self.backlog.find(sequence).or_else(|| self.dispatch.find(sequence)) {
            Some(queued) => queued.claim = Claim::Leased,
            None => self.claims.lease_in_flight(sequence),
        }
    }

    /// Handles a repetition for which nothing is sent.
    pub(super) fn repeated(
        &mut self,
        sequence: u64,
        event: &TrackedEvent,
        verdict: Option<Reply<Verdict>>,
        found: Verdict,
        effects: &mut Effects,
    ) {
        self.stats.deduplicated += 1;
        self.flushes.resolve(sequence, Fate::Repeated);
        effects.judge(verdict, found);
        if matches!(event, TrackedEvent::Conversion(_)) {
            effects.notify(|| LifecycleEvent::recorded(event, true));
        }
    }

    pub(super) fn mark_of(&self, event: &TrackedEvent) -> Mark {
        let (kind, visitor_id, entity_id) = parts(event);
        self.marks.mark(kind, visitor_id, entity_id)
    }
}
