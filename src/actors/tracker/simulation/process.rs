//! One simulated process: the real mailbox, the real turns of the tracker, the real flusher, and none of
//! their threads.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};

use super::server::{Answer, Server};
use super::world::Scope;
use crate::actors::Jitter;
use crate::actors::flusher::{Delivery, Flusher, FlusherCommand, FlusherHandle, Outcome};
use crate::actors::tracker::handle::Mailbox;
use crate::actors::tracker::run::{Event, Ports, TrackerThread};
use crate::actors::tracker::{FlushRequest, Record, TrackerSettings};
use crate::caught::Wall;
use crate::flush::{FlushLimit, FlushReport};
use crate::tracking::{
    Conversion, Envelope, Exposure, GoalDataKey, GoalValue, Ledger, ReleaseReason, Stats, TrackedEvent,
};

pub(super) struct Process {
    generation: usize,
    mailbox: Option<Mailbox>,
    thread: Option<TrackerThread>,
    flusher: Flusher,
    /// Deliveries at hand, in no order.
    pub(super) lanes: Vec<Delivery>,
    most_lanes: usize,
    inbox: Receiver<Record>,
    asked: Receiver<FlushRequest>,
    outcomes: Receiver<Outcome>,
    ended: Sender<Outcome>,
    deliveries: Receiver<FlusherCommand>,
    ledger: Arc<Ledger>,
    offers: u64,
    visitors: HashMap<String, Known>,
    /// Acknowledged deliveries' records.
    acknowledged: u64,
    flushes: Vec<Ticket>,
    /// When the tracker last heard of a failure, unless it has heard of a success since.
    failed_at: Option<Instant>,
    closing: bool,
    /// When the tracker took its last turn.
    turned_at: Option<Instant>,
}

/// What is known of a visitor with a record.
#[derive(Default)]
struct Known {
    /// Whether it was delivered.
    acknowledged: bool,
    /// The number of the last record.
    offered: u64,
}

/// A flush that waits.
struct Ticket {
    report: Receiver<FlushReport>,
    limit: FlushLimit,
    /// Records offered, and acknowledged, when it was asked for.
    offers: u64,
    acknowledged: u64,
    /// Failures in a row that the tracker has heard of since it heard of the flush.
    failures: Option<usize>,
}

impl Process {
    pub(super) fn new(generation: usize, scope: &Scope, server: &Arc<Server>) -> Self {
        let lanes = scope.delivery.lanes;
        let (flusher_handle, deliveries) = FlusherHandle::new(lanes);
        let (ended, outcomes) = bounded(lanes);
        let ledger = Arc::<Ledger>::default();
        let (mailbox, ports) = Mailbox::new(
            &scope.delivery,
            flusher_handle,
            outcomes.clone(),
            Arc::default(),
            Arc::clone(&ledger),
        );
        let Ports { inbox, asked, .. } = &ports;
        let (inbox, asked) = (inbox.clone(), asked.clone());
        let count = |number| NonZeroUsize::new(number).unwrap();
        let settings = TrackerSettings {
            batch_size: count(scope.batch_size),
            auto_flush_interval: scope.auto_flush_interval,
            delivery: scope.delivery.clone(),
            max_visitors: count(1_000),
            visitor_ttl: None,
            store: false,
            jitter: Jitter::seeded(generation as u64),
        };
        let mut thread = TrackerThread::new(ports, settings);
        thread.tracker.bug = scope.bug;
        let envelope = Envelope { account_id: "1".into(), project_id: "2".into(), enrich_data: true };
        let flusher = Flusher {
            transport: Arc::clone(server) as Arc<_>,
            envelope,
            sdk_key: None,
            timeout: Duration::from_secs(10),
            wall: Wall::default(),
        };
        Self {
            generation,
            mailbox: Some(mailbox),
            thread: Some(thread),
            flusher,
            lanes: Vec::new(),
            most_lanes: lanes,
            inbox,
            asked,
            outcomes,
            ended,
            deliveries,
            ledger,
            offers: 0,
            visitors: HashMap::new(),
            acknowledged: 0,
            flushes: Vec::new(),
            failed_at: None,
            closing: false,
            turned_at: None,
        }
    }

    /// Whether records and flushes make sense.
    pub(super) fn is_open(&self) -> bool {
        !self.closing && self.mailbox.is_some() && self.thread.is_some()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_none()
    }

    pub(super) fn has_no_flush(&self) -> bool {
        self.flushes.is_empty()
    }

