//! The entry point: one SDK instance, from its config to its threads.

mod builder;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use self::builder::CoreBuilder;

use crate::attributes::Attributes;
use crate::config::{ConfigSnapshot, load, tell_ready};
use crate::context::{Context, RunOptions, absent, decide_unseen, recall_blocking};
use crate::decide::Undecided;
use crate::engine::{FlushReport, LifecycleEvent, LifecycleEventKind, RefreshOutcome, ReleaseReason, Stats};
use crate::error::{ContextError, InitializeError, LoadError, LookupError, RefreshError};
use crate::flush::{FlushError, FlushLimit, FlushOptions};
use crate::handles::sealed::Find;
use crate::handles::{ExperienceHandle, FeatureHandle, GoalHandle, KeyOr};
use crate::options::{Origin, SdkConfig};
use crate::results::ExperienceResult;
use crate::runtime::last_resort;
use crate::shared::Shared;
use crate::stripes::Striped;
use crate::telemetry::{Timer, WAIT};
use crate::threads::{Caller, Deadline, Subscription, blocking, generation, start_apart};

/// One SDK instance. Cheap to clone, `Send + Sync`, and suitable for a `static`; every clone is the same instance.
///
/// The only calls that wait are [`initialize`](Self::initialize),
/// [`refresh_now_within`](Self::refresh_now_within), [`flush`](Self::flush), [`close`](Self::close)
/// and [`shutdown`](Self::shutdown), and with a data store [`create_context`](Self::create_context) and
/// [`decide_many`](Self::decide_many). The threads (`convert-refresher`, `convert-tracker`,
/// `convert-flusher`, `convert-events` for handlers, `convert-preview` for previews of experiences that are not in
/// the config, `convert-store` and `convert-store-io` for a data store, and a few that live for one lookup, connect,
/// interrupt, close or exit; Linux shows 15 bytes of a name) start when first needed. They end with
/// [`close`](Self::close), or soon after the last core and context are dropped.
///
/// **Dropping a core delivers nothing**: requests in flight may finish if the process lives long enough; everything
/// else is dropped, and the loss is logged. When `main` returns, the process is usually gone before either happens.
/// End with [`shutdown`](Self::shutdown), keep a [`FlushGuard`](crate::FlushGuard) in `main`, or hold the core in a
/// `static` and call [`register_exit_flush`](crate::register_exit_flush).
///
/// # Forks
/// A child of `fork` can use the core, its clones and its contexts as they are, without any call. It inherits the
/// config, the visitor memory and the handlers; at its first use it creates the rest: an empty queue, a zeroed ledger
/// ([`Stats::fork_generation`]), its own threads and connections. Conversions are deduplicated within a process, or
/// among all processes that share a data store. The parent still delivers what it recorded. `docs/processes.md` in
/// the repository has the details.
///
/// ```
/// use std::time::Duration;
/// use convert_sdk::{Core, SdkConfig, attributes};
///
/// # let config_json = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/small.json"));
/// let core = Core::new(SdkConfig::builder().data_json(config_json).build()?);
/// core.initialize()?;
///
/// let visitor = core.create_context("visitor-1", attributes! { "plan" => "pro" })?;
/// if let Ok(result) = visitor.run_experience("checkout") {
///     println!("{} shows {}", result.experience_key(), result.variation_key());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Core {
    shared: Arc<Striped<Shared>>,
}

/// A close in progress.
struct Unfinished<'a> {
    shared: &'a Arc<Shared>,
    deadline: Deadline,
    patience: bool,
    generation: u64,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // In a forked child it belongs to the parent.
        if self.generation != generation() {
            return;
        }
        if self.shared.runtime().handover().is_some() {
            // The turns that go on end it.
            self.shared.begin_close();
        } else {
            let (shared, deadline, patience) =
                (Arc::clone(self.shared), self.deadline.clone(), self.patience);
            start_apart("convert-close", move || {
                blocking(async |caller| shared.close(deadline, patience, caller).await);
            });
        }
    }
}

impl Core {
    /// The longest that [`close`](Self::close) may take.
    pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

