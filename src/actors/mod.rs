//! The threads: each owns its state alone and is reached through one inbox.

mod fetcher;
mod flusher;
mod inbox;
mod jitter;
mod notifier;
mod previewer;
mod refresher;
#[cfg(test)]
mod served;
mod store;
mod thread;
mod tracker;
mod wait;

pub(crate) use fetcher::Fetcher;
pub(crate) use flusher::Flusher;
pub(crate) use jitter::Jitter;
#[cfg(feature = "async")]
pub use notifier::EventStream;
pub(crate) use notifier::Notifier;
pub use notifier::Subscription;
pub(crate) use previewer::{Previewed, PreviewerHandle};
pub use refresher::RefreshOutcome;
pub(crate) use refresher::{RefresherHandle, RefresherSettings, compile};
#[cfg(feature = "async")]
pub(crate) use store::Stored;
pub(crate) use store::{StoreHandle, StoreSettings};
pub(crate) use thread::{Worker, run_apart, start_apart};
pub(crate) use tracker::{TrackerHandle, TrackerSettings, Verdict};
#[cfg(feature = "async")]
pub(crate) use wait::TimerHandle;
pub(crate) use wait::{Caller, Limit, blocking};
