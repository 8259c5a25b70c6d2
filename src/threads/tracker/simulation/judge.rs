//! The independent judge: what every caller was told, and what the endpoint has accepted. The ledger is
//! judged by these, not the other way round.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;

use super::outbox::SimulatedDisk;
use super::server::{Answer, Seen, calls as calls_in};
use super::store::SimulatedStore;
use crate::engine::{ByClass, Moment, Pending, Refused, Stats, TrackedEvent, Verdict, mark_key};
use crate::options::{DeliveryConfig, OverflowPolicy};

/// From this many bytes on, a record counts as long.
const LONG: usize = 256;

pub(super) struct Judge {
    delivery: DeliveryConfig,
    store: Option<Arc<SimulatedStore>>,
    calls: Vec<Call>,
    /// Each visitor's calls, all for the same goal or experience.
    visitors: HashMap<String, Vec<usize>>,
    accounts: Vec<Account>,
    /// Requests that the endpoint accepted again after its first answer was lost.
    pub(super) twice: u64,
    /// The bodies of the requests that have ids, and how the endpoint, which remembers them, has taken or refused each.
    batches: HashMap<String, (Vec<u8>, Option<Answer>)>,
    /// The ids that were not on disk when their requests were sent.
    unnoted: HashSet<String>,
    /// Requests that the endpoint knew by their ids.
    pub(super) known: u64,
}

/// A call that recorded something.
struct Call {
    process: usize,
    visitor: String,
    /// The key of its mark in a data store.
    key: String,
    event: TrackedEvent,
    at: Moment,
    /// What the caller was told at once; `None` means accepted.
    refused: Option<Refused>,
    asked: Option<Pending<Verdict>>,
    verdict: Option<Verdict>,
    /// The endpoint refuses requests that contain it.
    culprit: bool,
    /// How many requests with it the endpoint has accepted.
    taken: usize,
    /// The endpoint has accepted it and answered.
    answered: bool,
    /// The tracker has received the answer.
    acknowledged: bool,
    /// The first call after that.
    acknowledged_before: Option<usize>,
    /// Its process ended while it was in flight.
    abandoned: bool,
    /// Its record was on disk when a process ended that had it.
    left: bool,
    /// The endpoint may have it, and its request cannot be sent again as it was.
    unknown: bool,
    /// The first call after it was known to have been dropped.
    dropped_before: Option<usize>,
}

/// What is known about a process.
#[derive(Default)]
struct Account {
    calls: Vec<usize>,
    last: Stats,
    acknowledged: u64,
    /// Requests with a single record that were refused for good, and how many of them were too large.
    refused_alone: u64,
    too_large_alone: u64,
}

impl Judge {
    pub(super) fn new(delivery: &DeliveryConfig, store: Option<Arc<SimulatedStore>>) -> Self {
        let (delivery, calls, visitors) = (delivery.clone(), Vec::new(), HashMap::new());
        let (batches, unnoted) = (HashMap::new(), HashSet::new());
        Self { delivery, store, calls, visitors, accounts: Vec::new(), twice: 0, batches, unnoted, known: 0 }
    }

    /// What happens to a request, given what would: the endpoint remembers ids, and none names two requests.
    pub(super) fn asked(&mut self, Seen { id, body }: &Seen, answer: Answer) -> Answer {
        let Some(id) = id else { return answer };
        assert!(id.is_ascii() && id.len() <= 128, "{id}");
        let (named, before) = self.batches.entry(id.clone()).or_insert_with(|| (body.clone(), None));
        assert_eq!(named, body, "{id} names two requests");
        answer.after(*before)
    }

    pub(super) fn add_process(&mut self) {
        self.accounts.push(Account::default());
    }

    /// The number of the next call.
    pub(super) fn next_call(&self) -> usize {
        self.calls.len()
    }

    /// A call has returned.
    pub(super) fn called(
        &mut self,
        process: usize,
        event: TrackedEvent,
        culprit: bool,
        refused: Option<Refused>,
        asked: Option<Pending<Verdict>>,
        at: Moment,
    ) {
        let (number, visitor, key) = (self.calls.len(), event.visitor_id().to_string(), mark_key(&event));
        self.visitors.entry(visitor.clone()).or_default().push(number);
        self.accounts[process].calls.push(number);
        self.calls.push(Call {
            process,
            visitor,
            key,
            event,
            at,
            refused,
            asked,
            verdict: None,
            culprit,
            taken: 0,
            answered: false,
            acknowledged: false,
            acknowledged_before: None,
            abandoned: false,
            left: false,
            unknown: false,
            dropped_before: None,
        });
    }

    pub(super) fn is_culprit(&self, call: usize) -> bool {
        self.calls[call].culprit
    }

    pub(super) fn process_of(&self, call: usize) -> usize {
        self.calls[call].process
    }

