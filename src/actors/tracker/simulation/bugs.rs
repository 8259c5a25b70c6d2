//! Bugs on purpose, so that the simulation can be seen to find them.

use std::time::Instant;

use crate::actors::flusher::Delivery;
use crate::actors::tracker::machine::Tracker;
use crate::tracking::Queued;

/// What is wrong with a tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::actors::tracker) enum Bug {
    /// A flush counts as delivered what has just been sent.
    EarlyAck,
    /// What a failed delivery carried is forgotten.
    LostBatch,
    /// What was delivered is sent once more, and the ledger made to fit.
    DoubleSend,
    /// After a failure the endpoint is tried again at once.
    NoPause,
    /// A dropped record leaves its deduplication mark behind.
    LeftMark,
    /// A flush is answered by the first failure.
    EarlyEnd,
}

impl Tracker {
    pub(in crate::actors::tracker) fn plant_early_ack(&mut self) {
        if self.bug == Some(Bug::EarlyAck) {
            self.flushes.claim_all();
        }
    }

    pub(in crate::actors::tracker) fn plant_lost_batch(&mut self, records: &mut Vec<Queued>) {
        if self.bug == Some(Bug::LostBatch) {
            records.clear();
        }
    }

    pub(in crate::actors::tracker) fn plant_no_pause(&mut self) {
        if self.bug == Some(Bug::NoPause) {
            self.pacer.forget_wait();
        }
    }

    pub(in crate::actors::tracker) fn leaves_marks(&self) -> bool {
        self.bug == Some(Bug::LeftMark)
    }

    pub(in crate::actors::tracker) fn plant_early_end(&mut self, now: Instant) {
        if self.bug == Some(Bug::EarlyEnd) && self.pacer.failures() > 0 {
            self.flushes.give_up(now);
        }
    }

    pub(in crate::actors::tracker) fn plant_double_send(&mut self, delivery: Delivery) {
        if self.bug == Some(Bug::DoubleSend) && delivery.retries == 0 {
            let mut records = delivery.records;
            records.iter_mut().for_each(|queued| queued.tries = 1);
            self.stats.recorded += records.len() as u64;
            self.backlog.put_back(records);
        }
    }
}
