//! Runs the state machines on threads: each owns its state alone and is reached through one inbox.

mod clock;
mod config_file;
#[cfg(feature = "async")]
mod drive;
#[cfg(feature = "async")]
mod driven;
mod fetcher;
mod flusher;
mod inbox;
mod notifier;
mod outbox;
mod previewer;
mod process;
mod refresher;
mod store;
#[cfg(any(feature = "async", feature = "https"))]
mod switch;
mod tracker;
mod wait;
mod worker;

pub use clock::HostClock;
#[cfg(feature = "async")]
pub use notifier::EventStream;
pub use notifier::Subscription;

#[cfg(any(feature = "async", feature = "https"))]
pub(crate) use clock::deadline_after;
pub(crate) use clock::{Clock, Deadline};
#[cfg(feature = "async")]
pub(crate) use driven::{Driven, DrivenStore};
pub(crate) use fetcher::{Fetcher, Fetches};
pub(crate) use flusher::{Deliveries, Flusher, Sent};
pub(crate) use notifier::Notifier;
pub(crate) use outbox::OutboxSettings;
pub(crate) use previewer::{PreviewerHandle, PreviewerTurns, Wanted};
pub(crate) use process::{
    Current, ExitJob, PerProcess, at_exit, between_forks, generation, inherit_lock, start_thread, watch_forks,
};
pub(crate) use refresher::{Fetch, RefresherHandle, RefresherSettings, RefresherTurns};
pub(crate) use store::{StoreHandle, StoreSettings};
#[cfg(any(feature = "async", feature = "https"))]
pub(crate) use switch::Switch;
pub(crate) use tracker::{OfflineTracker, TrackerHandle, TrackerTurns, Witness};
#[cfg(feature = "async")]
pub(crate) use wait::TimerHandle;
pub(crate) use wait::{Alarms, Caller, Limit, blocking};
pub(crate) use worker::{Worker, run_apart, start_apart};
