//! Claims of records: which can be made now, and what becomes of them when their tracker has ended.

use std::collections::{HashSet, VecDeque};

use super::{StoreMachine, Waiting};
use crate::engine::{ClaimAnswer, ClaimRequest, Claimed, Moment, StoreCommand};

impl StoreMachine {
    /// The tracker has ended without reading these answers. Its claims whose numbers are in `held` are kept,
    /// because their records were not dropped; all others are released.
    pub(crate) fn tracker_ended(&mut self, unread: Vec<Claimed>, held: HashSet<u64>, now: Moment) {
        self.held = held;
        self.release_unread(unread, now);
    }

    /// Releases what was claimed for a tracker that has ended.
    pub(crate) fn release_unread(&mut self, claimed: Vec<Claimed>, now: Moment) {
        let is_free = |it: &Claimed| it.answer == ClaimAnswer::First && !self.held.contains(&it.sequence);
        let keys: Vec<_> = claimed.into_iter().filter(is_free).map(|it| it.key).collect();
        self.command(StoreCommand::Release(keys), now);
    }

    /// The claims that have waited longest, except those whose keys are about to be released.
    pub(super) fn next_claims(&mut self, most: usize) -> VecDeque<Waiting<ClaimRequest>> {
        if self.releasing.is_empty() {
            return self.claims.drain(..most).collect();
        }
        let (mut batch, mut held) = (VecDeque::new(), VecDeque::new());
        while batch.len() < most
            && let Some(claim) = self.claims.pop_front()
        {
            let waits = self.releasing.contains(&claim.asked.key);
            if waits { &mut held } else { &mut batch }.push_back(claim);
        }
        held.append(&mut self.claims);
        self.claims = held;
        batch
    }
}

impl ClaimRequest {
    pub(super) fn answer(self, answer: ClaimAnswer) -> Claimed {
        Claimed { sequence: self.sequence, key: self.key, answer }
    }
}
