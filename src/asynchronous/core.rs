//! The entry point for asynchronous callers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::AsyncContext;
use crate::attributes::Attributes;
use crate::config::ConfigSnapshot;
use crate::context::{Context, RunOptions, absent, decide_unseen, recall};
use crate::core::{Core, CoreBuilder};
use crate::decide::Undecided;
use crate::engine::{FlushReport, LifecycleEvent, LifecycleEventKind, RefreshOutcome, ReleaseReason, Stats};
use crate::error::{ContextError, InitializeError, LookupError, RefreshError};
use crate::flush::{FlushError, FlushOptions};
use crate::handles::{ExperienceHandle, FeatureHandle, GoalHandle, KeyOr};
use crate::options::SdkConfig;
use crate::results::ExperienceResult;
use crate::threads::EventStream;

/// One SDK instance, for asynchronous callers. Cheap to clone, `Send + Sync`; every clone, and every
/// [`Core`] that it came from or [goes to](Self::to_sync), is the same instance with the same threads.
/// Needs the feature `async`.
///
/// Whatever waits in [`Core`] is a future here, with the same name, results and errors. The futures need no runtime:
/// any executor can poll them, and none of them blocks the polling thread. The actors still run on the threads of
/// [`Core`]; one more, `convert-timer`, keeps the deadlines of all futures. It starts when first needed, and ends by
/// itself. Timeouts count from the first poll, and nothing happens before it.
///
/// **Dropping a future** ends only the wait: what an actor has started is finished, its answer is discarded, and no
/// event is lost. A fetch or a store read that has not started and has no other waiter is skipped.
///
/// **Forks**: a child uses the instance as it would a [`Core`]. A future that was pending at the fork, and
/// an [`EventStream`] of the parent's, belong to the parent: in the child that future never resolves, and that stream
/// has ended. An application's client whose runtime runs on the parent's threads cannot work there either; create the
/// runtime, and the core that uses it, in the child.
///
/// What never waits is a plain method here too: reading the config or the ledger, adding a handler, requesting a
/// refresh without waiting for it.
///
/// ```
/// use std::time::Duration;
/// use convert_sdk::{AsyncCore, SdkConfig, attributes};
///
/// # futures_executor::block_on(async {
/// # let config_json = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/small.json"));
/// let core = AsyncCore::new(SdkConfig::builder().data_json(config_json).build()?);
/// core.initialize().await?;
///
/// let visitor = core.create_context("visitor-1", attributes! { "plan" => "pro" }).await?;
/// if let Ok(result) = visitor.run_experience("checkout") {
///     println!("{} shows {}", result.experience_key(), result.variation_key());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct AsyncCore {
    core: Core,
}

impl Core {
    /// The same instance for asynchronous callers. Needs the feature `async`.
    ///
    /// ```
    /// use convert_sdk::Core;
    ///
    /// # let config = convert_sdk::SdkConfig::builder().data_json(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.json"))).build()?;
    /// let core = Core::new(config);
    /// core.initialize()?;
    /// let same = core.to_async();
    /// assert!(same.is_ready());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_async(&self) -> AsyncCore {
        AsyncCore { core: self.clone() }
    }
}

impl AsyncCore {
    /// The longest that [`close`](Self::close) may take.
    pub const CLOSE_TIMEOUT: Duration = Core::CLOSE_TIMEOUT;

    /// An instance with the built-in client, which delivers on the SDK's own threads. Starts no threads and uses no
    /// network.
    #[must_use]
    pub fn new(config: SdkConfig) -> Self {
        Core::new(config).to_async()
    }

