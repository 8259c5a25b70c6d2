//! The notifier: passes lifecycle events to handlers on a thread of its own, and to subscribers.

mod run;
#[cfg(feature = "async")]
mod stream;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use self::run::{Handlers, run};
#[cfg(feature = "async")]
pub use self::stream::EventStream;
use super::worker::Worker;
use crate::caught::PanicGuard;
use crate::engine::{LifecycleEvent, LifecycleEventKind};
use crate::error::StartError;
use crate::threads::{Deadline, PerProcess};

/// Events that may wait for the handlers, or for one subscriber; beyond that, events are missed.
pub(crate) const EVENT_CAPACITY: usize = 1_024;

type Handler = Box<dyn FnMut(&LifecycleEvent) + Send>;

/// Where the SDK announces what happens. If nobody is listening, an announcement costs one load.
#[derive(Default)]
pub(crate) struct Notifier {
    listeners: ArcSwap<Blocks<Listener>>,
    /// Whether anyone has ever listened; until then nobody looks.
    was_heard: AtomicBool,
    guard: PanicGuard,
    handlers: Arc<Handlers>,
    /// Handlers are called by [`call_next`](Self::call_next) and not by a thread.
    threadless: bool,
    /// The handlers' thread, from the first handler until close.
    control: Mutex<Control>,
}

#[derive(Clone)]
struct Listener {
    /// In order of registration.
    number: u64,
    /// `None` receives everything.
    kind: Option<LifecycleEventKind>,
    inbox: Sender<LifecycleEvent>,
    /// Alive as long as the subscription; `None` for the handlers.
    subscription: Option<Weak<()>>,
    /// Set for a task. Below the inbox, which must be dropped first: the last of these wakes the task.
    #[cfg(feature = "async")]
    task: Option<Arc<stream::WakeOnDrop>>,
}

/// Oldest first; each block is longer than the next.
type Blocks<T> = Vec<Arc<[T]>>;

struct Registered {
    kind: LifecycleEventKind,
    /// Locked while the handler runs, and only by the handlers' thread. `None` at the end of a drop.
    handler: Mutex<Option<Handler>>,
    guard: PanicGuard,
}

#[derive(Default)]
struct Control {
    /// The sender to the handlers' thread; taken by a close, which disconnects it.
    inbox: Option<Sender<LifecycleEvent>>,
    /// What a thread that is yet to be started will read.
    announced: Option<Receiver<LifecycleEvent>>,
    /// Kept after a close, so that a second close waits for the thread too.
    worker: Option<Arc<Worker>>,
    /// The kinds of events sent to the thread.
    kinds: Vec<LifecycleEventKind>,
    next_number: u64,
    closed: bool,
}

/// Lifecycle events as they happen, from [`Core::subscribe`](crate::Core::subscribe). Buffers up to 1,024
/// events; a subscriber that falls further behind misses the newest, which
/// [`Stats::events_missed`](crate::Stats::events_missed) counts. Ends when the core is closed or dropped, and
/// in a forked child, which has to subscribe for itself.
pub struct Subscription {
    events: PerProcess<Receiver<LifecycleEvent>>,
    _alive: Arc<()>,
}

impl Notifier {
    pub(crate) fn new(guard: PanicGuard) -> Self {
        Self { guard, ..Self::default() }
    }

    /// One that starts no thread for its handlers.
    pub(crate) fn threadless(guard: PanicGuard) -> Self {
        Self { threadless: true, ..Self::new(guard) }
    }

    /// Calls the handlers of the event that has waited longest, and returns how many were called; or releases them, if
    /// none is to be called any more.
    pub(crate) fn call_next(&self) -> usize {
        let event = self.lock().announced.as_ref().and_then(|events| events.try_recv().ok());
        match event {
            Some(event) if !self.handlers.is_over() => return self.handlers.call(&event),
            Some(_) => self.handlers.count_missed(1),
            // Woken only once the close has come.
            None => {}
        }
        self.release();
        0
    }

    /// Whether [`call_next`](Self::call_next) has anything to do.
    pub(crate) fn is_due(&self) -> bool {
        let control = self.lock();
        control.announced.as_ref().is_some_and(|events| control.closed || !events.is_empty())
    }

