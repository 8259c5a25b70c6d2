//! The handlers' thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use crossbeam_channel::Receiver;

use super::{Blocks, Registered};
use crate::caught::PanicGuard;
use crate::engine::LifecycleEvent;

/// What the handlers' thread shares with the threads that announce and close.
#[derive(Default)]
pub(super) struct Handlers {
    /// Emptied by the thread when it ends.
    pub(super) list: ArcSwap<Blocks<Arc<Registered>>>,
    /// Events that handlers or subscribers did not get.
    pub(super) missed: AtomicU64,
    /// The deadline of the first close: no handler is called after it.
    pub(super) until: OnceLock<Instant>,
}

/// Passes each event to its handlers until every sender is dropped, or the deadline of a close has passed.
pub(super) fn run(events: &Receiver<LifecycleEvent>, handlers: &Handlers, guard: &PanicGuard) {
    for event in events {
        if handlers.until.get().is_some_and(|until| *until <= Instant::now()) {
            let left = 1 + events.try_iter().count();
            handlers.missed.fetch_add(left as u64, Ordering::Relaxed);
            break;
        }
        let blocks = handlers.list.load_full();
        for registered in blocks.iter().flat_map(|block| &**block).filter(|it| it.kind == event.kind()) {
            registered.call(&event, guard);
        }
    }
    handlers.list.store(Arc::default());
}
