//! Flushes waiting for an answer, and what has become of the records that each covers.

use std::collections::VecDeque;

use super::effects::Effects;
use crate::engine::delivery::{InFlight, Pacer};
use crate::engine::{FlushReport, FlushRequest, Moment, Queued, Reply, Stats};

/// How many are answered in one step.
const ANSWERS_AT_ONCE: usize = 32;
/// Above this many, abandoned ones are searched for.
const CROWDED: usize = 64;

/// Flushes requested and not yet answered, oldest first. A later one covers whatever an earlier one does, so that an
/// outcome is counted once, at the first that covers the record.
#[derive(Default)]
pub(crate) struct Flushes {
    waiting: VecDeque<PendingFlush>,
    /// What is counted at all of them.
    counted: Tally,
    /// The earliest deadline; the past if there are more to be answered.
    next_deadline: Option<Moment>,
    /// The only attempt of one has failed.
    has_failed: bool,
    /// With more than this many, the next search for abandoned ones is due.
    crowded: usize,
}

struct PendingFlush {
    reply: Reply<FlushReport>,
    deadline: Moment,
    single_attempt: bool,
    asked_at: Moment,
    /// Covers the records before this one.
    end: u64,
    /// Covered records whose outcome was open when it was requested.
    open: u64,
    /// What was counted at all flushes when it was requested.
    before: Tally,
    /// What became of the records that it covers and those before it do not.
    own: Tally,
    /// Covered records that were delivered after it was requested and before it was taken.
    credit: u64,
    /// The first attempt that begins after the flush was requested.
    first_attempt: u64,
    /// Such an attempt has begun.
    tried: bool,
    /// Such an attempt has failed.
    failed: bool,
    /// The one attempt that a `Retry-After` past the deadline allows has begun.
    spent: bool,
}

/// What became of how many records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    delivered: u64,
    dropped: u64,
    repeated: u64,
    left: u64,
}

