//! A simulated data store shared by processes, and one process's store actor: its real machine and its real
//! calls, which end in any order, without its threads.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::{Receiver, SendError, Sender};
use serde_json::Value;

use crate::caught::PanicGuard;
use crate::engine::{Call, ClaimAnswer, Claimed, Done, Moment, StoreCommand, StoreEffect, StoreMachine};
use crate::options::DeliveryConfig;
use crate::ports::{DataStore, Guarded, StoreError};
use crate::threads::store::{StoreMessage, perform};
use crate::visitors::Visitors;

/// How long to wait for an answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Works,
    /// Nothing is done, and an error is returned.
    Fails,
    /// It is done, but the last answer is missing.
    FallsShort,
    /// It is done, and answered some time after the deadline.
    Late,
    /// It never answers.
    Hangs,
}

/// A map with leases.
pub(super) struct SimulatedStore(Mutex<Held>);

struct Held {
    now: Moment,
    way: Way,
    values: HashMap<String, (Value, Option<Moment>)>,
    /// Keys that it has not handled correctly.
    failed: HashSet<String>,
    /// Keys that it has not handled in time.
    late: HashSet<String>,
    /// Keys that became free again, by a release or at the end of a lease.
    freed: HashSet<String>,
}

impl SimulatedStore {
    pub(super) fn new(now: Moment) -> Arc<Self> {
        let (failed, late, freed) = (HashSet::new(), HashSet::new(), HashSet::new());
        Arc::new(Self(Mutex::new(Held { now, way: Way::Works, values: HashMap::new(), failed, late, freed })))
    }

    /// Whether a call with a key has failed or hangs, so that the claim may remain.
    pub(super) fn has_failed(&self, key: &str) -> bool {
        self.held().failed.contains(key)
    }

    /// Whether memory may have decided about a key, or its lease expired: two processes can then each take a
    /// conversion for the first.
    pub(super) fn is_doubtful(&self, key: &str) -> bool {
        let held = self.held();
        held.failed.contains(key) || held.late.contains(key) || held.freed.contains(key)
    }

    /// Whether a key ever became free again.
    pub(super) fn was_freed(&self, key: &str) -> bool {
        self.held().freed.contains(key)
    }

    fn fail<'a>(&self, keys: impl IntoIterator<Item = &'a String>) {
        self.held().failed.extend(keys.into_iter().cloned());
    }

    pub(super) fn delay<'a>(&self, keys: impl IntoIterator<Item = &'a String>) {
        self.held().late.extend(keys.into_iter().cloned());
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap()
    }
}

impl Held {
    fn live(&mut self, key: &str) -> Result<Option<Value>, StoreError> {
        if self.way == Way::Fails {
            return Err(StoreError::new("out of order"));
        }
        let now = self.now;
        if self.values.get(key).is_some_and(|(_, end)| end.is_some_and(|end| end <= now)) {
            self.values.remove(key);
            self.freed.insert(key.to_owned());
        }
        Ok(self.values.get(key).map(|(value, _)| value.clone()))
    }

    fn cut<T>(&self, mut answers: Vec<T>) -> Vec<T> {
        if self.way == Way::FallsShort {
            answers.pop();
        }
        answers
    }
}

impl DataStore for SimulatedStore {
    fn get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        self.held().live(key)
    }

    fn set(&self, key: &str, value: Value, ttl: Option<Duration>) -> Result<(), StoreError> {
        let mut held = self.held();
        held.live(key)?;
        let end = ttl.map(|ttl| held.now + ttl);
        held.values.insert(key.to_owned(), (value, end));
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let mut held = self.held();
        held.live(key)?;
        held.values.remove(key);
        held.freed.insert(key.to_owned());
        Ok(())
    }

    fn set_many(&self, entries: &[(&str, Value)], ttl: Option<Duration>) -> Vec<Result<(), StoreError>> {
        let answers = entries.iter().map(|(key, value)| self.set(key, value.clone(), ttl)).collect();
        self.held().cut(answers)
    }

    fn claim_many(&self, keys: &[&str], lease: Duration) -> Vec<Result<bool, StoreError>> {
        let claim = |key: &&str| {
            let is_free = self.get(key)?.is_none();
            if is_free {
                self.set(key, true.into(), Some(lease))?;
            }
            Ok(is_free)
        };
        let answers = keys.iter().map(claim).collect();
        self.held().cut(answers)
    }

    fn delete_many(&self, keys: &[&str]) -> Vec<Result<(), StoreError>> {
        let answers = keys.iter().map(|key| self.delete(key)).collect();
        self.held().cut(answers)
    }
}