    /// How many requests had different ids.
    pub(super) fn requests(&self) -> u64 {
        self.batches.len() as u64
    }

    /// The endpoint has answered a request, and perhaps accepted it: the calls in it, each with a number of events. One
    /// that it knows by its id changes nothing.
    pub(super) fn answered(&mut self, seen: &Seen, answer: Answer, is_heard: bool) {
        let remembered = seen.id.as_ref().and_then(|id| self.batches.get_mut(id)).map(|(_, before)| before);
        let is_settled = answer.takes() || answer.refuses();
        let before = remembered.filter(|_| is_settled).and_then(|before| before.replace(answer));
        if !answer.takes() {
            return;
        }
        let (taken, answered) = (calls_in(&seen.body), is_heard && answer.is_success());
        if before.is_some() {
            self.known += 1;
            for number in taken.keys() {
                let call = &mut self.calls[*number];
                let who = &call.visitor;
                assert!(!call.answered || call.left, "{who}'s request is sent again after its answer");
                call.answered = answered;
            }
            return;
        }
        for (number, events) in &taken {
            let call = &mut self.calls[*number];
            let who = &call.visitor;
            assert_eq!(*events, call.event.wire_events(), "{who}'s record is complete");
            assert_eq!(call.refused, None, "{who}'s caller was told that it was refused");
            let lost = matches!(call.verdict, Some(Verdict::BacklogFull | Verdict::Repeated));
            // A process that ends at once may not have removed it.
            assert!(!lost || call.left, "{who}'s caller was told {:?}", call.verdict);
            assert!(
                !call.answered || call.left,
                "{who}'s record is accepted again after the endpoint's answer"
            );
            assert!(!call.culprit, "the endpoint refuses {who}");
            assert!(seen.id.is_none() || call.taken == 0 || call.unknown, "{who}'s record arrives twice");
            self.twice += u64::from(call.taken > 0);
            call.taken += 1;
            call.answered = answered;
            let call = &self.calls[*number];
            let others = self.visitors[&call.visitor].iter().filter(|other| *other != number);
            if others.clone().any(|other| self.calls[*other].answered) {
                // A record that a process accepted before it ended is not a repetition, whatever others did since.
                let was_left = call.left || others.clone().any(|other| self.calls[*other].left);
                let excused =
                    was_left || self.store.as_ref().is_some_and(|store| store.is_doubtful(&call.key));
                assert!(excused, "{} is delivered a second time", call.visitor);
                self.twice += 1;
            }
            // Whatever the store does: what it has erased counts as the first again.
            let was_here = others.map(|other| &self.calls[*other]).any(|other| {
                let before = other.acknowledged_before.is_some_and(|first| first <= *number);
                before && other.process == call.process
            });
            let erased = self.store.as_ref().is_some_and(|store| store.was_freed(&call.key));
            assert!(!was_here || erased || call.left, "{} is delivered again by its process", call.visitor);
        }
    }

    /// A call to the store about this key has failed.
    fn is_failed(&self, call: &Call) -> bool {
        self.store.as_ref().is_some_and(|store| store.has_failed(&call.key))
    }

    /// The tracker learns that a delivery was accepted.
    pub(super) fn acknowledge(&mut self, process: usize, number: usize) {
        let first = self.calls.len();
        let call = &mut self.calls[number];
        assert!(call.answered, "{} is reported as delivered and is not", call.visitor);
        let again = std::mem::replace(&mut call.acknowledged, true);
        assert!(!again || call.left, "{} was already delivered", call.visitor);
        call.acknowledged_before = Some(first);
        self.accounts[process].acknowledged += 1;
    }

    /// The tracker has learned that a request with only this record is refused for good.
    pub(super) fn refuse_alone(&mut self, process: usize, call: usize, too_large: bool) {
        self.calls[call].dropped_before = Some(self.calls.len());
        self.accounts[process].refused_alone += 1;
        self.accounts[process].too_large_alone += u64::from(too_large);
    }

    /// A process stops waiting for the store, for all of its records.
    pub(super) fn memory_decides(&self, process: usize) {
        let open = self.calls.iter().filter(|call| call.process == process && !call.acknowledged);
        self.store.iter().for_each(|store| store.delay(open.clone().map(|call| &call.key)));
    }

    /// A process ends with this record in flight.
    pub(super) fn abandon(&mut self, call: usize) {
        // It may yet arrive, when others have taken over what is left of its request.
        (self.calls[call].abandoned, self.calls[call].unknown) = (true, true);
    }

    /// A request with this id is sent, and whoever takes its records over cannot know.
    pub(super) fn unnoted(&mut self, id: String) {
        self.unnoted.insert(id);
    }

