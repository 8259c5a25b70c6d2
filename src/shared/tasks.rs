//! What a core does for tasks: the questions that wait, without a thread of the caller's.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use super::{Closing, Shared};
use crate::actors::{Limit, ReaderHandle, Stored, TimerHandle, Verdict};
use crate::caught::Wall;
use crate::config::ConfigSnapshot;
use crate::error::{LoadError, StartError};
use crate::state::{AsyncDataStore, DataStore, StoreError, VisitorState, state_key};
use crate::tracking::{Refused, TrackedEvent};

/// The threads that only tasks need, started by the first need. Both end by themselves when nobody
/// waits for them any more.
#[derive(Default)]
pub(super) struct Tasks(Mutex<Threads>);

#[derive(Default)]
struct Threads {
    stopped: bool,
    timer: Option<TimerHandle>,
    reader: Option<Arc<ReaderHandle>>,
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

    fn reader(&self, store: &Arc<dyn DataStore>) -> Result<Arc<ReaderHandle>, StartError> {
        let mut threads = self.lock();
        if let Some(reader) = &threads.reader {
            return Ok(Arc::clone(reader));
        }
        let reader = Arc::new(ReaderHandle::start(Arc::clone(store))?);
        threads.reader = (!threads.stopped).then(|| Arc::clone(&reader));
        Ok(reader)
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
        tracker.confirm_in_task(event, &mut self.until(deadline)).await
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

    /// Reads what is known of a visitor, from memory and the data store. An asynchronous store is asked
    /// in the task, any other one on the reader's thread.
    pub(crate) async fn recall_in_task<R>(
        &self,
        visitor_id: &str,
        read: impl FnOnce(&VisitorState) -> R,
    ) -> Option<R> {
        let Some(store) = &self.store else { return self.runtime().visitors.in_memory(visitor_id, read) };
        // Memory first: what the tracker writes meanwhile is in the store before it leaves memory.
        let waiting = self.runtime().visitors.in_memory(visitor_id, VisitorState::clone);
        let key = state_key(visitor_id);
        let stored = match &self.config.async_store {
            Some(store) => get(&self.wall, store.as_ref(), &key).await,
            None => self.ask_reader(store, key).await,
        };
        self.runtime().visitors.join(waiting, stored).as_ref().map(read)
    }

    async fn ask_reader(&self, store: &Arc<dyn DataStore>, key: String) -> Stored {
        let reader = self.runtime().tasks.reader(store);
        reader.map_err(|error| StoreError::new(error.to_string()))?.get(key).await
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
        ended
    }
}

fn until(timer: Option<&TimerHandle>, deadline: Instant) -> Limit {
    timer.map_or(Limit::Over, |timer| timer.until(deadline))
}

/// Asks an asynchronous store, with its panics turned into failures.
async fn get(wall: &Wall, store: &dyn AsyncDataStore, key: &str) -> Stored {
    const WHAT: &str = "the data store";
    let panicked = || StoreError::new("panicked");
    let mut asked = wall.caught(WHAT, || store.get(key)).ok_or_else(panicked)?;
    poll_fn(|context| {
        wall.caught(WHAT, || asked.as_mut().poll(context)).unwrap_or_else(|| Poll::Ready(Err(panicked())))
    })
    .await
}
