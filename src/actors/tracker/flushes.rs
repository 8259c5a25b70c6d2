//! Flushes that wait for an answer, and what has become of the records that each covers.

use super::at_hand::AtHand;
use super::effects::Effects;
use crate::actors::reply::Reply;
use crate::flush::FlushReport;
use crate::tracking::Stats;

/// The flushes asked for and not yet answered.
#[derive(Default)]
pub(crate) struct Flushes(Vec<PendingFlush>);

struct PendingFlush {
    reply: Reply<FlushReport>,
    /// Covers the records before this one.
    end: u64,
    /// Covered records without a fate.
    remaining: u64,
    delivered: u64,
    dropped: u64,
    /// The first attempt that begins after the flush was asked for.
    first_attempt: u64,
    /// Such an attempt has failed.
    failed: bool,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    Dropped,
}

impl Flushes {
    /// A flush of the `remaining` records before `end`.
    pub(crate) fn ask(&mut self, reply: Reply<FlushReport>, end: u64, remaining: u64, first_attempt: u64) {
        self.0.push(PendingFlush {
            reply,
            end,
            remaining,
            delivered: 0,
            dropped: 0,
            first_attempt,
            failed: false,
        });
    }

    /// Whether a flush that somebody waits for wants its records tried now, also during a backoff.
    pub(crate) fn press(&self) -> bool {
        self.0.iter().any(|flush| !flush.failed && !flush.reply.is_abandoned())
    }

    /// An attempt has failed.
    pub(crate) fn failed(&mut self, attempt: u64) {
        for flush in &mut self.0 {
            flush.failed |= attempt >= flush.first_attempt;
        }
    }

    /// An attempt has succeeded: what has failed before is worth another try.
    pub(crate) fn succeeded(&mut self) {
        for flush in &mut self.0 {
            flush.failed = false;
        }
    }

    /// Says of every covered record that it was delivered.
    #[cfg(test)]
    pub(super) fn claim_all(&mut self) {
        for flush in &mut self.0 {
            flush.delivered += std::mem::take(&mut flush.remaining);
        }
    }

    /// A record has met its fate.
    pub(crate) fn resolve(&mut self, sequence: u64, fate: Fate) {
        for flush in self.0.iter_mut().filter(|flush| sequence < flush.end) {
            flush.remaining -= 1;
            match fate {
                Fate::Delivered => flush.delivered += 1,
                Fate::Dropped => flush.dropped += 1,
            }
        }
    }

    /// Answers the flushes that have nothing left to wait for: all covered records have a fate, or
    /// an attempt that began after the flush has failed and no other is at hand. Those that nobody
    /// waits for any more go too.
    pub(crate) fn answer(&mut self, at_hand: &AtHand, stats: &Stats, effects: &mut Effects) {
        self.0.retain(|flush| {
            if flush.reply.is_abandoned() {
                return false;
            }
            let tried = flush.failed && !at_hand.has_before(flush.end);
            if flush.remaining > 0 && !tried {
                return true;
            }
            let report = FlushReport {
                delivered: flush.delivered,
                dropped: flush.dropped,
                pending: flush.remaining,
                stats: stats.clone(),
            };
            effects.report(flush.reply.clone(), report);
            false
        });
    }

    /// The tracker ends: what is pending is dropped.
    pub(crate) fn abandon(&mut self, at_hand: &AtHand, stats: &Stats, effects: &mut Effects) {
        for flush in &mut self.0 {
            flush.dropped += std::mem::take(&mut flush.remaining);
        }
        self.answer(at_hand, stats, effects);
    }
}

#[cfg(all(test, feature = "async"))]
mod tests {
    use super::*;
    use crate::actors::wait::question;

    #[test]
    fn a_flush_that_a_task_has_dropped_presses_nobody_and_leaves_no_ticket_behind() {
        let (mut flushes, mut effects) = (Flushes::default(), Effects::default());
        let (at_hand, stats) = (AtHand::default(), Stats::default());
        let (reply, report) = question();
        flushes.ask(reply, 1, 1, 0);
        flushes.answer(&at_hand, &stats, &mut effects);
        assert!(flushes.press() && flushes.0.len() == 1);
        drop(report);
        assert!(!flushes.press());
        flushes.answer(&at_hand, &stats, &mut effects);
        assert!(flushes.0.is_empty() && effects.drain().next().is_none());
    }
}
