//! Records on their way to the disk, and those that others have left there.

use super::*;
use crate::engine::tracker::Left;
use crate::engine::{BatchId, ByClass, LifecycleEvent, OutboxRequests, Recovered};
use crate::ports::RecordId;

const HOUR: Duration = Duration::from_secs(3_600);

/// A tracker with an outbox, some hours after its clock began.
fn bench(batch_size: usize, lanes: usize, store: bool) -> Bench {
    let delivery = DeliveryConfig::builder().lanes(lanes).max_request_events(2).max_age(2 * HOUR);
    let settings = settings(batch_size, None, delivery.build().unwrap());
    let tracker = Tracker::new(TrackerSettings { outbox: true, store, ..settings });
    Bench { tracker, now: Moment::default() + 10 * HOUR, effects: Effects::default() }
}

impl Bench {
    /// What the outbox is asked.
    fn asked(&mut self) -> OutboxRequests {
        self.effects.take_outbox_requests().unwrap_or_default()
    }

    /// The outbox answers for everything up to this record.
    fn saved(&mut self, through: u64, is_kept: bool) -> Option<Delivery> {
        self.tracker.saved(through, is_kept, self.now, &mut self.effects);
        self.settle()
    }

    fn recover(&mut self, events: Vec<TrackedEvent>, age: Duration, left: u64) {
        let records = (7..).zip(events).map(|(id, event)| (RecordId::new(id), event, age)).collect();
        let found = Recovered { records, left, killed: 1, ..Recovered::default() };
        self.tracker.recovered(Some(found), self.now);
    }

    /// With batch ids.
    fn numbered_on_disk(batch_size: usize) -> Self {
        let delivery = DeliveryConfig::builder().lanes(1).max_request_events(2).build().unwrap();
        let settings = settings(batch_size, None, delivery);
        let tracker = Tracker::new(TrackerSettings { outbox: true, batch_ids: Some(7), ..settings });
        Self { tracker, now: Moment::default(), effects: Effects::default() }
    }

    /// The outbox has noted the ids up to this attempt.
    fn noted(&mut self, through: u64) -> Option<Delivery> {
        self.tracker.noted(through, self.now, &mut self.effects);
        self.settle()
    }

    /// Tells what is announced at this step.
    fn told(&mut self) -> Vec<LifecycleEvent> {
        self.effects.has_listeners = true;
        self.tracker.settle(self.now, &mut self.effects);
        let events = self.effects.drain().filter_map(|effect| match effect {
            Effect::Notify(event) => Some(event),
            _ => None,
        });
        events.collect()
    }
}

#[test]
fn a_record_is_confirmed_and_sent_when_it_is_on_disk() {
    let mut bench = bench(1, 1, false);
    let (reply, verdict) = question();
    bench.tracker.record(conversion(1, None, false), Some(reply), bench.now, &mut bench.effects);
    assert!(bench.settle().is_none() && verdict.try_recv().is_err());
    let asked = bench.asked();
    assert_eq!((asked.saves.len(), asked.saves[0].sequence), (1, 0));
    let delivery = bench.saved(0, true).unwrap();
    assert_eq!(verdict.try_recv(), Ok(Verdict::Accepted));
    assert!(bench.answer(delivery, 200).is_none());
    let asked = bench.asked();
    assert_eq!((asked.forgets, asked.deliveries), (vec![Left::Own(0)], 1));
}

#[test]
fn a_repetition_is_not_kept_and_a_dropped_record_is_removed() {
    let mut bench = bench(1, 1, false);
    bench.tracker.record(conversion(1, None, false), None, bench.now, &mut bench.effects);
    assert_eq!(bench.convert(1), Verdict::Repeated);
    bench.settle();
    assert_eq!(bench.asked().saves.len(), 1);
    let delivery = bench.saved(0, true).unwrap();
    bench.answer(delivery, 400);
    assert_eq!(
        (bench.asked().forgets, bench.tracker.stats().dropped.rejected.total()),
        (vec![Left::Own(0)], 1)
    );
}

