//! Lifecycle events as a stream, for tasks.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use futures_core::Stream;

use super::{EVENT_CAPACITY, Listener, Notifier};
use crate::actors::wait::{Waiter, Wakers};
use crate::events::LifecycleEvent;

/// Lifecycle events as they happen, from [`AsyncCore::subscribe`](crate::AsyncCore::subscribe). Holds
/// up to 1,024; a subscriber that falls behind further misses the newest, which
/// [`Stats::events_missed`](crate::Stats::events_missed) counts. Ends when the core is closed or gone.
pub struct EventStream {
    events: Receiver<LifecycleEvent>,
    place: Waiter,
}

/// The sending end of a stream, in every list of listeners; the last one dropped wakes the task for
/// the stream's end.
pub(super) struct Heard(Arc<Wakers>);

impl Heard {
    pub(super) fn wake(&self) {
        self.0.wake_all();
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.wake();
    }
}

impl Notifier {
    /// A stream of everything from now on.
    pub(crate) fn stream(&self) -> EventStream {
        let handlers = self.lock();
        let (inbox, events) = bounded(EVENT_CAPACITY);
        let wakers = Arc::<Wakers>::default();
        let place = wakers.waiter();
        if !handlers.closed {
            self.add(Listener { task: Some(Arc::new(Heard(wakers))), ..Listener::new(None, inbox) });
        }
        EventStream { events, place }
    }
}

impl EventStream {
    /// The next event if there is one already.
    pub fn try_next(&self) -> Option<LifecycleEvent> {
        self.events.try_recv().ok()
    }
}

impl Stream for EventStream {
    type Item = LifecycleEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LifecycleEvent>> {
        self.place.register(context);
        match self.events.try_recv() {
            Ok(event) => Poll::Ready(Some(event)),
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.events.len(), None)
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventStream({} waiting)", self.events.len())
    }
}
