//! How the tracker finds out whether a record repeats another one: by memory, and by the data store.

use super::Verdict;
use super::claims::Owner;
use super::effects::Effects;
use super::flushes::Fate;
use super::machine::Tracker;
use crate::engine::LifecycleEvent;
use crate::engine::{Claim, ClaimAnswer, Claimed, Mark, MarkKind, Queued, Reply, TrackedEvent};
use crate::visitors::{bucketing_key, goal_key};

impl Tracker {
    /// The data store has answered, or will not in time, which leaves the decision to the memory of this
    /// process.
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
                // Memory has decided meanwhile.
                None if answer == ClaimAnswer::First => self.lease(sequence),
                None => {}
            },
            // A store that claims in two steps may have undone what it was told in between.
            Some(Owner::Delivered) if answer == ClaimAnswer::First => effects.keep(key),
            Some(Owner::Nobody(_)) | None if answer == ClaimAnswer::First => effects.release(key),
            Some(Owner::Delivered | Owner::Nobody(_)) | None => {}
        }
    }

    /// Whether a record that has waited for it repeats another one is known, or left to memory.
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
                logged!(warn, "the data store does not answer in time; memory decides what is a repetition");
            }
            self.stats.store_timeouts += 1;
        }
        let verdict = self.verdicts.remove(&sequence);
        if queued.claim == Claim::None {
            // A lease that it gets all the same is nobody's.
            self.claims.dropped(sequence, mark);
            if delivered {
                self.marks.leave_to_store(mark);
            } else {
                // Whoever has the mark may release it, so the store is asked again next time.
                self.marks.release(mark, queued.mark);
            }
            if let Some(found) = repetition(&mut queued.event) {
                return self.repeated(sequence, &queued.event, verdict, found, effects);
            }
        }
        self.accept(&queued.event, effects);
        self.backlog.push(queued);
        effects.judge(verdict, Verdict::Accepted);
    }

    /// Lets memory decide about a record that waits for the data store.
    pub(super) fn give_up_claim(&mut self, sequence: u64, effects: &mut Effects) {
        if let Some(queued) = self.backlog.take_asked(sequence) {
            self.claims.given_up(sequence);
            self.answered(queued, ClaimAnswer::Late, effects);
        }
    }

    /// Lets memory decide about all records before `end` that wait for the data store.
    pub(super) fn give_up_claims(&mut self, end: u64, effects: &mut Effects) {
        while let Some(sequence) = self.backlog.first_asked().filter(|sequence| *sequence < end) {
            self.give_up_claim(sequence, effects);
        }
    }

    /// A record that memory has let go on has a lease after all.
    fn lease(&mut self, sequence: u64) {
        match self.backlog.find(sequence).or_else(|| self.isolation.find(sequence)) {
            Some(queued) => queued.claim = Claim::Leased,
            None => self.at_hand.lease(sequence),
        }
    }

    /// A record is found to be a repetition for which nothing is sent.
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

    /// A record was delivered that has a lease, so that the data store is told to keep it.
    pub(super) fn leave_to_store(&mut self, event: &TrackedEvent) {
        let mark = self.mark_of(event);
        #[cfg(test)]
        if self.forgets_delivered {
            return self.marks.release(mark, u64::MAX);
        }
        self.marks.leave_to_store(mark);
    }

    pub(super) fn mark_of(&self, event: &TrackedEvent) -> Mark {
        let (kind, visitor_id, entity_id) = parts(event);
        self.marks.mark(kind, visitor_id, entity_id)
    }
}

/// Makes a record the repetition of an earlier one. Where nothing is sent for it, says what it is: one
/// that is forced without goal data counts as taken, as in the official Python SDK.
pub(super) fn repetition(event: &mut TrackedEvent) -> Option<Verdict> {
    let TrackedEvent::Conversion(conversion) = event else { return Some(Verdict::Repeated) };
    conversion.first = false;
    match (conversion.force_multiple, event.wire_events()) {
        (false, _) => Some(Verdict::Repeated),
        (true, 0) => Some(Verdict::Accepted),
        (true, _) => None,
    }
}

/// What the mark of a record is about.
fn parts(event: &TrackedEvent) -> (MarkKind, &str, &str) {
    match event {
        TrackedEvent::Exposure(it) => (MarkKind::Exposure, &it.visitor_id, &it.experience_id),
        TrackedEvent::Conversion(it) => (MarkKind::Conversion, &it.visitor_id, &it.goal_id),
    }
}

/// The mark's key in the data store.
pub(crate) fn mark_key(event: &TrackedEvent) -> String {
    match parts(event) {
        (MarkKind::Exposure, visitor_id, experience_id) => bucketing_key(visitor_id, experience_id),
        (MarkKind::Conversion, visitor_id, goal_id) => goal_key(visitor_id, goal_id),
    }
}
