//! The threads: each owns its state alone and is reached through one inbox.

mod fetcher;
mod flusher;
mod inbox;
mod jitter;
mod notifier;
mod previewer;
#[cfg(feature = "async")]
mod reader;
mod refresher;
mod reply;
#[cfg(test)]
mod served;
mod thread;
mod tracker;
#[cfg(feature = "async")]
mod wait;
#[cfg(not(feature = "async"))]
#[path = "wait/absent.rs"]
mod wait;

pub(crate) use fetcher::Fetcher;
pub(crate) use flusher::Flusher;
pub(crate) use jitter::Jitter;
#[cfg(feature = "async")]
pub use notifier::EventStream;
pub(crate) use notifier::Notifier;
pub use notifier::Subscription;
pub(crate) use previewer::{Previewed, PreviewerHandle};
#[cfg(feature = "async")]
pub(crate) use reader::{ReaderHandle, Stored};
pub use refresher::RefreshOutcome;
pub(crate) use refresher::{RefresherHandle, RefresherSettings, compile};
pub(crate) use thread::{Worker, run_apart};
pub(crate) use tracker::{TrackerHandle, TrackerSettings, Verdict};
#[cfg(feature = "async")]
pub(crate) use wait::{Limit, TimerHandle};
