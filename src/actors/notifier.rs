//! The notifier: hands lifecycle events to handlers on a thread of its own, and to subscribers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::thread::Worker;
use crate::caught::caught;
use crate::error::StartError;
use crate::events::{LifecycleEvent, LifecycleEventKind};

/// Events that may wait for the handlers, or for one subscriber; further ones are missed.
pub(crate) const EVENT_CAPACITY: usize = 1_024;

type Handler = Box<dyn FnMut(&LifecycleEvent) + Send>;

/// Where the SDK announces what happens. With nobody listening an announcement is one load.
#[derive(Default)]
pub(crate) struct Notifier {
    listeners: ArcSwap<Vec<Listener>>,
    missed: Arc<AtomicU64>,
    /// The handlers' thread, from the first handler until close.
    handlers: Mutex<Handlers>,
}

#[derive(Clone)]
struct Listener {
    /// `None` hears everything.
    kind: Option<LifecycleEventKind>,
    inbox: Sender<NotifierCommand>,
}

#[derive(Default)]
struct Handlers {
    worker: Option<(Sender<NotifierCommand>, Worker)>,
    closed: bool,
}

/// What the handlers' thread, or a subscriber, receives.
enum NotifierCommand {
    Announce(LifecycleEvent),
    Add(LifecycleEventKind, Handler),
}

/// Lifecycle events as they happen, from [`Core::subscribe`](crate::Core::subscribe). Holds up to
/// 1,024; a subscriber that falls behind further misses the newest, which
/// [`Stats::events_missed`](crate::Stats::events_missed) counts. Ends when the core is closed or
/// gone.
pub struct Subscription {
    events: Receiver<NotifierCommand>,
}

impl Notifier {
    /// Announces an event to whoever listens. Never waits.
    pub(crate) fn notify(&self, event: LifecycleEvent) {
        let listeners = self.listeners.load();
        let kind = event.kind();
        // A kind of event reaches the handlers' thread once, however many handlers it has.
        for listener in listeners.iter().filter(|it| it.kind.is_none_or(|wanted| wanted == kind)) {
            if listener.inbox.try_send(NotifierCommand::Announce(event.clone())).is_err() {
                self.missed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Adds a handler, and starts the thread for the first one.
    pub(crate) fn on(&self, kind: LifecycleEventKind, handler: Handler) -> Result<(), StartError> {
        let mut handlers = self.lock();
        if handlers.closed {
            return Ok(());
        }
        let inbox = match &handlers.worker {
            Some((inbox, _)) => inbox.clone(),
            None => {
                let (inbox, commands) = bounded(EVENT_CAPACITY);
                let worker = Worker::start("convert-events", move || run(&commands))?;
                handlers.worker = Some((inbox.clone(), worker));
                inbox
            }
        };
        // Waits only behind 1,024 unhandled events, and then for the handlers.
        let _ = inbox.send(NotifierCommand::Add(kind, handler));
        let heard = self.listeners.load();
        if !heard.iter().any(|it| it.kind == Some(kind) && it.inbox.same_channel(&inbox)) {
            self.add(Listener { kind: Some(kind), inbox });
        }
        Ok(())
    }

    /// A subscription to everything from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        let handlers = self.lock();
        let (inbox, events) = bounded(EVENT_CAPACITY);
        if !handlers.closed {
            self.add(Listener { kind: None, inbox });
        }
        Subscription { events }
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Ends subscriptions and, once it has handled what waits, the handlers' thread. Says whether
    /// that was in time; true for a handler that calls it.
    pub(crate) fn close(&self, deadline: Instant) -> bool {
        let worker = {
            let mut handlers = self.lock();
            handlers.closed = true;
            self.listeners.store(Arc::default());
            handlers.worker.take()
        };
        worker.is_none_or(|(inbox, worker)| {
            drop(inbox);
            worker.join(deadline)
        })
    }

    fn add(&self, listener: Listener) {
        self.listeners.rcu(|now| {
            let mut listeners = Vec::clone(now);
            listeners.push(listener.clone());
            listeners
        });
    }

    fn lock(&self) -> MutexGuard<'_, Handlers> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands each event to its handlers until every sender is gone.
fn run(commands: &Receiver<NotifierCommand>) {
    let mut handlers: Vec<(LifecycleEventKind, Handler)> = Vec::new();
    for command in commands {
        match command {
            NotifierCommand::Add(kind, handler) => handlers.push((kind, handler)),
            NotifierCommand::Announce(event) => {
                for (_, handler) in handlers.iter_mut().filter(|(kind, _)| *kind == event.kind()) {
                    caught("a lifecycle handler", || handler(&event));
                }
            }
        }
    }
}

impl Subscription {
    /// The next event; waits for it until the deadline, and returns `None` then or when the core is
    /// closed and all its events are read.
    pub fn next_before(&self, deadline: Instant) -> Option<LifecycleEvent> {
        self.events.recv_deadline(deadline).ok().and_then(announced)
    }

    /// The next event if there is one already.
    pub fn try_next(&self) -> Option<LifecycleEvent> {
        self.events.try_recv().ok().and_then(announced)
    }
}

/// Waits for each next event, and ends when the core is closed or gone.
impl Iterator for Subscription {
    type Item = LifecycleEvent;

    fn next(&mut self) -> Option<LifecycleEvent> {
        self.events.recv().ok().and_then(announced)
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subscription({} waiting)", self.events.len())
    }
}

/// Subscribers are sent nothing else.
fn announced(command: NotifierCommand) -> Option<LifecycleEvent> {
    match command {
        NotifierCommand::Announce(event) => Some(event),
        NotifierCommand::Add(..) => None,
    }
}
