//! The tracker's thread and the way to it.

mod handle;
mod mailbox;
mod run;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub(crate) use handle::TrackerHandle;
