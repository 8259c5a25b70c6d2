//! The tracker's thread and its handle.

mod handle;
mod mailbox;
mod offline;
mod run;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub(crate) use handle::{TrackerHandle, TrackerTurns};
pub(crate) use offline::{OfflineTracker, Witness};
