//! What a core and its contexts share, from one process to the next: the snapshot, and this process's runtime.

#[cfg(feature = "async")]
use std::future::poll_fn;
use std::sync::Arc;
#[cfg(feature = "async")]
use std::task::Poll;
use std::time::Duration;

use crate::config::ConfigSnapshot;
#[cfg(feature = "async")]
use crate::engine::Stored;
use crate::engine::{
    FlushReport, Moment, Previewed, Refused, ReleaseReason, Stats, TrackedEvent, Verdict, state_key,
};
use crate::error::{ContextError, StartError};
use crate::flush::FlushLimit;
use crate::hooks::Hooks;
#[cfg(feature = "async")]
use crate::ports::{AsyncDataStore, StoreError};
use crate::runtime::{Base, Runtime};
use crate::stripes::Handle;
use crate::telemetry::{Timer, WAIT};
use crate::threads::{
    Caller, Current, Deadline, Limit, PerProcess, RefresherHandle, TrackerHandle, generation,
};
use crate::visitors::VisitorState;

/// One SDK instance. Its actors end when the last core and context are dropped.
pub(crate) struct Shared {
    pub(crate) base: Base,
    /// Told of evaluations, if anything is.
    pub(crate) hooks: Option<Box<Hooks>>,
    /// What a test has visitors decided on, whatever their rules say.
    #[cfg(feature = "testing")]
    pub(crate) forced: crate::visitors::Forced,
    runtime: PerProcess<Runtime>,
}

impl Shared {
    pub(crate) fn new(base: Base, hooks: Hooks) -> Self {
        let runtime = PerProcess::new(Runtime::new(&base));
        let is_used = !(hooks.every.is_empty() && hooks.first.is_empty());
        Self {
            base,
            hooks: is_used.then(|| Box::new(hooks)),
            #[cfg(feature = "testing")]
            forced: crate::visitors::Forced::default(),
            runtime,
        }
    }

