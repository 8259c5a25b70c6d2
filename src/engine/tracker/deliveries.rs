//! How the tracker begins deliveries, and what it does when they end.

use std::time::SystemTime;

use super::effects::Effects;
use super::flushes::Fate;
use super::machine::{Loss, Tracker};
use super::repetitions::mark_key;
use crate::engine::delivery::Failure;
use crate::engine::{Claim, Delivery, DeliveryError, LifecycleEvent, Moment, Outcome};
use crate::ports::DeliveryFailure;

impl Tracker {
    /// Handles the end of a delivery.
    pub(crate) fn ended(&mut self, outcome: Outcome, now: Moment, wall: SystemTime, effects: &mut Effects) {
        let Outcome { mut delivery, result, bytes, left_out } = outcome;
        self.dispatch.ended(delivery.attempt);
        self.claims.note_leases(&mut delivery.records);
        self.stats.requests += 1;
        self.stats.sent_bytes += bytes as u64;
        self.stats.retries += u64::from(delivery.retries > 0);
        let Delivery { records, reason, retries, .. } = &delivery;
        effects.notify(|| LifecycleEvent::released(records, *reason, *retries, &result));
        match result {
            Ok(_) => {
                self.stats.delivered_bytes += bytes as u64;
                self.stats.segments_left_out += left_out;
                self.succeeded(&delivery, effects);
            }
            Err(cause) => self.failed(delivery, cause, now, wall, effects),
        }
    }

    /// The next delivery that can begin now, if there is one.
    pub(super) fn next_delivery(&mut self, now: Moment) -> Option<Delivery> {
        if self.closing {
            return None;
        }
        let until = self.next_try();
        let (attempt, records) = self.dispatch.next(now, until, |limit| self.backlog.cut(limit, now))?;
        let retries = records.iter().map(|queued| queued.tries).max().unwrap_or_default();
        self.flushes.began(self.dispatch.pacer(), now);
        Some(Delivery { attempt, records, reason: self.due_reason, retries })
    }

    /// When the endpoint may be tried again: after the backoff, or sooner if a flush asks for it.
    pub(super) fn next_try(&self) -> Option<Moment> {
        let pacer = self.dispatch.pacer();
        let until = pacer.until();
        until.map(|until| self.flushes.next_try(pacer).map_or(until, |sooner| sooner.min(until)))
    }

    fn succeeded(&mut self, delivery: &Delivery, effects: &mut Effects) {
        let (may_try, culprit) = self.dispatch.succeeded(delivery.attempt);
        if may_try {
            self.flushes.succeeded();
        }
        self.backlog.start_over();
        self.stats.delivered += delivery.records.len() as u64;
        for queued in &delivery.records {
            self.stats.delivered_events += queued.event.wire_events() as u64;
            self.flushes.resolve(queued.sequence, Fate::Delivered);
            if self.store && queued.claim != Claim::None {
                effects.keep(mark_key(&queued.event));
            }
            match queued.claim {
                Claim::Leased => self.marks.leave_to_store(self.mark_of(&queued.event)),
                Claim::Local => self.claims.delivered(queued.sequence),
                Claim::None | Claim::Asked { .. } => {}
            }
        }
        culprit.into_iter().for_each(|culprit| self.drop_one(culprit, Loss::Rejected, effects));
    }

    /// Keeps the records for a retry, or drops them if a retry is pointless.
    fn failed(
        &mut self,
        delivery: Delivery,
        cause: DeliveryFailure,
        now: Moment,
        wall: SystemTime,
        effects: &mut Effects,
    ) {
        let Delivery { attempt, records, .. } = delivery;
        let Failure { retry, rejected, pauses, fate_unknown, begins_to_refuse, pass_by } =
            self.dispatch.failed(attempt, records, &cause, now);
        self.stats.fate_unknown += u64::from(fate_unknown);
        if let Some(status) = begins_to_refuse {
            effects.notify(|| LifecycleEvent::DeliveryRefused { status });
        }
        if pauses {
            self.flushes.failed(attempt);
        }
        if let Some(last) = pass_by {
            self.backlog.pass_by(last);
        }
        rejected.into_iter().for_each(|queued| self.drop_one(queued, Loss::Rejected, effects));
        retry.into_iter().for_each(|queued| self.backlog.push(queued));
        self.make_room(u64::MAX, effects);
        self.stats.last_error = Some(DeliveryError { at: wall, cause });
    }
}
