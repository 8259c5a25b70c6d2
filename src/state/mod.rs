//! What is remembered of a visitor between contexts, and where.

mod envelope;
mod keys;
mod marks;
mod memory_store;
mod store;
mod visitors;

pub use memory_store::InMemoryDataStore;
pub use store::{DataStore, StoreError};

pub(crate) use store::Guarded;

pub(crate) use envelope::VisitorState;
pub(crate) use keys::{bucketing_key, goal_key};
pub(crate) use marks::{MarkKind, Marks};
pub(crate) use visitors::Visitors;