#[test]
fn a_silent_outbox_costs_5_seconds_and_gets_nothing_more() {
    let mut bench = bench(1, 1, false);
    bench.expose_unkept(0);
    bench.asked();
    let start = bench.now;
    assert!(bench.settle().is_none());
    let delivery = bench.wake().expect("it is sent without the disk");
    assert_eq!(bench.now, start + 5 * SECOND);
    assert_eq!(bench.tracker.stats().outbox_missed, 1);
    bench.expose_unkept(1);
    assert!(bench.asked().saves.is_empty(), "nothing is added to what waits there");
    let delivery = bench.answer(delivery, 200).expect("the next need not wait");
    assert_eq!(bench.tracker.stats().outbox_missed, 2);
    // It answers for the first one, which it is told to remove.
    assert!(bench.saved(0, true).is_none());
    bench.answer(delivery, 200);
    bench.expose_unkept(2);
    let asked = bench.asked();
    assert_eq!(asked.forgets, [Left::Own(0), Left::Own(1)]);
    assert_eq!(asked.saves.len(), 1, "it is used again");
}

#[test]
fn an_outbox_that_fails_is_told_once_and_stops_nothing() {
    let mut bench = bench(1, 1, false);
    let mut told = Vec::new();
    for sequence in 0..3 {
        bench.expose_unkept(u32::try_from(sequence).unwrap());
        bench.tracker.saved(sequence, sequence == 2, bench.now, &mut bench.effects);
        told.push(bench.told());
    }
    let fails = |events: &Vec<LifecycleEvent>| {
        events.iter().filter(|event| matches!(event, LifecycleEvent::OutboxFailed { records: 1 })).count()
    };
    assert_eq!(told.iter().map(fails).collect::<Vec<_>>(), [1, 0, 0]);
    assert_eq!(bench.tracker.stats().outbox_missed, 2);
    assert_eq!(bench.tracker.stats().pending_places.in_flight, 1, "the first is on its way");
}

#[test]
fn a_flush_waits_for_the_disk_for_half_of_its_time() {
    let mut bench = bench(10, 1, false);
    bench.expose_unkept(0);
    let start = bench.now;
    let report = bench.flush_within(SECOND, false);
    assert!(bench.settle().is_none());
    let delivery = bench.wake().expect("a request");
    assert_eq!(bench.now, start + SECOND / 2);
    bench.answer(delivery, 200);
    assert_eq!(report.try_recv().unwrap().delivered, 1);
}

#[test]
fn a_flush_that_cannot_wait_for_the_disk_confirms_nothing() {
    let mut bench = bench(10, 1, false);
    let (reply, verdict) = question();
    bench.tracker.record(conversion(1, None, false), Some(reply), bench.now, &mut bench.effects);
    let _report = bench.flush_within(SECOND, false);
    assert!(bench.settle().is_none());
    let delivery = bench.wake().expect("a request");
    assert!(verdict.try_recv().is_err(), "it is not on disk");
    assert_eq!(bench.tracker.stats().outbox_missed, 1);
    bench.answer(delivery, 200);
    bench.saved(0, true);
    assert_eq!(verdict.try_recv(), Ok(Verdict::Accepted));
}

#[test]
fn a_close_leaves_on_disk_what_was_saved_late() {
    for patience in [SECOND / 2, 5 * SECOND] {
        let mut bench = bench(10, 1, false);
        bench.expose_unkept(0);
        let _report = bench.flush_within(if patience < SECOND { SECOND } else { HOUR }, false);
        bench.settle();
        let start = bench.now;
        let delivery = bench.wake().expect("a request");
        assert_eq!(bench.now - start, patience);
        bench.answer(delivery, 503);
        bench.saved(0, true);
        bench.close();
        bench.tracker.finish(late(0), &mut bench.effects);
        bench.settle_effects();
        let stats = bench.tracker.stats();
        assert_eq!((stats.pending_places.on_disk, stats.dropped.closed.total()), (1, 0), "{patience:?}");
        assert!(stats.is_balanced() && bench.asked().forgets.is_empty(), "{patience:?}");
    }
}

#[test]
fn no_lane_is_more_than_a_request_ahead_of_the_disk() {
    let mut bench = bench(1, 2, false);
    (0..10).for_each(|visitor| bench.expose_unkept(visitor));
    bench.tracker.saved(9, true, bench.now, &mut bench.effects);
    let [first, second] =
        <[Delivery; 2]>::try_from(bench.settle_all()).ok().expect("a delivery for each lane");
    assert!(bench.answer(first, 200).is_none(), "its records are still on disk");
    assert!(bench.answer(second, 200).is_none());
    bench.tracker.removed(1, true, bench.now);
    let third = bench.settle().expect("one lane goes on");
    // A removal that never ends holds nothing up for ever.
    assert!(bench.answer(third, 200).is_none());
    bench.now += 5 * SECOND;
    assert_eq!(bench.settle_all().len(), 2);
}

