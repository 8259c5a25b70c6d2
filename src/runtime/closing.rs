//! Ends a core's actors in one process.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Drives, Network, Runtime};
use crate::threads::{
    Caller, Deadline, Notifier, PreviewerHandle, RefresherHandle, StoreHandle, TrackerHandle, Worker,
    start_apart,
};

/// A close in progress: the actors to wait for.
pub(crate) struct Closing {
    deadline: Deadline,
    /// Until when deliveries in flight may finish on their own.
    soft: Deadline,
    tracker: Option<Arc<TrackerHandle>>,
    refresher: Option<Arc<RefresherHandle>>,
    previewer: Option<Arc<PreviewerHandle>>,
    store: Option<Arc<StoreHandle>>,
    notifier: Arc<Notifier>,
}

impl Runtime {
    /// The part of a close that does not wait.
    pub(crate) fn begin_close(&self, deadline: Deadline, patience: bool) -> Closing {
        let soft = if patience { deadline.earlier(last_resort(deadline.left())) } else { deadline.now() };
        let closing = {
            // Under the lock, so that every started actor is seen here.
            let actors = self.actors();
            self.closed.store(true, Ordering::Release);
            let (refresher, previewer) = (actors.refresher.clone(), actors.previewer.clone());
            let (tracker, store) = (self.tracker.get().cloned(), self.store.get().cloned());
            let notifier = Arc::clone(&self.notifier);
            Closing { deadline, soft, tracker, refresher, previewer, store, notifier }
        };
        // A turn may come late.
        self.notifier.call_until(closing.deadline.clone());
        // Before the interrupt: after it they would start the next request.
        if let Some(refresher) = &closing.refresher {
            refresher.stop();
        }
        if let Some(previewer) = &closing.previewer {
            previewer.stop();
        }
        #[cfg(feature = "async")]
        self.timer.stop();
        closing
    }

    /// Cancels the calls in progress, once, if there can be any. A source or sink may take long to cancel, or
    /// never return, so nobody waits for it.
    pub(crate) fn interrupt(&self) {
        let delivers = self.tracker.get().is_some();
        let fetches = {
            let actors = self.actors();
            actors.refresher.is_some() || actors.previewer.is_some()
        };
        if !(delivers || fetches) || self.interrupted.swap(true, Ordering::AcqRel) {
            return;
        }
        let Network { source, sink, .. } = match &self.drives {
            Drives::Threads(network) => network.clone(),
            Drives::Turns(handover) => return handover.interrupt(),
        };
        if delivers {
            start_apart("convert-interrupt", move || sink.interrupt());
        }
        if fetches {
            start_apart("convert-interrupt", move || source.interrupt());
        }
    }
}

impl Closing {
    /// Ends the tracker after the deliveries in flight, without waiting for them.
    pub(crate) fn stop_tracker(&self) {
        if let Some(tracker) = &self.tracker {
            tracker.stop();
        }
    }

    /// Waits until the deliveries in flight have finished on their own or run out of time.
    pub(crate) async fn delivered(&self, caller: &Caller) {
        if let Some(tracker) = &self.tracker {
            tracker.close(&mut caller.until(self.soft.clone())).await;
        }
    }

    /// Waits for the actors, and returns whether all of them ended by the deadline.
    pub(crate) async fn ended(&self, caller: &Caller) -> bool {
        let mut limit = caller.until(self.deadline.clone());
        let mut ended = true;
        let tracker = self.tracker.iter().flat_map(|tracker| tracker.workers());
        for worker in self.fetchers().chain(tracker) {
            // Every thread is waited for, even after one has timed out.
            ended &= worker.join(&mut limit).await;
        }
        if let Some(store) = &self.store {
            // The remaining time is for the event handlers.
            let soft = self.deadline.earlier(last_resort(self.deadline.left()));
            ended &= store.close(&soft, &mut limit).await;
        }
        // Last, because it announces what the others do.
        let events = self.notifier.close(self.deadline.clone());
        if let Some(events) = events {
            ended &= events.join(&mut limit).await;
        }
        ended
    }

    /// The actors that fetch configs.
    fn fetchers(&self) -> impl Iterator<Item = &Worker> {
        let refresher = self.refresher.iter().map(|refresher| refresher.worker());
        refresher.chain(self.previewer.iter().map(|previewer| previewer.worker()))
    }
}

/// How much of a close's time is reserved for joining threads whose calls it interrupted.
pub(crate) fn last_resort(time: Duration) -> Duration {
    const MOST: Duration = Duration::from_millis(500);
    (time / 4).min(MOST)
}

/// Runs when the last core and context are dropped: the inboxes disconnect, and calls in progress are
/// interrupted so that the threads end soon. Nobody waits for them. Does not run in a child that never used
/// the core.
impl Drop for Runtime {
    fn drop(&mut self) {
        self.interrupt();
    }
}
