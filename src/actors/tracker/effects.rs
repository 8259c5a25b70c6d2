//! What a step of the machine wants done, once the ledger shows what the step did.

use super::Verdict;
use crate::actors::flusher::Delivery;
use crate::actors::reply::Reply;
use crate::events::LifecycleEvent;
use crate::flush::FlushReport;

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
    /// Whether anyone listens to lifecycle events; without, none is made.
    pub(super) heard: bool,
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

    pub(super) fn judge(&mut self, reply: Reply<Verdict>, verdict: Verdict) {
        self.list.push(Effect::Judge(reply, verdict));
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.list.drain(..)
    }
}
