//! Flushes waiting for an answer, and what has become of the records that each covers.

use super::effects::Effects;
use crate::engine::delivery::{InFlight, Pacer};
use crate::engine::{FlushReport, FlushRequest, Moment, Reply, Stats};

/// Flushes requested and not yet answered.
#[derive(Default)]
pub(crate) struct Flushes(Vec<PendingFlush>);

struct PendingFlush {
    reply: Reply<FlushReport>,
    deadline: Moment,
    single_attempt: bool,
    asked_at: Moment,
    /// Covers the records before this one.
    end: u64,
    /// Covered records whose outcome is still open.
    remaining: u64,
    delivered: u64,
    dropped: u64,
    /// The first attempt that begins after the flush was requested.
    first_attempt: u64,
    /// Such an attempt has begun.
    tried: bool,
    /// Such an attempt has failed.
    failed: bool,
    /// The one attempt that a `Retry-After` past the deadline allows has begun.
    spent: bool,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    Dropped,
    /// It repeats a record known to the data store.
    Repeated,
}

impl Flushes {
    /// A flush of the `remaining` records before `end`.
    pub(crate) fn ask(
        &mut self,
        request: FlushRequest,
        now: Moment,
        end: u64,
        remaining: u64,
        first_attempt: u64,
    ) {
        let FlushRequest { deadline, single_attempt, reply, .. } = request;
        self.0.push(PendingFlush {
            reply,
            deadline,
            single_attempt,
            asked_at: now,
            end,
            remaining,
            delivered: 0,
            dropped: 0,
            first_attempt,
            tried: false,
            failed: false,
            spent: false,
        });
    }

    /// When the first of the flushes wants an attempt although the endpoint is being left alone.
    pub(crate) fn next_try(&self, pacer: &Pacer) -> Option<Moment> {
        let waiting = self.0.iter().filter(|flush| flush.wants_a_try());
        waiting
            .filter_map(|flush| {
                // A flush with a single attempt does not wait for it.
                if flush.single_attempt {
                    return Some(flush.asked_at);
                }
                pacer.until_within(flush.asked_at, flush.tried, flush.deadline, flush.spent)
            })
            .min()
    }

    /// An attempt begins. It counts whatever it carries, as its result is the endpoint's answer to all. One
    /// made for another flush before this flush's own last attempt is due does not use that up.
    pub(crate) fn began(&mut self, pacer: &Pacer, now: Moment) {
        for flush in &mut self.0 {
            flush.tried = true;
            flush.spent |= pacer.last_try(flush.asked_at, flush.deadline).is_some_and(|due| due <= now);
        }
    }

    /// An attempt has failed.
    pub(crate) fn failed(&mut self, attempt: u64) {
        for flush in &mut self.0 {
            flush.failed |= attempt >= flush.first_attempt;
        }
    }

    /// An attempt has succeeded: earlier failures are worth another try.
    pub(crate) fn succeeded(&mut self) {
        for flush in &mut self.0 {
            flush.failed = false;
            flush.spent = false;
        }
    }

    /// A record's outcome is known.
    pub(crate) fn resolve(&mut self, sequence: u64, fate: Fate) {
        for flush in self.0.iter_mut().filter(|flush| sequence < flush.end) {
            flush.remaining -= 1;
            match fate {
                Fate::Delivered => flush.delivered += 1,
                Fate::Dropped => flush.dropped += 1,
                Fate::Repeated => {}
            }
        }
    }

    /// Memory has to decide about the records before this one by now: half of a flush's time is reserved for
    /// its deliveries, whether or not the data store answers.
    pub(crate) fn memory_decides_before(&self, now: Moment) -> u64 {
        let waits = |flush: &&PendingFlush| flush.decides_at() <= now && now < flush.deadline;
        self.0.iter().filter(waits).map(|flush| flush.end).max().unwrap_or_default()
    }

    /// When memory decides about the first record that is waiting for the data store.
    pub(crate) fn next_decision(&self, first: u64) -> Option<Moment> {
        self.0.iter().filter(|flush| first < flush.end).map(PendingFlush::decides_at).min()
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Moment> {
        self.0.iter().map(|flush| flush.deadline).min()
    }

    /// Answers the flushes whose records all have an outcome, or whose time or attempts are used up. Those
    /// that nobody is waiting for are removed too.
    pub(crate) fn answer(&mut self, in_flight: &InFlight, stats: &Stats, now: Moment, effects: &mut Effects) {
        self.0.retain(|flush| {
            if flush.reply.is_abandoned() {
                return false;
            }
            let tried = flush.single_attempt && flush.failed && !in_flight.has_before(flush.end);
            let waits = flush.remaining > 0 && !tried && now < flush.deadline;
            if !waits {
                flush.report(stats, effects);
            }
            waits
        });
    }

    /// The tracker ends: pending records are dropped.
    pub(crate) fn abandon(&mut self, stats: &Stats, effects: &mut Effects) {
        for mut flush in self.0.drain(..) {
            flush.dropped += std::mem::take(&mut flush.remaining);
            flush.report(stats, effects);
        }
    }
}

impl PendingFlush {
    fn decides_at(&self) -> Moment {
        self.asked_at + (self.deadline - self.asked_at) / 2
    }

    fn report(&self, stats: &Stats, effects: &mut Effects) {
        let report = FlushReport {
            delivered: self.delivered,
            dropped: self.dropped,
            pending: self.remaining,
            stats: stats.clone(),
        };
        effects.report(self.reply.clone(), report);
    }

    fn wants_a_try(&self) -> bool {
        self.remaining > 0 && !(self.single_attempt && self.failed) && !self.reply.is_abandoned()
    }
}

#[cfg(all(test, feature = "async"))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::{Jitter, ReleaseReason, question};
    use crate::options::DeliveryConfig;

    #[test]
    fn a_flush_dropped_by_its_task_wants_no_attempt() {
        let (mut flushes, mut effects) = (Flushes::default(), Effects::default());
        let (in_flight, stats, now) = (InFlight::default(), Stats::default(), Moment::default());
        let mut pacer = Pacer::new(&DeliveryConfig::default(), Jitter::seeded(7));
        pacer.failed(0, 1, now, None);
        let (reply, report) = question();
        let (reason, deadline) = (ReleaseReason::Explicit, now + Duration::from_secs(9));
        flushes.ask(FlushRequest { reason, deadline, single_attempt: false, reply }, now, 1, 1, 1);
        flushes.answer(&in_flight, &stats, now, &mut effects);
        assert!(flushes.next_try(&pacer).is_some() && flushes.0.len() == 1);
        drop(report);
        assert!(flushes.next_try(&pacer).is_none());
        flushes.answer(&in_flight, &stats, now, &mut effects);
        assert!(flushes.0.is_empty() && effects.drain().next().is_none());
    }
}
