//! How the tracker begins deliveries, and what it does when they end.

use std::time::{Duration, Instant, SystemTime};

use super::effects::Effects;
use super::flushes::Fate;
use super::machine::Tracker;
use super::pacer::Allowance;
use crate::actors::flusher::{Delivery, Outcome};
use crate::events::LifecycleEvent;
use crate::tracking::{CutLimit, DeliveryError, Queued};
use crate::transport::TransportError;

/// Events in a delivery that finds out whether a failing endpoint works again.
const PROBE_EVENTS: usize = 50;

impl Tracker {
    /// A delivery has ended.
    pub(crate) fn ended(&mut self, outcome: Outcome, now: Instant, wall: SystemTime, effects: &mut Effects) {
        let Outcome { delivery, result, bytes } = outcome;
        self.at_hand.end(delivery.attempt);
        self.stats.requests += 1;
        self.stats.sent_bytes += bytes as u64;
        self.stats.retries += u64::from(delivery.retries > 0);
        let Delivery { records, reason, retries, .. } = &delivery;
        effects.notify(|| LifecycleEvent::released(records, *reason, *retries, &result));
        match result {
            Ok(response) if response.is_success() => {
                self.succeeded(&delivery, bytes);
                #[cfg(test)]
                self.plant_double_send(delivery);
            }
            Ok(response) => {
                let cause = TransportError::Status(response.status);
                self.failed(delivery, cause, response.retry_after, now, wall);
            }
            Err(cause) => self.failed(delivery, cause, None, now, wall),
        }
    }

    /// The next delivery that can begin now, if there is one.
    pub(super) fn next_delivery(&mut self, now: Instant) -> Option<Delivery> {
        let at_hand = self.at_hand.deliveries();
        if self.closing.is_some() || at_hand >= self.delivery.lanes {
            return None;
        }
        let limit = match self.pacer.allows(now, at_hand, self.flushes.press()) {
            Allowance::Nothing => return None,
            Allowance::Probe => CutLimit { events: self.request.events.min(PROBE_EVENTS), ..self.request },
            Allowance::One | Allowance::Any => self.request,
        };
        let records = self.backlog.cut(self.due, limit);
        let retries = records.iter().map(|queued| queued.tries).max()?;
        let attempt = self.next_attempt;
        self.next_attempt += 1;
        self.at_hand.begin(attempt, &records);
        #[cfg(test)]
        self.plant_early_ack();
        Some(Delivery { attempt, records, reason: self.due_reason, retries })
    }

    fn succeeded(&mut self, delivery: &Delivery, bytes: usize) {
        self.pacer.succeeded();
        self.flushes.succeeded();
        self.request.events = self.request.events.saturating_mul(2).min(self.delivery.max_request_events);
        self.stats.delivered += delivery.records.len() as u64;
        self.stats.delivered_bytes += bytes as u64;
        for queued in &delivery.records {
            self.stats.delivered_events += queued.event.wire_events() as u64;
            self.flushes.resolve(queued.sequence, Fate::Delivered);
        }
    }

    /// Keeps the records for a retry, or drops them where a retry is no use.
    fn failed(
        &mut self,
        delivery: Delivery,
        cause: TransportError,
        retry_after: Option<Duration>,
        now: Instant,
        wall: SystemTime,
    ) {
        let Delivery { attempt, records, .. } = delivery;
        match remedy(&cause, records.len()) {
            Remedy::Drop => {
                log::warn!("the endpoint refused {} records: {cause}; they are dropped", records.len());
                for queued in &records {
                    self.stats.dropped.rejected.count(queued.event.class());
                    self.flushes.resolve(queued.sequence, Fate::Dropped);
                }
            }
            Remedy::Split => {
                let events: usize = records.iter().map(|queued| queued.event.wire_events()).sum();
                self.request.events = events.div_ceil(2);
                self.put_back(records);
            }
            Remedy::Retry => {
                log::warn!("delivery of {} records failed: {cause}; they are kept", records.len());
                self.stats.fate_unknown += u64::from(fate_is_unknown(&cause));
                self.pacer.failed(attempt, self.next_attempt, now, retry_after);
                #[cfg(test)]
                self.plant_no_pause();
                self.flushes.failed(attempt);
                self.put_back(records);
            }
        }
        self.stats.last_error = Some(DeliveryError { at: wall, cause });
    }

    fn put_back(&mut self, mut records: Vec<Queued>) {
        #[cfg(test)]
        self.plant_lost_batch(&mut records);
        records.iter_mut().for_each(|queued| queued.tries = queued.tries.saturating_add(1));
        self.backlog.put_back(records);
        self.make_room(u64::MAX);
    }
}

/// What to do about a failed delivery.
enum Remedy {
    Retry,
    Split,
    Drop,
}

/// Another try can help after a broken connection, a timeout, and statuses that say so; other 4xx
/// mean that the endpoint will never take these records.
const fn remedy(cause: &TransportError, records: usize) -> Remedy {
    if matches!(cause, TransportError::InvalidRequest) {
        return Remedy::Drop;
    }
    match cause.status() {
        Some(413) if records > 1 => Remedy::Split,
        Some(408 | 425 | 429) | None => Remedy::Retry,
        Some(400..=499) => Remedy::Drop,
        Some(_) => Remedy::Retry,
    }
}

/// Whether the endpoint may have the records although no answer came.
const fn fate_is_unknown(cause: &TransportError) -> bool {
    matches!(
        cause,
        TransportError::Timeout(_)
            | TransportError::Broken(_)
            | TransportError::Protocol
            | TransportError::Interrupted
            | TransportError::Panicked
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_that_say_so_are_retried_and_other_4xx_are_not() {
        for status in [400, 401, 403, 404, 405, 410, 422, 451, 499] {
            assert!(matches!(remedy(&TransportError::Status(status), 2), Remedy::Drop), "{status}");
        }
        for status in [100, 301, 304, 307, 408, 425, 429, 500, 502, 503, 599] {
            assert!(matches!(remedy(&TransportError::Status(status), 2), Remedy::Retry), "{status}");
        }
        assert!(matches!(remedy(&TransportError::Timeout("x"), 2), Remedy::Retry));
    }
}
