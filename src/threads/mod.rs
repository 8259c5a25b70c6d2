//! Runs the state machines on threads: each owns its state alone and is reached through one inbox.

mod clock;
#[cfg(feature = "async")]
mod drive;
#[cfg(feature = "async")]
mod driven;
mod fetcher;
mod flusher;
mod inbox;
mod notifier;
mod previewer;
mod process;
mod refresher;
mod store;
mod switch;
mod tracker;
mod wait;
mod worker;

#[cfg(feature = "async")]
pub use notifier::EventStream;
pub use notifier::Subscription;

pub(crate) use clock::deadline_after;
#[cfg(feature = "async")]
pub(crate) use driven::{Driven, DrivenStore};
pub(crate) use fetcher::Fetcher;
pub(crate) use flusher::Flusher;
pub(crate) use notifier::Notifier;
pub(crate) use previewer::PreviewerHandle;
pub(crate) use process::{
    Current, ExitJob, PerProcess, at_exit, between_forks, generation, inherit_lock, start_thread,
};
pub(crate) use refresher::{RefresherHandle, RefresherSettings};
pub(crate) use store::{StoreHandle, StoreSettings};
pub(crate) use switch::Switch;
pub(crate) use tracker::TrackerHandle;
#[cfg(feature = "async")]
pub(crate) use wait::TimerHandle;
pub(crate) use wait::{Caller, Limit, blocking};
pub(crate) use worker::{Worker, run_apart, start_apart};
