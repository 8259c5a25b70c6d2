//! What a core keeps when its process forks.

use std::sync::Arc;

use crate::caught::PanicGuard;
use crate::config::SnapshotCell;
use crate::options::SdkConfig;
use crate::ports::{ConfigSource, DataStore, EventSink, Guarded, GuardedSink, GuardedSource, Interrupted};
use crate::threads::{Clock, Fetcher, Fetches, Witness};

/// What a forked child keeps from its parent's core.
pub(crate) struct Base {
    pub(crate) config: SdkConfig,
    pub(crate) cell: Arc<SnapshotCell>,
    pub(crate) guard: PanicGuard,
    pub(crate) clock: Clock,
    pub(crate) store: Option<Arc<dyn DataStore>>,
    pub(super) drive: Drive,
    /// Observes the records of an offline core.
    pub(super) witness: Option<Witness>,
}

/// Who runs the actors.
pub(super) enum Drive {
    Threads(Network),
    /// A pump, whose application carries the requests.
    Turns,
}

/// Where configs come from and events go.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) source: Arc<dyn ConfigSource>,
    pub(crate) sink: Arc<dyn EventSink>,
    /// Whether events go to Convert itself.
    pub(crate) is_real: bool,
}

impl Base {
    /// For actors on threads.
    pub(crate) fn new(config: SdkConfig, Network { source, sink, is_real }: Network) -> Self {
        let guard = PanicGuard::default();
        let max_response_bytes = config.transport.max_response_bytes;
        let interrupted = Interrupted::default();
        let network = Network {
            source: Arc::new(GuardedSource::new(source, guard.clone(), max_response_bytes, &interrupted)),
            sink: Arc::new(GuardedSink::new(sink, guard.clone(), &interrupted)),
            is_real,
        };
        let guarded = |store| Arc::new(Guarded { store, guard: guard.clone() }) as Arc<dyn DataStore>;
        let store = config.data_store.clone().map(guarded);
        Self { store, ..Self::with(config, guard.clone(), Clock::start(), Drive::Threads(network)) }
    }

    /// For actors in a pump.
    pub(crate) fn pumped(config: SdkConfig, clock: Clock) -> Self {
        Self::with(config, PanicGuard::default(), clock, Drive::Turns)
    }

    fn with(config: SdkConfig, guard: PanicGuard, clock: Clock, drive: Drive) -> Self {
        logged!(
            info,
            {
                version = env!("CARGO_PKG_VERSION"),
                config = config.origin.name(),
                environment = config.tuning.environment.as_deref().unwrap_or("all"),
                offline = config.tuning.offline,
                tracking = config.tuning.tracking,
                refreshes = config.tuning.refresh.is_some(),
            },
            "Convert starts"
        );
        Self { config, cell: Arc::default(), guard, clock, store: None, drive, witness: None }
    }

    /// Sets the observer of what an offline core would send.
    #[cfg(feature = "testing")]
    pub(crate) fn witnessed_by(self, witness: Option<Witness>) -> Self {
        Self { witness, ..self }
    }

    /// How the batch ids of this process begin, if there are any.
    pub(super) fn batch_ids(&self) -> Option<u128> {
        if !self.config.transport.batch_ids {
            return None;
        }
        let origin = self.clock.origin();
        if origin.is_none() {
            logged!(warn, "no batch ids: they need `HostClock::entropy` here");
        }
        origin
    }

    /// Whether events go to Convert itself.
    pub(super) fn is_real(&self) -> bool {
        match &self.drive {
            Drive::Threads(network) => network.is_real,
            Drive::Turns => self.config.transport.delivers_to_convert(),
        }
    }
}

impl Network {
    pub(super) fn fetcher(&self, fetches: Fetches, guard: &PanicGuard) -> Fetcher {
        Fetcher { source: Arc::clone(&self.source), fetches, guard: guard.clone() }
    }
}
