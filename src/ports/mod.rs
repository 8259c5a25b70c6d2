//! What an application can replace: where configs come from, where events go, what remembers visitors.

#[cfg(feature = "async")]
mod async_network;
#[cfg(feature = "async")]
mod async_store;
mod config_source;
mod error;
mod event_sink;
mod guarded;
mod outbox;
mod store;

#[cfg(feature = "async")]
pub use async_network::{AsyncConfigSource, AsyncEventSink};
#[cfg(feature = "async")]
pub use async_store::AsyncDataStore;
pub use config_source::{ConfigRequest, ConfigResponse, ConfigSource};
pub use error::TransportError;
pub use event_sink::{DeliveryFailure, EventBatch, EventSink, Receipt, Refusal, RefusalReason};
pub use outbox::{
    Adopted, BatchPlace, LeftRecord, Outbox, OutboxError, OutboxFile, OutboxRecord, RecordId, RecordKind,
};
pub use store::{DataStore, StoreError};

pub(crate) use guarded::{GuardedSink, GuardedSource, Interrupted, bounded, shortened};
pub(crate) use store::Guarded;

/// The boxed future that the asynchronous ports return: `Box::pin(async move { … })`.
#[cfg(feature = "async")]
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;