/// The tracker's requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Claim,
    Keep,
    Release,
}

/// The store actor of a process.
pub(super) struct StoreActor {
    store: Arc<SimulatedStore>,
    guarded: Guarded,
    visitors: Visitors,
    machine: StoreMachine,
    messages: Receiver<StoreMessage>,
    claimed: Option<Sender<Vec<Claimed>>>,
    /// Calls that have not ended but will.
    pub(super) lanes: Vec<(u64, Work)>,
    /// Calls that never end.
    hung: Vec<Call>,
    /// The tracker's requests: which key and when.
    asked: Vec<(Asked, String, Moment)>,
    /// Releases never reach the store.
    pub(super) leaves_marks: bool,
    /// A late answer is ignored.
    pub(super) loses_leases: bool,
    /// Claims whose answers were late.
    told_late: HashSet<u64>,
}

/// How far a call has got.
pub(super) enum Work {
    ToDo(Call),
    Done(Done),
}

impl StoreActor {
    pub(super) fn new(
        store: &Arc<SimulatedStore>,
        delivery: &DeliveryConfig,
        messages: Receiver<StoreMessage>,
        claimed: Sender<Vec<Claimed>>,
    ) -> Self {
        Self {
            store: Arc::clone(store),
            guarded: Guarded { store: Arc::clone(store) as Arc<_>, guard: PanicGuard::default() },
            visitors: Visitors::new(std::num::NonZeroUsize::MIN, None, true),
            machine: StoreMachine::new(TIMEOUT, delivery.lease(), None),
            messages,
            claimed: Some(claimed),
            lanes: Vec::new(),
            hung: Vec::new(),
            asked: Vec::new(),
            leaves_marks: false,
            loses_leases: false,
            told_late: HashSet::new(),
        }
    }

    pub(super) fn has_commands(&self) -> bool {
        !self.messages.is_empty()
    }

    pub(super) fn wake_at(&self) -> Option<Moment> {
        self.machine.wake_at()
    }

    /// Whether the store is working on one of the tracker's requests.
    pub(super) fn is_asked(&self) -> bool {
        let claims = |(_, work): &(u64, Work)| {
            matches!(work, Work::ToDo(Call::Claim(..)) | Work::Done(Done::Claim(_)))
        };
        self.lanes.iter().any(claims) || self.hung.iter().any(|call| matches!(call, Call::Claim(..)))
    }

    /// Whether a call has been carried out.
    pub(super) fn is_done(&self, lane: usize) -> bool {
        matches!(self.lanes[lane].1, Work::Done(_))
    }

    /// Takes its requests, and gives up what has waited too long.
    pub(super) fn turn(&mut self, now: Moment) {
        for message in self.messages.try_iter() {
            let command = match message {
                StoreMessage::Command(command) => command,
                StoreMessage::Attach(claimed) => {
                    self.claimed = Some(claimed);
                    continue;
                }
                StoreMessage::Detach(unread, held) => {
                    self.claimed = None;
                    self.machine.tracker_ended(unread.try_iter().flatten().collect(), held, now);
                    continue;
                }
            };
            let mut ask = |what, key: &String| self.asked.push((what, key.clone(), now));
            match &command {
                StoreCommand::Claim(claims) => claims.iter().for_each(|it| ask(Asked::Claim, &it.key)),
                StoreCommand::Keep(keys) => keys.iter().for_each(|key| ask(Asked::Keep, key)),
                StoreCommand::Release(_) if self.leaves_marks => continue,
                StoreCommand::Release(keys) => keys.iter().for_each(|key| ask(Asked::Release, key)),
                _ => {}
            }
            self.machine.command(command, now);
        }
        self.settle(now);
    }

