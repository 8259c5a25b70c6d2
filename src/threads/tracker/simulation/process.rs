//! One simulated process: the real mailbox, the real turns of the tracker and the real flusher, without their
//! threads.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::Bug;
use super::choices::Choices;
use super::judge::Judge;
use super::outbox::{DiskWay, OutboxActor, SimulatedDisk, call_of};
use super::scope::Scope;
use super::server::{Answer, Seen, Server, calls as calls_in};
use super::store::{SimulatedStore, StoreActor, Way};
use crate::caught::PanicGuard;
use crate::config::SnapshotCell;
use crate::engine::{
    Claimed, Conversion, Delivery, Envelope, Exposure, FlushReport, FlushRequest, GoalDataKey, GoalValue,
    Jitter, Ledger, Moment, Outcome, Pending, Record, ReleaseReason, Stats, TrackedEvent, TrackerSettings,
    question,
};
use crate::ports::{DeliveryFailure, Receipt};
use crate::threads::clock::Clock;
use crate::threads::flusher::{Deliveries, Flusher, FlusherHandle};
use crate::threads::outbox::OutboxAnswer;
use crate::threads::tracker::mailbox::{Channels, Mailbox};
use crate::threads::tracker::run::{Event, TrackerThread};

pub(super) struct Process {
    number: usize,
    mailbox: Option<Mailbox>,
    thread: Option<TrackerThread>,
    flusher: Flusher,
    /// Deliveries in flight, in no particular order.
    pub(super) lanes: Vec<Delivery>,
    most_lanes: usize,
    /// A pump drives it.
    pumped: bool,
    pub(super) store: Option<StoreActor>,
    outbox: Option<OutboxActor>,
    saved: Receiver<OutboxAnswer>,
    killed: bool,
    inbox: Receiver<Record>,
    asked: Receiver<FlushRequest>,
    outcomes: Receiver<Outcome>,
    claimed: Receiver<Vec<Claimed>>,
    ended: Sender<Outcome>,
    deliveries: Receiver<Delivery>,
    ledger: Arc<Ledger>,
    flushes: Vec<Ticket>,
    /// When the tracker last learned of a failure, unless it has learned of a success since, and the next attempt then.
    failed_at: Option<(Moment, u64)>,
    closing: bool,
    /// The tracker has taken a turn since.
    saw_close: bool,
    /// When the tracker took its last turn.
    turned_at: Option<Moment>,
    /// Records that its last turn took from the channel.
    moved: u64,
    bug: Option<Bug>,
}

/// A flush awaiting its answer.
struct Ticket {
    report: Pending<FlushReport>,
    deadline: Moment,
    single_attempt: bool,
    /// The number of the first call after it, and how many were acknowledged before it.
    next_call: usize,
    acknowledged: u64,
    /// Consecutive failures that the tracker has learned of since it received the flush.
    failures: Option<usize>,
}

/// The sender of a message for the tracker.
#[derive(Clone, Copy)]
enum Sent {
    Outcome,
    Claimed,
    Saved,
    Flush,
}

