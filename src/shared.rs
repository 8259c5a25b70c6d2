//! What a core and its contexts share: the snapshot, the memory, and the handles to the actors.

#[cfg(feature = "async")]
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
#[cfg(feature = "async")]
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use smol_str::SmolStr;

use crate::caught::PanicGuard;
use crate::config::{ConfigSnapshot, SnapshotCell};
#[cfg(feature = "async")]
use crate::engine::Stored;
use crate::engine::{
    ConfigOrigin, Envelope, FlushReport, Jitter, Ledger, Moment, Previewed, Refused, ReleaseReason, Stats,
    TrackedEvent, TrackerSettings, Verdict, state_key,
};
use crate::error::StartError;
use crate::flush::FlushLimit;
use crate::options::{Origin, SdkConfig};
#[cfg(feature = "async")]
use crate::ports::{AsyncDataStore, StoreError};
use crate::ports::{ConfigSource, DataStore, EventSink, Guarded, GuardedSink, GuardedSource};
#[cfg(feature = "async")]
use crate::threads::TimerHandle;
use crate::threads::{
    Caller, Current, Fetcher, Flusher, Limit, Notifier, PerProcess, PreviewerHandle, RefresherHandle,
    RefresherSettings, StoreHandle, StoreSettings, TrackerHandle, Worker, deadline_after, generation,
    start_apart,
};
use crate::visitors::{VisitorState, Visitors};

/// One SDK instance. Its actors end when the last core and context are dropped. What a forked child can keep
/// using is here; the rest is in the [`Runtime`], of which each process has its own.
pub(crate) struct Shared {
    pub(crate) config: SdkConfig,
    pub(crate) cell: Arc<SnapshotCell>,
    /// When the current config was given, fetched or confirmed.
    confirmed_at: Arc<ArcSwapOption<SystemTime>>,
    guard: PanicGuard,
    store: Option<Arc<dyn DataStore>>,
    network: Network,
    runtime: PerProcess<Runtime>,
}

/// Where configs come from and events go.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) source: Arc<dyn ConfigSource>,
    pub(crate) sink: Arc<dyn EventSink>,
}

/// Everything tied to one process: whatever contains a thread, a lock or a channel.
pub(crate) struct Runtime {
    pub(crate) visitors: Arc<Visitors>,
    pub(crate) notifier: Arc<Notifier>,
    network: Network,
    ledger: Arc<Ledger>,
    /// The tracker, started with the first record.
    tracker: OnceLock<Arc<TrackerHandle>>,
    /// The store actor, started when first needed, if there is a data store.
    store: OnceLock<Arc<StoreHandle>>,
    /// Held while a thread is started or stopped; never while evaluating or recording.
    control: Mutex<Control>,
    closed: AtomicBool,
    interrupted: AtomicBool,
    /// Enforces the deadlines of tasks; its thread starts with the first one that waits.
    #[cfg(feature = "async")]
    timer: TimerHandle,
}

#[derive(Default)]
struct Control {
    refresher: Option<Arc<RefresherHandle>>,
    previewer: Option<Arc<PreviewerHandle>>,
}

/// A close in progress: the actors to wait for.
struct Closing {
    /// Until when deliveries in flight may finish by themselves.
    soft: Instant,
    tracker: Option<Arc<TrackerHandle>>,
    refresher: Option<Arc<RefresherHandle>>,
    previewer: Option<Arc<PreviewerHandle>>,
}

impl Shared {
    pub(crate) fn new(config: SdkConfig, Network { source, sink }: Network) -> Self {
        let guard = PanicGuard::default();
        let max_response_bytes = config.transport.max_response_bytes;
        let network = Network {
            source: Arc::new(GuardedSource::new(source, guard.clone(), max_response_bytes)),
            sink: Arc::new(GuardedSink::new(sink, guard.clone())),
        };
        let guarded = |store| Arc::new(Guarded { store, guard: guard.clone() }) as Arc<dyn DataStore>;
        let store = config.data_store.clone().map(guarded);
        let tuning = &config.tuning;
        let visitors = Visitors::new(tuning.max_visitors, tuning.visitor_ttl, store.is_some())
            .with_max_bytes(tuning.max_visitor_bytes.get());
        let runtime = Runtime::new(visitors, Notifier::new(guard.clone()), network.clone(), false);
        Self {
            config,
            cell: Arc::default(),
            confirmed_at: Arc::default(),
            guard,
            store,
            network,
            runtime: PerProcess::new(runtime),
        }
    }