#[test]
fn a_delivery_that_stays_on_disk_counts_at_the_close() {
    for is_removed_later in [false, true] {
        let mut bench = bench(1, 1, false);
        bench.expose_unkept(0);
        let delivery = bench.saved(0, true).unwrap();
        bench.answer(delivery, 200);
        bench.close();
        bench.tracker.recovered(None, bench.now);
        assert!(!bench.tracker.is_done(), "it is about to be removed");
        bench.tracker.removed(1, false, bench.now);
        if is_removed_later {
            bench.tracker.removed(0, true, bench.now);
        }
        assert!(bench.tracker.is_done());
        assert_eq!(bench.tracker.stats().fate_unknown, 0, "it may be removed yet");
        bench.tracker.finish(late(0), &mut bench.effects);
        assert_eq!(bench.tracker.stats().fate_unknown, u64::from(!is_removed_later));
    }
}

#[test]
fn what_others_have_left_keeps_its_age_and_its_mark() {
    let mut bench = bench(10, 1, false);
    assert_eq!(bench.tracker.wake_at(), Some(Moment::default()), "it looks at once");
    bench.settle();
    assert!(bench.asked().adopt.is_some());
    bench.recover(vec![conversion(1, None, false), conversion(1, None, false)], HOUR / 2, 3);
    let delivery = bench.settle().expect("a record that was accepted is not a repetition");
    assert_eq!(delivery.records.len(), 2);
    let stats = bench.tracker.stats();
    assert_eq!((stats.recovered, stats.pending_places.on_disk, stats.fate_unknown), (5, 3, 1));
    assert_eq!(bench.tracker.oldest_pending().map(|at| bench.now - at), Some(HOUR / 2));
    assert_eq!(bench.convert(1), Verdict::Repeated, "it makes later ones repetitions");
    assert!(bench.asked().adopt.is_some(), "there is more");
    bench.recover(vec![conversion(2, None, false)], 2 * HOUR, 0);
    bench.answer(delivery, 200);
    let stats = bench.tracker.stats();
    let expected = ByClass { conversions: 1, ..ByClass::default() };
    assert_eq!((stats.dropped.expired, stats.dropped.damaged, stats.delivered), (expected, 2, 2));
    let [one, other, expired] = bench.asked().forgets[..] else { panic!("each is removed") };
    assert_eq!(
        [one, other, expired].map(|left| left == Left::Adopted(RecordId::new(7))),
        [true, false, true]
    );
}

#[test]
fn nothing_is_looked_for_before_what_has_arrived_is_taken() {
    let mut bench = bench(10, 1, false);
    bench.settle();
    assert!(bench.asked().adopt.is_some());
    bench.recover(vec![conversion(1, None, false)], HOUR / 2, 3);
    // It covers a record that is still in the channel, so no other one may have its number.
    let (reply, _report) = question();
    let (reason, deadline) = (ReleaseReason::Explicit, bench.now + SECOND);
    let request = FlushRequest { reason, deadline, single_attempt: false, reply };
    bench.tracker.flush(request, 1, bench.now);
    assert!(bench.settle().is_none());
    assert!(bench.asked().adopt.is_none(), "another answer would replace the first");
    bench.expose_unkept(5);
    bench.settle();
    assert_eq!(bench.tracker.stats().recovered, 4);
    assert!(bench.asked().adopt.is_some(), "there is more");
}

#[test]
fn what_others_have_left_is_looked_for_where_there_is_room() {
    let mut bench = bench(1_000, 1, false);
    (0..40_000).for_each(|visitor| bench.expose_unkept(visitor));
    bench.settle();
    assert!(bench.asked().adopt.is_none(), "more than half of the backlog is taken");
    assert!(bench.tracker.wake_at() > Some(bench.now), "and nobody spins");
}

#[test]
fn a_close_leaves_on_disk_what_is_there_and_drops_the_rest() {
    let mut bench = bench(10, 1, false);
    (0..3).for_each(|visitor| bench.expose_unkept(visitor));
    bench.saved(0, true);
    let report = bench.flush();
    let _in_flight = bench.settle().expect("the first is on disk");
    bench.saved(1, false);
    bench.close();
    assert!(bench.tracker.stats().pending_places.waiting > 0, "the last one is on its way to the disk");
    bench.saved(2, true);
    bench.tracker.finish(late(1), &mut bench.effects);
    bench.settle_effects();
    let stats = bench.tracker.stats();
    assert_eq!((stats.pending_places.on_disk, stats.dropped.closed.exposures), (2, 2));
    assert_eq!(stats.fate_unknown, 1, "the next process repeats the request in flight");
    assert!(stats.is_balanced());
    let report = report.try_recv().unwrap();
    assert_eq!((report.pending, report.dropped), (2, 1));
    assert!(bench.asked().forgets.contains(&Left::Own(1)), "what is dropped is not left");
}