    /// Without a thread: drops the handlers, and counts what they will not get.
    pub(crate) fn release(&self) {
        let left = self.lock().announced.take();
        self.handlers.count_missed(left.map_or(0, |events| events.try_iter().count()));
        // Foreign code, so not under the lock.
        drop(self.handlers.list.swap(Arc::default()));
    }

    /// No handler is called after this deadline of a close, nor after that of an earlier one.
    pub(crate) fn call_until(&self, deadline: Deadline) {
        let _ = self.handlers.until.set(deadline);
    }

    /// Whether anyone is listening.
    pub(crate) fn has_listeners(&self) -> bool {
        self.was_heard.load(Ordering::Relaxed) && !self.listeners.load().is_empty()
    }

    /// Announces an event to all listeners. Never waits.
    pub(crate) fn notify(&self, event: LifecycleEvent) {
        let listeners = self.listeners.load();
        let kind = event.kind();
        let mut gone = Vec::new();
        // Each event is sent to the handlers' thread once, however many handlers there are.
        let listeners = listeners.iter().flat_map(|block| &**block);
        for listener in listeners.filter(|it| it.kind.is_none_or(|wanted| wanted == kind)) {
            match listener.inbox.try_send(event.clone()) {
                Ok(()) =>
                {
                    #[cfg(feature = "async")]
                    if let Some(task) = &listener.task {
                        task.wake();
                    }
                }
                Err(TrySendError::Full(_)) => self.handlers.count_missed(1),
                Err(TrySendError::Disconnected(_)) => {
                    // Of the handlers, at the moment of their release.
                    self.handlers.count_missed(usize::from(listener.subscription.is_none()));
                    gone.push(listener.number);
                }
            }
        }
        if !gone.is_empty() {
            self.remove(&gone);
        }
    }

    /// Adds a handler, and starts the thread for the first one. Never waits for events to be handled, even
    /// when called from a handler.
    pub(crate) fn on(&self, kind: LifecycleEventKind, handler: Handler) -> Result<(), StartError> {
        let mut control = self.lock();
        if control.closed || self.handlers.is_over() {
            return Ok(());
        }
        let inbox = control.inbox();
        self.start_thread(&mut control)?;
        let registered = Registered { kind, handler: Mutex::new(Some(handler)), guard: self.guard.clone() };
        let registered = Arc::new(registered);
        // Before the listener, so that the thread finds the handler when the first event for it arrives.
        self.handlers.list.rcu(|now| with(now, &registered, |_| true));
        self.listen(&mut control, kind, inbox);
        Ok(())
    }

    /// What a forked child starts with: the handlers, except one that was running at the fork, whose lock is
    /// never released there. Subscriptions stay with the parent.
    pub(crate) fn inherit(&self, closed: bool) -> Self {
        let notifier = Self { threadless: self.threadless, ..Self::new(self.guard.clone()) };
        if closed {
            notifier.lock().closed = true;
            return notifier;
        }
        let handlers = self.handlers.list.load();
        let idle = handlers
            .iter()
            .flat_map(|block| &**block)
            .filter(|it| !matches!(it.handler.try_lock(), Err(TryLockError::WouldBlock)));
        let idle: Arc<[_]> = idle.cloned().collect();
        let mut control = notifier.lock();
        let inbox = control.inbox();
        for registered in &*idle {
            notifier.listen(&mut control, registered.kind, inbox.clone());
        }
        drop(control);
        notifier.handlers.list.store(Arc::new(if idle.is_empty() { Vec::new() } else { vec![idle] }));
        notifier
    }

    /// Starts the thread for inherited handlers, if any.
    pub(crate) fn resume(&self) {
        let mut control = self.lock();
        if self.handlers.list.load().is_empty() || control.closed {
            return;
        }
        if let Err(error) = self.start_thread(&mut control) {
            logged!(error, "lifecycle handlers are not called: {error}");
        }
    }

