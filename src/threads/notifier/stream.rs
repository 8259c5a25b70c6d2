//! Lifecycle events as a stream, for tasks.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use futures_core::Stream;

use super::{EVENT_CAPACITY, Listener, Notifier};
use crate::engine::LifecycleEvent;
use crate::threads::PerProcess;
use crate::threads::wait::{Waiter, Wakers};

/// Lifecycle events as they happen, from [`AsyncCore::subscribe`](crate::AsyncCore::subscribe). Buffers up to
/// 1,024 events; a subscriber that falls further behind misses the newest, which
/// [`Stats::events_missed`](crate::Stats::events_missed) counts. Ends when the core is closed or dropped, and
/// in a forked child.
pub struct EventStream {
    /// Those of the process that created it; in a forked child the stream has ended.
    ends: PerProcess<Ends>,
}

struct Ends {
    events: Receiver<LifecycleEvent>,
    place: Waiter,
    _alive: Arc<()>,
}

/// The sending end of a stream, held by every list of listeners; dropping the last one wakes the task so that
/// it sees the stream's end.
pub(super) struct WakeOnDrop(Arc<Wakers>);

impl WakeOnDrop {
    pub(super) fn wake(&self) {
        self.0.wake_all();
    }
}

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.wake();
    }
}

impl Notifier {
    /// A stream of everything from now on.
    pub(crate) fn stream(&self) -> EventStream {
        let mut control = self.lock();
        let (inbox, events) = bounded(EVENT_CAPACITY);
        let wakers = Arc::<Wakers>::default();
        let (place, alive) = (wakers.waiter(), Arc::new(()));
        if !control.closed {
            let task = Some(Arc::new(WakeOnDrop(wakers)));
            self.add(&mut control, Listener { task, ..Listener::of(&alive, inbox) });
        }
        EventStream { ends: PerProcess::new(Ends { events, place, _alive: alive }) }
    }
}

impl EventStream {
    /// The next event, if one is waiting.
    pub fn try_next(&self) -> Option<LifecycleEvent> {
        self.ends.peek()?.events.try_recv().ok()
    }

    fn waiting(&self) -> usize {
        self.ends.peek().map_or(0, |ends| ends.events.len())
    }
}

impl Stream for EventStream {
    type Item = LifecycleEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LifecycleEvent>> {
        let Some(ends) = self.ends.peek() else { return Poll::Ready(None) };
        ends.place.register(context);
        match ends.events.try_recv() {
            Ok(event) => Poll::Ready(Some(event)),
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.waiting(), None)
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventStream({} waiting)", self.waiting())
    }
}