#[test]
fn damage_that_is_found_during_a_close_is_counted() {
    let mut bench = bench(10, 1, false);
    bench.settle();
    bench.close();
    bench.settle();
    assert!(!bench.tracker.is_done(), "it is looking");
    let found = Recovered { damaged: 3, left: 5, killed: 1, ..Recovered::default() };
    bench.tracker.recovered(Some(found), bench.now);
    bench.settle();
    assert!(bench.tracker.is_done());
    let stats = bench.tracker.stats();
    assert_eq!((stats.recovered, stats.dropped.damaged, stats.fate_unknown), (3, 3, 1));
    assert!(stats.is_balanced(), "{stats:?}");
}

#[test]
fn a_look_that_hangs_ends_with_the_patience() {
    let mut bench = bench(10, 1, false);
    bench.settle();
    bench.close();
    bench.now += 5 * SECOND;
    bench.settle();
    assert!(bench.tracker.is_done());
}

impl Bench {
    /// Records an exposure, whose verdict has to wait.
    fn expose_unkept(&mut self, visitor: u32) {
        self.tracker.record(exposure(&visitor.to_string()), None, self.now, &mut self.effects);
    }

    fn settle_effects(&mut self) {
        for effect in self.effects.drain() {
            if let Effect::Report(reply, report) = effect {
                reply.send(*report);
            }
        }
    }
}

#[test]
fn a_request_is_sent_when_its_id_is_on_disk() {
    let mut bench = Bench::numbered_on_disk(2);
    (0..2).for_each(|visitor| bench.expose_unkept(visitor));
    assert!(bench.saved(1, true).is_none());
    let asked = bench.asked();
    let [note] = &asked.notes[..] else { panic!("{} notes", asked.notes.len()) };
    assert_eq!((note.attempt, &note.records), (0, &vec![Left::Own(0), Left::Own(1)]));
    assert_eq!(bench.tracker.stats().pending_places.in_flight, 2);
    let delivery = bench.noted(0).expect("it waited for that");
    assert_eq!(delivery.id, Some(note.id));
    // Nothing waits for one that is silent, nor is it given more.
    assert!(bench.answer(delivery, 200).is_none());
    bench.tracker.removed(1, true, bench.now);
    bench.expose_unkept(2);
    bench.expose_unkept(3);
    assert!(bench.saved(3, true).is_none());
    let (late, start) = (bench.wake().expect("a request"), bench.now);
    assert_eq!(sequences(&late), [2, 3]);
    assert!(bench.noted(1).is_none(), "it is on its way, at {start:?}");
}

#[test]
fn what_an_earlier_process_has_sent_goes_again_under_its_id() {
    for has_ids in [true, false] {
        let mut bench = if has_ids { Bench::numbered_on_disk(2) } else { bench(2, 1, false) };
        bench.settle();
        bench.asked();
        let of_earlier = BatchId { origin: 5, number: 3 };
        let found = (7..).zip(late(2)).map(|(id, event)| (RecordId::new(id), event, SECOND)).collect();
        let batches = vec![(of_earlier, 2)];
        let found = Recovered { records: found, batches, killed: 1, ..Recovered::default() };
        bench.tracker.recovered(Some(found), bench.now);
        let mut delivery = bench.settle();
        for _ in 0..3 {
            if has_ids {
                let note = bench.asked().notes.pop().expect("a note");
                let records = [7, 8].map(|id| Left::Adopted(RecordId::new(id)));
                assert_eq!((note.id, &note.records[..]), (of_earlier, &records[..]));
                delivery = bench.noted(note.attempt);
            }
            let sent = delivery.take().unwrap();
            assert_eq!((sent.id, sequences(&sent)), (has_ids.then_some(of_earlier), vec![0, 1]));
            assert!(bench.fail(sent).is_none());
            delivery = bench.wake();
        }
        assert_eq!(bench.tracker.stats().pending, 2);
    }
}