    /// Starts building an instance with the application's own source, sink or handlers; [`Core::to_async`] converts
    /// the built [`Core`].
    ///
    /// ```
    /// use convert_sdk::AsyncCore;
    /// use convert_sdk::events::LifecycleEventKind;
    ///
    /// # let config = convert_sdk::SdkConfig::builder().data_json(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.json"))).build()?;
    ///
    /// let core = AsyncCore::builder(config)
    ///     .on(LifecycleEventKind::Ready, |event| println!("{event:?}"))
    ///     .build()?
    ///     .to_async();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn builder(config: SdkConfig) -> CoreBuilder {
        Core::builder(config)
    }

    /// The same instance for synchronous callers. Its waiting methods block, so call them on a thread that may block,
    /// such as one of tokio's `spawn_blocking`.
    ///
    /// ```
    /// use convert_sdk::AsyncCore;
    ///
    /// # let config = convert_sdk::SdkConfig::builder().data_json(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.json"))).build()?;
    /// let core = AsyncCore::new(config);
    /// # futures_executor::block_on(core.initialize())?;
    /// assert!(core.to_sync().is_ready());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_sync(&self) -> Core {
        self.core.clone()
    }

    /// Like [`Core::initialize`]: loads the first config in one attempt, waiting up to the configured
    /// `initialize_timeout` (default 10 s). Direct data is compiled in the task, which takes a few milliseconds for a large config.
    ///
    /// ```
    /// use convert_sdk::AsyncCore;
    ///
    /// # futures_executor::block_on(async {
    /// # let config = convert_sdk::SdkConfig::builder().data_json(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.json"))).build()?;
    /// let core = AsyncCore::new(config);
    /// core.initialize().await?;
    /// assert!(core.is_ready());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// Like [`Core::initialize`].
    pub async fn initialize(&self) -> Result<(), InitializeError> {
        self.initialize_within(self.core.shared().base.config.tuning.initialize_timeout).await
    }

    /// Like [`initialize`](Self::initialize), with another timeout. A fetch that finishes later, or after the future is
    /// dropped, still makes the core ready.
    ///
    /// # Errors
    /// Like [`Core::initialize`].
    pub async fn initialize_within(&self, timeout: Duration) -> Result<(), InitializeError> {
        self.core.get_ready(timeout, &self.core.shared().task()).await
    }

    /// Whether the core has a config.
    ///
    /// ```
    /// use convert_sdk::AsyncCore;
    ///
    /// # let config = convert_sdk::SdkConfig::builder().data_json(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.json"))).build()?;
    /// let core = AsyncCore::new(config);
    /// assert!(!core.is_ready());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.core.is_ready()
    }

    /// The current config; `None` until the core is ready.
    ///
    /// ```
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs")).to_async();
    /// let config = core.current_config().ok_or("not ready")?;
    /// assert_eq!(config.experience_keys().collect::<Vec<_>>(), ["checkout", "welcome-back"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn current_config(&self) -> Option<Arc<ConfigSnapshot>> {
        self.core.current_config()
    }

    /// Like [`Core::create_context`]: a context for one visitor, which keeps the current config for its whole life.
    ///
    /// Without a data store this does not wait. With an [`AsyncDataStore`](crate::ports::AsyncDataStore), its `get`
    /// is awaited in this task; a synchronous [`DataStore`](crate::ports::DataStore) is called on the SDK's store
    /// threads. Either wait is limited by [`store_timeout`](crate::SdkConfigBuilder::store_timeout).
    ///
    /// ```
    /// use convert_sdk::attributes;
    ///
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/tasks.rs")).run(async |core| {
    /// let visitor = core
    ///     .create_context("visitor-4", attributes! { "age" => 30, "country" => "GR" })
    ///     .await?
    ///     .with_location(attributes! { "url" => "https://shop.example.com/" });
    /// assert_eq!(visitor.visitor_id(), "visitor-4");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// The core is not ready, or closed.
    pub async fn create_context(
        &self,
        visitor_id: impl AsRef<str>,
        attributes: impl Into<Attributes>,
    ) -> Result<AsyncContext, ContextError> {
        let (visitor_id, attributes) = (visitor_id.as_ref(), attributes.into());
        let shared = self.core.shared();
        if !shared.has_store() {
            return Context::new(shared, visitor_id, attributes).map(Into::into);
        }
        let snapshot = shared.context_config()?;
        let remembered = recall(shared, &snapshot, visitor_id, &shared.task()).await;
        Ok(Context::with(remembered, shared, snapshot, visitor_id, attributes).into())
    }

    /// Like [`Core::experience`]: a handle to an experience, for [`Context::run_experience`].
    ///
    /// ```
    /// use convert_sdk::attributes;
    ///
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/tasks.rs")).run(async |core| {
    /// let checkout = core.experience("checkout")?;
    /// let visitor = core.create_context("visitor-4", attributes! { "age" => 30 }).await?;
    /// assert!(visitor.run_experience(&checkout).is_ok());
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// Like [`Core::experience`].
    pub fn experience(&self, key: &str) -> Result<ExperienceHandle, LookupError> {
        self.core.experience(key)
    }

    /// Like [`Core::feature`]: a handle to a feature, for [`Context::run_feature`].
    ///
    /// # Errors
    /// Like [`Core::experience`].
    pub fn feature(&self, key: &str) -> Result<FeatureHandle, LookupError> {
        self.core.feature(key)
    }

    /// Like [`Core::goal`]: a handle to a goal, for [`Context::track_conversion`].
    ///
    /// # Errors
    /// Like [`Core::experience`].
    pub fn goal(&self, key: &str) -> Result<GoalHandle, LookupError> {
        self.core.goal(key)
    }

    /// Like [`Core::decide_many`]: decides one experience for many visitors with one config, into the caller's buffer,
    /// which is cleared first; dropping the future leaves the results so far.
    ///
    /// Without a data store this never yields, so pass very many visitors in chunks. With one, each visitor is read
    /// from it in turn, as in [`create_context`](Self::create_context). On a closed core, memory is used instead of a
    /// synchronous store.
    ///
    /// ```
    /// use convert_sdk::{RunOptions, Undecided, attributes};
    ///
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/tasks.rs")).run(async |core| {
    /// let checkout = core.experience("checkout")?;
    /// let players = [("visitor-4", attributes! { "age" => 30 }), ("visitor-5", attributes! { "age" => 12 })];
    ///
    /// let config = core.current_config().ok_or("not ready")?;
    /// let mut shown = Vec::new();
    /// let visitors = players.iter().map(|(id, attributes)| (id, attributes));
    /// core.decide_many(&config, &checkout, visitors, &RunOptions::new(), &mut shown).await;
    /// assert!(shown[0].is_ok_and(|result| result.variation_key() == "one-page"));
    /// assert_eq!(shown[1].unwrap_err(), Undecided::Audience);
    /// # Ok(()) });
    /// ```
    pub async fn decide_many<'c, 'a, V: AsRef<str>>(
        &self,
        config: &'c ConfigSnapshot,
        experience: &(impl KeyOr<ExperienceHandle> + ?Sized),
        visitors: impl IntoIterator<Item = (V, &'a Attributes)>,
        options: &RunOptions,
        results: &mut Vec<Result<ExperienceResult<'c>, Undecided>>,
    ) {
        results.clear();
        let (shared, position) = (self.core.shared(), experience.position(config));
        let task = shared.task();
        for (visitor_id, attributes) in visitors {
            let Some(position) = position else {
                results.push(Err(absent(config, experience.key())));
                continue;
            };
            let visitor = (visitor_id.as_ref(), attributes);
            let remembered = recall(shared, config, visitor.0, &task).await;
            results.push(decide_unseen(shared, config, position, visitor, remembered, options));
        }
    }

    /// Like [`Core::on`]: calls `handler` for every lifecycle event of one kind, on the thread
    /// `convert-events`.
    ///
    /// ```
    /// use convert_sdk::events::LifecycleEventKind;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs")).to_async();
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
        self.core.on(kind, handler)
    }

    /// Every lifecycle event from now on, as a [`Stream`](futures_core::Stream); needs no thread.
    ///
    /// ```
    /// use futures_core::Stream;
    /// use std::pin::Pin;
    /// use convert_sdk::events::LifecycleEventKind;
    ///
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/tasks.rs")).run(async |core| {
    /// let mut events = core.subscribe();
    /// core.create_context("visitor-4", ()).await?.diagnose_goal("no-such-goal");
    /// // With the futures or the tokio-stream crate: `events.next().await`.
    /// let event = std::future::poll_fn(|context| Pin::new(&mut events).poll_next(context)).await;
    /// assert_eq!(event.map(|event| event.kind()), Some(LifecycleEventKind::Diagnostic));
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn subscribe(&self) -> EventStream {
        self.core.shared().runtime().notifier.stream()
    }

    /// Like [`Core::flush`]: waits up to `timeout` until everything recorded before its first poll is delivered. If the
    /// future is dropped, the records are kept and delivery continues; a later flush covers them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use convert_sdk::FlushError;
    ///
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/tasks.rs")).run(async |core| {
    /// match core.flush(Duration::from_secs(5)).await {
    ///     Ok(report) => println!("{} delivered", report.delivered),
    ///     Err(FlushError::Timeout(report)) => println!("{} still pending", report.pending),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// Like [`Core::flush`].
    pub async fn flush(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        self.flush_with(FlushOptions::within(timeout)).await
    }

    /// Like [`Core::flush_with`].
    ///
    /// # Errors
    /// Like [`Core::flush_with`].
    pub async fn flush_with(&self, options: FlushOptions) -> Result<FlushReport, FlushError> {
        self.core
            .flush_by(ReleaseReason::Explicit, self.core.limit(options), &self.core.shared().task())
            .await
    }

    /// Like [`Core::refresh_now`]: requests a fetch of the config and returns at once.
    pub fn refresh_now(&self) {
        self.core.refresh_now();
    }

    /// Like [`Core::refresh_now_within`]: fetches the config and waits up to `timeout` for the result. If the future is
    /// dropped, a fetch in progress continues; one that has not started and has no other waiter is skipped.
    ///
    /// ```
    /// use convert_sdk::error::RefreshError;
    ///
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/tasks.rs")).run(async |core| {
    /// // This config was given directly, so there is nowhere to fetch it from.
    /// let refused = core.refresh_now_within(std::time::Duration::from_secs(5)).await;
    /// assert_eq!(refused, Err(RefreshError::DirectConfig));
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// Like [`Core::refresh_now_within`].
    pub async fn refresh_now_within(&self, timeout: Duration) -> Result<RefreshOutcome, RefreshError> {
        self.core.refresh(timeout, &self.core.shared().task()).await
    }

    /// The current ledger.
    ///
    /// ```
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs")).to_async();
    /// assert!(core.stats().is_balanced());
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Like [`Core::close`]: stops the SDK **without** a flush, and waits up to [`CLOSE_TIMEOUT`](Self::CLOSE_TIMEOUT)
    /// for the threads. The core is closed by the first poll; if the future is then dropped, the threads end by
    /// themselves.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/tasks.rs")).run(async |core| {
    /// let stats = core.close().await;
    /// assert_eq!((stats.pending, stats.dropped.total()), (0, 0));
    /// # Ok(()) });
    /// ```
    pub async fn close(&self) -> Stats {
        self.core.close_by(&self.core.shared().task()).await
    }

    /// Like [`Core::shutdown`]: flushes, then closes, and waits for both, up to `timeout` in total. Dropping the future
    /// during the flush leaves the core open; dropping it later is like dropping [`close`](Self::close).
    ///
    /// ```
    /// use convert_sdk::ContextError;
    ///
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/tasks.rs")).run(async |core| {
    /// let report = core.shutdown(std::time::Duration::from_secs(5)).await?;
    /// assert_eq!(report.stats.pending, 0);
    /// assert_eq!(core.create_context("late", ()).await.unwrap_err(), ContextError::Closed);
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// Like [`Core::shutdown`].
    pub async fn shutdown(&self, timeout: Duration) -> Result<FlushReport, FlushError> {
        self.core.shutdown_by(timeout, &self.core.shared().task()).await
    }
}
