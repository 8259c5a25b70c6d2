//! Flushes that wait for an answer, and what has become of the records that each covers.

use super::Effect;
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
        self.0.push(PendingFlush { reply, end, remaining, delivered: 0, dropped: 0, first_attempt });
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
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
    /// an attempt that began after the flush has failed. Those that nobody waits for any more go too.
    pub(crate) fn answer(&mut self, failed_attempt: Option<u64>, stats: &Stats, effects: &mut Vec<Effect>) {
        self.0.retain(|flush| {
            if flush.reply.is_abandoned() {
                return false;
            }
            let tried = failed_attempt.is_some_and(|attempt| attempt >= flush.first_attempt);
            if flush.remaining > 0 && !tried {
                return true;
            }
            let report = FlushReport {
                delivered: flush.delivered,
                dropped: flush.dropped,
                pending: flush.remaining,
                stats: stats.clone(),
            };
            effects.push(Effect::Report(flush.reply.clone(), report));
            false
        });
    }

    /// The tracker ends: what is pending is dropped.
    pub(crate) fn abandon(&mut self, stats: &Stats, effects: &mut Vec<Effect>) {
        for flush in &mut self.0 {
            flush.dropped += std::mem::take(&mut flush.remaining);
        }
        self.answer(None, stats, effects);
    }
}

#[cfg(all(test, feature = "async"))]
mod tests {
    use super::*;
    use crate::actors::wait::question;

    #[test]
    fn a_flush_that_a_task_has_dropped_leaves_no_ticket_behind() {
        let (mut flushes, mut effects) = (Flushes::default(), Vec::new());
        let (reply, report) = question();
        flushes.ask(reply, 1, 1, 0);
        flushes.answer(None, &Stats::default(), &mut effects);
        assert!(!flushes.is_empty());
        drop(report);
        flushes.answer(None, &Stats::default(), &mut effects);
        assert!(flushes.is_empty() && effects.is_empty());
    }
}
