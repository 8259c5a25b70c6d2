//! What a core does for tasks: the questions that wait, without a thread of the caller's.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use super::{Closing, Shared};
use crate::actors::{Limit, Stored, TimerHandle, TrackerHandle, Verdict};
use crate::config::ConfigSnapshot;
use crate::deadline::deadline_after;
use crate::error::LoadError;
use crate::flush::{FlushLimit, FlushReport};
use crate::state::{AsyncDataStore, StoreError, VisitorState, state_key};
use crate::tracking::{Refused, ReleaseReason, TrackedEvent};

/// The thread that only tasks need, started by the first need. It ends by itself when nobody waits for it
/// any more.
#[derive(Default)]
pub(super) struct Tasks(Mutex<Threads>);

#[derive(Default)]
struct Threads {
    stopped: bool,
    timer: Option<TimerHandle>,
}

impl Tasks {
    /// Lets go of the threads, and keeps later ones for nobody but those who ask.
    pub(super) fn stop(&self) {
        let mut threads = self.lock();
        *threads = Threads { stopped: true, ..Threads::default() };
    }

    /// `None` where the system gives no thread for it.
    fn timer(&self) -> Option<TimerHandle> {
        let mut threads = self.lock();
        if let Some(timer) = &threads.timer {
            return Some(timer.clone());
        }
        let timer =
            TimerHandle::start().inspect_err(|error| log::error!("no task can wait: {error}")).ok()?;
        threads.timer = (!threads.stopped).then(|| timer.clone());
        Some(timer)
    }

    fn lock(&self) -> MutexGuard<'_, Threads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// A task's wait until then. Where the system gives no thread for the timer the wait is over at
    /// once: a call that cannot keep its deadline does not wait.
    pub(crate) fn until(&self, deadline: Instant) -> Limit {
        until(self.runtime().tasks.timer().as_ref(), deadline)
    }

    /// As [`confirm`](Self::confirm).
    pub(crate) async fn confirm_in_task(
        &self,
        snapshot: &ConfigSnapshot,
        event: TrackedEvent,
        deadline: Instant,
    ) -> Result<Option<Verdict>, Refused> {
        let tracker = self.tracker_for(&self.runtime(), snapshot, &event)?;
        let patience = deadline.min(deadline_after(tracker.patience()));
        tracker.confirm_in_task(event, &mut self.until(patience), &mut self.until(deadline)).await
    }

    /// As [`fetch_experience`](Self::fetch_experience).
    pub(crate) async fn fetch_experience_in_task(
        &self,
        experience_id: &str,
        deadline: Instant,
    ) -> Option<Result<Arc<ConfigSnapshot>, LoadError>> {
        let refresher = self.refresher().ok().flatten()?;
        refresher.fetch_experience_in_task(experience_id, &mut self.until(deadline)).await
    }

    /// As [`recall`](Self::recall). An asynchronous store is asked in the task, any other one on the store's
    /// threads.
    pub(crate) async fn recall_in_task<R>(
        &self,
        visitor_id: &str,
        read: impl FnOnce(&VisitorState) -> R,
    ) -> Option<R> {
        if self.store.is_none() {
            return self.runtime().visitors.in_memory(visitor_id, read);
        }
        // Memory first: what is written meanwhile is in the store before it leaves memory.
        let waiting = self.runtime().visitors.in_memory(visitor_id, VisitorState::clone);
        let (key, actor) = (state_key(visitor_id), self.store_actor(&self.runtime()));
        let limit = &mut self.until(deadline_after(self.config.tuning.store_timeout));
        let stored = match (&self.config.async_store, actor) {
            (Some(store), _) => self.ask(store.as_ref(), &key, limit).await,
            (None, Some(actor)) => actor.read_in_task(key, limit).await,
            (None, None) => None,
        };
        self.runtime().visitors.join(waiting, stored).as_ref().map(read)
    }

    /// Asks an asynchronous store, with its panics turned into failures.
    async fn ask(&self, store: &dyn AsyncDataStore, key: &str, limit: &mut Limit) -> Stored {
        const WHAT: &str = "the data store";
        let panicked = || StoreError::new("panicked");
        let Some(mut asked) = self.wall.caught(WHAT, || store.get(key)) else { return Some(Err(panicked())) };
        let answer = poll_fn(|context| {
            let polled = self.wall.caught(WHAT, || asked.as_mut().poll(context));
            match polled.unwrap_or_else(|| Poll::Ready(Err(panicked()))) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending => limit.poll(context).map(|()| None),
            }
        });
        let answer = answer.await;
        if answer.is_none() {
            self.runtime().visitors.count_late(1);
        }
        answer
    }

    /// As [`flush`](Self::flush).
    pub(crate) async fn flush_in_task(
        &self,
        tracker: Option<&TrackerHandle>,
        reason: ReleaseReason,
        flush: FlushLimit,
    ) -> Option<FlushReport> {
        let mut limit = self.until(flush.deadline);
        let report = match tracker {
            Some(tracker) => tracker.flush_in_task(reason, flush, &mut limit).await,
            None => Some(FlushReport::default()),
        };
        let store = self.runtime().store.get().cloned();
        if let Some(store) = store {
            store.drain_in_task(&mut limit).await;
        }
        report
    }

    /// As [`close`](Self::close).
    pub(crate) async fn close_in_task(&self, deadline: Instant, patience: bool) -> bool {
        let (timer, Closing { soft, tracker, refresher }) = {
            let runtime = self.runtime();
            // Taken before the close lets go of it, so that there is one for all of this.
            (runtime.tasks.timer(), runtime.begin_close(deadline, patience))
        };
        if let Some(tracker) = &tracker {
            tracker.close_in_task(&mut until(timer.as_ref(), soft)).await;
        }
        self.runtime().interrupt();
        let mut limit = until(timer.as_ref(), deadline);
        let events = self.runtime().notifier.begin_close();
        let refresher = refresher.iter().map(|refresher| refresher.worker());
        let tracker = tracker.iter().flat_map(|tracker| tracker.workers());
        let mut ended = true;
        for worker in refresher.chain(tracker).chain(events.as_deref()) {
            // Every thread is waited for, also behind one that is late.
            ended &= worker.ended(&mut limit).await;
        }
        let store = self.runtime().store.get().cloned();
        if let Some(store) = store {
            ended &= store.close_in_task(&mut limit).await;
        }
        ended
    }
}

fn until(timer: Option<&TimerHandle>, deadline: Instant) -> Limit {
    timer.map_or(Limit::Over, |timer| timer.until(deadline))
}