    /// These records are on disk, and the process that had them has ended.
    pub(super) fn left(&mut self, calls: &BTreeSet<usize>, disk: &SimulatedDisk) {
        let lanes = self.delivery.lanes * self.delivery.max_request_events;
        let delivered =
            calls.iter().filter(|call| self.calls[**call].acknowledged && !self.calls[**call].left);
        let delivered = delivered.count();
        assert!(delivered <= lanes, "{delivered} delivered records are still on disk");
        calls.iter().for_each(|call| self.calls[*call].left = true);
        for (id, (body, _)) in
            self.batches.iter().filter(|(_, (_, answer))| answer.is_some_and(Answer::takes))
        {
            let of_batch: BTreeSet<usize> = calls_in(body).into_keys().collect();
            let is_whole = of_batch.is_subset(calls) && disk.has_together(&of_batch);
            if !is_whole || self.unnoted.contains(id) {
                of_batch.intersection(calls).for_each(|call| self.calls[*call].unknown = true);
            }
        }
    }

    pub(super) fn is_left(&self, call: usize) -> bool {
        self.calls[call].left
    }

    /// A process was killed; these are on disk, if nothing had failed in it.
    pub(super) fn kill(&mut self, process: usize, on_disk: Option<&BTreeSet<usize>>) {
        self.hear(process, true);
        for number in self.accounts[process].calls.clone() {
            let call = &mut self.calls[number];
            call.abandoned = true;
            if call.verdict == Some(Verdict::Accepted)
                && let Some(on_disk) = on_disk
            {
                let is_safe = call.taken > 0 || on_disk.contains(&number);
                assert!(is_safe, "{} was confirmed, and is lost with its process", call.visitor);
            }
        }
    }

    /// Everything that was on disk has arrived, unless a process has told what has become of it.
    pub(super) fn check_left(&self) {
        let dropped: u64 = self.accounts.iter().map(|account| account.last.dropped.total()).sum();
        let lost = self.calls.iter().filter(|call| call.left && call.taken == 0).count() as u64;
        assert!(lost <= dropped, "{lost} records that were on disk are lost");
    }

    pub(super) fn acknowledged(&self, process: usize) -> u64 {
        self.accounts[process].acknowledged
    }

    /// Judges a process's own counts after a step. `in_channel` of its accepted records are still in its
    /// channel.
    pub(super) fn check(
        &mut self,
        process: usize,
        stats: &Stats,
        in_channel: usize,
        closing: bool,
        now: Moment,
    ) {
        self.hear(process, closing);
        let account = &self.accounts[process];
        let calls = account.calls.iter().map(|call| &self.calls[*call]);
        assert!(stats.is_balanced(), "{stats:?}");
        assert_eq!(stats.recorded, account.calls.len() as u64, "as many as calls were made: {stats:?}");
        assert_eq!(stats.delivered, account.acknowledged, "what the endpoint has acknowledged: {stats:?}");
        goes_on(&account.last, stats);
        let refused = |why| {
            let mut refused = ByClass::default();
            let such = calls.clone().filter(|call| call.refused == Some(why));
            such.for_each(|call| refused.count(call.event.class()));
            refused
        };
        let Stats { dropped, .. } = stats;
        assert_eq!(dropped.queue_full, refused(Refused::Full), "as callers were told");
        let closed = refused(Refused::Closed);
        assert!(dropped.closed == closed || (closing && is_covered(closed, dropped.closed)), "{dropped:?}");
        let admitted = calls.clone().filter(|call| call.refused.is_none());
        let culprits = admitted.clone().filter(|call| call.culprit).count() as u64;
        let rejected = account.refused_alone..=culprits + account.too_large_alone;
        assert!(rejected.contains(&dropped.rejected.total()), "{rejected:?} were refused: {dropped:?}");
        let old =
            admitted.clone().filter(|call| call.at + self.delivery.max_age <= now && !call.acknowledged);
        assert!(
            dropped.expired.total() <= old.count() as u64 + stats.recovered,
            "no other record has expired: {dropped:?}"
        );
        if matches!(self.delivery.overflow, OverflowPolicy::Wait(_)) {
            assert_eq!(dropped.overflow.total(), 0, "where callers wait, kept records stay");
        }
        let repeated = admitted.clone().filter(|call| call.verdict == Some(Verdict::Repeated)).count() as u64;
        let may_repeat = account.calls.iter().filter(|call| self.may_repeat(**call)).count() as u64;
        assert!(
            (repeated..=may_repeat).contains(&stats.deduplicated),
            "{repeated} to {may_repeat}: {stats:?}"
        );
        let without_room =
            admitted.clone().filter(|call| call.verdict == Some(Verdict::BacklogFull)).count() as u64;
        let later = dropped.total() - dropped.queue_full.total() - closed.total();
        assert!(without_room <= later, "{without_room} callers were told so: {dropped:?}");
        let newest = account.calls.iter().rev().map(|call| &self.calls[*call]);
        let waiting = newest.filter(|call| call.refused.is_none()).take(in_channel);
        let long: usize = waiting.map(|call| call.event.heap_bytes()).filter(|bytes| *bytes > LONG).sum();
        assert!(long <= self.delivery.max_queued_bytes, "{long} bytes of long texts wait");
        self.accounts[process].last = stats.clone();
    }

