//! What is remembered about a visitor between contexts, and how a data store keeps it.

mod bucketing;
#[cfg(feature = "testing")]
mod forced;
mod keyed;
mod memory;
mod recent;
mod slab;
mod state;

pub(crate) use bucketing::{Bucketing, Decided, Few};
#[cfg(feature = "testing")]
pub(crate) use forced::{Forced, positions};
pub(crate) use memory::{Place, Visitors};
pub(crate) use state::VisitorState;
