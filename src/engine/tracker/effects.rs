//! What a step of the machine wants done, once the ledger shows what the step did.

use super::Verdict;
use crate::engine::LifecycleEvent;
use crate::engine::{ClaimRequest, Delivery, Reply};
use crate::flush::FlushReport;

/// One thing to be done.
pub(crate) enum Effect {
    /// Asks the data store whether a record is the first of its mark.
    Claim(ClaimRequest),
    /// A claim has been delivered.
    Keep(String),
    /// What was claimed has been dropped.
    Release(String),
    Deliver(Delivery),
    Notify(LifecycleEvent),
    Report(Reply<FlushReport>, Box<FlushReport>),
    Judge(Reply<Verdict>, Verdict),
}

/// The effects of a step, in order.
#[derive(Default)]
pub(crate) struct Effects {
    list: Vec<Effect>,
    /// Whether anyone listens to lifecycle events; without, none is made.
    pub(crate) heard: bool,
}

impl Effects {
    pub(super) fn deliver(&mut self, delivery: Delivery) {
        self.list.push(Effect::Deliver(delivery));
    }

    pub(super) fn notify(&mut self, event: impl FnOnce() -> LifecycleEvent) {
        if self.heard {
            self.list.push(Effect::Notify(event()));
        }
    }

    pub(super) fn report(&mut self, reply: Reply<FlushReport>, report: FlushReport) {
        self.list.push(Effect::Report(reply, Box::new(report)));
    }

    pub(super) fn judge(&mut self, reply: Option<Reply<Verdict>>, verdict: Verdict) {
        self.list.extend(reply.map(|reply| Effect::Judge(reply, verdict)));
    }

    pub(super) fn claim(&mut self, sequence: u64, key: String) {
        self.list.push(Effect::Claim(ClaimRequest { sequence, key }));
    }

    pub(super) fn keep(&mut self, key: String) {
        self.list.push(Effect::Keep(key));
    }

    pub(super) fn release(&mut self, key: String) {
        self.list.push(Effect::Release(key));
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.list.drain(..)
    }
}

#[cfg(test)]
impl Effects {
    /// Answers whoever waits for a verdict.
    pub(super) fn take_verdicts(&mut self) {
        for effect in self.list.extract_if(.., |effect| matches!(effect, Effect::Judge(..))) {
            if let Effect::Judge(reply, verdict) = effect {
                reply.send(verdict);
            }
        }
    }

    pub(super) fn count(&self, is_counted: impl Fn(&Effect) -> bool) -> usize {
        self.list.iter().filter(|effect| is_counted(effect)).count()
    }
}