    /// This process's runtime; a forked child creates its own on first use.
    #[inline]
    pub(crate) fn runtime(&self) -> Current<'_, Runtime> {
        self.runtime.get(|parents| parents.inherit(&self.base), |runtime| runtime.resume(&self.base))
    }

    /// A number of [the runtime](Self::runtime): in few instructions, except in a forked child.
    #[inline(always)]
    pub(crate) fn number(&self, number: impl Fn(&Runtime) -> u64) -> u64 {
        match self.runtime.first() {
            Some(runtime) => number(runtime),
            None => self.childs_number(number),
        }
    }

    #[cold]
    #[inline(never)]
    fn childs_number(&self, number: impl Fn(&Runtime) -> u64) -> u64 {
        number(&self.runtime())
    }

    /// Whether this process has anything of its own to flush or end.
    pub(crate) fn has_begun(&self) -> bool {
        self.runtime.peek().is_some()
    }

    /// Installs the application's own config unless there is one, and returns whether it did.
    pub(crate) fn give(&self, snapshot: Arc<ConfigSnapshot>) -> bool {
        self.runtime().give(&self.base, snapshot)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.runtime().is_closed()
    }

    /// The config for a new context.
    pub(crate) fn context_config(&self) -> Result<Handle<ConfigSnapshot>, ContextError> {
        if self.is_closed() {
            return Err(ContextError::Closed);
        }
        self.base.cell.handle().ok_or(ContextError::NotReady)
    }

    /// Hands a record to the tracker and waits for its verdict.
    pub(crate) async fn confirm(
        &self,
        snapshot: &ConfigSnapshot,
        event: TrackedEvent,
        deadline: Deadline,
        caller: &Caller,
    ) -> Result<Option<Verdict>, Refused> {
        let runtime = self.runtime();
        if let Some(tracker) = runtime.offline(&self.base) {
            return tracker.record(snapshot, event, runtime.is_closed()).map(Some);
        }
        let tracker = runtime.tracker_for(&self.base, snapshot, &event)?;
        drop(runtime);
        if self.would_block(caller) {
            return tracker.record(event).map(|()| None);
        }
        tracker.confirm(event, deadline, caller).await
    }

    /// Has visitor state written to the data store, if there is one.
    pub(crate) fn persist(&self) {
        if let Some(store) = self.runtime().store(&self.base) {
            store.write();
        }
    }

    /// Whether a data store may know more about visitors than memory does.
    pub(crate) const fn has_store(&self) -> bool {
        self.base.store.is_some()
    }

    /// Whether later contexts can rely on the epoch. Otherwise the tracker may accept a record again at any time: a data
    /// store can be erased, and marks with a time to live expire unnoticed.
    #[inline]
    pub(crate) fn remembers_records(&self) -> bool {
        self.base.store.is_none() && self.base.config.tuning.visitor_ttl.is_none()
    }

    /// Reads what is known about a visitor: what the data store has, with the changes in memory on top.
    /// **Waits** for the store, for `store_timeout` at most: a task awaits an asynchronous store itself, any
    /// other store is called on the store's threads. Also returns whether the store has answered.
    pub(crate) async fn recall_stored<R>(
        &self,
        visitor_id: &str,
        read: impl FnOnce(&mut VisitorState) -> R,
        caller: &Caller,
    ) -> (Option<R>, bool) {
        let _timer = Timer::start(WAIT, "call", "data_store");
        // Memory first: what is written in the meantime reaches the store before it leaves memory.
        let waiting = {
            let visitors = &self.runtime().visitors;
            let hash = visitors.hash(visitor_id);
            hash.and_then(|hash| visitors.open(hash).known(visitor_id).map(|(_, state, _)| state.clone()))
        };
        let (key, actor) = (state_key(visitor_id), self.runtime().store(&self.base));
        let limit = &mut caller.until(self.base.clock.deadline_after(self.base.config.tuning.store_timeout));
        let stored = match (caller, actor) {
            #[cfg(feature = "async")]
            (Caller::Task(_), actor) => match (&self.base.config.async_store, actor) {
                (Some(store), _) => self.ask(store.as_ref(), &key, limit).await,
                (None, Some(actor)) => actor.read(key, limit).await,
                (None, None) => None,
            },
            (_, Some(actor)) => actor.read(key, limit).await,
            (_, None) => None,
        };
        let answered = matches!(stored, Some(Ok(_)));
        (self.runtime().visitors.join(waiting, stored).as_mut().map(read), answered)
    }

    /// Asks an asynchronous store, turning panics into failures.
    #[cfg(feature = "async")]
    async fn ask(&self, store: &dyn AsyncDataStore, key: &str, limit: &mut Limit<'_>) -> Stored {
        const WHAT: &str = "the data store";
        let panicked = || StoreError::new("panicked");
        let Some(asked) = self.base.guard.caught(WHAT, || store.get(key)) else {
            return Some(Err(panicked()));
        };
        let mut asked = self.base.guard.keep(WHAT, asked);
        let answer = poll_fn(|context| {
            let polled = asked.caught(|asked| asked.as_mut().poll(context));
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

    /// A task waiting for this core.
    #[cfg(feature = "async")]
    pub(crate) fn task(&self) -> Caller {
        self.runtime().task()
    }

    /// A task waiting for the pump of this core. Only a pump asks for it: with threads, nobody would wake the task.
    pub(crate) fn turns_caller(&self) -> Caller {
        self.runtime().handover().map_or_else(|| Caller::Turns(Arc::default()), |handover| handover.caller())
    }

    /// Whether this caller would wait for turns that it may be the one to give.
    pub(crate) fn would_block(&self, caller: &Caller) -> bool {
        matches!(caller, Caller::Thread(_)) && self.runtime().handover().is_some()
    }

    /// In a pump: refuses everything from now on, without waiting for what is on its way, and calls no handler again.
    pub(crate) fn begin_close(&self) {
        let (runtime, now) = (self.runtime(), self.base.clock.deadline_after(Duration::ZERO));
        runtime.begin_close(now.clone(), false).stop_tracker();
        let no_thread = runtime.notifier.close(now);
        drop(no_thread);
        runtime.notifier.release();
    }

    /// How many of all dropped records no flush has reported yet; marks them as reported.
    pub(crate) fn take_unreported_drops(&self, dropped: u64) -> u64 {
        self.runtime().ledger.take_unreported_drops(dropped)
    }

    /// How many of all dropped records no flush has reported yet.
    pub(crate) fn unreported_drops(&self, dropped: u64) -> u64 {
        self.runtime().ledger.unreported_drops(dropped)
    }

    /// Has the tracker's records delivered, and visitor state written. `None` if the deadline passed, or the
    /// tracker ended, before the answer.
    pub(crate) async fn flush(
        &self,
        tracker: Option<&TrackerHandle>,
        reason: ReleaseReason,
        limit: &FlushLimit,
        caller: &Caller,
    ) -> Option<FlushReport> {
        let report = match tracker {
            Some(tracker) => tracker.flush(reason, &limit.deadline, limit.single_attempt, caller).await,
            None => Some(FlushReport::default()),
        };
        let store = self.runtime().started_store().cloned();
        if let Some(store) = store {
            store.drain(&mut caller.until(limit.deadline.clone())).await;
        }
        report
    }

    /// With an outbox, the tracker starts with the first config: there may be something to deliver already.
    pub(crate) fn recover(&self) {
        self.runtime().recover(&self.base);
    }

    /// The tracker, if anything was ever recorded.
    pub(crate) fn tracker(&self) -> Option<Arc<TrackerHandle>> {
        self.runtime().tracker().cloned()
    }

    /// The refresher, started when first needed; `None` without an SDK key, and if it would have to start on a
    /// closed core.
    pub(crate) fn refresher(&self) -> Result<Option<Arc<RefresherHandle>>, StartError> {
        self.runtime().refresher(&self.base)
    }

    /// Fetches one experience for a preview; `None` if the deadline passed, or there is no source to fetch it
    /// from.
    pub(crate) async fn fetch_experience(
        &self,
        experience_id: &str,
        limit: &mut Limit<'_>,
    ) -> Option<Previewed> {
        let previewer = self.runtime().previewer(&self.base)?;
        if limit.may_block() && self.runtime().handover().is_some() {
            return previewer.experience_at_once(experience_id);
        }
        previewer.experience(experience_id, limit).await
    }

    pub(crate) fn stats(&self) -> Stats {
        let (base, runtime) = (&self.base, self.runtime());
        let mut stats =
            runtime.tracker().map_or_else(|| runtime.ledger.read(Moment::default()), |it| it.stats());
        // Live counts, not those of the tracker's last step.
        stats.store_failures = runtime.visitors.store_failures();
        stats.store_timeouts += runtime.visitors.store_timeouts();
        stats.visitors_evicted = runtime.visitors.evicted();
        (stats.config_origin, stats.config_at) = base.cell.provenance().unzip();
        stats.panics = base.guard.panics();
        stats.events_missed = runtime.notifier.missed();
        stats.fork_generation = generation();
        stats
    }

    /// Ends the actors. Deliveries in flight get most of the time to finish by themselves, or none without
    /// `patience`; then calls are interrupted. Returns whether every actor has ended by the deadline.
    pub(crate) async fn close(&self, deadline: Deadline, patience: bool, caller: &Caller) -> bool {
        let _timer = Timer::start(WAIT, "call", "close");
        let is_first = !self.is_closed();
        let closing = self.runtime().begin_close(deadline, patience);
        closing.delivered(caller).await;
        self.runtime().interrupt();
        let ended = closing.ended(caller).await;
        if is_first {
            let Stats { recorded, recovered, deduplicated, delivered, withheld, pending, dropped, .. } =
                self.stats();
            logged!(
                info,
                {
                    recorded = recorded,
                    recovered = recovered,
                    deduplicated = deduplicated,
                    delivered = delivered,
                    withheld = withheld,
                    pending = pending,
                    dropped = dropped.total(),
                },
                "Convert has ended"
            );
        }
        ended
    }
}

#[cfg(test)]
#[cfg(feature = "async")]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use crate::adapters::InMemoryDataStore;
    use crate::{AsyncCore, ConversionOptions, RunOptions, SdkConfig};

    const PATIENCE: Duration = Duration::from_secs(30);

    /// The result of a call that must not wait.
    fn at_once<T>(call: impl Future<Output = T>) -> T {
        let mut context = Context::from_waker(Waker::noop());
        match pin!(call).poll(&mut context) {
            std::task::Poll::Ready(answer) => answer,
            std::task::Poll::Pending => panic!("it waits"),
        }
    }

    #[test]
    fn a_waiting_call_on_a_closed_core_starts_no_thread() {
        let config = SdkConfig::builder().data_json(include_str!("../tests/it/small.json"));
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
            at_once(visitor.track_conversion_confirmed("purchase", &plain, PATIENCE));
            let unseen = [("x", &crate::Attributes::new())];
            at_once(core.decide_many(&config, &checkout, unseen, &RunOptions::new(), &mut shown));
            assert_eq!(shown.len(), 1);
        }
        let core = core.to_sync();
        let runtime = core.shared().runtime();
        assert!(!runtime.has_timer());
    }
}