impl Process {
    pub(super) fn new(
        number: usize,
        scope: &Scope,
        server: &Arc<Server>,
        store: Option<&Arc<SimulatedStore>>,
        disk: Option<&Arc<SimulatedDisk>>,
    ) -> Self {
        let mut delivery = scope.delivery.clone();
        if scope.bug == Some(Bug::NoPause) {
            (delivery.backoff, delivery.backoff_ceiling) = (Duration::ZERO, Duration::ZERO);
        }
        let lanes = delivery.lanes;
        let (flusher_handle, deliveries) = FlusherHandle::new(lanes);
        let (ended, outcomes) = bounded(lanes);
        let ledger = Arc::<Ledger>::default();
        let (mailbox, mut channels) = Mailbox::new(
            &delivery,
            flusher_handle,
            outcomes.clone(),
            Arc::default(),
            Arc::clone(&ledger),
            Clock::start(),
        );
        let (claimed_in, claimed) = unbounded();
        let (messages_in, messages) = unbounded();
        channels.claimed = claimed.clone();
        channels.store = Box::new(move |message| drop(messages_in.send(message)));
        let (saved_in, saved) = unbounded();
        let outbox = disk.map(|disk| {
            let (requests_in, requests) = unbounded();
            (channels.outbox, channels.saved) = (Some(requests_in), saved.clone());
            OutboxActor::new(disk, number, requests, saved_in, scope.bug)
        });
        let Channels { inbox, asked, .. } = &channels;
        let (inbox, asked) = (inbox.clone(), asked.clone());
        let mut store = store.map(|store| StoreActor::new(store, &delivery, messages, claimed_in));
        let forgets = scope.bug == Some(Bug::Forgotten) && store.is_some();
        let settings = TrackerSettings {
            delivery,
            max_visitors: NonZeroUsize::new(if forgets { 1 } else { 1_000 }).unwrap(),
            store: store.is_some(),
            outbox: outbox.is_some(),
            ..settings(number, scope)
        };
        let mut thread = TrackerThread::new(channels, settings);
        if let Some(slice) = scope.slice {
            thread = thread.in_slices(slice);
        }
        if let Some(store) = &mut store {
            store.leaves_marks = scope.bug == Some(Bug::LeftMark);
            store.loses_leases = scope.bug == Some(Bug::LostLease);
        }
        let flusher = Flusher {
            sink: Arc::clone(server) as Arc<_>,
            deliveries: deliveries_of_all(),
            guard: PanicGuard::default(),
        };
        Self {
            number,
            mailbox: Some(mailbox),
            thread: Some(thread),
            flusher,
            lanes: Vec::new(),
            most_lanes: lanes,
            pumped: scope.slice.is_some(),
            store,
            outbox,
            saved,
            killed: false,
            inbox,
            asked,
            outcomes,
            claimed,
            ended,
            deliveries,
            ledger,
            flushes: Vec::new(),
            failed_at: None,
            closing: false,
            saw_close: false,
            turned_at: None,
            moved: 0,
            bug: scope.bug,
        }
    }

    /// Whether recording and flushing make sense.
    pub(super) fn is_open(&self) -> bool {
        !self.closing && self.mailbox.is_some() && self.thread.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_none()
    }

    pub(super) fn has_no_flush(&self) -> bool {
        self.flushes.is_empty()
    }

    pub(super) fn has_work(&self, now: Moment) -> bool {
        let is_due = |thread: &TrackerThread| !self.inbox.is_empty() || self.pumped && thread.is_due(now);
        self.thread.as_ref().is_some_and(is_due)
    }

    pub(super) fn has_messages(&self) -> bool {
        self.thread.is_some() && !self.senders().is_empty()
    }

    fn senders(&self) -> Vec<Sent> {
        let sent = [
            (Sent::Outcome, self.outcomes.is_empty()),
            (Sent::Claimed, self.claimed.is_empty()),
            (Sent::Saved, self.saved.is_empty()),
            (Sent::Flush, self.asked.is_empty()),
        ];
        sent.into_iter().filter(|(_, is_empty)| !is_empty).map(|(sent, _)| sent).collect()
    }

    /// When the tracker wants to be called.
    pub(super) fn wake_at(&self) -> Option<Moment> {
        self.thread.as_ref()?.tracker.wake_at()
    }

    /// When its store actor wants to be called.
    pub(super) fn store_wake_at(&self) -> Option<Moment> {
        self.store.as_ref()?.wake_at()
    }

    /// How many calls the store has on lanes that do not hang yet.
    pub(super) fn store_calls(&self) -> usize {
        self.store.as_ref().map_or(0, |store| store.lanes.len())
    }

    /// Whether the store has carried out a call and only has to answer.
    pub(super) fn is_done_in_store(&self, lane: usize) -> bool {
        self.store.as_ref().is_some_and(|store| store.is_done(lane))
    }

    pub(super) fn has_store_commands(&self) -> bool {
        self.store.as_ref().is_some_and(StoreActor::has_commands)
    }

    pub(super) fn stats(&self, now: Moment) -> Stats {
        if self.thread.is_none()
            && let Some(mailbox) = &self.mailbox
        {
            mailbox.count_unread();
        }
        let mut stats = self.ledger.read(now);
        if self.bug == Some(Bug::CountedTwice) {
            stats.recorded += self.moved;
            stats.pending += self.moved;
            stats.pending_places.in_channel += self.moved;
        }
        stats
    }

    /// Hands over a visitor's record; returns the number of the call.
    pub(super) fn record(&mut self, record: Offer<'_>, judge: &mut Judge, now: Moment) -> usize {
        record.made(self.number, self.mailbox.as_ref().expect("an open process"), judge, now)
    }