    pub(super) fn has_records(&self) -> bool {
        self.thread.is_some() && !self.inbox.is_empty()
    }

    /// Whether both an outcome and a command wait.
    pub(super) fn has_a_choice(&self) -> bool {
        !self.asked.is_empty() && !self.outcomes.is_empty()
    }

    pub(super) fn has_messages(&self) -> bool {
        self.thread.is_some() && !(self.asked.is_empty() && self.outcomes.is_empty())
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.thread.as_ref()?.tracker.wake_at()
    }

    pub(super) const fn offers(&self) -> u64 {
        self.offers
    }

    pub(super) fn visitors(&self) -> impl Iterator<Item = String> + '_ {
        self.visitors.keys().cloned()
    }

    pub(super) fn is_acknowledged(&self, visitor: &str) -> bool {
        self.visitors.get(visitor).is_some_and(|known| known.acknowledged)
    }

    pub(super) fn stats(&self, now: Instant) -> Stats {
        if self.thread.is_none()
            && let Some(mailbox) = &self.mailbox
        {
            mailbox.count_unread();
        }
        self.ledger.read(now)
    }

    /// Hands a visitor's record over, each of one of three classes.
    pub(super) fn record(&mut self, visitor: usize) {
        let name = format!("{}-{visitor}", self.generation);
        let event = event(&name, visitor % 3);
        self.offers += 1;
        self.visitors.entry(name).or_default().offered = self.offers;
        let _ = self.mailbox.as_ref().expect("an open process").offer(event, None, None);
    }

    pub(super) fn flush(&mut self, limit: FlushLimit) {
        let (reply, report) = bounded(1);
        let mailbox = self.mailbox.as_ref().expect("an open process");
        let request = FlushRequest { reason: ReleaseReason::Explicit, limit, reply: reply.into() };
        mailbox.flushes.try_send(request).expect("room for a flush");
        let (offers, acknowledged) = (self.offers, self.acknowledged);
        self.flushes.push(Ticket { report, limit, offers, acknowledged, failures: None });
    }

    pub(super) fn close(&mut self) {
        self.mailbox.as_ref().expect("an open process").close();
        self.closing = true;
    }

    /// Drops the last handle.
    pub(super) fn abandon(&mut self, now: Instant, wall: SystemTime) {
        self.mailbox = None;
        // What was asked for is still there, and read first or last.
        self.turn(Event::Abandoned, now, wall);
    }

    /// The thread looks at its inbox.
    pub(super) fn poll(&mut self, now: Instant, wall: SystemTime) {
        self.turn(Event::Tick, now, wall);
    }

    /// The thread hears of a delivery that has ended, or of what was asked.
    pub(super) fn hear(&mut self, outcome_first: bool, now: Instant, wall: SystemTime) {
        let outcome = || self.outcomes.try_recv().map(Event::Ended);
        let command = || self.asked.try_recv().map(Event::Flush);
        let heard =
            if outcome_first { outcome().or_else(|_| command()) } else { command().or_else(|_| outcome()) };
        if let Ok(event) = heard {
            self.acknowledge(&event, now);
            self.turn(event, now, wall);
        }
    }

    /// Ends a delivery at hand; returns the visitors it was about.
    pub(super) fn end_delivery(&mut self, lane: usize, answer: Answer, server: &Server) -> Vec<String> {
        let delivery = self.lanes.swap_remove(lane);
        let visitors = delivery.records.iter().map(|queued| queued.event.visitor_id().to_string()).collect();
        server.will(answer);
        // Where the tracker has ended, nobody hears of it.
        let _ = self.ended.try_send(self.flusher.deliver(delivery));
        visitors
    }

    /// What must hold after every step.
    pub(super) fn check(&mut self, now: Instant) {
        let stats = self.stats(now);
        assert!(stats.is_balanced(), "{stats:?}");
        assert_eq!(stats.recorded, self.offers, "{stats:?}");
        assert_eq!(stats.delivered, self.acknowledged, "{stats:?}");
        if self.thread.is_some() {
            let on_the_way: usize = self.lanes.iter().map(|delivery| delivery.records.len()).sum();
            assert!(stats.pending_places.in_flight >= on_the_way as u64, "{stats:?}");
        }
        let mut waiting = Vec::new();
        for ticket in std::mem::take(&mut self.flushes) {
            match ticket.report.try_recv() {
                Ok(report) => self.check_report(&ticket, &report, now),
                Err(TryRecvError::Empty) => {
                    let heard = ticket.failures.is_some();
                    let late = self.turned_at.is_some_and(|turned_at| turned_at >= ticket.limit.deadline);
                    assert!(!(heard && late), "a flush goes on past its deadline: {stats:?}");
                    // One for each lane whose attempt began before it, and then for each that began after it.
                    let failures = ticket.failures.filter(|_| ticket.limit.single_attempt);
                    assert!(
                        failures.is_none_or(|failures| failures < 2 * self.most_lanes),
                        "a flush of one attempt has no answer after so many failures: {stats:?}"
                    );
                    waiting.push(ticket);
                }
                Err(TryRecvError::Disconnected) => assert!(self.thread.is_none(), "a flush has no answer"),
            }
        }
        self.flushes = waiting;
    }

    fn check_report(&self, ticket: &Ticket, report: &FlushReport, now: Instant) {
        let early = report.pending > 0 && !ticket.limit.single_attempt && now < ticket.limit.deadline;
        assert!(!(early && self.thread.is_some()), "a flush gives up early: {report:?}");
        let delivered = self.acknowledged - ticket.acknowledged;
        assert!(report.delivered <= delivered, "{report:?} claims more than the {delivered} acknowledged");
        assert!(report.stats.is_balanced(), "{report:?}");
        assert!(report.pending <= report.stats.pending, "{report:?}");
        if report.is_complete() && self.thread.is_some() {
            // Nobody whom the flush covers is still on the way.
            for delivery in &self.lanes {
                for queued in &delivery.records {
                    let visitor = queued.event.visitor_id().as_str();
                    assert!(
                        self.visitors[visitor].offered > ticket.offers,
                        "{visitor} is on its way: {report:?}"
                    );
                }
            }
        }
    }

    fn acknowledge(&mut self, event: &Event, now: Instant) {
        let Event::Ended(Outcome { delivery, result, .. }) = event else {
            if let Event::Flush(_) = event {
                let unheard = self.flushes.iter_mut().find(|ticket| ticket.failures.is_none());
                unheard.expect("a flush that was asked for").failures = Some(0);
            }
            return;
        };
        let worked = result.as_ref().is_ok_and(|response| response.is_success());
        let final_refusal = result.as_ref().is_ok_and(|response| matches!(response.status, 400 | 413 | 422));
        if !final_refusal {
            self.failed_at = (!worked).then_some(now);
            for failures in self.flushes.iter_mut().filter_map(|ticket| ticket.failures.as_mut()) {
                *failures = if worked { 0 } else { *failures + 1 };
            }
        }
        if worked {
            self.acknowledged += delivery.records.len() as u64;
            for queued in &delivery.records {
                let visitor = queued.event.visitor_id().as_str();
                let known = self.visitors.get_mut(visitor).expect("a visitor of this process");
                assert!(!known.acknowledged, "{visitor} was delivered before");
                known.acknowledged = true;
            }
        }
    }

    fn turn(&mut self, event: Event, now: Instant, wall: SystemTime) {
        let Some(mut thread) = self.thread.take() else { return };
        if thread.turn(event, now, wall) {
            thread.finish()
        } else {
            self.thread = Some(thread)
        }
        for FlusherCommand::Deliver(delivery) in self.deliveries.try_iter() {
            let hurries = self.failed_at == Some(now) && self.flushes.is_empty();
            assert!(!hurries, "tried again in the moment of a failure");
            for queued in &delivery.records {
                let visitor = queued.event.visitor_id().as_str();
                assert!(self.visitors.contains_key(visitor), "{visitor} belongs to another process");
                let sent = |other: &Delivery| {
                    other.records.iter().any(|it| it.event.visitor_id() == queued.event.visitor_id())
                };
                assert!(!self.lanes.iter().any(sent), "{visitor} is on its way twice");
            }
            self.lanes.push(delivery);
        }
        self.turned_at = Some(now);
    }
}

fn event(visitor: &str, class: usize) -> TrackedEvent {
    if class == 0 {
        return TrackedEvent::Exposure(Exposure {
            visitor_id: visitor.into(),
            experience_id: "1".into(),
            variation_id: "2".into(),
            segments: None,
        });
    }
    let amount = (GoalDataKey::Amount, GoalValue::Number(9.5));
    TrackedEvent::Conversion(Conversion {
        visitor_id: visitor.into(),
        goal_id: "3".into(),
        goal_key: "buy".into(),
        goal_data: (class == 2).then(|| vec![amount].into()),
        bucketing: Arc::default(),
        segments: None,
        force_multiple: false,
        first: true,
    })
}