/// What became of a record that was not delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Dropped,
    /// It repeats a record known to the data store.
    Repeated,
    /// It stays on disk for the next process.
    Left,
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
        self.next_deadline = Some(self.next_deadline.map_or(deadline, |next| next.min(deadline)));
        self.waiting.push_back(PendingFlush {
            reply,
            deadline,
            single_attempt,
            asked_at: now,
            end,
            open: remaining,
            before: self.counted,
            own: Tally::default(),
            credit: 0,
            first_attempt,
            tried: false,
            failed: false,
            spent: false,
        });
    }

    /// The last flush covers this many records that were delivered after it was requested and before it was taken.
    pub(crate) fn credit(&mut self, delivered: u64) {
        if let Some(last) = self.waiting.back_mut() {
            last.credit += delivered;
        }
    }

    /// When the first of the flushes wants an attempt although the endpoint is being left alone.
    pub(crate) fn next_try(&self, pacer: &Pacer) -> Option<Moment> {
        let waiting = self.with_counts().filter(|(flush, counts)| flush.wants_a_try(counts));
        waiting
            .filter_map(|(flush, _)| {
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
        for flush in &mut self.waiting {
            flush.tried = true;
            flush.spent |= pacer.last_try(flush.asked_at, flush.deadline).is_some_and(|due| due <= now);
        }
    }

    /// An attempt has failed.
    pub(crate) fn failed(&mut self, attempt: u64) {
        for flush in &mut self.waiting {
            flush.failed |= attempt >= flush.first_attempt;
            self.has_failed |= flush.single_attempt && flush.failed;
        }
    }

    /// An attempt has succeeded: earlier failures are worth another try.
    pub(crate) fn succeeded(&mut self) {
        self.has_failed = false;
        for flush in &mut self.waiting {
            flush.failed = false;
            flush.spent = false;
        }
    }

    /// Whether one covers a record with this number, which has not come yet.
    pub(crate) fn expect(&self, next_sequence: u64) -> bool {
        self.waiting.back().is_some_and(|last| last.end > next_sequence)
    }

    /// These records, which are in order, were delivered. Few of them are looked at: each flush's are counted together.
    pub(crate) fn delivered(&mut self, mut records: &[Queued]) {
        while let Some(next) = records.first() {
            let first = self.waiting.partition_point(|flush| flush.is_past(next.sequence));
            let Some(flush) = self.waiting.get_mut(first) else { return };
            let covered = records.partition_point(|queued| !flush.is_past(queued.sequence));
            flush.own.delivered += covered as u64;
            self.counted.delivered += covered as u64;
            records = &records[covered..];
        }
    }

    /// A record's outcome is known, and is not that it was delivered.
    pub(crate) fn resolve(&mut self, sequence: u64, fate: Fate) {
        let first = self.waiting.partition_point(|flush| flush.is_past(sequence));
        if let Some(flush) = self.waiting.get_mut(first) {
            flush.own.count(fate);
            self.counted.count(fate);
        }
    }

    /// Memory has to decide about the records before this one by now: half of a flush's time is reserved for
    /// its deliveries, whether or not the data store answers.
    pub(crate) fn memory_decides_before(&self, now: Moment) -> u64 {
        let waits = |flush: &&PendingFlush| {
            flush.decides_at() <= now && now < flush.deadline && !flush.reply.is_abandoned()
        };
        self.waiting.iter().filter(waits).map(|flush| flush.end).max().unwrap_or_default()
    }

    /// When memory decides about the first record that is waiting for the data store.
    pub(crate) fn next_decision(&self, first: u64) -> Option<Moment> {
        let waits = |flush: &&PendingFlush| first < flush.end && !flush.reply.is_abandoned();
        self.waiting.iter().filter(waits).map(PendingFlush::decides_at).min()
    }

    /// When the next ones are to be answered if nothing else happens.
    pub(crate) const fn next_deadline(&self) -> Option<Moment> {
        self.next_deadline
    }

    /// Answers flushes whose records all have an outcome, or whose time or attempts are used up. Those that nobody is
    /// waiting for are removed too.
    pub(crate) fn answer(&mut self, in_flight: &InFlight, stats: &Stats, now: Moment, effects: &mut Effects) {
        // Of the others none can have got all its outcomes.
        let is_first_over =
            |first: &PendingFlush| first.reply.is_abandoned() || first.remaining(&first.own) == 0;
        let is_due = self.next_deadline.is_some_and(|deadline| deadline <= now)
            || self.has_failed
            || self.waiting.len() > self.crowded
            || self.waiting.front().is_some_and(is_first_over);
        if !is_due {
            return;
        }
        let (mut counted, mut passed_on, mut answered) = (Tally::default(), Tally::default(), 0);
        let (mut next_deadline, mut has_failed) = (None::<Moment>, false);
        self.waiting.retain_mut(|flush| {
            counted.add(&flush.own);
            flush.own.add(&std::mem::take(&mut passed_on));
            let is_over = flush.is_over(&counted, in_flight, now);
            if flush.reply.is_abandoned() || (is_over && answered < ANSWERS_AT_ONCE) {
                if !flush.reply.is_abandoned() {
                    flush.report(&counted, 0, stats, effects);
                    answered += 1;
                }
                passed_on = flush.own;
                return false;
            }
            let deadline = if is_over { Moment::default() } else { flush.deadline };
            next_deadline = Some(next_deadline.map_or(deadline, |next| next.min(deadline)));
            has_failed |= flush.single_attempt && flush.failed;
            true
        });
        self.counted = self.counted.less(&passed_on);
        (self.next_deadline, self.has_failed) = (next_deadline, has_failed);
        self.crowded = CROWDED.max(2 * self.waiting.len());
    }

    /// The tracker ends: of the records that a flush still waits for, those that have not come are dropped, and this
    /// many of those in flight; the others are on disk.
    pub(crate) fn abandon(&mut self, next_sequence: u64, lost: u64, stats: &Stats, effects: &mut Effects) {
        for (flush, counted) in self.with_counts() {
            let remaining = flush.remaining(&counted);
            let dropped = remaining.min(lost + flush.end.saturating_sub(next_sequence));
            flush.report(&counted, dropped, stats, effects);
        }
        *self = Self::default();
    }

    /// Each with what is counted at it and those before it.
    fn with_counts(&self) -> impl Iterator<Item = (&PendingFlush, Tally)> {
        self.waiting.iter().scan(Tally::default(), |counted, flush| {
            counted.add(&flush.own);
            Some((flush, *counted))
        })
    }
}

impl Tally {
    const fn count(&mut self, fate: Fate) {
        *match fate {
            Fate::Dropped => &mut self.dropped,
            Fate::Repeated => &mut self.repeated,
            Fate::Left => &mut self.left,
        } += 1;
    }

    const fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.repeated += other.repeated;
        self.left += other.left;
    }

    const fn less(&self, other: &Self) -> Self {
        Self {
            delivered: self.delivered - other.delivered,
            dropped: self.dropped - other.dropped,
            repeated: self.repeated - other.repeated,
            left: self.left - other.left,
        }
    }

    const fn total(&self) -> u64 {
        self.delivered + self.dropped + self.repeated + self.left
    }
}

