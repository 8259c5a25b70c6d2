//! What is remembered about a visitor between contexts, and how a data store keeps it.

mod bucketing;
mod keys;
mod memory;
mod state;

pub(crate) use bucketing::Bucketing;
pub(crate) use keys::{bucketing_key, goal_key, state_key};
pub(crate) use memory::Visitors;
pub(crate) use state::VisitorState;
