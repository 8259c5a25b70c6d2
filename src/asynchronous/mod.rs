//! The asynchronous surface, over the same actors and decisions as the synchronous one.

mod context;
mod core;

use std::sync::Arc;

use crate::core::CoreBuilder;
use crate::options::SdkConfigBuilder;
use crate::ports::{AsyncConfigSource, AsyncDataStore, AsyncEventSink};
use crate::threads::{Driven, DrivenStore};

pub use context::AsyncContext;
pub use core::AsyncCore;

impl CoreBuilder {
    /// Like [`config_source`](Self::config_source), for an asynchronous one. Needs the feature `async`.
    pub fn async_config_source(self, source: impl AsyncConfigSource) -> Self {
        self.config_source(Driven::new(source))
    }

    /// Like [`event_sink`](Self::event_sink), for an asynchronous one. Needs the feature `async`.
    pub fn async_event_sink(self, sink: impl AsyncEventSink) -> Self {
        self.event_sink(Driven::new(sink))
    }

    /// Like [`transport`](Self::transport), for an asynchronous client. Needs the feature `async`.
    pub fn async_transport(self, client: impl AsyncConfigSource + AsyncEventSink) -> Self {
        self.transport(Driven::new(client))
    }
}

impl SdkConfigBuilder {
    /// Like [`data_store`](Self::data_store), for an asynchronous one; the last store set counts. Needs the feature
    /// `async`.
    pub fn async_data_store(self, store: impl AsyncDataStore) -> Self {
        self.shared_async_data_store(Arc::new(store))
    }

    /// Like [`async_data_store`](Self::async_data_store), for one that the application keeps a handle to.
    pub fn shared_async_data_store(self, store: Arc<dyn AsyncDataStore>) -> Self {
        let mut builder = self.data_store(DrivenStore::new(Arc::clone(&store)));
        builder.async_store = Some(store);
        builder
    }
}
