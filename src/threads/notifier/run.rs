//! The handlers' thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use crossbeam_channel::Receiver;

use super::{Blocks, Registered};
use crate::engine::LifecycleEvent;
use crate::threads::Deadline;

/// What the handlers' thread shares with the threads that announce and close.
#[derive(Default)]
pub(super) struct Handlers {
    /// Emptied by the thread when it ends.
    pub(super) list: ArcSwap<Blocks<Arc<Registered>>>,
    /// Events that handlers or subscribers did not get.
    pub(super) missed: AtomicU64,
    /// The deadline of the first close: no handler is called after it.
    pub(super) until: OnceLock<Deadline>,
}

/// Passes each event to its handlers until every sender is dropped, or the deadline of a close has passed.
pub(super) fn run(events: &Receiver<LifecycleEvent>, handlers: &Handlers) {
    for event in events {
        if handlers.is_over() {
            handlers.count_missed(1 + events.try_iter().count());
            break;
        }
        handlers.call(&event);
    }
    handlers.list.store(Arc::default());
}

impl Handlers {
    /// Whether none is to be called any more.
    pub(super) fn is_over(&self) -> bool {
        self.until.get().is_some_and(Deadline::is_over)
    }

    /// Counts events that handlers or subscribers do not get.
    pub(super) fn count_missed(&self, events: usize) {
        self.missed.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// Passes an event to its handlers; returns how many were called before the deadline.
    pub(super) fn call(&self, event: &LifecycleEvent) -> usize {
        let (blocks, mut called) = (self.list.load_full(), 0);
        for registered in blocks.iter().flat_map(|block| &**block).filter(|it| it.kind == event.kind()) {
            if self.is_over() {
                self.count_missed(1);
                break;
            }
            registered.call(event);
            called += 1;
        }
        called
    }
}
