//! How the tracker begins deliveries, and what it does when they end.

use std::time::SystemTime;

use super::claims::mark_key;
use super::effects::Effects;
use super::machine::{Loss, Tracker};
use crate::engine::delivery::Failure;
use crate::engine::{Claim, Delivery, DeliveryError, LifecycleEvent, Moment, Outcome};
use crate::ports::DeliveryFailure;

impl Tracker {
    /// Handles the end of a delivery.
    pub(crate) fn ended(&mut self, outcome: Outcome, now: Moment, wall: SystemTime, effects: &mut Effects) {
        let Outcome { mut delivery, result, bytes, left_out } = outcome;
        let events = self.dispatch.ended(delivery.attempt);
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
                self.stats.delivered += delivery.records.len() as u64;
                self.stats.delivered_events += events;
                self.succeeded(&delivery, now, effects);
                effects.spend(delivery.records);
            }
            Err(cause) => self.failed(delivery, cause, now, wall, effects),
        }
    }

    /// Ends a delivery that is not to leave the process, as if it had been accepted.
    pub(crate) fn withhold(&mut self, delivery: &Delivery, now: Moment, effects: &mut Effects) {
        self.dispatch.ended(delivery.attempt);
        self.stats.withheld += delivery.records.len() as u64;
        self.succeeded(delivery, now, effects);
    }

    /// The next delivery that can begin now, if there is one.
    pub(super) fn next_delivery(&mut self, now: Moment) -> Option<Delivery> {
        if self.closing || self.dispatch.in_flight().attempts() + self.disk.removing() >= self.delivery.lanes
        {
            return None;
        }
        let until = self.next_try();
        let (attempt, records) = self.dispatch.next(now, until, |limit| self.backlog.cut(limit, now))?;
        self.reserve();
        let id = self.dispatch.id(attempt);
        let retries = records.iter().map(|queued| queued.tries).max().unwrap_or_default();
        self.flushes.began(self.dispatch.pacer(), now);
        let patience = retries.max(self.dispatch.pacer().failures());
        Some(Delivery { attempt, id, records, reason: self.due_reason, retries, patience })
    }

    /// When the endpoint may be tried again: after the backoff, or sooner if a flush asks for it.
    pub(super) fn next_try(&self) -> Option<Moment> {
        let pacer = self.dispatch.pacer();
        let until = pacer.until();
        until.map(|until| self.flushes.next_try(pacer).map_or(until, |sooner| sooner.min(until)))
    }

    fn succeeded(&mut self, delivery: &Delivery, now: Moment, effects: &mut Effects) {
        if self.dispatch.succeeded(delivery.attempt) {
            self.flushes.succeeded();
        }
        self.backlog.start_over();
        self.disk.delivered(now, effects);
        self.flushes.delivered(&delivery.records);
        if !self.store && !self.disk.has_outbox() {
            // Nobody else has to be told of each record, and there may be many.
            return;
        }
        for queued in &delivery.records {
            self.disk.forget(queued.sequence, effects);
            if self.store && queued.claim != Claim::None {
                effects.keep(mark_key(&queued.event));
            }
            match queued.claim {
                Claim::Leased => self.marks.leave_to_store(self.mark_of(&queued.event)),
                Claim::Local => self.claims.delivered(queued.sequence),
                Claim::None | Claim::Asked { .. } | Claim::Inherited => {}
            }
        }
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
        self.reserve();
        self.make_room(u64::MAX, effects);
        self.stats.last_error = Some(DeliveryError { at: wall, cause });
    }
}
