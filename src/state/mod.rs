//! What is remembered of a visitor between contexts, and where.

#[cfg(feature = "async")]
mod async_store;
mod bucketing;
mod envelope;
mod keys;
mod marks;
mod memory_store;
#[cfg(feature = "async-redis")]
mod redis;
mod store;
mod visitors;

#[cfg(feature = "async-redis")]
pub use self::redis::RedisDataStore;
#[cfg(feature = "async")]
pub use async_store::AsyncDataStore;
pub use memory_store::InMemoryDataStore;
pub use store::{DataStore, StoreError};

#[cfg(feature = "async")]
pub(crate) use async_store::DrivenStore;
pub(crate) use store::Guarded;

pub(crate) use bucketing::Bucketing;
pub(crate) use envelope::VisitorState;
pub(crate) use keys::{bucketing_key, goal_key, state_key};
pub(crate) use marks::{Mark, MarkKind, Marks};
pub(crate) use visitors::Visitors;
