//! The store's thread around its state machine, and the threads that wait for the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendError, Sender, at, bounded, never, select};

use super::StoreSettings;
use super::call::perform;
use crate::engine::LifecycleEvent;
use crate::engine::{Call, Claimed, Done, StoreCommand, StoreEffect, StoreMachine};
use crate::ports::{DataStore, StoreError};
use crate::threads::{Notifier, Worker, blocking};
use crate::visitors::Visitors;

/// How long the end of a thread is waited for that has nothing left to do.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// How long the store has for what waits when nobody can ask any more, or wait for the end.
const LAST_WRITES: Duration = Duration::from_secs(5);

pub(super) struct StoreThread {
    machine: StoreMachine,
    commands: Receiver<StoreCommand>,
    /// Where the tracker waits for the answers to its claims.
    claimed: Option<Sender<Vec<Claimed>>>,
    lanes: Lanes,
    visitors: Arc<Visitors>,
    notifier: Arc<Notifier>,
    ending: bool,
    /// Nobody can ask anything any more.
    abandoned: bool,
}

/// Threads that call the store, started by the first need. One that the store keeps is left behind.
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
    pub(super) fn new(settings: StoreSettings, commands: Receiver<StoreCommand>) -> Self {
        let StoreSettings { store, visitors, notifier, timeout, lease, ttl } = settings;
        Self {
            machine: StoreMachine::new(timeout, lease, ttl),
            commands,
            claimed: None,
            lanes: Lanes::new(store, Arc::clone(&visitors)),
            visitors,
            notifier,
            ending: false,
            abandoned: false,
        }
    }

    pub(super) fn run(mut self) {
        let mut effects = Vec::new();
        loop {
            let tick = self.machine.wake_at().map_or_else(never, at);
            let unheard = never();
            let commands = if self.abandoned { &unheard } else { &self.commands };
            let (command, ended) = select! {
                recv(commands) -> command => {
                    self.abandoned |= command.is_err();
                    (Some(command.unwrap_or_else(|_| StoreCommand::Close(Instant::now() + LAST_WRITES))), None)
                }
                recv(self.lanes.ended) -> ended => (None, ended.ok()),
                recv(tick) -> _ => (None, None),
            };
            let now = Instant::now();
            if let Some(command) = command {
                self.take(command, now);
                while let Ok(command) = self.commands.try_recv() {
                    self.take(command, now);
                }
            }
            if let Some((id, done)) = ended {
                self.lanes.running -= 1;
                self.machine.ended(id, done, now, &mut effects);
            }
            // What is carried out can leave the machine more to do.
            loop {
                self.machine.settle(now, &mut effects);
                if effects.is_empty() {
                    break;
                }
                for effect in effects.drain(..) {
                    self.carry_out(effect, now);
                }
            }
            // A tracker whose last request does not end has more to tell.
            let is_told = self.claimed.is_none() || self.abandoned;
            if self.ending && is_told && self.machine.is_idle(now) {
                self.count_untold(self.machine.waiting());
                return self.lanes.end();
            }
        }
    }

    fn take(&mut self, command: StoreCommand, now: Instant) {
        match command {
            StoreCommand::Attach(claimed) => self.claimed = Some(claimed),
            StoreCommand::Detach(unheard, held) => {
                self.claimed = None;
                self.machine.detached(held);
                self.machine.unheard(unheard.try_iter().flatten().collect(), now);
            }
            StoreCommand::Close(deadline) => {
                self.ending = true;
                // One that has panicked tells nothing any more.
                self.claimed.take_if(|tracker| tracker.send(Vec::new()).is_err());
                self.machine.command(StoreCommand::Close(deadline), now);
            }
            command => self.machine.command(command, now),
        }
    }

    fn count_untold(&self, keys: usize) {
        if keys > 0 {
            let error = StoreError::new("too slow to be told of every delivery; leases end by themselves");
            self.visitors.count_failures(keys, &error);
        }
    }

    fn tell_unwritten(&self, last: bool) {
        let left = self.visitors.unwritten();
        if left == 0 {
            return;
        }
        if last {
            let error = StoreError::new("too slow to write every visitor's state before the end");
            self.visitors.count_failures(left, &error);
        } else {
            logged!(warn, "the state of {left} visitors was not written to the data store in a flush's time");
        }
        self.notifier.notify(LifecycleEvent::DataStoreQueueReleased { written: 0, left });
    }

    fn carry_out(&mut self, effect: StoreEffect, now: Instant) {
        match effect {
            StoreEffect::Call(id, call) => self.lanes.begin(id, call),
            StoreEffect::Read(reply, value) => reply.send(value),
            StoreEffect::Drained(reply) => reply.send(()),
            StoreEffect::Late(answers) => self.visitors.count_late(answers),
            StoreEffect::Untold(keys) => self.count_untold(keys),
            StoreEffect::Unwritten { last } => self.tell_unwritten(last),
            StoreEffect::Notify(event) => self.notifier.notify(event),
            StoreEffect::Claimed(claimed) => {
                let unsent = match &self.claimed {
                    Some(tracker) => tracker.send(claimed).err().map(SendError::into_inner),
                    None => Some(claimed),
                };
                if let Some(unsent) = unsent {
                    self.machine.unheard(unsent, now);
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

    /// Hands a call to a free thread, or to a new one. The machine has no more calls than there may be
    /// threads, so that there is always room.
    fn begin(&mut self, id: u64, call: Call) {
        self.running += 1;
        if self.running > self.threads.len() {
            match self.start() {
                Ok(thread) => self.threads.push(thread),
                Err(error) => logged!(error, "the data store has one thread less: {error}"),
            }
        }
        let _ = self.calls.send((id, call));
    }

    /// Lets the threads end, and waits for them unless the store keeps one.
    fn end(self) {
        let Self { calls, threads, running, .. } = self;
        drop(calls);
        if running == 0 {
            blocking(async |caller| {
                for thread in threads {
                    thread.join(&mut caller.until(Instant::now() + LAST_WAIT)).await;
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