    pub(super) fn flush(&mut self, deadline: Moment, single_attempt: bool, judge: &Judge) {
        let (reply, report) = question();
        let mailbox = self.mailbox.as_ref().expect("an open process");
        let request = FlushRequest {
            reason: ReleaseReason::Explicit,
            deadline,
            single_attempt: single_attempt || self.bug == Some(Bug::EarlyEnd),
            reply,
        };
        mailbox.flushes.try_send(request).expect("space for a flush");
        let (next_call, acknowledged) = (judge.next_call(), judge.acknowledged(self.number));
        self.flushes.push(Ticket {
            report,
            deadline,
            single_attempt,
            next_call,
            acknowledged,
            failures: None,
        });
    }

    pub(super) fn close(&mut self) {
        self.mailbox.as_ref().expect("an open process").close();
        self.closing = true;
    }

    /// Drops the last handle.
    pub(super) fn abandon(&mut self, judge: &mut Judge, now: Moment) {
        self.mailbox = None;
        // Earlier requests are still there, and are read first or last.
        self.turn(Event::Abandoned, judge, now);
    }

    /// The thread checks its inbox, or a pump takes a step.
    pub(super) fn poll(&mut self, judge: &mut Judge, now: Moment) {
        let event = self.thread.as_mut().filter(|_| self.pumped).map(TrackerThread::next_request);
        let event = event.unwrap_or(Event::Tick);
        self.acknowledge(&event, judge, now);
        self.turn(event, judge, now);
    }

    /// The thread receives a delivery's outcome, a claim's answer, or a flush.
    pub(super) fn hear(&mut self, choices: &mut impl Choices, judge: &mut Judge, now: Moment) {
        let senders = self.senders();
        if senders.is_empty() || self.waits_for_the_store() {
            return;
        }
        let event = match if senders.len() == 1 { senders[0] } else { choices.pick(&senders) } {
            Sent::Outcome => self.outcomes.try_recv().map(Event::Ended).ok(),
            Sent::Claimed => self.claimed.try_recv().map(Event::Claimed).ok(),
            Sent::Saved => self.saved.try_recv().map(Event::Saved).ok(),
            Sent::Flush if self.pumped => return self.poll(judge, now),
            Sent::Flush => self.asked.try_recv().map(Event::Flush).ok(),
        };
        let event = event.expect("a message");
        self.acknowledge(&event, judge, now);
        self.turn(event, judge, now);
    }

    /// Ends a delivery in flight.
    pub(super) fn end_delivery(&mut self, lane: usize, answer: Answer, server: &Server, judge: &mut Judge) {
        let mut delivery = self.lanes.swap_remove(lane);
        if let Some(id) = &mut delivery.id {
            match self.bug {
                Some(Bug::NewId) => id.number = judge.requests(),
                Some(Bug::SharedId) => id.number = 0,
                _ => {}
            }
        }
        let mut calls: Vec<usize> = delivery.records.iter().map(|queued| call_of(&queued.event)).collect();
        calls.sort_unstable();
        let body = self.flusher.deliveries.envelope.body(&delivery.records).0;
        let answer = judge.asked(&Seen { id: delivery.id.map(|id| id.to_string()), body }, answer);
        let mut deliver = |delivery| {
            server.will(answer);
            let outcome = self.flusher.deliver(delivery);
            let seen = server.seen();
            let mut in_it: Vec<usize> = calls_in(&seen.body).into_keys().collect();
            in_it.sort_unstable();
            assert_eq!(in_it, calls, "a request contains what the delivery does");
            judge.answered(&seen, answer, true);
            outcome
        };
        let mut outcome = deliver(delivery);
        match self.bug {
            Some(Bug::DoubleSend) if answer.is_success() => outcome = deliver(outcome.delivery),
            Some(Bug::EarlyAck) => outcome.result = Ok(Receipt::default()),
            Some(Bug::LostBatch) if !answer.is_success() => outcome.delivery.records.clear(),
            _ => {}
        }
        assert_eq!(self.flusher.guard.panics(), 0, "the endpoint can read its requests");
        // If the tracker has ended, nobody receives it.
        let _ = self.ended.try_send(outcome);
    }

    /// Ends a call to the store.
    pub(super) fn end_store_call(&mut self, lane: usize, way: Way, now: Moment) {
        self.store.as_mut().expect("a store").end(lane, way, now);
    }