    /// Whether a call may have been a repetition, as far as is known.
    fn may_repeat(&self, number: usize) -> bool {
        let call = &self.calls[number];
        let open = matches!(call.verdict, None | Some(Verdict::Repeated));
        let repeats = self.has_another(number) || self.is_failed(call);
        call.refused.is_none() && !call.acknowledged && open && repeats
    }

    /// Whether another record of the same visitor is accepted and not dropped, as far as is known: by any
    /// process with a store, otherwise by this process earlier.
    fn has_another(&self, number: usize) -> bool {
        let call = &self.calls[number];
        self.visitors[&call.visitor].iter().any(|at| {
            let other = &self.calls[*at];
            let counts = *at < number || other.process != call.process;
            // For other processes, once the store has been told.
            let here = other.process == call.process;
            let was_dropped = here && other.dropped_before.is_some_and(|first| first <= number);
            *at != number && counts && other.refused.is_none() && !was_dropped
        })
    }

    /// Notes the verdicts that have arrived.
    fn hear(&mut self, process: usize, closing: bool) {
        for at in 0..self.accounts[process].calls.len() {
            let number = self.accounts[process].calls[at];
            let Some(asked) = &self.calls[number].asked else { continue };
            match asked.try_recv() {
                Ok(verdict) => {
                    self.calls[number].asked = None;
                    let repeats = verdict != Verdict::Repeated || self.has_another(number);
                    let first = self.calls.len();
                    let excused = self.is_failed(&self.calls[number]);
                    let call = &mut self.calls[number];
                    assert!(repeats || excused, "{} is the first but was told that it is not", call.visitor);
                    if verdict == Verdict::BacklogFull {
                        call.dropped_before = Some(first);
                    }
                    assert!(
                        call.taken == 0 || verdict == Verdict::Accepted,
                        "accepted by the endpoint, but told {verdict:?}"
                    );
                    call.verdict = Some(verdict);
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    assert!(closing || self.calls[number].refused.is_some(), "a caller has no verdict");
                    self.calls[number].asked = None;
                }
            }
        }
    }

    /// Whether a record of this visitor recorded now must be delivered: the endpoint has, or may have, none
    /// of the earlier ones, and no store has failed it.
    pub(super) fn is_owed(&self, visitor: &str) -> bool {
        let calls = self.visitors.get(visitor).into_iter().flatten().map(|call| &self.calls[*call]);
        let excused = |call: &Call| call.taken > 0 || call.abandoned || self.is_failed(call);
        calls.clone().next().is_some() && !calls.clone().any(excused)
    }

    /// Whether a process knows that it has delivered a record of this visitor.
    pub(super) fn is_delivered_by(&self, process: usize, visitor: &str) -> bool {
        let calls = self.visitors.get(visitor).into_iter().flatten().map(|call| &self.calls[*call]);
        calls.into_iter().any(|call| call.process == process && call.acknowledged)
    }

    pub(super) fn is_taken(&self, call: usize) -> bool {
        self.calls[call].taken > 0
    }

    /// Whether the caller was not refused at once.
    pub(super) fn is_accepted(&self, call: usize) -> bool {
        self.calls[call].refused.is_none()
    }

    /// Whether a store has failed for this call's visitor in the meantime.
    pub(super) fn is_excused(&self, call: usize) -> bool {
        self.is_failed(&self.calls[call])
    }
}

/// No total ever decreases.
fn goes_on(before: &Stats, after: &Stats) {
    let totals = |stats: &Stats| {
        let dropped = &stats.dropped;
        let reasons =
            [dropped.queue_full, dropped.overflow, dropped.rejected, dropped.expired, dropped.closed];
        let of_records = [stats.recorded, stats.deduplicated, stats.delivered, stats.delivered_events];
        let of_requests = [stats.requests, stats.retries, stats.fate_unknown, stats.sent_bytes];
        let dropped = reasons.map(|it| [it.exposures, it.conversions, it.revenue]).into_iter().flatten();
        of_records.into_iter().chain(of_requests).chain(dropped).collect::<Vec<_>>()
    };
    let goes_back = totals(before).into_iter().zip(totals(after)).any(|(before, after)| after < before);
    assert!(!goes_back, "a total decreases: {before:?} {after:?}");
}

fn is_covered(part: ByClass, whole: ByClass) -> bool {
    part.exposures <= whole.exposures
        && part.conversions <= whole.conversions
        && part.revenue <= whole.revenue
}
