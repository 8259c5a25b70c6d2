//! What a core does for tasks: the questions that wait, without a thread of the caller's.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use super::Shared;
use crate::actors::{Limit, Previewed, ReaderHandle, Stored, TimerHandle, Verdict};
use crate::caught::Wall;
use crate::config::ConfigSnapshot;
use crate::error::StartError;
use crate::state::{AsyncDataStore, DataStore, StoreError, VisitorState, state_key};
use crate::tracking::{Refused, TrackedEvent};

/// The threads that only tasks need, started by the first need.
#[derive(Default)]
pub(super) struct Tasks {
    timer: TimerHandle,
    reader: Mutex<Reader>,
}

#[derive(Default)]
struct Reader {
    stopped: bool,
    started: Option<Arc<ReaderHandle>>,
}

impl Tasks {
    /// Ends the reader after the call at hand, and the timer with the last task that waits.
    pub(super) fn stop(&self) {
        self.timer.stop();
        let reader = {
            let mut reader = self.reader();
            reader.stopped = true;
            reader.started.take()
        };
        if let Some(reader) = reader {
            reader.stop();
        }
    }

    /// The reader of a store; `None` after the stop.
    fn reader_of(&self, store: &Arc<dyn DataStore>) -> Result<Option<Arc<ReaderHandle>>, StartError> {
        let mut reader = self.reader();
        if reader.started.is_none() && !reader.stopped {
            reader.started = Some(Arc::new(ReaderHandle::start(Arc::clone(store))?));
        }
        Ok(reader.started.clone())
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// A task's wait until then.
    pub(crate) fn until(&self, deadline: Instant) -> Limit {
        self.runtime().tasks.timer.until(deadline)
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
    ) -> Option<Previewed> {
        self.previewer()?.experience_in_task(experience_id, &mut self.until(deadline)).await
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
        let reader = self.runtime().tasks.reader_of(store);
        match reader.map_err(|error| StoreError::new(error.to_string()))? {
            Some(reader) => reader.get(key).await,
            // A closed core starts no thread: memory alone answers.
            None => Ok(None),
        }
    }

    /// As [`close`](Self::close).
    pub(crate) async fn close_in_task(&self, deadline: Instant, patience: bool) -> bool {
        let closing = self.runtime().begin_close(deadline, patience);
        let mut soft = self.until(closing.soft);
        if let Some(tracker) = &closing.tracker {
            tracker.close_in_task(&mut soft).await;
        }
        self.transport.interrupt();
        let mut limit = self.until(deadline);
        let events = self.runtime().notifier.begin_close();
        let mut ended = true;
        let tracker = closing.tracker.iter().flat_map(|tracker| tracker.workers());
        for worker in closing.fetchers().chain(tracker).chain(events.as_deref()) {
            // Every thread is waited for, also behind one that is late.
            ended &= worker.ended(&mut limit).await;
        }
        ended
    }
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use crate::{AsyncCore, ConversionOptions, InMemoryDataStore, RunOptions, SdkConfig};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// What a call answers that does not wait.
    fn at_once<T>(call: impl Future<Output = T>) -> T {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(call).poll(&mut context) {
            std::task::Poll::Ready(answer) => answer,
            std::task::Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn a_waiting_call_on_a_closed_core_starts_no_thread() {
        let config = SdkConfig::builder().data_json(include_str!("../../tests/it/small.json"));
        let core = AsyncCore::new(config.data_store(InMemoryDataStore::new()).build().unwrap());
        at_once(core.initialize()).unwrap();
        let mut visitor = core.to_sync().create_context("v", ()).map(crate::AsyncContext::from).unwrap();
        let (config, checkout) = (core.current_config().unwrap(), core.experience("checkout").unwrap());
        core.to_sync().close();
        for _ in 0..3 {
            at_once(core.close());
            at_once(core.initialize()).unwrap_err();
            at_once(core.flush(PATIENCE)).unwrap_err();
            at_once(core.shutdown(PATIENCE)).unwrap_err();
            at_once(core.refresh_now_within(PATIENCE)).unwrap_err();
            at_once(core.create_context("w", ())).unwrap_err();
            at_once(visitor.set_preview("no-such-id", "1")).unwrap_err();
            let (plain, mut shown) = (ConversionOptions::new(), Vec::new());
            at_once(visitor.track_conversion_confirmed("purchase", &plain, PATIENCE)).unwrap();
            let unseen = [("x", &crate::Attributes::new())];
            at_once(core.decide_many(&config, &checkout, unseen, &RunOptions::new(), &mut shown));
            assert_eq!(shown.len(), 1);
        }
        let core = core.to_sync();
        let runtime = core.shared().runtime();
        assert!(!runtime.tasks.timer.has_started() && runtime.tasks.reader().started.is_none());
    }
}