    /// The store actor checks its requests and the time.
    pub(super) fn turn_store(&mut self, now: Moment) {
        if let Some(store) = &mut self.store {
            store.turn(now);
        }
    }

    pub(super) fn has_outbox_work(&self) -> bool {
        self.outbox.as_ref().is_some_and(OutboxActor::has_work)
    }

    pub(super) fn hangs_in_outbox(&self) -> bool {
        self.outbox.as_ref().is_some_and(OutboxActor::hangs)
    }

    /// The outbox actor serves its requests.
    pub(super) fn turn_outbox(&mut self, way: DiskWay, now: Moment) {
        if let Some(outbox) = &mut self.outbox {
            outbox.turn(way, now);
        }
    }

    /// Whether it is there, and has something on disk.
    pub(super) fn has_kept(&self) -> bool {
        self.outbox.as_ref().is_some_and(|outbox| !outbox.on_disk().is_empty())
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed
    }

    /// Nothing of it is left but what is on disk.
    pub(super) fn kill(&mut self, judge: &mut Judge) {
        // Where nothing has failed, whoever was told so can rely on it.
        let stats = self.ledger.read(self.turned_at.unwrap_or_default());
        let relies = stats.outbox_missed == 0 && stats.dropped.total() == stats.dropped.queue_full.total();
        let on_disk = self.outbox.take().map(|outbox| {
            outbox.ends();
            let calls = outbox.left_behind();
            judge.left(&calls, outbox.disk());
            calls
        });
        judge.kill(self.number, on_disk.as_ref().filter(|_| relies));
        (self.mailbox, self.thread, self.killed) = (None, None, true);
        (self.store, self.flushes) = (None, Vec::new());
        self.claimed = crossbeam_channel::never();
        self.saved = crossbeam_channel::never();
    }

    /// It has delivered everything: nothing of that is on disk.
    pub(super) fn check_disk(&self, now: Moment) {
        if let Some(outbox) = self.outbox.as_ref().filter(|_| self.is_open()) {
            let (stats, on_disk) = (self.stats(now), outbox.on_disk());
            assert!(stats.pending > 0 || on_disk.is_empty(), "{on_disk:?} stay on disk: {stats:?}");
        }
    }

    /// It has ended by itself: what is on disk is what its ledger says.
    fn leave_outbox(&mut self, judge: &mut Judge, now: Moment) {
        let Some(mut outbox) = self.outbox.take() else { return };
        let works = !outbox.hangs();
        while works && outbox.has_work() {
            outbox.turn(DiskWay::Works, now);
        }
        let own = outbox.on_disk();
        outbox.ends();
        if works {
            let stats = self.ledger.read(now);
            // What was taken over when nobody listened any more was never counted here.
            let others = own.iter().filter(|call| judge.is_left(**call)).count();
            let on_disk = own.len() - others..=own.len();
            let counted = usize::try_from(stats.pending_places.on_disk).expect("a small number");
            let is_told = on_disk.contains(&counted) || stats.outbox_missed > 0;
            assert!(is_told, "process {} leaves {own:?}: {stats:?}", self.number);
        } else {
            // What it hangs in is lost with the process.
            judge.kill(self.number, None);
        }
        judge.left(&own, outbox.disk());
    }

    /// What must hold after every step.
    pub(super) fn check(&mut self, judge: &mut Judge, now: Moment) {
        if self.killed {
            return;
        }
        let stats = self.stats(now);
        self.moved = 0;
        let closing = self.closing || self.thread.is_none();
        judge.check(self.number, &stats, self.inbox.len(), closing, now);
        if self.saw_close && self.outbox.is_none() {
            let places = stats.pending_places;
            assert_eq!(
                places.in_batch + places.waiting,
                0,
                "a close keeps records that cannot be sent: {stats:?}"
            );
        }
        if self.thread.is_some() {
            let on_the_way: usize = self.lanes.iter().map(|delivery| delivery.records.len()).sum();
            assert!(stats.pending_places.in_flight >= on_the_way as u64, "{stats:?}");
        }
        let mut waiting = Vec::new();
        for ticket in std::mem::take(&mut self.flushes) {
            match ticket.report.try_recv() {
                Ok(report) => self.check_report(&ticket, &report, judge, now),
                Err(TryRecvError::Empty) => {
                    let heard = ticket.failures.is_some();
                    let late = self.turned_at.is_some_and(|turned_at| turned_at >= ticket.deadline);
                    assert!(!(heard && late), "a flush runs past its deadline: {stats:?}");
                    // One per lane that began before it, and then one per lane that began after it.
                    let failures = ticket.failures.filter(|_| ticket.single_attempt);
                    assert!(
                        failures.is_none_or(|failures| failures < 2 * self.most_lanes),
                        "a single-attempt flush has no answer after so many failures: {stats:?}"
                    );
                    waiting.push(ticket);
                }
                Err(TryRecvError::Disconnected) => {
                    assert!(self.thread.is_none(), "a flush was never answered")
                }
            }
        }
        self.flushes = waiting;
    }