    /// A subscription to everything from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        let mut control = self.lock();
        let (inbox, events) = bounded(EVENT_CAPACITY);
        let alive = Arc::new(());
        if !control.closed {
            self.add(&mut control, Listener::of(&alive, inbox));
        }
        Subscription { events: PerProcess::new(events), _alive: alive }
    }

    pub(crate) fn missed(&self) -> u64 {
        self.handlers.missed.load(Ordering::Relaxed)
    }

    /// Ends subscriptions, and the handlers' thread once it has handled what is waiting or the deadline has
    /// passed. Returns the thread to be joined.
    pub(crate) fn close(&self, deadline: Deadline) -> Option<Arc<Worker>> {
        let (listeners, worker) = {
            let mut control = self.lock();
            control.closed = true;
            self.call_until(deadline);
            control.inbox = None;
            control.announced.take_if(|_| !self.threadless);
            (self.listeners.swap(Arc::default()), control.worker.clone())
        };
        // After unlocking, since it wakes tasks, which is foreign code.
        drop(listeners);
        worker
    }

    fn start_thread(&self, control: &mut Control) -> Result<(), StartError> {
        let Some(announced) = control.announced.as_ref().filter(|_| !self.threadless) else { return Ok(()) };
        let (announced, handlers) = (announced.clone(), Arc::clone(&self.handlers));
        let worker = Worker::start("convert-events", move || run(&announced, &handlers))?;
        control.worker = Some(Arc::new(worker));
        control.announced = None;
        Ok(())
    }

    /// Has events of this kind sent to the handlers' thread, once each.
    fn listen(&self, control: &mut Control, kind: LifecycleEventKind, inbox: Sender<LifecycleEvent>) {
        if !control.kinds.contains(&kind) {
            control.kinds.push(kind);
            self.add(control, Listener::new(Some(kind), inbox, None));
        }
    }

    fn add(&self, control: &mut Control, listener: Listener) {
        let listener = Listener { number: control.next_number, ..listener };
        control.next_number += 1;
        self.was_heard.store(true, Ordering::Relaxed);
        self.listeners.rcu(|now| with(now, &listener, Listener::is_alive));
    }

    /// Removes listeners whose receiver was dropped; `gone` is in their order.
    fn remove(&self, gone: &[u64]) {
        self.listeners.rcu(|now| {
            let all = now.iter().flat_map(|block| &**block);
            let left: Arc<[_]> = all.filter(|it| gone.binary_search(&it.number).is_err()).cloned().collect();
            if left.is_empty() { Vec::new() } else { vec![left] }
        });
    }

    fn lock(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    fn call(&self, event: &LifecycleEvent) {
        let mut handler = self.handler.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handler) = &mut *handler {
            self.guard.caught("a lifecycle handler", || handler(event));
        }
    }
}

/// What a handler has captured is foreign too. Each on its own: two panics in one drop would abort the process.
impl Drop for Registered {
    fn drop(&mut self) {
        let handler = self.handler.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        self.guard.caught("the drop of a lifecycle handler", || drop(handler));
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
    const fn new(
        kind: Option<LifecycleEventKind>,
        inbox: Sender<LifecycleEvent>,
        subscription: Option<Weak<()>>,
    ) -> Self {
        Self {
            number: 0,
            kind,
            inbox,
            subscription,
            #[cfg(feature = "async")]
            task: None,
        }
    }

    /// A listener to everything, for as long as `alive` lives.
    fn of(alive: &Arc<()>, inbox: Sender<LifecycleEvent>) -> Self {
        Self::new(None, inbox, Some(Arc::downgrade(alive)))
    }

    fn is_alive(&self) -> bool {
        self.subscription.as_ref().is_none_or(|alive| alive.strong_count() > 0)
    }
}

/// The blocks plus one item. Trailing blocks no longer than the new one are merged with it, so that each item
/// is copied once per doubling, not per later item; those not `is_kept` are dropped then.
fn with<T: Clone>(blocks: &[Arc<[T]>], added: &T, is_kept: impl Fn(&T) -> bool) -> Blocks<T> {
    let (mut kept, mut joined) = (blocks.len(), 1);
    while kept > 0 && blocks[kept - 1].len() <= joined {
        kept -= 1;
        joined += blocks[kept].len();
    }
    let joined = blocks[kept..].iter().flat_map(|block| &**block).filter(|it| is_kept(it));
    let last = joined.chain([added]).cloned().collect();
    blocks[..kept].iter().cloned().chain([last]).collect()
}

impl Subscription {
    /// Waits for the next event until the deadline; returns `None` at the deadline, or once the core is
    /// closed and all its events have been read.
    pub fn next_before(&self, deadline: Instant) -> Option<LifecycleEvent> {
        self.events.peek()?.recv_deadline(deadline).ok()
    }

    /// The next event, if one is waiting.
    pub fn try_next(&self) -> Option<LifecycleEvent> {
        self.events.peek()?.try_recv().ok()
    }
}

/// Waits for each next event, and ends when the core is closed or dropped.
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
    use std::time::Duration;

