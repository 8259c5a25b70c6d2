//! How the tracker begins deliveries, and what it does when they end.

use std::time::{Duration, Instant, SystemTime};

use super::effects::Effects;
use super::flushes::Fate;
use super::machine::{Loss, Tracker};
use super::pacer::Allowance;
use super::repetitions::mark_key;
use crate::engine::LifecycleEvent;
use crate::engine::{Claim, CutLimit, Delivery, DeliveryError, Outcome, Queued};
use crate::ports::TransportError;

/// Events in a delivery that finds out whether a failing endpoint works again.
const PROBE_EVENTS: usize = 50;

impl Tracker {
    /// A delivery has ended.
    pub(crate) fn ended(&mut self, outcome: Outcome, now: Instant, wall: SystemTime, effects: &mut Effects) {
        let Outcome { mut delivery, result, bytes, left_out } = outcome;
        self.at_hand.end(delivery.attempt, &mut delivery.records);
        self.stats.requests += 1;
        self.stats.sent_bytes += bytes as u64;
        self.stats.retries += u64::from(delivery.retries > 0);
        let Delivery { records, reason, retries, .. } = &delivery;
        effects.notify(|| LifecycleEvent::released(records, *reason, *retries, &result));
        match result {
            Ok(response) if response.is_success() => {
                self.stats.delivered_bytes += bytes as u64;
                self.stats.segments_left_out += left_out;
                self.succeeded(&delivery, effects);
            }
            Ok(response) => {
                let cause = TransportError::Status(response.status);
                self.failed(delivery, cause, response.retry_after, now, wall, effects);
            }
            Err(cause) => self.failed(delivery, cause, None, now, wall, effects),
        }
    }

    /// The next delivery that can begin now, if there is one.
    pub(super) fn next_delivery(&mut self, now: Instant) -> Option<Delivery> {
        let at_hand = self.at_hand.deliveries();
        if self.closing || at_hand >= self.delivery.lanes {
            return None;
        }
        let limit = match self.pacer.allows(now, at_hand, self.next_try()) {
            Allowance::Nothing => return None,
            Allowance::Probe => CutLimit { events: self.request.events.min(PROBE_EVENTS), ..self.request },
            Allowance::One | Allowance::Any => self.request,
        };
        let attempt = self.next_attempt;
        let records = self.isolation.next_half(attempt).unwrap_or_else(|| self.backlog.cut(limit, now));
        let retries = records.iter().map(|queued| queued.tries).max()?;
        self.next_attempt += 1;
        self.flushes.began(&self.pacer, now);
        self.at_hand.begin(attempt, &records);
        Some(Delivery { attempt, records, reason: self.due_reason, retries })
    }

    /// When the endpoint may be tried again: after the backoff, or sooner for a flush.
    pub(super) fn next_try(&self) -> Option<Instant> {
        let until = self.pacer.until();
        until.map(|until| self.flushes.next_try(&self.pacer).map_or(until, |sooner| sooner.min(until)))
    }

