//! What a core does for tasks: the questions that wait, without a thread of the caller's.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use super::Shared;
use crate::actors::{Limit, Previewed, Stored, TrackerHandle, Verdict};
use crate::config::ConfigSnapshot;
use crate::deadline::deadline_after;
use crate::flush::{FlushLimit, FlushReport};
use crate::state::{AsyncDataStore, StoreError, VisitorState, state_key};
use crate::tracking::{Refused, ReleaseReason, TrackedEvent};

impl Shared {
    /// A task's wait until then.
    pub(crate) fn until(&self, deadline: Instant) -> Limit {
        self.runtime().timer.until(deadline)
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
    ) -> Option<Previewed> {
        self.previewer()?.experience_in_task(experience_id, &mut self.until(deadline)).await
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
        let closing = self.runtime().begin_close(deadline, patience);
        let mut soft = self.until(closing.soft);
        if let Some(tracker) = &closing.tracker {
            tracker.close_in_task(&mut soft).await;
        }
        self.runtime().interrupt();
        let mut limit = self.until(deadline);
        let events = self.runtime().notifier.begin_close(deadline);
        let mut ended = true;
        let tracker = closing.tracker.iter().flat_map(|tracker| tracker.workers());
        for worker in closing.fetchers().chain(tracker).chain(events.as_deref()) {
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
        assert!(!runtime.timer.has_started());
    }
}
