//! Claims that await a final answer from the data store, and who owns them.

use std::collections::{HashMap, HashSet};

use super::Verdict;
use crate::engine::{Claim, Mark, MarkKind, Queued, StoreMachine, TrackedEvent, bucketing_key, goal_key};

/// A record can be dropped, or accepted by memory and delivered, before the store answers. If a record with
/// the same mark follows a dropped one, it takes over that record's claim: a claim of its own would run into
/// the first one's lease.
pub(super) struct Claims {
    /// By the number of the record that each was made for.
    open: HashMap<u64, Open>,
    /// Claims whose records were dropped.
    orphans: HashMap<Mark, u64>,
    /// Records that have taken over a claim, with the claim's number.
    adopted: HashMap<u64, u64>,
    /// Records in flight whose leases became known in the meantime.
    leased: HashSet<u64>,
    /// Total size of the keys.
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

struct Open {
    owner: Owner,
    key_bytes: usize,
    /// Nobody is waiting for the answer any more.
    late: bool,
}

/// Who owns a claim.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A record that is waiting or in flight.
    Record(u64),
    /// A record that has been delivered.
    Delivered,
    /// Nobody: the record was dropped.
    Nobody(Mark),
}

/// What to do for a record that wants a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Ask the store, with the record's number.
    New,
    /// The store has been asked already.
    Joined,
    /// Leave it to memory: the answer is late, or too many claims are open.
    Never,
}

impl Claims {
    /// For a backlog with these bounds.
    pub(super) fn new(max_pending_records: usize, max_pending_bytes: usize) -> Self {
        Self {
            open: HashMap::new(),
            orphans: HashMap::new(),
            adopted: HashMap::new(),
            leased: HashSet::new(),
            bytes: 0,
            // A store that hangs can hold on forever to as many as its calls can carry.
            most: max_pending_records.saturating_add(StoreMachine::MOST_IN_CALLS),
            most_bytes: max_pending_bytes,
        }
    }

    /// A record wants to claim its mark.
    pub(super) fn ask(&mut self, sequence: u64, mark: Mark, key_bytes: usize) -> Ask {
        if let Some(number) = self.orphans.remove(&mark)
            && let Some(claim) = self.open.get_mut(&number)
        {
            claim.owner = Owner::Record(sequence);
            self.adopted.insert(sequence, number);
            return if claim.late { Ask::Never } else { Ask::Joined };
        }
        let bytes = self.bytes.saturating_add(key_bytes);
        if self.open.len() >= self.most || bytes > self.most_bytes {
            return Ask::Never;
        }
        self.bytes = bytes;
        self.open.insert(sequence, Open { owner: Owner::Record(sequence), key_bytes, late: false });
        Ask::New
    }

    /// Nobody is waiting for the answer to this record's claim any more.
    pub(super) fn given_up(&mut self, sequence: u64) {
        if let Some((_, claim)) = self.claim_of(sequence) {
            claim.late = true;
        }
    }

    /// The answer to the claim with this number is late; returns the claim's owner.
    pub(super) fn late(&mut self, number: u64) -> Option<Owner> {
        let claim = self.open.get_mut(&number)?;
        claim.late = true;
        Some(claim.owner)
    }

    /// A record was delivered while its claim may still be answered.
    pub(super) fn delivered(&mut self, sequence: u64) {
        if let Some((_, claim)) = self.claim_of(sequence) {
            claim.owner = Owner::Delivered;
            self.adopted.remove(&sequence);
        }
    }

    /// A record was dropped while its claim may still be answered.
    pub(super) fn dropped(&mut self, sequence: u64, mark: Mark) {
        if let Some((number, claim)) = self.claim_of(sequence) {
            claim.owner = Owner::Nobody(mark);
            self.adopted.remove(&sequence);
            self.orphans.insert(mark, number);
        }
    }

    /// The final answer to the claim with this number; returns the claim's owner.
    pub(super) fn answered(&mut self, number: u64) -> Option<Owner> {
        let claim = self.open.remove(&number)?;
        self.bytes -= claim.key_bytes;
        match claim.owner {
            Owner::Record(sequence) => drop(self.adopted.remove(&sequence)),
            Owner::Nobody(mark) if self.orphans.get(&mark) == Some(&number) => {
                self.orphans.remove(&mark);
            }
            Owner::Nobody(_) | Owner::Delivered => {}
        }
        Some(claim.owner)
    }