    /// An instance with the built-in client, `HttpsClient`. Starts no threads and uses no network. Without the
    /// feature `https` there is no such client, and this core can neither fetch nor deliver
    /// ([`TransportError::NoClient`](crate::ports::TransportError::NoClient)).
    #[must_use]
    pub fn new(config: SdkConfig) -> Self {
        let (core, _) = Self::builder(config).start();
        core
    }

    /// Starts building an instance with the application's own source, sink or handlers.
    pub const fn builder(config: SdkConfig) -> CoreBuilder {
        CoreBuilder::of(config)
    }

    /// Loads the first config: compiles direct data, or fetches by SDK key and **waits** for it, up to the configured
    /// `initialize_timeout` (default 10 s); if the endpoint does not answer, it starts from the
    /// [config cache](crate::SdkConfigBuilder::config_cache), if there is one. Concurrent callers share one fetch. On a
    /// ready core this does nothing.
    ///
    /// One attempt: a failed fetch is returned at once, not repeated. To wait for a server that is down, call it again.
    ///
    /// # Errors
    /// The config cannot be fetched or is invalid, the timeout passed, the core is closed, or a thread could not be
    /// started.
    pub fn initialize(&self) -> Result<(), InitializeError> {
        self.initialize_within(self.shared.base.config.tuning.initialize_timeout)
    }

    /// Like [`initialize`](Self::initialize), with another timeout. A fetch that finishes later still makes the core
    /// ready.
    ///
    /// # Errors
    /// Like [`initialize`](Self::initialize).
    pub fn initialize_within(&self, timeout: Duration) -> Result<(), InitializeError> {
        blocking(async |caller| self.get_ready(timeout, caller).await)
    }

    /// [`initialize_within`](Self::initialize_within) as a future, for both surfaces.
    pub(crate) async fn get_ready(&self, timeout: Duration, caller: &Caller) -> Result<(), InitializeError> {
        let ready = self.become_ready(timeout, caller).await;
        if ready.is_ok() {
            self.shared.recover();
        }
        ready
    }

    async fn become_ready(&self, timeout: Duration, caller: &Caller) -> Result<(), InitializeError> {
        let (shared, limit) = (&self.shared, caller.until(self.deadline_after(timeout)));
        if shared.is_closed() {
            return Err(InitializeError::Closed);
        }
        if self.is_ready() {
            return Ok(());
        }
        if let Some(text) = shared.base.config.origin.direct() {
            self.initialize_directly(text)?;
            // Follows the key, if there is one.
            shared.refresher()?;
            return Ok(());
        }
        if matches!(shared.base.config.origin, Origin::Nowhere) {
            return Err(LoadError::Offline.into());
        }
        if shared.would_block(caller) {
            return Err(InitializeError::WouldBlock);
        }
        let _timer = Timer::start(WAIT, "call", "initialize");
        // With a key there is a refresher, unless the core was closed meanwhile.
        let refresher = shared.refresher()?.ok_or(InitializeError::Closed)?;
        let upkeep = &shared.base.config.upkeep;
        let patience = self.deadline_after(upkeep.patience.min(timeout / 2));
        let until_adopted = upkeep.cache.as_ref().map(|_| caller.until(patience));
        let mut answer = None;
        for mut limit in until_adopted.into_iter().chain([limit]) {
            if answer.is_none() && !self.is_ready() {
                answer = refresher.initialize(&mut limit).await;
                if answer.is_none() {
                    refresher.adopt_standby();
                }
            }
        }
        match answer {
            Some(Ok(_)) => Ok(()),
            // No answer means a timeout or a close, as does a failure caused by the close's interrupt.
            _ if shared.is_closed() => Err(InitializeError::Closed),
            // Whatever the outcome of this caller's own request.
            _ if self.is_ready() => Ok(()),
            Some(Err(error)) => Err(error.into()),
            None => Err(InitializeError::Timeout),
        }
    }

