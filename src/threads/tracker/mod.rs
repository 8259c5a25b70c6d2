//! The tracker's thread and its handle.

mod handle;
mod mailbox;
mod run;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub(crate) use handle::TrackerHandle;
