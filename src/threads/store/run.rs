//! The store's thread around its state machine, and the threads that block on the store.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendError, Sender, bounded, never, select};

use super::call::perform;
use super::{StoreMessage, StoreSettings};
use crate::engine::{Call, Claimed, Done, LifecycleEvent, Moment, StoreCommand, StoreEffect, StoreMachine};
use crate::ports::{DataStore, StoreError};
use crate::threads::clock::Clock;
use crate::threads::{Notifier, Worker, blocking};
use crate::visitors::Visitors;

/// How long to wait for a thread that has nothing left to do to end.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// How long the store has to write what is waiting after the last handle is dropped.
const LAST_WRITES: Duration = Duration::from_secs(5);

pub(super) struct StoreThread {
    machine: StoreMachine,
    messages: Receiver<StoreMessage>,
    /// Where to send the answers to the tracker's claims.
    claimed: Option<Sender<Vec<Claimed>>>,
    lanes: Lanes,
    visitors: Arc<Visitors>,
    notifier: Arc<Notifier>,
    clock: Clock,
    ending: bool,
    /// All handles have been dropped.
    abandoned: bool,
}

/// Threads that call the store, started on demand. One that is stuck in a call is left behind.
struct Lanes {
    store: Arc<dyn DataStore>,
    visitors: Arc<Visitors>,
    calls: Sender<(u64, Call)>,
    waiting: Receiver<(u64, Call)>,
    ended_in: Sender<(u64, Done)>,
    ended: Receiver<(u64, Done)>,
    threads: Vec<Worker>,
    running: usize,
}

impl StoreThread {
    pub(super) fn new(settings: StoreSettings, messages: Receiver<StoreMessage>) -> Self {
        let StoreSettings { store, visitors, notifier, timeout, lease, ttl, clock } = settings;
        Self {
            machine: StoreMachine::new(timeout, lease, ttl),
            messages,
            claimed: None,
            lanes: Lanes::new(store, Arc::clone(&visitors)),
            visitors,
            notifier,
            clock,
            ending: false,
            abandoned: false,
        }
    }

    pub(super) fn run(mut self) {
        let mut effects = Vec::new();
        loop {
            let tick = self.clock.alarm(self.machine.wake_at());
            let silent = never();
            let messages = if self.abandoned { &silent } else { &self.messages };
            let (message, ended) = select! {
                recv(messages) -> message => {
                    self.abandoned |= message.is_err();
                    let close = |_| StoreMessage::Command(StoreCommand::Close(self.clock.now() + LAST_WRITES));
                    (Some(message.unwrap_or_else(close)), None)
                }
                recv(self.lanes.ended) -> ended => (None, ended.ok()),
                recv(tick) -> _ => (None, None),
            };
            let now = self.clock.now();
            if let Some(message) = message {
                self.take(message, now);
                while let Ok(message) = self.messages.try_recv() {
                    self.take(message, now);
                }
            }
            if let Some((id, done)) = ended {
                self.lanes.running -= 1;
                self.machine.ended(id, done, now, &mut effects);
            }
            // Carrying out an effect can create more work for the machine.
            loop {
                self.machine.settle(now, &mut effects);
                if effects.is_empty() {
                    break;
                }
                for effect in effects.drain(..) {
                    self.carry_out(effect, now);
                }
            }
            // A tracker whose last request is still in flight has more to send.
            let tracker_ended = self.claimed.is_none() || self.abandoned;
            if self.ending && tracker_ended && self.machine.is_idle(now) {
                self.count_dropped_keys(self.machine.waiting());
                return self.lanes.end(&self.clock);
            }
        }
    }

    fn take(&mut self, message: StoreMessage, now: Moment) {
        match message {
            StoreMessage::Attach(claimed) => self.claimed = Some(claimed),
            StoreMessage::Detach(unread, held) => {
                self.claimed = None;
                self.machine.tracker_ended(unread.try_iter().flatten().collect(), held, now);
            }
            StoreMessage::Command(command) => {
                if matches!(command, StoreCommand::Close(_)) {
                    self.ending = true;
                    // A tracker that has panicked sends nothing more.
                    self.claimed.take_if(|tracker| tracker.send(Vec::new()).is_err());
                }
                self.machine.command(command, now);
            }
        }
    }

    fn count_dropped_keys(&self, keys: usize) {
        if keys > 0 {
            let error = StoreError::new("too slow to keep or release every key; leases will expire");
            self.visitors.count_failures(keys, &error);
        }
    }

    fn tell_unwritten(&self, last: bool) {
        let left = self.visitors.unwritten();
        if left == 0 {
            return;
        }
        if last {
            let error = StoreError::new("too slow to write all visitor state before the end");
            self.visitors.count_failures(left, &error);
        } else {
            logged!(
                warn,
                limited,
                "the state of {left} visitors was not written to the data store within a flush's deadline"
            );
        }
        self.notifier.notify(LifecycleEvent::DataStoreQueueReleased { written: 0, left });
    }

    fn carry_out(&mut self, effect: StoreEffect, now: Moment) {
        match effect {
            StoreEffect::Call(id, call) => self.lanes.begin(id, call),
            StoreEffect::Read(reply, value) => reply.send(value),
            StoreEffect::Drained(reply) => reply.send(()),
            StoreEffect::Late(answers) => self.visitors.count_late(answers),
            StoreEffect::KeysDropped(keys) => self.count_dropped_keys(keys),
            StoreEffect::Unwritten { last } => self.tell_unwritten(last),
            StoreEffect::Notify(event) => self.notifier.notify(event),
            StoreEffect::Claimed(claimed) => {
                let unsent = match &self.claimed {
                    Some(tracker) => tracker.send(claimed).err().map(SendError::into_inner),
                    None => Some(claimed),
                };
                if let Some(unsent) = unsent {
                    self.machine.release_unread(unsent, now);
                }
            }
        }
    }
}

impl Lanes {
    fn new(store: Arc<dyn DataStore>, visitors: Arc<Visitors>) -> Self {
        let (calls, waiting) = bounded(StoreMachine::LANES);
        let (ended_in, ended) = bounded(StoreMachine::LANES);
        Self { store, visitors, calls, waiting, ended_in, ended, threads: Vec::new(), running: 0 }
    }

    /// Hands a call to a free thread, or to a new one. The machine never has more calls than the allowed
    /// number of threads, so there is always space.
    fn begin(&mut self, id: u64, call: Call) {
        self.running += 1;
        if self.running > self.threads.len() {
            match self.start() {
                Ok(thread) => self.threads.push(thread),
                Err(error) => logged!(error, "a thread for the data store cannot start: {error}"),
            }
        }
        let _ = self.calls.send((id, call));
    }

    /// Lets the threads end, and waits for them unless one is stuck in the store.
    fn end(self, clock: &Clock) {
        let Self { calls, threads, running, .. } = self;
        drop(calls);
        if running == 0 {
            blocking(async |caller| {
                for thread in threads {
                    thread.join(&mut caller.until(clock.deadline_after(LAST_WAIT))).await;
                }
            });
        }
    }

    fn start(&self) -> Result<Worker, crate::error::StartError> {
        let (store, visitors) = (Arc::clone(&self.store), Arc::clone(&self.visitors));
        let (waiting, ended) = (self.waiting.clone(), self.ended_in.clone());
        Worker::start("convert-store-io", move || {
            for (id, call) in waiting {
                let _ = ended.send((id, perform(call, store.as_ref(), &visitors)));
            }
        })
    }
}