    /// Whether the core has a config.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.base.cell.is_set()
    }

    /// The current config; `None` until the core is ready.
    ///
    /// ```
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let config = core.current_config().ok_or("not ready")?;
    /// assert_eq!(config.experience_keys().collect::<Vec<_>>(), ["checkout", "welcome-back"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn current_config(&self) -> Option<Arc<ConfigSnapshot>> {
        self.shared.base.cell.load()
    }

    /// A context for one visitor, which keeps the current config for its whole life.
    ///
    /// The attributes given here apply to this context only, merged over those set by
    /// [`set_attributes`](Context::set_attributes) in earlier ones. Report keys among them (`country`, `browser`, …)
    /// become [`segments`](Context::segments), which **are remembered**: the visitor's later contexts start with
    /// them.
    ///
    /// With a data store this reads from it, on one of the SDK's threads, and **waits** for the answer up to
    /// [`store_timeout`](crate::SdkConfigBuilder::store_timeout) (default 1 s); if it is late, the context starts
    /// with what is in memory. An empty visitor id is accepted but decides nothing, as in the official SDKs.
    ///
    /// ```
    /// use convert_sdk::attributes;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let visitor = core
    ///     .create_context("visitor-4", attributes! { "age" => 30, "country" => "GR" })?
    ///     .with_location(attributes! { "url" => "https://shop.example.com/" });
    /// assert_eq!(visitor.visitor_id(), "visitor-4");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The core is not ready, or closed.
    pub fn create_context(
        &self,
        visitor_id: impl AsRef<str>,
        attributes: impl Into<Attributes>,
    ) -> Result<Context, ContextError> {
        Context::new(&self.shared, visitor_id.as_ref(), attributes.into())
    }

    /// A handle to an experience, so that its key is looked up once instead of in every evaluation.
    ///
    /// ```
    /// use convert_sdk::attributes;
    /// use convert_sdk::error::LookupError;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    ///
    /// let checkout = core.experience("checkout")?;
    /// let visitor = core.create_context("visitor-4", attributes! { "age" => 30 })?;
    /// assert!(visitor.run_experience(&checkout).is_ok());
    /// assert_eq!(core.experience("no-such-key").unwrap_err(), LookupError::NotInConfig);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The core is not ready, or the current config has no such key.
    pub fn experience(&self, key: &str) -> Result<ExperienceHandle, LookupError> {
        let handle = ExperienceHandle::new(key);
        self.in_config(|config| handle.position(config))?;
        Ok(handle)
    }

    /// A handle to a feature; see [`experience`](Self::experience).
    ///
    /// # Errors
    /// Like [`experience`](Self::experience).
    pub fn feature(&self, key: &str) -> Result<FeatureHandle, LookupError> {
        let handle = FeatureHandle::new(key);
        self.in_config(|config| handle.position(config))?;
        Ok(handle)
    }

    /// A handle to a goal; see [`experience`](Self::experience).
    ///
    /// # Errors
    /// Like [`experience`](Self::experience).
    pub fn goal(&self, key: &str) -> Result<GoalHandle, LookupError> {
        let handle = GoalHandle::new(key);
        self.in_config(|config| handle.position(config))?;
        Ok(handle)
    }

    /// Decides one experience for many visitors with one config, into the caller's buffer, which is cleared first.
    /// Each result is that of [`Context::run_experience_with`] on a new context of the visitor with these attributes,
    /// without tracking and storage:
    ///
    /// - what is remembered about a visitor (decisions, attributes, segments) counts; with a data store each visitor
    ///   is read from it in turn, **waiting** up to `store_timeout` for each;
    /// - nothing is remembered or recorded, not even segments, whatever the options say. When a visitor sees the
    ///   variation, [`Context::run_experience`] gives the same one and records the exposure;
    /// - the options' attributes and location attributes apply to every visitor.
    ///
    /// Allocates nothing for a visitor without remembered attributes or segments, unless the options have attributes
    /// or the buffer has to grow.
    ///
    /// ```
    /// use convert_sdk::{RunOptions, Undecided, attributes};
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let checkout = core.experience("checkout")?;
    /// let players = [("visitor-4", attributes! { "age" => 30 }), ("visitor-5", attributes! { "age" => 12 })];
    ///
    /// let config = core.current_config().ok_or("not ready")?;
    /// let mut shown = Vec::new();
    /// let visitors = players.iter().map(|(id, attributes)| (id, attributes));
    /// core.decide_many(&config, &checkout, visitors, &RunOptions::new(), &mut shown);
    /// assert!(shown[0].is_ok_and(|result| result.variation_key() == "one-page"));
    /// assert_eq!(shown[1].unwrap_err(), Undecided::Audience);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn decide_many<'c, 'a, V: AsRef<str>>(
        &self,
        config: &'c ConfigSnapshot,
        experience: &(impl KeyOr<ExperienceHandle> + ?Sized),
        visitors: impl IntoIterator<Item = (V, &'a Attributes)>,
        options: &RunOptions,
        results: &mut Vec<Result<ExperienceResult<'c>, Undecided>>,
    ) {
        results.clear();
        let position = experience.position(config);
        results.extend(visitors.into_iter().map(|(visitor_id, attributes)| {
            let position = position.ok_or_else(|| absent(config, experience.key()))?;
            let visitor = (visitor_id.as_ref(), attributes);
            let remembered = recall_blocking(&self.shared, config, visitor.0);
            decide_unseen(&self.shared, config, position, visitor, remembered, options)
        }));
    }

    /// Calls `handler` for every lifecycle event of one kind, on the thread `convert-events`. A handler that panics
    /// or blocks delays only other handlers; events beyond 1,024 queued ones are dropped and counted in
    /// [`Stats::events_missed`]. A close lets queued events be handled until its deadline; after that, and on a
    /// closed core, no handler is called. A handler that owns a clone of the core keeps it alive until it is closed.
    ///
    /// ```
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// use convert_sdk::events::LifecycleEventKind;
    ///
    /// core.on(LifecycleEventKind::ConfigUpdated, |event| println!("{event:?}"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn on(
        &self,
        kind: LifecycleEventKind,
        handler: impl FnMut(&LifecycleEvent) + Send + 'static,
    ) -> io::Result<()> {
        Ok(self.shared.runtime().notifier.on(kind, Box::new(handler))?)
    }

    /// Every lifecycle event from now on, to be read at any time; needs no thread.
    ///
    /// ```
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// use convert_sdk::events::LifecycleEventKind;
    ///
    /// let mut events = core.subscribe();
    /// core.create_context("visitor-4", ())?.diagnose_goal("no-such-goal");
    /// assert_eq!(events.next().map(|event| event.kind()), Some(LifecycleEventKind::Diagnostic));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        self.shared.runtime().notifier.subscribe()
    }

    /// **Waits** up to `timeout` until everything recorded before this call is delivered. Attempts delivery at once,
    /// even while the SDK is backing off from a failing endpoint, and retries until the deadline; a `Retry-After`
    /// that ends before the deadline is respected, except with a refusal of the events themselves or of their number:
    /// a smaller request follows at once. With nothing pending there is no delivery to wait for; with a data
    /// store the call still waits, up to `timeout`, until visitor state has been written to it and it has been told
    /// of deliveries and drops: a store that hangs in a write takes the whole time. Unwritten state is kept and
    /// written later; it does not fail the flush, but is reported in the log and by
    /// [`DataStoreQueueReleased`](crate::events::LifecycleEvent::DataStoreQueueReleased). See
    /// [`shutdown`](Self::shutdown) for how to choose a timeout.
    ///
    /// ```
    /// use std::time::Duration;
    /// use convert_sdk::FlushError;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/small.rs"));
    /// match core.flush(Duration::from_secs(5)) {
    ///     Ok(report) => println!("{} delivered", report.delivered),
    ///     Err(FlushError::Timeout(report)) => println!("{} still pending", report.pending),
    ///     Err(error) => println!("{error}"),
    /// }
    /// ```
    ///
    /// # Errors
    /// The deadline passed, the core is closed, or a record was lost: one that the flush covers, or one dropped since
    /// the last flush that reported. Except after a close, records that are not dropped are kept and retried.
    pub fn flush(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        self.flush_with(FlushOptions::within(timeout))
    }

    /// Like [`flush`](Self::flush), with options; **waits** up to their time limit.
    ///
    /// # Errors
    /// Like [`flush`](Self::flush); with a single attempt, also that it failed.
    pub fn flush_with(&self, options: FlushOptions) -> Result<FlushReport, FlushError> {
        blocking(async |caller| self.flush_by(ReleaseReason::Explicit, self.limit(options), caller).await)
    }

    /// Requests a fetch of the config and returns at once. A fetch in progress serves the request. Without an SDK key,
    /// offline, or on a closed core it does nothing but log a warning.
    pub fn refresh_now(&self) {
        match self.shared.refresher() {
            _ if self.shared.is_closed() => logged!(warn, limited, "refresh_now after close does nothing"),
            Ok(Some(refresher)) => refresher.refresh_soon(),
            Ok(None) => logged!(warn, limited, "refresh_now does nothing without an SDK key, or offline"),
            Err(error) => logged!(error, "refresh_now: {error}"),
        }
    }

    /// Fetches the config and **waits** up to `timeout` for the result. A fetch in progress is awaited instead of
    /// starting another, so concurrent callers share one. If the timeout passes before a fetch has started, none is
    /// made. Existing contexts keep their config.
    ///
    /// ```
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// use convert_sdk::error::RefreshError;
    ///
    /// // This config was given directly, so there is nowhere to fetch it from.
    /// let refused = core.refresh_now_within(std::time::Duration::from_secs(5));
    /// assert_eq!(refused, Err(RefreshError::DirectConfig));
    /// ```
    ///
    /// # Errors
    /// The config was neither replaced nor confirmed as current.
    pub fn refresh_now_within(&self, timeout: Duration) -> Result<RefreshOutcome, RefreshError> {
        blocking(async |caller| self.refresh(timeout, caller).await)
    }

    /// [`refresh_now_within`](Self::refresh_now_within) as a future, for both surfaces.
    pub(crate) async fn refresh(
        &self,
        timeout: Duration,
        caller: &Caller,
    ) -> Result<RefreshOutcome, RefreshError> {
        let mut limit = caller.until(self.deadline_after(timeout));
        if self.shared.is_closed() {
            return Err(RefreshError::Closed);
        }
        let Some(refresher) = self.shared.refresher()? else {
            return Err(match self.shared.base.config.origin {
                _ if self.shared.is_closed() => RefreshError::Closed,
                Origin::Nowhere => LoadError::Offline.into(),
                _ => RefreshError::DirectConfig,
            });
        };
        if self.shared.would_block(caller) {
            return Err(RefreshError::WouldBlock);
        }
        let _timer = Timer::start(WAIT, "call", "refresh");
        match refresher.refresh(&mut limit).await {
            Some(Ok(outcome)) => Ok(outcome),
            // No answer means a timeout or a close, as does a failure caused by the close's interrupt.
            _ if self.shared.is_closed() => Err(RefreshError::Closed),
            Some(Err(error)) => Err(error.into()),
            None => Err(RefreshError::Timeout),
        }
    }

    /// The current ledger.
    ///
    /// ```
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let stats = core.stats();
    /// assert!(stats.is_balanced());
    /// println!("{} delivered, {} pending", stats.delivered, stats.pending);
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Stops the SDK **without** a flush, as in the official Python SDK: requests in flight may finish, nothing new
    /// starts, and everything else is dropped, counted and logged. **Waits** up to
    /// [`CLOSE_TIMEOUT`](Self::CLOSE_TIMEOUT) for the threads, and for visitor state to be written to the data store:
    /// a store that hangs in a write takes nearly all of it, and visitors with unwritten state then count as
    /// [`store_failures`](Stats::store_failures). Returns the final ledger. A second call waits
    /// up to as long for the first to finish and returns the ledger at that time; decisions in existing contexts still
    /// work.
    ///
    /// ```
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let stats = core.close();
    /// assert_eq!((stats.pending, stats.dropped.total()), (0, 0));
    /// ```
    pub fn close(&self) -> Stats {
        blocking(async |caller| self.close_by(caller).await)
    }

    /// [`close`](Self::close) as a future, for both surfaces.
    pub(crate) async fn close_by(&self, caller: &Caller) -> Stats {
        if self.shared.would_block(caller) {
            self.shared.begin_close();
        } else {
            self.end(self.deadline_after(Self::CLOSE_TIMEOUT), true, caller).await;
        }
        self.stats()
    }

    /// Flushes, then closes, and **waits** for both, up to `timeout` in total.
    ///
    /// Choose a timeout shorter than the supervisor's grace period between SIGTERM and SIGKILL (10 s on Docker and
    /// Cloud Run, 30 s on Kubernetes), but long enough for a second attempt after one that hangs. With
    /// [`SdkConfig::server`](crate::SdkConfig::server) 5 s are: it limits a first attempt to 2 s. Without that, any
    /// attempt may take [`total_timeout`](crate::config::TransportConfigBuilder::total_timeout) (default 10 s), and use up
    /// a shorter shutdown; set [`first_timeout`](crate::delivery::DeliveryConfigBuilder::first_timeout) to less than half
    /// of yours.
    ///
    /// ```
    /// use convert_sdk::ContextError;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let report = core.shutdown(std::time::Duration::from_secs(5))?;
    /// assert_eq!(report.stats.pending, 0);
    /// assert_eq!(core.create_context("late", ()).unwrap_err(), ContextError::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Like [`flush`](Self::flush), or a record that arrived after the flush started was dropped. The core is closed in
    /// any case, and the error's report and ledger are final except for records in a request that could not be ended in
    /// time, which count as pending.
    pub fn shutdown(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        blocking(async |caller| self.shutdown_by(timeout, caller).await)
    }

    /// [`shutdown`](Self::shutdown) as a future, for both surfaces.
    pub(crate) async fn shutdown_by(
        &self,
        timeout: Duration,
        caller: &Caller,
    ) -> Result<FlushReport, FlushError> {
        if self.shared.would_block(caller) {
            return Err(FlushError::WouldBlock(Box::new(self.stats())));
        }
        let deadline = self.deadline_after(timeout);
        let before = self.stats();
        let limit = FlushLimit { deadline: deadline.earlier(last_resort(timeout)), single_attempt: false };
        let flushed = self.flush_by(ReleaseReason::Exit, limit, caller).await;
        // What was still running when the flush timed out has had its time.
        self.end(deadline, flushed.is_ok(), caller).await;
        let stats = self.stats();
        let dropped = stats.dropped.total();
        let unreported = self.shared.take_unreported_drops(dropped);
        // Whoever else was told of a loss meanwhile.
        let lost = unreported.max(dropped - before.dropped.total());
        match flushed {
            Ok(report) => with_lost(report, unreported, lost, stats),
            Err(FlushError::Incomplete(report)) => with_lost(*report, unreported, lost, stats),
            Err(FlushError::Timeout(_)) => {
                let report = since(&before, lost, stats);
                // The last delivery may have ended in the time reserved for the close.
                if report.is_complete() { Ok(report) } else { Err(FlushError::Timeout(Box::new(report))) }
            }
            Err(FlushError::Closed(_)) => Err(FlushError::Closed(Box::new(since(&before, lost, stats)))),
            Err(FlushError::WouldBlock(_)) => Err(FlushError::WouldBlock(Box::new(stats))),
        }
    }

    /// A flush as a future, for both surfaces.
    pub(crate) async fn flush_by(
        &self,
        reason: ReleaseReason,
        limit: FlushLimit,
        caller: &Caller,
    ) -> Result<FlushReport, FlushError> {
        let before = self.stats();
        if self.shared.is_closed() {
            return Err(FlushError::Closed(self.unanswered(&before)));
        }
        if self.shared.would_block(caller) {
            return Err(FlushError::WouldBlock(Box::new(before)));
        }
        // With nothing pending there is no tracker to ask.
        let tracker = if before.pending > 0 { self.shared.tracker() } else { None };
        let report = {
            let _timer = Timer::start(WAIT, "call", "flush");
            self.shared.flush(tracker.as_deref(), reason, &limit, caller).await
        };
        // No report means a timeout or a close.
        let Some(report) = report else {
            let closed = self.shared.is_closed();
            let error = if closed { FlushError::Closed } else { FlushError::Timeout };
            return Err(error(self.unanswered(&before)));
        };
        if report.pending > 0 && !limit.single_attempt {
            return Err(FlushError::Timeout(self.unanswered(&before)));
        }
        let stats = self.stats();
        // This flush reports what no earlier one has.
        let unreported = self.shared.take_unreported_drops(stats.dropped.total());
        let report = FlushReport { dropped: report.dropped.max(unreported), stats, ..report };
        report.into_result()
    }

    /// The report of a flush that was not answered in time; what it says was dropped, the next one says as well.
    fn unanswered(&self, before: &Stats) -> Box<FlushReport> {
        let stats = self.stats();
        Box::new(since(before, self.shared.unreported_drops(stats.dropped.total()), stats))
    }

    /// Stops the actors. A task that is dropped meanwhile leaves the rest to a thread.
    async fn end(&self, deadline: Deadline, patience: bool, caller: &Caller) {
        let (shared, closes_at) = (&self.shared, deadline.clone());
        let unfinished = Unfinished { shared: shared.whole(), deadline, patience, generation: generation() };
        shared.close(closes_at, patience, caller).await;
        std::mem::forget(unfinished);
    }

    /// The deadline of a call that may take this long.
    pub(crate) fn deadline_after(&self, timeout: Duration) -> Deadline {
        self.shared.base.clock.deadline_after(timeout)
    }

    /// How long a flush with these options keeps trying.
    pub(crate) fn limit(&self, options: FlushOptions) -> FlushLimit {
        let FlushOptions { timeout, single_attempt } = options;
        FlushLimit { deadline: self.deadline_after(timeout), single_attempt }
    }

    fn in_config(&self, find: impl FnOnce(&ConfigSnapshot) -> Option<usize>) -> Result<(), LookupError> {
        let config = self.current_config().ok_or(LookupError::NotReady)?;
        find(&config).map(|_| ()).ok_or(LookupError::NotInConfig)
    }

    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared: Arc::new(Striped::new(shared)) }
    }

    pub(crate) fn shared(&self) -> &Striped<Shared> {
        &self.shared
    }

    fn initialize_directly(&self, text: &str) -> Result<(), InitializeError> {
        let shared = &self.shared;
        let unused = shared.base.config.tuning.refresh.is_some() || shared.base.config.upkeep.needs_key();
        let by_choice = shared.base.config.tuning.offline;
        if unused && shared.base.config.is_direct_config() && !by_choice {
            logged!(warn, "without an SDK key the config is not followed; the settings for that are ignored");
        }
        let snapshot = load(text.to_owned(), &shared.base.config.compile).map_err(LoadError::from)?;
        // Of concurrent callers one publishes it.
        if shared.give(Arc::clone(&snapshot)) {
            tell_ready(&snapshot, None);
            shared.runtime().notifier.notify(LifecycleEvent::ready(&snapshot));
        }
        Ok(())
    }
}

/// A flush's report plus what was lost since it, `lost` since before it: nothing is retried after a close.
fn with_lost(report: FlushReport, since: u64, lost: u64, stats: Stats) -> Result<FlushReport, FlushError> {
    let dropped = lost.max(report.dropped + since);
    let report = FlushReport { dropped, pending: stats.pending, stats, ..report };
    // Otherwise a call did not end in time.
    if report.pending == 0 { report.into_result() } else { Err(FlushError::Timeout(Box::new(report))) }
}

/// What has happened between two ledgers.
const fn since(before: &Stats, dropped: u64, stats: Stats) -> FlushReport {
    FlushReport {
        delivered: stats.delivered.saturating_sub(before.delivered),
        dropped,
        pending: stats.pending,
        stats,
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("ready", &self.is_ready())
            .field("closed", &self.shared.is_closed())
            .finish_non_exhaustive()
    }
}