    fn check_report(&self, ticket: &Ticket, report: &FlushReport, judge: &Judge, now: Moment) {
        // What a close leaves on disk stays pending, and is not waited for; the close itself waits for the outbox.
        let left = if self.saw_close { report.stats.pending_places.on_disk } else { 0 };
        let early = report.pending > left && !ticket.single_attempt && now < ticket.deadline;
        assert!(!(early && self.thread.is_some()), "a flush gives up early: {report:?}");
        let delivered = judge.acknowledged(self.number) - ticket.acknowledged;
        assert!(report.delivered <= delivered, "{report:?} claims more than the {delivered} acknowledged");
        assert!(report.stats.is_balanced(), "{report:?}");
        // The tracker's own counts do not include what waits in the channel.
        assert!(report.pending <= report.stats.pending + self.inbox.len() as u64, "{report:?}");
        if report.is_complete() && self.thread.is_some() {
            // No record that the flush covers is still in flight.
            for queued in self.lanes.iter().flat_map(|delivery| &delivery.records) {
                let call = call_of(&queued.event);
                let is_covered = call < ticket.next_call && judge.process_of(call) == self.number;
                assert!(!is_covered, "{} is in flight: {report:?}", queued.event.visitor_id());
            }
        }
    }

    fn acknowledge(&mut self, event: &Event, judge: &mut Judge, now: Moment) {
        let Event::Ended(Outcome { delivery, result, .. }) = event else {
            if let Event::Flush(_) = event {
                let unread = self.flushes.iter_mut().find(|ticket| ticket.failures.is_none());
                unread.expect("a flush that was requested").failures = Some(0);
            }
            return;
        };
        let worked = result.is_ok();
        let status = result.as_ref().err().and_then(DeliveryFailure::status);
        if !matches!(status, Some(400 | 413)) {
            let next = self.thread.as_ref().map_or(0, |thread| thread.tracker.next_attempt());
            self.failed_at = (!worked).then_some((now, next));
            for failures in self.flushes.iter_mut().filter_map(|ticket| ticket.failures.as_mut()) {
                *failures = if worked { 0 } else { *failures + 1 };
            }
        } else if let [queued] = &delivery.records[..] {
            judge.refuse_alone(self.number, call_of(&queued.event), status == Some(413));
        }
        if worked {
            delivery.records.iter().for_each(|queued| judge.acknowledge(self.number, call_of(&queued.event)));
        }
    }

    /// A planted bug.
    fn waits_for_the_store(&self) -> bool {
        self.bug == Some(Bug::AwaitedStore) && self.store.as_ref().is_some_and(StoreActor::is_asked)
    }