    fn succeeded(&mut self, delivery: &Delivery, effects: &mut Effects) {
        if self.pacer.succeeded(delivery.attempt) {
            self.flushes.succeeded();
        }
        self.refused_in_a_row = 0;
        self.backlog.start_over();
        if std::mem::take(&mut self.refusing) {
            logged!(info, "the endpoint takes events again");
        }
        self.request.events = self.request.events.saturating_mul(2).min(self.delivery.max_request_events);
        self.stats.delivered += delivery.records.len() as u64;
        for queued in &delivery.records {
            self.stats.delivered_events += queued.event.wire_events() as u64;
            self.flushes.resolve(queued.sequence, Fate::Delivered);
            if self.store && queued.claim != Claim::None {
                effects.keep(mark_key(&queued.event));
            }
            match queued.claim {
                Claim::Leased => self.leave_to_store(&queued.event),
                Claim::Local => self.claims.delivered(queued.sequence),
                Claim::None | Claim::Asked { .. } => {}
            }
        }
        if let Some(rest) = self.isolation.take_rest(delivery.attempt) {
            self.suspect(rest, effects);
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
        effects: &mut Effects,
    ) {
        let Delivery { attempt, mut records, .. } = delivery;
        let rest = self.isolation.take_rest(attempt);
        match remedy(&cause, records.len()) {
            Remedy::Drop => {
                logged!(
                    warn,
                    "the endpoint cannot take a request: {cause}; records dropped: {}",
                    records.len()
                );
                records.into_iter().for_each(|queued| self.drop_one(queued, Loss::Rejected, effects));
                self.put_back(rest.unwrap_or_default(), effects);
                if cause.status().is_some() {
                    self.refused_in_a_row += 1;
                    self.pause_if_refused(attempt, now, retry_after);
                }
            }
            Remedy::Isolate => {
                if !std::mem::replace(&mut self.isolates, true) {
                    logged!(warn, "the endpoint refused a request: {cause}; it is halved to find the reason");
                }
                self.put_back(rest.unwrap_or_default(), effects);
                retried(&mut records);
                self.suspect(records, effects);
                self.pause_if_refused(attempt, now, retry_after);
            }
            Remedy::Split => {
                let events: usize = records.iter().map(|queued| queued.event.wire_events()).sum();
                self.request.events = events.div_ceil(2);
                records.extend(rest.unwrap_or_default());
                self.put_back(records, effects);
                self.pause_if_refused(attempt, now, retry_after);
            }
            Remedy::Hold => {
                if !std::mem::replace(&mut self.refusing, true) {
                    logged!(
                        error,
                        "the endpoint refuses events: {cause}; they are kept until they are too old"
                    );
                    let status = cause.status().unwrap_or_default();
                    effects.notify(|| LifecycleEvent::DeliveryRefused { status });
                }
                self.pacer.refused(self.next_attempt, now);
                self.flushes.failed(attempt);
                self.keep(records, rest, effects);
            }
            Remedy::Retry => {
                logged!(warn, "a delivery failed: {cause}; records kept: {}", records.len());
                self.stats.fate_unknown += u64::from(fate_is_unknown(&cause));
                self.pacer.failed(attempt, self.next_attempt, now, retry_after);
                self.flushes.failed(attempt);
                if can_be_the_records(&cause) {
                    self.suspect_all(&mut records);
                }
                self.keep(records, rest, effects);
            }
        }
        self.stats.last_error = Some(DeliveryError { at: wall, cause });
    }

    /// One of these may be why an endpoint fails. What fails again is passed by for now.
    fn suspect_all(&mut self, records: &mut [Queued]) {
        records.iter_mut().for_each(|queued| queued.suspicion = queued.suspicion.saturating_add(1));
        if records.iter().any(|queued| queued.suspicion > 1)
            && let Some(last) = records.iter().map(|queued| queued.sequence).max()
        {
            self.backlog.pass_by(last);
        }
    }

    /// An endpoint that has refused several records in a row may refuse whatever it is sent, which is no
    /// reason to hurry.
    fn pause_if_refused(&mut self, attempt: u64, now: Instant, retry_after: Option<Duration>) {
        if self.refused_in_a_row > 1 {
            self.pacer.failed(attempt, self.next_attempt, now, retry_after);
            self.flushes.failed(attempt);
        }
    }

    /// Keeps what a failed delivery carried, and what is still known of the group that it is half of.
    fn keep(&mut self, mut records: Vec<Queued>, rest: Option<Vec<Queued>>, effects: &mut Effects) {
        let Some(rest) = rest else { return self.put_back(records, effects) };
        retried(&mut records);
        records.extend(rest);
        self.suspect(records, effects);
    }

    /// At least one of these makes the endpoint refuse the request. Alone, it is dropped.
    fn suspect(&mut self, group: Vec<Queued>, effects: &mut Effects) {
        if let Some(culprit) = self.isolation.suspect(group) {
            self.refused_in_a_row += 1;
            logged!(warn, "the endpoint refuses a record; it is dropped");
            self.drop_one(culprit, Loss::Rejected, effects);
        }
    }

    fn put_back(&mut self, mut records: Vec<Queued>, effects: &mut Effects) {
        retried(&mut records);
        records.into_iter().for_each(|queued| self.backlog.push(queued));
        self.make_room(u64::MAX, effects);
    }
}

fn retried(records: &mut [Queued]) {
    records.iter_mut().for_each(|queued| queued.tries = queued.tries.saturating_add(1));
}

/// What to do about a failed delivery.
enum Remedy {
    Retry,
    /// The request is too large.
    Split,
    /// One of the records is at fault, or several are.
    Isolate,
    /// Not the records are at fault but the key, the account or the route.
    Hold,
    Drop,
}

/// Another try can help after a broken connection, a timeout, and statuses that say so. A 400 and a 422
/// are about what the request carries; other 4xx are not, and what they are about can be mended.
const fn remedy(cause: &TransportError, records: usize) -> Remedy {
    if matches!(cause, TransportError::InvalidRequest) {
        return Remedy::Drop;
    }
    match cause.status() {
        Some(413) if records > 1 => Remedy::Split,
        Some(413) => Remedy::Drop,
        Some(400 | 422) => Remedy::Isolate,
        Some(408 | 425 | 429) | None => Remedy::Retry,
        Some(400..=499) => Remedy::Hold,
        Some(_) => Remedy::Retry,
    }
}

/// Whether what was sent can be why an attempt failed that is worth another one. An endpoint that nobody reaches,
/// or that asks for time, says nothing about it.
fn can_be_the_records(cause: &TransportError) -> bool {
    *cause != TransportError::Connect && !matches!(cause.status(), Some(408 | 425 | 429))
}

/// Whether the endpoint may have the records although no answer came.
fn fate_is_unknown(cause: &TransportError) -> bool {
    match cause {
        // Nothing of the request was sent.
        TransportError::Timeout(doing) => *doing != "connecting",
        TransportError::Broken(_)
        | TransportError::Protocol
        | TransportError::Interrupted
        | TransportError::Panicked => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_is_at_fault() {
        for status in [100, 301, 304, 307, 408, 425, 429, 500, 502, 503, 599] {
            assert!(matches!(remedy(&TransportError::Status(status), 2), Remedy::Retry), "{status}");
        }
        for status in [401, 402, 403, 404, 405, 410, 451, 499] {
            assert!(matches!(remedy(&TransportError::Status(status), 2), Remedy::Hold), "{status}");
        }
        for status in [400, 422] {
            assert!(matches!(remedy(&TransportError::Status(status), 1), Remedy::Isolate), "{status}");
        }
        assert!(matches!(remedy(&TransportError::Status(413), 2), Remedy::Split));
        assert!(matches!(remedy(&TransportError::Status(413), 1), Remedy::Drop));
        assert!(matches!(remedy(&TransportError::Timeout("x"), 2), Remedy::Retry));
    }
}
