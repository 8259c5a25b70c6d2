//! The channel's bounds and counts, with no tracker at the other end.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Wake, Waker};
use std::time::{Duration, SystemTime};

use crossbeam_channel::bounded;

use super::mailbox::{Channels, Mailbox};
use super::run::{Event, TrackerThread};
use crate::engine::tests::{exposure, settings};
use crate::engine::{
    ClaimAnswer, Claimed, FlushRequest, Ledger, Moment, Outcome, Refused, ReleaseReason, StoreCommand,
    TrackedEvent, TrackerSettings, question,
};
use crate::options::{DeliveryConfig, DeliveryConfigBuilder, OverflowPolicy};
use crate::ports::Receipt;
use crate::threads::clock::Clock;
use crate::threads::flusher::FlusherHandle;
use crate::threads::store::StoreMessage;
use crate::threads::wait::Caller;

const SECOND: Duration = Duration::from_secs(1);

fn mailbox(
    delivery: impl FnOnce(DeliveryConfigBuilder) -> DeliveryConfigBuilder,
) -> (Mailbox, Channels, Arc<Ledger>) {
    let delivery = delivery(DeliveryConfig::builder()).build().unwrap();
    let ledger = Arc::<Ledger>::default();
    let (_, outcomes) = bounded(1);
    let (flusher, _) = FlusherHandle::new(1);
    let (mailbox, channels) =
        Mailbox::new(&delivery, flusher, outcomes, Arc::default(), Arc::clone(&ledger), Clock::start());
    (mailbox, channels, ledger)
}

fn offer(mailbox: &Mailbox, event: TrackedEvent) -> Result<(), Refused> {
    mailbox.offer(mailbox.record(event, None))
}

fn long(visitor: char) -> TrackedEvent {
    exposure(&visitor.to_string().repeat(600))
}

#[test]
fn long_texts_are_bounded_in_bytes() {
    let (mailbox, channels, ledger) = mailbox(|delivery| delivery.max_queued_bytes(1_000));
    assert_eq!(offer(&mailbox, long('a')), Ok(()));
    assert_eq!(offer(&mailbox, long('b')), Err(Refused::Full));
    assert_eq!(offer(&mailbox, exposure("short")), Ok(()), "short texts are not counted");
    let stats = ledger.read(Moment::default());
    assert_eq!((stats.recorded, stats.pending, stats.dropped.queue_full.exposures), (3, 2, 1));
    assert!(stats.is_balanced());
    assert_eq!(channels.inbox.len(), 2);
}

#[test]
fn a_refused_record_gives_its_bytes_back() {
    let (mailbox, channels, _) = mailbox(|delivery| {
        delivery.queue_capacity(1).max_queued_bytes(1_000).overflow(OverflowPolicy::DropNewest)
    });
    assert_eq!(offer(&mailbox, exposure("short")), Ok(()));
    for _ in 0..3 {
        assert_eq!(offer(&mailbox, long('a')), Err(Refused::Full), "no place");
    }
    assert!(channels.inbox.try_recv().is_ok());
    assert_eq!(offer(&mailbox, long('a')), Ok(()), "its bytes are free");
}

#[test]
fn what_the_tracker_leaves_behind_is_counted() {
    let (mailbox, _ports, ledger) = mailbox(|delivery| delivery);
    assert_eq!(offer(&mailbox, exposure("racing")), Ok(()));
    mailbox.count_unread();
    mailbox.count_unread();
    mailbox.close();
    assert_eq!(offer(&mailbox, exposure("late")), Err(Refused::Closed));
    let stats = ledger.read(Moment::default());
    assert_eq!((stats.recorded, stats.pending, stats.dropped.closed.exposures), (2, 0, 2));
    assert!(stats.is_balanced());
}

#[test]
fn a_close_needs_no_space_in_a_full_channel() {
    let (mailbox, channels, _) = mailbox(|delivery| delivery.queue_capacity(1));
    for _ in 0..1_000 {
        let (reason, deadline) = (ReleaseReason::Explicit, Moment::default());
        mailbox.flush(FlushRequest { reason, deadline, single_attempt: false, reply: question().0 });
    }
    assert_eq!(offer(&mailbox, exposure("full")), Ok(()));
    mailbox.close();
    assert!(channels.signals.closed.load(SeqCst));
    assert!(channels.woken.try_recv().is_ok());
}

struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_waiting_caller_is_woken_only_by_space() {
    let delivery = DeliveryConfig::builder().lanes(1).queue_capacity(1).max_pending_records(1);
    let delivery = delivery.max_request_events(1).overflow(OverflowPolicy::Wait(1_000 * SECOND));
    let delivery = delivery.build().unwrap();
    let (flusher, deliveries) = FlusherHandle::new(1);
    let (_ended, outcomes) = bounded(1);
    let (mailbox, channels) =
        Mailbox::new(&delivery, flusher, outcomes, Arc::default(), Arc::default(), Clock::start());
    let mut thread = TrackerThread::new(channels, settings(1, None, delivery));
    let mut turn = |event| thread.turn(event, Moment::default(), SystemTime::now());
    for visitor in ["in flight", "in the backlog", "in the channel"] {
        assert_eq!(offer(&mailbox, exposure(visitor)), Ok(()));
        turn(Event::Tick);
    }
    let counter = Arc::new(Counter(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&counter));
    let caller = Caller::Thread(std::sync::Mutex::default());
    let mut waiting = pin!(mailbox.hand_over(mailbox.record(exposure("waits"), None), None, &caller));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    turn(Event::Woken);
    turn(Event::Tick);
    assert_eq!(counter.0.load(SeqCst), 0, "there is no space");
    let delivery = deliveries.try_recv().unwrap();
    let result = Ok(Receipt::default());
    turn(Event::Ended(Outcome { delivery, result, bytes: 1, left_out: 0 }));
    turn(Event::Tick);
    assert_eq!(counter.0.load(SeqCst), 1);
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn the_store_is_asked_before_the_ledger_shows_a_step() {
    let delivery = DeliveryConfig::builder().lanes(1).build().unwrap();
    let (flusher, deliveries) = FlusherHandle::new(1);
    let (_ended, outcomes) = bounded(1);
    let ledger = Arc::<Ledger>::default();
    let (mailbox, mut channels) =
        Mailbox::new(&delivery, flusher, outcomes, Arc::default(), Arc::clone(&ledger), Clock::start());
    let (told, heard) = crossbeam_channel::unbounded();
    let reader = Arc::clone(&ledger);
    channels.store = Box::new(move |message| {
        if matches!(message, StoreMessage::Command(StoreCommand::Keep(_))) {
            told.send(reader.read(Moment::default()).pending).unwrap();
        }
    });
    let settings = TrackerSettings { store: true, ..settings(1, None, delivery) };
    let mut thread = TrackerThread::new(channels, settings);
    let mut turn = |event| thread.turn(event, Moment::default(), SystemTime::now());
    assert_eq!(offer(&mailbox, exposure("v")), Ok(()));
    turn(Event::Tick);
    let key = "bucketing".to_owned();
    turn(Event::Claimed(vec![Claimed { sequence: 0, key, answer: ClaimAnswer::First }]));
    let delivery = deliveries.try_recv().unwrap();
    let result = Ok(Receipt::default());
    turn(Event::Ended(Outcome { delivery, result, bytes: 1, left_out: 0 }));
    assert_eq!((heard.try_recv(), ledger.read(Moment::default()).pending), (Ok(1), 0));
}
