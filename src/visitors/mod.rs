//! What is remembered about a visitor between contexts, and how a data store keeps it.

mod bucketing;
mod memory;
mod state;

pub(crate) use bucketing::Bucketing;
pub(crate) use memory::Visitors;
pub(crate) use state::VisitorState;
