//! The notifier: hands lifecycle events to handlers on a thread of its own, and to subscribers.

#[cfg(feature = "async")]
mod stream;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};

#[cfg(feature = "async")]
pub use self::stream::EventStream;
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
    inbox: Sender<LifecycleEvent>,
    /// A task is at the other end. Below the inbox, which must be gone when the last of these says so.
    #[cfg(feature = "async")]
    task: Option<Arc<stream::Heard>>,
}

#[derive(Default)]
struct Handlers {
    /// The way to the thread; taken by close, which disconnects it.
    inbox: Option<HandlersInbox>,
    /// Kept over a close, so that whoever closes once more waits for the thread too.
    worker: Option<Arc<Worker>>,
    closed: bool,
}

/// The two ways to the handlers' thread. Handlers have one of their own, without a bound, so that
/// adding one never waits behind events, not even from within a handler.
#[derive(Clone)]
struct HandlersInbox {
    events: Sender<LifecycleEvent>,
    additions: Sender<(LifecycleEventKind, Handler)>,
}

/// Lifecycle events as they happen, from [`Core::subscribe`](crate::Core::subscribe). Holds up to
/// 1,024; a subscriber that falls behind further misses the newest, which
/// [`Stats::events_missed`](crate::Stats::events_missed) counts. Ends when the core is closed or
/// gone.
pub struct Subscription {
    events: Receiver<LifecycleEvent>,
}

impl Notifier {
    /// Announces an event to whoever listens. Never waits.
    pub(crate) fn notify(&self, event: LifecycleEvent) {
        let listeners = self.listeners.load();
        let kind = event.kind();
        let mut gone = Vec::new();
        // A kind of event reaches the handlers' thread once, however many handlers it has.
        for listener in listeners.iter().filter(|it| it.kind.is_none_or(|wanted| wanted == kind)) {
            match listener.inbox.try_send(event.clone()) {
                Ok(()) =>
                {
                    #[cfg(feature = "async")]
                    if let Some(task) = &listener.task {
                        task.wake();
                    }
                }
                Err(TrySendError::Full(_)) => {
                    self.missed.fetch_add(1, Ordering::Relaxed);
                }
                Err(TrySendError::Disconnected(_)) => gone.push(listener.inbox.clone()),
            }
        }
        if !gone.is_empty() {
            self.remove(&gone);
        }
    }

    /// Adds a handler, and starts the thread for the first one.
    pub(crate) fn on(&self, kind: LifecycleEventKind, handler: Handler) -> Result<(), StartError> {
        let mut handlers = self.lock();
        if handlers.closed {
            return Ok(());
        }
        let inbox = match &handlers.inbox {
            Some(inbox) => inbox.clone(),
            None => {
                let (events, announced) = bounded(EVENT_CAPACITY);
                let (additions, added) = unbounded();
                let worker = Worker::start("convert-events", move || run(&announced, &added))?;
                let inbox = HandlersInbox { events, additions };
                handlers.worker = Some(Arc::new(worker));
                handlers.inbox = Some(inbox.clone());
                inbox
            }
        };
        // Before the listener, so that the thread finds it with the first event it is meant for.
        let _ = inbox.additions.send((kind, handler));
        let heard = self.listeners.load();
        if !heard.iter().any(|it| it.kind == Some(kind) && it.inbox.same_channel(&inbox.events)) {
            self.add(Listener::new(Some(kind), inbox.events));
        }
        Ok(())
    }

    /// A subscription to everything from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        let handlers = self.lock();
        let (inbox, events) = bounded(EVENT_CAPACITY);
        if !handlers.closed {
            self.add(Listener::new(None, inbox));
        }
        Subscription { events }
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Ends subscriptions and, once it has handled what waits, the handlers' thread. Says whether
    /// that was in time; true for a handler that calls it.
    pub(crate) fn close(&self, deadline: Instant) -> bool {
        self.begin_close().is_none_or(|worker| worker.join(deadline))
    }

    /// The part of [`close`](Self::close) that does not wait: the thread to wait for.
    pub(crate) fn begin_close(&self) -> Option<Arc<Worker>> {
        let mut handlers = self.lock();
        handlers.closed = true;
        handlers.inbox = None;
        self.listeners.store(Arc::default());
        handlers.worker.clone()
    }

    fn add(&self, listener: Listener) {
        self.listeners.rcu(|now| {
            let mut listeners = Vec::clone(now);
            listeners.push(listener.clone());
            listeners
        });
    }

    /// Forgets listeners whose receiver was dropped.
    fn remove(&self, gone: &[Sender<LifecycleEvent>]) {
        self.listeners.rcu(|now| {
            let left = now.iter().filter(|it| !gone.iter().any(|inbox| inbox.same_channel(&it.inbox)));
            left.cloned().collect::<Vec<_>>()
        });
    }

    fn lock(&self) -> MutexGuard<'_, Handlers> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    const fn new(kind: Option<LifecycleEventKind>, inbox: Sender<LifecycleEvent>) -> Self {
        Self {
            kind,
            inbox,
            #[cfg(feature = "async")]
            task: None,
        }
    }
}

/// Hands each event to its handlers until every sender is gone.
fn run(events: &Receiver<LifecycleEvent>, added: &Receiver<(LifecycleEventKind, Handler)>) {
    let mut handlers: Vec<(LifecycleEventKind, Handler)> = Vec::new();
    for event in events {
        handlers.extend(added.try_iter());
        for (_, handler) in handlers.iter_mut().filter(|(kind, _)| *kind == event.kind()) {
            caught("a lifecycle handler", || handler(&event));
        }
    }
}

impl Subscription {
    /// The next event; waits for it until the deadline, and returns `None` then or when the core is
    /// closed and all its events are read.
    pub fn next_before(&self, deadline: Instant) -> Option<LifecycleEvent> {
        self.events.recv_deadline(deadline).ok()
    }

    /// The next event if there is one already.
    pub fn try_next(&self) -> Option<LifecycleEvent> {
        self.events.try_recv().ok()
    }
}

/// Waits for each next event, and ends when the core is closed or gone.
impl Iterator for Subscription {
    type Item = LifecycleEvent;

    fn next(&mut self) -> Option<LifecycleEvent> {
        self.events.recv().ok()
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subscription({} waiting)", self.events.len())
    }
}