impl PendingFlush {
    fn decides_at(&self) -> Moment {
        self.asked_at + (self.deadline - self.asked_at) / 2
    }

    /// Whether it covers only records before this one.
    fn is_past(&self, sequence: u64) -> bool {
        #[cfg(test)]
        tests::LOOKS.set(tests::LOOKS.get() + 1);
        self.end <= sequence
    }

    /// Covered records whose outcome is still open, given what is counted at it and those before it.
    const fn remaining(&self, counted: &Tally) -> u64 {
        self.open - (counted.total() - self.before.total())
    }

    fn is_over(&self, counted: &Tally, in_flight: &InFlight, now: Moment) -> bool {
        let tried = self.single_attempt && self.failed && !in_flight.has_before(self.end);
        self.remaining(counted) == 0 || tried || self.deadline <= now
    }

    /// Answers, counting this many records more as dropped.
    fn report(&self, counted: &Tally, dropped: u64, stats: &Stats, effects: &mut Effects) {
        let own = counted.less(&self.before);
        let report = FlushReport {
            delivered: own.delivered + self.credit,
            dropped: own.dropped + dropped,
            pending: self.remaining(counted) - dropped + own.left,
            stats: stats.clone(),
        };
        effects.report(self.reply.clone(), report);
    }

    fn wants_a_try(&self, counted: &Tally) -> bool {
        self.remaining(counted) > 0 && !(self.single_attempt && self.failed) && !self.reply.is_abandoned()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;
    use crate::engine::tracker::Effect;
    use crate::engine::tracker::tests::exposure;
    use crate::engine::{Jitter, Pending, ReleaseReason, question};
    use crate::options::DeliveryConfig;

    thread_local! {
        pub(super) static LOOKS: Cell<u64> = const { Cell::new(0) };
    }

    fn asked(deadline: Moment) -> (FlushRequest, Pending<FlushReport>) {
        let (reply, report) = question();
        let reason = ReleaseReason::Explicit;
        (FlushRequest { reason, deadline, single_attempt: false, reply }, report)
    }

    fn queued(sequence: u64) -> Queued {
        Queued::new(sequence, exposure("v"), Moment::default())
    }

    fn answer(flushes: &mut Flushes, now: Moment) -> usize {
        let (mut effects, mut answered) = (Effects::default(), 0);
        flushes.answer(&InFlight::default(), &Stats::default(), now, &mut effects);
        for effect in effects.drain() {
            if let Effect::Report(reply, report) = effect {
                reply.send(*report);
                answered += 1;
            }
        }
        answered
    }

    #[test]
    fn a_flush_dropped_by_its_task_wants_no_attempt() {
        let (mut flushes, now) = (Flushes::default(), Moment::default());
        let mut pacer = Pacer::new(&DeliveryConfig::default(), Jitter::seeded(7));
        pacer.failed(0, 1, now, None);
        let (request, report) = asked(now + Duration::from_secs(9));
        flushes.ask(request, now, 1, 1, 1);
        assert_eq!(answer(&mut flushes, now), 0);
        assert!(flushes.next_try(&pacer).is_some() && flushes.waiting.len() == 1);
        drop(report);
        assert!(flushes.next_try(&pacer).is_none());
        assert_eq!(answer(&mut flushes, now), 0);
        assert!(flushes.waiting.is_empty());
    }

    /// Records 0 to 99, of which a flush is asked for after each tenth; those that are over at a deadline or abandoned
    /// leave the others' counts as they are.
    #[test]
    fn each_flush_counts_the_records_that_it_covers() {
        let (mut flushes, start) = (Flushes::default(), Moment::default());
        let second = Duration::from_secs(1);
        let mut reports = Vec::new();
        for flush in 1..=10_u64 {
            let (request, report) = asked(start + if flush == 4 { second } else { 9 * second });
            flushes.ask(request, start, 10 * flush, 10 * flush, 0);
            reports.push(report);
        }
        let abandoned = reports.remove(6);
        drop(abandoned);
        for sequence in (0..100).rev() {
            if sequence == 34 {
                assert_eq!(answer(&mut flushes, start + second), 1, "the fourth's time is over");
            }
            match sequence % 3 {
                0 => flushes.resolve(sequence, Fate::Dropped),
                _ => flushes.delivered(&[queued(sequence)]),
            }
            if sequence > 0 {
                assert_eq!(answer(&mut flushes, start), 0, "{sequence}");
            }
        }
        assert_eq!(answer(&mut flushes, start), 8);
        let counts = |report: &Pending<FlushReport>| {
            report.try_recv().map(|it| (it.delivered + it.dropped, it.dropped, it.pending)).unwrap()
        };
        let counts: Vec<_> = reports.iter().map(counts).collect();
        let all = |records: u64| (records, records.div_ceil(3), 0);
        let fourth = (5, 2, 35);
        assert_eq!(counts, [all(10), all(20), all(30), fourth, all(50), all(60), all(80), all(90), all(100)]);
        assert!(flushes.waiting.is_empty() && flushes.next_deadline().is_none());
    }

    #[test]
    fn a_delivery_is_counted_without_a_look_at_each_record() {
        let (mut flushes, now) = (Flushes::default(), Moment::default());
        let reports: Vec<_> = [40, 1_000, 9_000]
            .map(|end| {
                let (request, report) = asked(now + Duration::from_secs(9));
                flushes.ask(request, now, end, end, 0);
                report
            })
            .into();
        let records: Vec<_> = (0..10_000).map(queued).collect();
        LOOKS.set(0);
        flushes.delivered(&records);
        assert!(LOOKS.get() < 100, "{} looks at 10,000 records", LOOKS.get());
        assert_eq!(answer(&mut flushes, now), 3);
        let delivered: Vec<_> = reports.iter().map(|it| it.try_recv().unwrap().delivered).collect();
        assert_eq!(delivered, [40, 1_000, 9_000]);
    }

    #[test]
    fn an_outcome_is_not_compared_with_every_open_flush() {
        const FLUSHES: u64 = 4_096;
        let (mut flushes, now) = (Flushes::default(), Moment::default());
        let reports: Vec<_> = (1..=FLUSHES)
            .map(|end| {
                let (request, report) = asked(now + Duration::from_secs(9));
                flushes.ask(request, now, end, end, 0);
                report
            })
            .collect();
        LOOKS.set(0);
        (0..FLUSHES).for_each(|sequence| flushes.resolve(sequence, Fate::Repeated));
        assert!(LOOKS.get() <= FLUSHES * 16, "{} comparisons for {FLUSHES} records", LOOKS.get());
        let mut steps = 0;
        while flushes.next_deadline().is_some() {
            assert!(answer(&mut flushes, now) <= ANSWERS_AT_ONCE);
            steps += 1;
        }
        assert_eq!(steps, FLUSHES / ANSWERS_AT_ONCE as u64);
        assert!(reports.iter().all(|it| it.try_recv().is_ok_and(|report| report.pending == 0)));
    }
}