    fn turn(&mut self, event: Event, judge: &mut Judge, now: Moment) {
        if self.waits_for_the_store() {
            return;
        }
        let Some(mut thread) = self.thread.take() else { return };
        let waiting = self.inbox.len();
        let decided = thread.tracker.stats().store_timeouts;
        let ends = thread.turn(event, now, SystemTime::UNIX_EPOCH);
        thread.free();
        if thread.tracker.stats().store_timeouts > decided {
            judge.memory_decides(self.number);
        }
        if ends {
            thread.finish();
            let unread = self.outcomes.try_iter().map(|outcome| outcome.delivery).collect::<Vec<_>>();
            for queued in self.lanes.iter().chain(&unread).flat_map(|delivery| &delivery.records) {
                judge.abandon(call_of(&queued.event));
            }
            // Its senders then fail.
            self.claimed = crossbeam_channel::never();
            self.saved = crossbeam_channel::never();
            self.leave_outbox(judge, now);
        } else {
            self.thread = Some(thread);
        }
        self.moved = (waiting - self.inbox.len()) as u64;
        for delivery in self.deliveries.try_iter() {
            // Not one that has begun before, and waited for the outbox.
            let hurries = self.failed_at.is_some_and(|(at, next)| at == now && delivery.attempt >= next)
                && self.flushes.is_empty();
            assert!(!hurries, "retried at the moment of a failure");
            for queued in &delivery.records {
                let call = call_of(&queued.event);
                let is_own = judge.process_of(call) == self.number || judge.is_left(call);
                assert!(is_own, "{call} belongs to another process");
                if let Some(outbox) = &self.outbox {
                    let is_kept = outbox.on_disk().contains(&call) || self.ledger.read(now).outbox_missed > 0;
                    assert!(is_kept, "{call} is sent and is not on disk");
                }
                let sent = |other: &Delivery| other.records.iter().any(|it| call_of(&it.event) == call);
                assert!(!self.lanes.iter().any(sent), "{call} is in flight twice");
            }
            if let (Some(id), Some(outbox)) = (delivery.id, &self.outbox) {
                // One that the outbox is late with, or fails to note, goes without.
                if !outbox.has_noted(id) {
                    judge.unnoted(id.to_string());
                }
            }
            self.lanes.push(delivery);
        }
        self.turned_at = Some(now);
        // A pump takes what was sent before, a slice at a time.
        let closes = self.thread.as_ref().is_none_or(|thread| !self.pumped || thread.tracker.is_closing());
        self.saw_close = self.closing && closes;
    }
}

/// A tracker's settings without a data store or an outbox.
pub(super) fn settings(number: usize, scope: &Scope) -> TrackerSettings {
    TrackerSettings {
        batch_size: NonZeroUsize::new(scope.batch_size).unwrap(),
        auto_flush_interval: scope.auto_flush_interval,
        delivery: scope.delivery.clone(),
        max_visitors: NonZeroUsize::new(1_000).unwrap(),
        visitor_ttl: None,
        store: false,
        outbox: false,
        batch_ids: scope.batch_ids.then_some(number as u128),
        jitter: Jitter::seeded(number as u64),
        decisions: Arc::<SnapshotCell>::default(),
    }
}

/// What all deliveries have in common.
pub(super) fn deliveries_of_all() -> Deliveries {
    let envelope = Envelope { account_id: "1".into(), project_id: "2".into(), enrich_data: true };
    let timeout = Duration::from_secs(10);
    Deliveries { envelope, sdk_key: None, first_timeout: timeout, timeout }
}

/// What a caller wants recorded.
pub(super) struct Offer<'a> {
    pub(super) visitor: &'a str,
    pub(super) class: usize,
    /// The endpoint refuses this record.
    pub(super) culprit: bool,
    /// The caller waits for a verdict.
    pub(super) asks: bool,
}

impl Offer<'_> {
    /// Hands it over; returns the number of the call.
    pub(super) fn made(self, process: usize, mailbox: &Mailbox, judge: &mut Judge, now: Moment) -> usize {
        let call = judge.next_call();
        let event = event(self.visitor, self.class, call);
        let (reply, verdict) = question();
        let (reply, verdict) = if self.asks { (Some(reply), Some(verdict)) } else { (None, None) };
        let refused = mailbox.offer(mailbox.record(event.clone(), reply)).err();
        judge.called(process, event, self.culprit, refused, verdict, now);
        call
    }
}

/// The calls in a delivery.
pub(super) fn calls_of(delivery: &Delivery) -> impl Iterator<Item = usize> + '_ {
    delivery.records.iter().map(|queued| call_of(&queued.event))
}

/// A record that carries the number of its call where the endpoint can see it.
fn event(visitor: &str, class: usize, call: usize) -> TrackedEvent {
    if class == 0 {
        return TrackedEvent::Exposure(Exposure {
            visitor_id: visitor.into(),
            experience_id: "1".into(),
            variation_id: call.to_string().into(),
            segments: Default::default(),
        });
    }
    let amount = (GoalDataKey::Amount, GoalValue::Number(9.5));
    TrackedEvent::Conversion(Conversion {
        visitor_id: visitor.into(),
        goal_id: "3".into(),
        goal_key: "buy".into(),
        goal_data: (class == 2).then(|| vec![amount].into()),
        bucketing: [("1".into(), call.to_string().into())].into(),
        segments: Default::default(),
        force_multiple: false,
        first: true,
    })
}