    /// A record in flight turns out to have a lease.
    pub(super) fn lease_in_flight(&mut self, sequence: u64) {
        self.leased.insert(sequence);
    }

    /// Records have come back from a failed delivery.
    pub(super) fn note_leases(&mut self, records: &mut [Queued]) {
        if !self.leased.is_empty() {
            let leased = records.iter_mut().filter(|queued| self.leased.remove(&queued.sequence));
            leased.for_each(|queued| queued.claim = Claim::Leased);
        }
    }

    /// The numbers of the claims whose records were not dropped.
    pub(super) fn held(&self) -> HashSet<u64> {
        let held = self.open.iter().filter(|(_, claim)| !matches!(claim.owner, Owner::Nobody(_)));
        held.map(|(number, _)| *number).collect()
    }

    fn claim_of(&mut self, sequence: u64) -> Option<(u64, &mut Open)> {
        let number = self.adopted.get(&sequence).copied().unwrap_or(sequence);
        let claim = self.open.get_mut(&number).filter(|claim| claim.owner == Owner::Record(sequence))?;
        Some((number, claim))
    }
}

/// Turns a record into the repetition of an earlier one. If nothing is to be sent for it, returns the
/// verdict: a forced one without goal data counts as accepted, as in the official Python SDK.
pub(super) fn repetition(event: &mut TrackedEvent) -> Option<Verdict> {
    let TrackedEvent::Conversion(conversion) = event else { return Some(Verdict::Repeated) };
    conversion.first = false;
    match (conversion.force_multiple, event.wire_events()) {
        (false, _) => Some(Verdict::Repeated),
        (true, 0) => Some(Verdict::Accepted),
        (true, _) => None,
    }
}

/// The parts of a record's mark.
pub(super) fn parts(event: &TrackedEvent) -> (MarkKind, &str, &str) {
    match event {
        TrackedEvent::Exposure(it) => (MarkKind::Exposure, &it.visitor_id, &it.experience_id),
        TrackedEvent::Conversion(it) => (MarkKind::Conversion, &it.visitor_id, &it.goal_id),
    }
}

/// The key of a record's mark in the data store.
pub(crate) fn mark_key(event: &TrackedEvent) -> String {
    match parts(event) {
        (MarkKind::Exposure, visitor_id, experience_id) => bucketing_key(visitor_id, experience_id),
        (MarkKind::Conversion, visitor_id, goal_id) => goal_key(visitor_id, goal_id),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::engine::{MarkKind, Marks};

    fn mark(number: u64) -> Mark {
        static MARKS: std::sync::LazyLock<Marks> =
            std::sync::LazyLock::new(|| Marks::new(NonZeroUsize::MIN, None));
        MARKS.mark(MarkKind::Conversion, &number.to_string(), "1")
    }

    #[test]
    fn claims_of_dropped_records_do_not_pile_up() {
        let mut claims = Claims::new(10, usize::MAX);
        let most = 10 + StoreMachine::MOST_IN_CALLS as u64;
        for sequence in 0..2 * most {
            let asked = claims.ask(sequence, mark(sequence), 1);
            assert_eq!(asked, if sequence < most { Ask::New } else { Ask::Never });
            claims.dropped(sequence, mark(sequence));
        }
        assert_eq!((claims.open.len(), claims.orphans.len()), (most as usize, most as usize));
        (0..most).for_each(|number| assert!(claims.answered(number).is_some()));
        assert!(claims.open.is_empty() && claims.orphans.is_empty() && claims.adopted.is_empty());
        assert_eq!(claims.bytes, 0);
    }

    #[test]
    fn the_keys_of_open_claims_are_bounded_in_bytes() {
        let mut claims = Claims::new(10, 1_000);
        assert_eq!(claims.ask(0, mark(0), 600), Ask::New);
        assert_eq!(claims.ask(1, mark(1), 600), Ask::Never);
        claims.answered(0);
        assert_eq!(claims.ask(2, mark(2), 600), Ask::New);
    }
}
