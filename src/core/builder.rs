//! From a configuration to a core: what it calls, and who runs it.

use std::io;
use std::sync::Arc;

use super::Core;
use crate::adapters::{DefaultClient, NoClient};
use crate::engine::{LifecycleEvent, LifecycleEventKind};
use crate::error::PumpError;
use crate::hooks::{Evaluation, Hooks};
use crate::options::{OverflowPolicy, SdkConfig};
use crate::ports::{ConfigSource, EventSink};
use crate::runtime::{Base, Network};
use crate::shared::Shared;
use crate::threads::Clock;
#[cfg(feature = "testing")]
use crate::threads::Witness;

/// Builds a [`Core`] with the application's own source, sink or handlers.
#[must_use]
pub struct CoreBuilder {
    config: SdkConfig,
    source: Option<Arc<dyn ConfigSource>>,
    sink: Option<Arc<dyn EventSink>>,
    handlers: Handlers,
    hooks: Hooks,
    #[cfg(feature = "testing")]
    witness: Option<Witness>,
}

type Handlers = Vec<(LifecycleEventKind, Box<dyn FnMut(&LifecycleEvent) + Send>)>;

impl CoreBuilder {
    pub(super) const fn of(config: SdkConfig) -> Self {
        Self {
            config,
            source: None,
            sink: None,
            handlers: Vec::new(),
            hooks: Hooks::NONE,
            #[cfg(feature = "testing")]
            witness: None,
        }
    }

    /// Fetches configs from this source instead of the built-in client. Of the network settings, the total timeout,
    /// which every request carries, and the limit on response bodies apply to it too.
    pub fn config_source(mut self, source: impl ConfigSource) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Delivers events to this sink instead of the built-in client. Of the network settings, the total timeout, which
    /// every batch carries, applies to it too.
    pub fn event_sink(mut self, sink: impl EventSink) -> Self {
        self.sink = Some(Arc::new(sink));
        self
    }

    /// [`config_source`](Self::config_source) and [`event_sink`](Self::event_sink) in one, for a client that is both.
    pub fn transport(self, client: impl ConfigSource + EventSink) -> Self {
        let client = Arc::new(client);
        self.config_source(Arc::clone(&client)).event_sink(client)
    }

    /// Adds a handler before anything can happen; see [`Core::on`].
    pub fn on(
        mut self,
        kind: LifecycleEventKind,
        handler: impl FnMut(&LifecycleEvent) + Send + 'static,
    ) -> Self {
        self.handlers.push((kind, Box::new(handler)));
        self
    }

    /// Calls `hook` with every evaluation of an experience, with its keys, whether or not the visitor gets a variation;
    /// a feature is evaluated through the experiences that carry it. Previews,
    /// [`decide_many`](Core::decide_many) and unknown keys are not evaluations.
    ///
    /// **Runs in the evaluating call, on the caller's thread**, so it must be quick and must not block; what it does is
    /// added to every evaluation. A panic is caught and counted in [`Stats::panics`](crate::Stats::panics). Several hooks
    /// are called in the order in which they were added.
    ///
    /// ```
    /// # use convert_sdk::*;
    /// # let config = SdkConfig::builder().data_json(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/shop.json"))).offline().build()?;
    /// use std::sync::mpsc;
    ///
    /// let (evaluated, log) = mpsc::channel();
    /// let core = Core::builder(config).on_evaluation(move |it| {
    ///     let shown = it.outcome.map_or("nothing", |assigned| assigned.variation_key);
    ///     let _ = evaluated.send(format!("{}: {shown}", it.experience_key));
    /// });
    /// let core = core.build()?;
    /// core.initialize()?;
    ///
    /// let _ = core.create_context("visitor-4", attributes! { "age" => 30 })?.run_experience("checkout");
    /// assert_eq!(log.recv()?, "checkout: one-page");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_evaluation(mut self, hook: impl Fn(&Evaluation<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.every.push(Box::new(hook));
        self
    }

    /// Like [`on_evaluation`](Self::on_evaluation), but calls `hook` only for a visitor's first assignment to an
    /// experience, which is when the exposure is recorded; see [`Assigned::first`](crate::events::Assigned::first).
    pub fn on_first_assignment(mut self, hook: impl Fn(&Evaluation<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.first.push(Box::new(hook));
        self
    }

    /// Has this told of what an offline core would send.
    #[cfg(feature = "testing")]
    pub(crate) fn witnessed_by(mut self, witness: Witness) -> Self {
        self.witness = Some(witness);
        self
    }

    /// Builds the core.
    ///
    /// # Errors
    /// The thread for the handlers could not be started.
    pub fn build(self) -> io::Result<Core> {
        let (core, handlers) = self.start();
        for (kind, handler) in handlers {
            core.shared.runtime().notifier.on(kind, handler)?;
        }
        Ok(core)
    }

    /// The core, to which its handlers are still to be added.
    pub(super) fn start(self) -> (Core, Handlers) {
        let network = network(&self.config, self.source, self.sink);
        let base = Base::new(self.config, network);
        #[cfg(feature = "testing")]
        let base = base.witnessed_by(self.witness);
        (Core::of(Arc::new(Shared::new(base, self.hooks))), self.handlers)
    }

    /// A core without threads, which reads this clock.
    pub(crate) fn threadless(self, clock: Clock) -> Result<Core, PumpError> {
        let config = self.config;
        let refused = [
            (config.data_store.is_some(), PumpError::DataStore),
            (config.outbox.is_some(), PumpError::Outbox),
            (config.upkeep.cache.is_some(), PumpError::ConfigCache),
            (self.source.is_some() || self.sink.is_some(), PumpError::Transport),
            (matches!(config.tuning.delivery.overflow, OverflowPolicy::Wait(_)), PumpError::Waits),
        ];
        if let Some((_, error)) = refused.into_iter().find(|(blocks, _)| *blocks) {
            return Err(error);
        }
        let base = Base::pumped(config, clock);
        #[cfg(feature = "testing")]
        let base = base.witnessed_by(self.witness);
        let core = Core::of(Arc::new(Shared::new(base, self.hooks)));
        for (kind, handler) in self.handlers {
            // Only starting a thread can fail.
            let _ = core.shared.runtime().notifier.on(kind, handler);
        }
        Ok(core)
    }
}

impl std::fmt::Debug for CoreBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoreBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Whatever the application does not replace is served by one built-in client.
fn network(
    config: &SdkConfig,
    source: Option<Arc<dyn ConfigSource>>,
    sink: Option<Arc<dyn EventSink>>,
) -> Network {
    if config.tuning.offline {
        // Not even the application's own.
        let nobody = Arc::new(NoClient);
        return Network { source: nobody.clone(), sink: nobody, is_real: false };
    }
    if let (Some(source), Some(sink)) = (&source, &sink) {
        return Network { source: Arc::clone(source), sink: Arc::clone(sink), is_real: false };
    }
    let is_real = sink.is_none() && config.transport.delivers_to_convert();
    let client = Arc::new(DefaultClient::new(config.transport.clone()));
    Network { source: source.unwrap_or_else(|| client.clone()), sink: sink.unwrap_or(client), is_real }
}