    /// This process's runtime. A forked child creates its own on first use: an empty pipeline and the
    /// parent's memory. Nothing that belongs to the parent is waited for, ended or dropped.
    pub(crate) fn runtime(&self) -> Current<'_, Runtime> {
        self.runtime.get(|parents| self.inherit(parents), |runtime| self.resume(runtime))
    }

    /// Whether this process has anything of its own to flush or end.
    pub(crate) fn has_begun(&self) -> bool {
        self.runtime.peek().is_some()
    }

    fn inherit(&self, parents: &Runtime) -> Runtime {
        self.network.source.after_fork();
        self.network.sink.after_fork();
        if let Some(store) = &self.store {
            store.after_fork();
        }
        let closed = parents.closed.load(Ordering::Acquire);
        let notifier = parents.notifier.inherit(closed);
        Runtime::new(parents.visitors.inherit(), notifier, self.network.clone(), closed)
    }

    /// Starts what a child must not put off until it is needed: the handlers, and the refresher if a policy
    /// keeps the config fresh.
    fn resume(&self, runtime: &Runtime) {
        runtime.notifier.resume();
        if self.config.tuning.refresh.is_some()
            && self.cell.is_set()
            && let Err(error) = self.start_refresher(runtime)
        {
            logged!(error, "the config will not be refreshed: {error}");
        }
    }

    /// Installs the application's own config, and returns whether it is the first.
    pub(crate) fn give(&self, snapshot: Arc<ConfigSnapshot>) -> bool {
        let before = self.cell.publish(snapshot, None);
        self.confirmed_at.store(Some(Arc::new(SystemTime::now())));
        before.is_none()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.runtime().is_closed()
    }

    /// Hands a record to the tracker without waiting; the first one starts it.
    #[inline]
    pub(crate) fn record(&self, snapshot: &ConfigSnapshot, event: TrackedEvent) -> Result<(), Refused> {
        let runtime = self.runtime();
        match runtime.tracker.get() {
            Some(tracker) => tracker.record(event),
            None => self.tracker_for(&runtime, snapshot, &event)?.record(event),
        }
    }

    /// Hands a record to the tracker and waits for its verdict.
    pub(crate) async fn confirm(
        &self,
        snapshot: &ConfigSnapshot,
        event: TrackedEvent,
        deadline: Instant,
        caller: &Caller,
    ) -> Result<Option<Verdict>, Refused> {
        let tracker = self.tracker_for(&self.runtime(), snapshot, &event)?;
        tracker.confirm(event, deadline, caller).await
    }

    /// Has visitor state written to the data store, if there is one.
    pub(crate) fn persist(&self) {
        if let Some(store) = self.store_actor(&self.runtime()) {
            store.write();
        }
    }

    /// Whether a data store may know more about visitors than memory does.
    pub(crate) const fn has_store(&self) -> bool {
        self.store.is_some()
    }

    /// A number that changes whenever the tracker may accept an exposure again: one was lost, or a mark was
    /// forgotten. `None` if it may do so at any time: a data store can be erased, and marks with a time to
    /// live expire unnoticed. A forked child begins another epoch, as it has no marks.
    #[inline]
    pub(crate) fn exposure_epoch(&self) -> Option<u64> {
        let lasts = self.store.is_none() && self.config.tuning.visitor_ttl.is_none();
        lasts.then(|| generation() << 48 | self.runtime().ledger.exposures_lost())
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
        // Memory first: what is written in the meantime reaches the store before it leaves memory.
        let waiting = {
            let visitors = &self.runtime().visitors;
            let hash = visitors.hash(visitor_id);
            hash.and_then(|hash| visitors.in_memory(visitor_id, hash, |state| state.clone()))
        };
        let (key, actor) = (state_key(visitor_id), self.store_actor(&self.runtime()));
        let limit = &mut caller.until(deadline_after(self.config.tuning.store_timeout));
        let stored = match (caller, actor) {
            #[cfg(feature = "async")]
            (Caller::Task(_), actor) => match (&self.config.async_store, actor) {
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
        let Some(mut asked) = self.guard.caught(WHAT, || store.get(key)) else {
            return Some(Err(panicked()));
        };
        let answer = poll_fn(|context| {
            let polled = self.guard.caught(WHAT, || asked.as_mut().poll(context));
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
        Caller::Task(self.runtime().timer.clone())
    }

    /// The store actor, started when first needed; `None` without a data store, on a core closed before that,
    /// and if no thread can be started.
    fn store_actor(&self, runtime: &Runtime) -> Option<Arc<StoreHandle>> {
        let store = self.store.as_ref()?;
        if let Some(handle) = runtime.store.get() {
            return Some(Arc::clone(handle));
        }
        let _control = runtime.control();
        if runtime.is_closed() {
            return None;
        }
        self.start_store(runtime, store)
    }

    /// Called with the lock held.
    fn start_store(&self, runtime: &Runtime, store: &Arc<dyn DataStore>) -> Option<Arc<StoreHandle>> {
        if let Some(handle) = runtime.store.get() {
            return Some(Arc::clone(handle));
        }
        let tuning = &self.config.tuning;
        let settings = StoreSettings {
            store: Arc::clone(store),
            visitors: Arc::clone(&runtime.visitors),
            notifier: Arc::clone(&runtime.notifier),
            timeout: tuning.store_timeout,
            lease: tuning.delivery.lease(),
            ttl: tuning.visitor_ttl,
        };
        match StoreHandle::start(settings) {
            Ok(handle) => Some(Arc::clone(runtime.store.get_or_init(|| Arc::new(handle)))),
            Err(error) => {
                logged!(error, "the data store is not used: {error}");
                None
            }
        }
    }

    /// How many of all dropped records no flush has reported yet; marks them as reported.
    pub(crate) fn take_unreported_drops(&self, dropped: u64) -> u64 {
        self.runtime().ledger.take_unreported_drops(dropped)
    }

    /// Has the tracker's records delivered, and visitor state written. `None` if the deadline passed, or the
    /// tracker ended, before the answer.
    pub(crate) async fn flush(
        &self,
        tracker: Option<&TrackerHandle>,
        reason: ReleaseReason,
        limit: FlushLimit,
        caller: &Caller,
    ) -> Option<FlushReport> {
        let report = match tracker {
            Some(tracker) => tracker.flush(reason, limit.deadline, limit.single_attempt, caller).await,
            None => Some(FlushReport::default()),
        };
        let store = self.runtime().store.get().cloned();
        if let Some(store) = store {
            store.drain(&mut caller.until(limit.deadline)).await;
        }
        report
    }

    /// The tracker, if anything was ever recorded.
    pub(crate) fn tracker(&self) -> Option<Arc<TrackerHandle>> {
        self.runtime().tracker.get().cloned()
    }

    /// The refresher, started when first needed; `None` with direct data, and if it would have to start on a
    /// closed core.
    pub(crate) fn refresher(&self) -> Result<Option<Arc<RefresherHandle>>, StartError> {
        self.start_refresher(&self.runtime())
    }

    fn start_refresher(&self, runtime: &Runtime) -> Result<Option<Arc<RefresherHandle>>, StartError> {
        self.started(
            runtime,
            |control| &mut control.refresher,
            |fetcher| {
                let settings = RefresherSettings {
                    cell: Arc::clone(&self.cell),
                    confirmed_at: Arc::clone(&self.confirmed_at),
                    notifier: Arc::clone(&runtime.notifier),
                    jitter: Jitter::random(),
                };
                RefresherHandle::start(fetcher, settings)
            },
        )
    }

    /// Fetches one experience for a preview; `None` if the deadline passed, or there is no source to fetch it
    /// from.
    pub(crate) async fn fetch_experience(
        &self,
        experience_id: &str,
        limit: &mut Limit<'_>,
    ) -> Option<Previewed> {
        self.previewer()?.experience(experience_id, limit).await
    }

    /// The previewer, started when first needed.
    fn previewer(&self) -> Option<Arc<PreviewerHandle>> {
        let started = self.started(&self.runtime(), |control| &mut control.previewer, PreviewerHandle::start);
        started.inspect_err(|error| logged!(error, "no preview: {error}")).ok().flatten()
    }

    /// An actor that fetches, started when first needed; `None` with direct data, and if it would have to
    /// start on a closed core.
    fn started<H>(
        &self,
        runtime: &Runtime,
        place: impl FnOnce(&mut Control) -> &mut Option<Arc<H>>,
        start: impl FnOnce(Fetcher) -> Result<H, StartError>,
    ) -> Result<Option<Arc<H>>, StartError> {
        let Origin::SdkKey(key) = &self.config.origin else { return Ok(None) };
        let mut control = runtime.control();
        let place = place(&mut control);
        if let Some(handle) = place {
            return Ok(Some(Arc::clone(handle)));
        }
        if runtime.is_closed() {
            return Ok(None);
        }
        let fetcher = Fetcher {
            source: Arc::clone(&self.network.source),
            sdk_key: key.clone(),
            tuning: self.config.tuning.clone(),
            timeout: self.config.transport.total_timeout,
            compile: self.config.compile,
            guard: self.guard.clone(),
        };
        let handle = Arc::new(start(fetcher)?);
        *place = Some(Arc::clone(&handle));
        Ok(Some(handle))
    }

    pub(crate) fn stats(&self) -> Stats {
        let runtime = self.runtime();
        let mut stats =
            runtime.tracker.get().map_or_else(|| runtime.ledger.read(Moment::default()), |it| it.stats());
        // Live counts, not those of the tracker's last step.
        stats.store_failures = runtime.visitors.store_failures();
        stats.store_timeouts += runtime.visitors.store_timeouts();
        stats.visitors_evicted = runtime.visitors.evicted();
        stats.config_at = self.confirmed_at.load().as_deref().copied();
        stats.config_origin = stats.config_at.map(|_| match self.config.origin {
            Origin::SdkKey(_) => ConfigOrigin::Fetched,
            Origin::Direct(_) => ConfigOrigin::Direct,
        });
        stats.panics = self.guard.panics();
        stats.events_missed = runtime.notifier.missed();
        stats.fork_generation = generation();
        stats
    }

    /// Ends the actors. Deliveries in flight get most of the time to finish by themselves, or none without
    /// `patience`; then calls are interrupted. Returns whether every thread has ended by the deadline.
    pub(crate) async fn close(&self, deadline: Instant, patience: bool, caller: &Caller) -> bool {
        let closing = self.runtime().begin_close(deadline, patience);
        if let Some(tracker) = &closing.tracker {
            tracker.close(&mut caller.until(closing.soft)).await;
        }
        self.runtime().interrupt();
        let mut limit = caller.until(deadline);
        let mut ended = true;
        let tracker = closing.tracker.iter().flat_map(|tracker| tracker.workers());
        for worker in closing.fetchers().chain(tracker) {
            // Every thread is waited for, even after one that is late.
            ended &= worker.join(&mut limit).await;
        }
        let store = self.runtime().store.get().cloned();
        if let Some(store) = store {
            // The remaining time is for the handlers of the events it announces.
            let soft = deadline - last_resort(deadline.saturating_duration_since(Instant::now()));
            ended &= store.close(soft, &mut limit).await;
        }
        // Last, since it announces what the others do.
        let events = self.runtime().notifier.close(deadline);
        if let Some(events) = events {
            ended &= events.join(&mut limit).await;
        }
        ended
    }

    /// The tracker, started when first needed; if that fails, the record is counted as refused.
    #[cold]
    fn tracker_for(
        &self,
        runtime: &Runtime,
        snapshot: &ConfigSnapshot,
        event: &TrackedEvent,
    ) -> Result<Arc<TrackerHandle>, Refused> {
        let counted = |refused: &Refused| {
            runtime.ledger.count_offered();
            runtime.ledger.count_refused(*refused, event.class());
        };
        self.start_tracker(runtime, snapshot).inspect_err(counted)
    }

    fn start_tracker(
        &self,
        runtime: &Runtime,
        snapshot: &ConfigSnapshot,
    ) -> Result<Arc<TrackerHandle>, Refused> {
        let _control = runtime.control();
        if let Some(tracker) = runtime.tracker.get() {
            return Ok(Arc::clone(tracker));
        }
        if runtime.is_closed() {
            return Err(Refused::Closed);
        }
        let tracker = self.spawn_tracker(runtime, snapshot).map_err(|error| {
            logged!(error, "tracking is disabled: {error}");
            Refused::Closed
        })?;
        Ok(Arc::clone(runtime.tracker.get_or_init(|| Arc::new(tracker))))
    }

    fn spawn_tracker(
        &self,
        runtime: &Runtime,
        snapshot: &ConfigSnapshot,
    ) -> Result<TrackerHandle, StartError> {
        let tuning = &self.config.tuning;
        let store = self.store.as_ref().and_then(|store| self.start_store(runtime, store));
        let settings = TrackerSettings {
            batch_size: tuning.batch_size,
            auto_flush_interval: tuning.auto_flush_interval,
            delivery: tuning.delivery.clone(),
            max_visitors: tuning.max_visitors,
            visitor_ttl: tuning.visitor_ttl,
            store: store.is_some(),
            jitter: Jitter::random(),
        };
        let flusher = Flusher {
            sink: Arc::clone(&self.network.sink),
            envelope: Envelope {
                account_id: SmolStr::new(snapshot.account_id()),
                project_id: SmolStr::new(snapshot.project_id()),
                enrich_data: self.store.is_none(),
            },
            sdk_key: match &self.config.origin {
                Origin::SdkKey(key) => Some(key.clone()),
                Origin::Direct(_) => None,
            },
            timeout: self.config.transport.total_timeout,
            guard: self.guard.clone(),
        };
        TrackerHandle::start(
            settings,
            flusher,
            store,
            Arc::clone(&runtime.notifier),
            Arc::clone(&runtime.ledger),
        )
    }
}

impl Runtime {
    fn new(visitors: Visitors, notifier: Notifier, network: Network, closed: bool) -> Self {
        Self {
            visitors: Arc::new(visitors),
            notifier: Arc::new(notifier),
            network,
            ledger: Arc::default(),
            tracker: OnceLock::new(),
            store: OnceLock::new(),
            control: Mutex::default(),
            closed: AtomicBool::new(closed),
            interrupted: AtomicBool::new(false),
            #[cfg(feature = "async")]
            timer: TimerHandle::default(),
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The part of a close that does not wait.
    fn begin_close(&self, deadline: Instant, patience: bool) -> Closing {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let soft = if patience { deadline - last_resort(left) } else { now };
        let closing = {
            // Under the lock, so that every thread that was started is seen here.
            let control = self.control();
            self.closed.store(true, Ordering::Release);
            let (refresher, previewer) = (control.refresher.clone(), control.previewer.clone());
            Closing { soft, tracker: self.tracker.get().cloned(), refresher, previewer }
        };
        // Before the interrupt, after which they would go on to the next request.
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

    /// Cancels the calls in progress, once, if there can be any. A source or a sink may take long to do so,
    /// or never return, so nobody waits for it.
    fn interrupt(&self) {
        let delivers = self.tracker.get().is_some();
        let fetches = {
            let control = self.control();
            control.refresher.is_some() || control.previewer.is_some()
        };
        if !(delivers || fetches) || self.interrupted.swap(true, Ordering::AcqRel) {
            return;
        }
        let Network { source, sink } = self.network.clone();
        if delivers {
            start_apart("convert-interrupt", move || sink.interrupt());
        }
        if fetches {
            start_apart("convert-interrupt", move || source.interrupt());
        }
    }

    /// A panic elsewhere cannot leave a handle half-made, so a poisoned lock is still good.
    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Closing {
    /// The threads that fetch.
    fn fetchers(&self) -> impl Iterator<Item = &Worker> {
        let refresher = self.refresher.iter().map(|refresher| refresher.worker());
        refresher.chain(self.previewer.iter().map(|previewer| previewer.worker()))
    }
}

/// How much of a close's time is reserved for joining threads whose calls it has interrupted.
pub(crate) fn last_resort(time: Duration) -> Duration {
    const MOST: Duration = Duration::from_millis(500);
    (time / 4).min(MOST)
}

/// The last core and context have been dropped: the inboxes disconnect, and calls in progress are interrupted
/// so that the threads end soon. Nobody waits for them. Does not run in a child that never used the core.
impl Drop for Runtime {
    fn drop(&mut self) {
        self.interrupt();
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
        assert!(!runtime.timer.has_started());
    }
}
