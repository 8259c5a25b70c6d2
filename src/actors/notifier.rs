//! The notifier: hands lifecycle events to handlers on a thread of its own, and to subscribers.

#[cfg(feature = "async")]
mod stream;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

#[cfg(feature = "async")]
pub use self::stream::EventStream;
use super::thread::Worker;
use crate::caught::Wall;
use crate::error::StartError;
use crate::events::{LifecycleEvent, LifecycleEventKind};
use crate::process::PerProcess;

/// Events that may wait for the handlers, or for one subscriber; further ones are missed.
pub(crate) const EVENT_CAPACITY: usize = 1_024;

type Handler = Box<dyn FnMut(&LifecycleEvent) + Send>;

/// Where the SDK announces what happens. With nobody listening an announcement is one load.
#[derive(Default)]
pub(crate) struct Notifier {
    listeners: ArcSwap<Vec<Listener>>,
    missed: AtomicU64,
    wall: Wall,
    handlers: Arc<HandlerList>,
    /// The handlers' thread, from the first handler until close.
    control: Mutex<Control>,
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

/// The handlers, oldest first, in blocks of which each is longer than the next; emptied by their thread
/// when it ends.
type HandlerList = ArcSwap<Vec<Arc<[Arc<Registered>]>>>;

struct Registered {
    kind: LifecycleEventKind,
    /// Held while the handler runs, by the handlers' thread alone.
    handler: Mutex<Handler>,
}

#[derive(Default)]
struct Control {
    /// The way to the handlers' thread; taken by close, which disconnects it.
    inbox: Option<Sender<LifecycleEvent>>,
    /// What a thread that is not started yet will read.
    announced: Option<Receiver<LifecycleEvent>>,
    /// Kept over a close, so that whoever closes once more waits for the thread too.
    worker: Option<Arc<Worker>>,
    closed: bool,
}

/// Lifecycle events as they happen, from [`Core::subscribe`](crate::Core::subscribe). Holds up to
/// 1,024; a subscriber that falls behind further misses the newest, which
/// [`Stats::events_missed`](crate::Stats::events_missed) counts. Ends when the core is closed or
/// gone, and in a forked child, which subscribes for itself.
pub struct Subscription {
    events: PerProcess<Receiver<LifecycleEvent>>,
}

impl Notifier {
    pub(crate) fn new(wall: Wall) -> Self {
        Self { wall, ..Self::default() }
    }

    /// Whether anyone listens.
    pub(crate) fn is_heard(&self) -> bool {
        !self.listeners.load().is_empty()
    }

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

    /// Adds a handler, and starts the thread for the first one. Never waits behind events, not even
    /// from within a handler.
    pub(crate) fn on(&self, kind: LifecycleEventKind, handler: Handler) -> Result<(), StartError> {
        let mut control = self.lock();
        if control.closed {
            return Ok(());
        }
        let inbox = control.inbox();
        self.start_thread(&mut control)?;
        let registered = Arc::new(Registered { kind, handler: Mutex::new(handler) });
        // Before the listener, so that the thread finds it with the first event it is meant for.
        self.handlers.rcu(|now| with(now, &registered));
        self.listen(kind, inbox);
        Ok(())
    }

    /// What a forked child begins with: the handlers, but for one that was running at the fork, whose
    /// lock nobody will release there. Subscriptions stay with the parent.
    pub(crate) fn inherit(&self, closed: bool) -> Self {
        let notifier = Self::new(self.wall.clone());
        if closed {
            notifier.lock().closed = true;
            return notifier;
        }
        let handlers = self.handlers.load();
        let idle = handlers
            .iter()
            .flat_map(|block| &**block)
            .filter(|it| !matches!(it.handler.try_lock(), Err(TryLockError::WouldBlock)));
        let idle: Arc<[_]> = idle.cloned().collect();
        let inbox = notifier.lock().inbox();
        for registered in &*idle {
            notifier.listen(registered.kind, inbox.clone());
        }
        notifier.handlers.store(Arc::new(if idle.is_empty() { Vec::new() } else { vec![idle] }));
        notifier
    }

    /// Starts the thread of inherited handlers, if there are any.
    pub(crate) fn resume(&self) {
        let mut control = self.lock();
        if self.handlers.load().is_empty() || control.closed {
            return;
        }
        if let Err(error) = self.start_thread(&mut control) {
            log::error!("no handler is called: {error}");
        }
    }

    /// A subscription to everything from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        let control = self.lock();
        let (inbox, events) = bounded(EVENT_CAPACITY);
        if !control.closed {
            self.add(Listener::new(None, inbox));
        }
        Subscription { events: PerProcess::new(events) }
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Ends subscriptions and, once it has handled what waits, the handlers' thread, to be waited for.
    pub(crate) fn close(&self) -> Option<Arc<Worker>> {
        let (listeners, worker) = {
            let mut control = self.lock();
            control.closed = true;
            (control.inbox, control.announced) = (None, None);
            (self.listeners.swap(Arc::default()), control.worker.clone())
        };
        // Without the lock, as it wakes tasks, which is foreign code.
        drop(listeners);
        worker
    }

