//! An offline core: everything works, and nothing leaves the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convert_sdk::adapters::InMemoryDataStore;
use convert_sdk::error::{ContextError, LoadError, PreviewError, RefreshError};
use convert_sdk::events::LifecycleEventKind;
use convert_sdk::ports::{
    ConfigRequest, ConfigResponse, ConfigSource, DeliveryFailure, EventBatch, EventSink, Receipt,
    TransportError,
};
use convert_sdk::{ConversionOptions, ConversionStatus, Core, SdkConfig, SdkConfigBuilder};

use crate::support::{KEY, PATIENCE, direct, pro, shop};

/// Counts the requests that reach it.
#[derive(Default)]
struct Calls(AtomicUsize);

impl ConfigSource for Calls {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(TransportError::Status(404))
    }
}

impl EventSink for Calls {
    fn deliver(&self, _: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Receipt::default())
    }
}

fn offline(config: SdkConfigBuilder, calls: &Arc<Calls>) -> Core {
    let core = unready(config, calls);
    core.initialize().unwrap();
    core
}

fn unready(config: SdkConfigBuilder, calls: &Arc<Calls>) -> Core {
    let core = Core::builder(config.offline().batch_size(1).build().unwrap());
    core.transport(Arc::clone(calls)).build().unwrap()
}

#[test]
fn an_offline_core_withholds_and_counts_every_record() {
    let calls = Arc::<Calls>::default();
    let core = offline(direct(), &calls);
    for number in 0..50 {
        let visitor = pro(&core, &format!("v{number}"));
        visitor.run_experience("price").unwrap();
        assert_eq!(visitor.track_conversion("purchase").status, ConversionStatus::Queued);
        visitor.track_conversion("purchase");
    }
    let stats = core.stats();
    assert!(stats.is_balanced(), "{stats:?}");
    assert_eq!((stats.recorded, stats.deduplicated, stats.withheld), (150, 50, 100));
    assert_eq!((stats.requests, stats.delivered, stats.pending), (0, 0, 0));
    assert!(core.flush(PATIENCE).unwrap().is_complete());
    assert!(core.shutdown(PATIENCE).unwrap().is_complete());
    assert_eq!(calls.0.load(Ordering::SeqCst), 0);
}

#[test]
fn an_offline_core_confirms_and_announces() {
    let core = offline(direct(), &Arc::default());
    let events = core.subscribe();
    let visitor = pro(&core, "v");
    let confirm =
        || visitor.track_conversion_confirmed("purchase", &ConversionOptions::new(), PATIENCE).status;
    assert_eq!(confirm(), ConversionStatus::Queued);
    assert_eq!(confirm(), ConversionStatus::Deduplicated);
    // As with threads: a deliberate repetition without data is accepted, and has nothing to send.
    let forced = ConversionOptions::new().force_multiple(true);
    assert_eq!(
        visitor.track_conversion_confirmed("purchase", &forced, PATIENCE).status,
        ConversionStatus::Queued
    );
    visitor.run_experience("price").unwrap();
    let kinds: Vec<_> = std::iter::from_fn(|| events.try_next()).map(|event| event.kind()).collect();
    let [conversion, bucketing] = [LifecycleEventKind::Conversion, LifecycleEventKind::Bucketing];
    assert_eq!(kinds, [conversion, conversion, conversion, bucketing]);
}

#[test]
fn a_closed_offline_core_counts_what_it_refuses() {
    let core = offline(direct(), &Arc::default());
    let visitor = pro(&core, "v");
    visitor.track_conversion("purchase");
    core.close();
    assert_eq!(visitor.track_conversion("purchase").status, ConversionStatus::Closed);
    let stats = core.stats();
    assert!(stats.is_balanced(), "{stats:?}");
    assert_eq!((stats.withheld, stats.dropped.closed.conversions), (1, 1));
}

/// A mark of what was never sent would keep others from sending it.
#[test]
fn an_offline_core_leaves_no_marks_in_a_data_store() {
    let store = Arc::new(InMemoryDataStore::new());
    let config = || direct().shared_data_store(store.clone());
    let offline = offline(config(), &Arc::default());
    pro(&offline, "v").track_conversion("purchase");
    offline.shutdown(PATIENCE).unwrap();
    let sink = Arc::<Calls>::default();
    let online = Core::builder(config().build().unwrap()).event_sink(Arc::clone(&sink)).build().unwrap();
    online.initialize().unwrap();
    pro(&online, "v").track_conversion("purchase");
    assert_eq!(online.flush(PATIENCE).unwrap().delivered, 1);
}

#[test]
fn an_offline_core_uses_its_data_and_never_its_key() {
    let calls = Arc::<Calls>::default();
    let core = offline(SdkConfig::server(KEY).data(&shop()), &calls);
    let mut visitor = pro(&core, "v");
    visitor.run_experience("price").unwrap();
    assert_eq!(visitor.set_preview("no-such-experience", "1"), Err(PreviewError::ExperienceNotFound));
    core.refresh_now();
    assert_eq!(core.refresh_now_within(PATIENCE), Err(RefreshError::DirectConfig));
    assert!(core.shutdown(PATIENCE).unwrap().is_complete());
    assert_eq!((core.stats().withheld, calls.0.load(Ordering::SeqCst)), (1, 0));
}

#[test]
fn an_offline_core_without_data_says_at_once_why_it_is_not_ready() {
    let calls = Arc::<Calls>::default();
    for config in [SdkConfig::server(KEY), SdkConfig::builder()] {
        let core = unready(config, &calls);
        // No time is left to wait in.
        assert_eq!(core.initialize_within(Duration::ZERO), Err(LoadError::Offline.into()));
        core.refresh_now();
        assert_eq!(core.refresh_now_within(Duration::ZERO), Err(LoadError::Offline.into()));
        assert!(!core.is_ready());
        assert_eq!(core.create_context("v", ()).unwrap_err(), ContextError::NotReady);
        assert!(core.shutdown(PATIENCE).unwrap().is_complete());
    }
    assert_eq!(calls.0.load(Ordering::SeqCst), 0);
}