    use allocation_counter::measure;

    use super::*;
    use crate::threads::blocking;

    #[test]
    fn handlers_are_copied_once_per_doubling() {
        let (mut blocks, mut copied) = (Vec::new(), 0);
        for _ in 0..8_000 {
            let handler: Handler = Box::new(|_| ());
            let kind = LifecycleEventKind::Ready;
            let guard = PanicGuard::default();
            let registered = Arc::new(Registered { kind, handler: Mutex::new(Some(handler)), guard });
            let next = with(&blocks, &registered, |_| true);
            copied += next.len() + next.last().map_or(0, |last| last.len());
            blocks = next;
        }
        assert_eq!(blocks.iter().map(|block| block.len()).sum::<usize>(), 8_000);
        assert!(copied < 8_000 * 2 * 14, "{copied} copies for 8,000 handlers");
    }

    #[test]
    fn handlers_stay_in_order_of_registration() {
        let (told, said) = bounded(100);
        let notifier = Notifier::default();
        for number in 0..37 {
            let told = told.clone();
            notifier.on(LifecycleEventKind::Ready, Box::new(move |_| told.send(number).unwrap())).unwrap();
        }
        drop(told);
        notifier.notify(ready());
        assert!(closed(&notifier, later()));
        assert_eq!(said.iter().collect::<Vec<_>>(), (0..37).collect::<Vec<_>>());
    }

    #[test]
    fn subscribers_are_copied_once_per_doubling() {
        let notifier = Notifier::default();
        let (inbox, _events) = bounded(1);
        let cost = measure(|| {
            let mut control = notifier.lock();
            (0..8_000).for_each(|_| notifier.add(&mut control, Listener::new(None, inbox.clone(), None)));
        });
        let copies = cost.bytes_total / size_of::<Listener>() as u64;
        assert!(copies < 8_000 * 3 * 14, "{copies} copies for 8,000 subscribers");
        assert_eq!(notifier.listeners.load().iter().map(|block| block.len()).sum::<usize>(), 8_000);
    }

    #[test]
    fn dropped_subscribers_are_forgotten_and_others_still_hear() {
        let notifier = Notifier::default();
        let mut subscriptions: Vec<_> = (0..9).map(|_| notifier.subscribe()).collect();
        let kept = subscriptions.split_off(7);
        drop(subscriptions);
        (0..2).for_each(|_| notifier.notify(ready()));
        assert_eq!(notifier.listeners.load().iter().map(|block| block.len()).sum::<usize>(), 2);
        assert!(kept.iter().all(|it| it.try_next().is_some() && it.try_next().is_some()));
        drop(kept);
        notifier.notify(ready());
        assert!(!notifier.has_listeners());
    }

    #[test]
    fn short_lived_subscribers_leave_nothing_without_an_event() {
        let notifier = Notifier::default();
        let kept = notifier.subscribe();
        (0..1_000).for_each(|_| drop(notifier.subscribe()));
        assert!(notifier.listeners.load().iter().map(|block| block.len()).sum::<usize>() < 4);
        notifier.notify(ready());
        assert!(kept.try_next().is_some());
    }

    #[test]
    fn no_handler_is_called_after_the_deadline_of_a_close() {
        let (begun, begins) = bounded(100);
        let (end, ends) = bounded::<()>(1);
        let notifier = Notifier::default();
        let handler = move |_: &LifecycleEvent| {
            begun.send(()).unwrap();
            let _ = ends.recv();
        };
        notifier.on(LifecycleEventKind::Ready, Box::new(handler)).unwrap();
        (0..10).for_each(|_| notifier.notify(ready()));
        begins.recv().unwrap();
        assert!(!closed(&notifier, Instant::now()), "a handler is still running");
        drop(end);
        assert!(closed(&notifier, later()));
        assert_eq!((begins.try_iter().count(), notifier.missed()), (0, 9));
    }

    fn closed(notifier: &Notifier, deadline: Instant) -> bool {
        let Some(worker) = notifier.close(deadline.into()) else { return true };
        blocking(async |caller| worker.join(&mut caller.until(deadline)).await)
    }

    fn ready() -> LifecycleEvent {
        LifecycleEvent::Ready { account_id: "1".into(), project_id: "2".into() }
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }
}