    fn start_thread(&self, control: &mut Control) -> Result<(), StartError> {
        let Some(announced) = &control.announced else { return Ok(()) };
        let (announced, handlers, wall) = (announced.clone(), Arc::clone(&self.handlers), self.wall.clone());
        let worker = Worker::start("convert-events", move || run(&announced, &handlers, &wall))?;
        control.worker = Some(Arc::new(worker));
        control.announced = None;
        Ok(())
    }

    /// Has events of this kind sent to the handlers' thread, once each.
    fn listen(&self, kind: LifecycleEventKind, inbox: Sender<LifecycleEvent>) {
        if !self.listeners.load().iter().any(|it| it.kind == Some(kind) && it.inbox.same_channel(&inbox)) {
            self.add(Listener::new(Some(kind), inbox));
        }
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

    fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    fn inbox(&mut self) -> Sender<LifecycleEvent> {
        let announced = &mut self.announced;
        let inbox = self.inbox.get_or_insert_with(|| {
            let (inbox, events) = bounded(EVENT_CAPACITY);
            *announced = Some(events);
            inbox
        });
        inbox.clone()
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

/// The blocks with one more handler. Blocks at the end that are not longer are joined with it, so that
/// a handler is copied once for each doubling and not for each handler after it.
fn with(blocks: &[Arc<[Arc<Registered>]>], added: &Arc<Registered>) -> Vec<Arc<[Arc<Registered>]>> {
    let (mut kept, mut joined) = (blocks.len(), 1);
    while kept > 0 && blocks[kept - 1].len() <= joined {
        kept -= 1;
        joined += blocks[kept].len();
    }
    let last = blocks[kept..].iter().flat_map(|block| &**block).chain([added]).cloned().collect();
    blocks[..kept].iter().cloned().chain([last]).collect()
}

/// Hands each event to its handlers until every sender is gone.
fn run(events: &Receiver<LifecycleEvent>, handlers: &HandlerList, wall: &Wall) {
    for event in events {
        let blocks = handlers.load_full();
        for registered in blocks.iter().flat_map(|block| &**block).filter(|it| it.kind == event.kind()) {
            let mut handler = registered.handler.lock().unwrap_or_else(PoisonError::into_inner);
            wall.caught("a lifecycle handler", || handler(&event));
        }
    }
    handlers.store(Arc::default());
}

impl Subscription {
    /// The next event; waits for it until the deadline, and returns `None` then or when the core is
    /// closed and all its events are read.
    pub fn next_before(&self, deadline: Instant) -> Option<LifecycleEvent> {
        self.events.peek()?.recv_deadline(deadline).ok()
    }

    /// The next event if there is one already.
    pub fn try_next(&self) -> Option<LifecycleEvent> {
        self.events.peek()?.try_recv().ok()
    }
}

/// Waits for each next event, and ends when the core is closed or gone.
impl Iterator for Subscription {
    type Item = LifecycleEvent;

    fn next(&mut self) -> Option<LifecycleEvent> {
        self.events.peek()?.recv().ok()
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Subscription({} waiting)", self.events.peek().map_or(0, |events| events.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_copied_once_for_each_doubling_of_their_number() {
        let (mut blocks, mut copied) = (Vec::new(), 0);
        for _ in 0..8_000 {
            let handler: Handler = Box::new(|_| ());
            let kind = LifecycleEventKind::Ready;
            let registered = Arc::new(Registered { kind, handler: Mutex::new(handler) });
            let next = with(&blocks, &registered);
            copied += next.len() + next.last().map_or(0, |last| last.len());
            blocks = next;
        }
        assert_eq!(blocks.iter().map(|block| block.len()).sum::<usize>(), 8_000);
        assert!(copied < 8_000 * 2 * 14, "{copied} copies for 8,000 handlers");
    }

    #[test]
    fn handlers_stay_in_the_order_in_which_they_came() {
        let (told, said) = bounded(100);
        let notifier = Notifier::default();
        for number in 0..37 {
            let told = told.clone();
            notifier.on(LifecycleEventKind::Ready, Box::new(move |_| told.send(number).unwrap())).unwrap();
        }
        drop(told);
        notifier.notify(LifecycleEvent::Ready { account_id: "1".into(), project_id: "2".into() });
        assert!(notifier.close().is_some());
        assert_eq!(said.iter().collect::<Vec<_>>(), (0..37).collect::<Vec<_>>());
    }
}