    /// A call ends, or begins to hang.
    pub(super) fn end(&mut self, lane: usize, way: Way, now: Moment) {
        let (id, work) = self.lanes.swap_remove(lane);
        let call = match work {
            Work::ToDo(call) => call,
            Work::Done(done) => return self.answer(id, done, now),
        };
        let (what, keys) = match &call {
            Call::Claim(keys, _) => (Asked::Claim, keys.clone()),
            Call::Keep(keys, _) => (Asked::Keep, keys.clone()),
            Call::Release(keys) => (Asked::Release, keys.clone()),
            Call::Read(_) | Call::Write(_) => unreachable!("no visitors are read or written here"),
        };
        match way {
            Way::Works => {}
            Way::Late => self.store.delay(&keys),
            Way::Fails | Way::FallsShort => self.store.fail(&keys),
            Way::Hangs => {
                self.store.fail(&keys);
                return self.hung.push(call);
            }
        }
        self.note_late(now);
        for key in &keys {
            // Without one, it was released for a tracker that has ended.
            let place = self.asked.iter().position(|(known, about, _)| *known == what && about == key);
            place.map(|place| self.asked.remove(place));
        }
        {
            let mut held = self.store.held();
            (held.now, held.way) = (now, way);
        }

        let done = perform(call, &self.guarded, &self.visitors);

        if way == Way::Late {
            self.lanes.push((id, Work::Done(done)));
        } else {
            self.answer(id, done, now);
        }
    }

    fn answer(&mut self, id: u64, done: Done, now: Moment) {
        let mut effects = Vec::new();
        self.machine.ended(id, done, now, &mut effects);
        self.carry_out(effects, now);
        self.settle(now);
    }

    pub(super) fn settle(&mut self, now: Moment) {
        self.note_late(now);
        let mut effects = Vec::new();
        self.machine.settle(now, &mut effects);
        self.carry_out(effects, now);
    }

    /// No request waits longer than this, nor for a store that has no lane left to receive it.
    fn note_late(&self, now: Moment) {
        if self.hung.len() + 2 >= StoreMachine::LANES {
            self.store.fail(self.asked.iter().map(|(_, key, _)| key));
        }
        let late = self.asked.iter().filter(|(.., asked_at)| *asked_at + TIMEOUT <= now);
        self.store.delay(late.map(|(_, key, _)| key));
    }

    fn carry_out(&mut self, effects: Vec<StoreEffect>, now: Moment) {
        for effect in effects {
            match effect {
                StoreEffect::Call(id, call) => self.lanes.push((id, Work::ToDo(call))),
                StoreEffect::Claimed(mut claimed) => {
                    let late = |it: &&Claimed| matches!(it.answer, ClaimAnswer::Late | ClaimAnswer::Unasked);
                    self.store.delay(claimed.iter().filter(late).map(|it| &it.key));
                    if self.loses_leases {
                        claimed.retain(|it| !self.told_late.contains(&it.sequence));
                        self.told_late.extend(claimed.iter().filter(late).map(|it| it.sequence));
                    }
                    let unsent = match &self.claimed {
                        Some(tracker) => tracker.send(claimed).err().map(SendError::into_inner),
                        None => Some(claimed),
                    };
                    self.machine.release_unread(unsent.unwrap_or_default(), now);
                }
                StoreEffect::Late(answers) => self.visitors.count_late(answers),
                StoreEffect::Read(..)
                | StoreEffect::Drained(_)
                | StoreEffect::Notify(_)
                | StoreEffect::KeysDropped(_)
                | StoreEffect::Unwritten { .. } => {}
            }
        }
        assert!(self.lanes.len() + self.hung.len() <= StoreMachine::LANES, "more calls than lanes");
    }
}
