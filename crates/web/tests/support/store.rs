//! A data store whose client lives on the application's runtime, as most database clients do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use convert_sdk::{
    Core, SdkConfig,
    ports::{AsyncDataStore, BoxFuture, StoreError},
};
use serde_json::Value;
use tokio::runtime::Handle;

/// An empty store. Answers through a task on the runtime that created it, and counts the answers.
pub(crate) struct OnRuntime {
    runtime: Handle,
    pub(crate) answered: AtomicUsize,
}

/// A core with such a store, which is not ready yet.
pub(crate) fn core(config_json: &str) -> (Core, Arc<OnRuntime>) {
    let store = Arc::new(OnRuntime { runtime: Handle::current(), answered: AtomicUsize::new(0) });
    let config = SdkConfig::builder().data_json(config_json).shared_async_data_store(store.clone());
    (Core::new(config.build().unwrap()), store)
}

impl AsyncDataStore for OnRuntime {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Value>, StoreError>> {
        Box::pin(async {
            self.runtime.spawn(async {}).await.unwrap();
            self.answered.fetch_add(1, Ordering::SeqCst);
            Ok(None)
        })
    }

    fn set<'a>(&'a self, _: &'a str, _: Value, _: Option<Duration>) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    fn delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}
