//! The threads: each owns its state alone and is reached through one inbox.

mod flusher;
mod jitter;
mod notifier;
mod refresher;
mod reply;
mod store;
mod thread;
mod tracker;
#[cfg(feature = "async")]
mod wait;
#[cfg(not(feature = "async"))]
#[path = "wait/absent.rs"]
mod wait;

pub(crate) use flusher::Flusher;
pub(crate) use jitter::Jitter;
#[cfg(feature = "async")]
pub use notifier::EventStream;
pub(crate) use notifier::Notifier;
pub use notifier::Subscription;
pub use refresher::RefreshOutcome;
pub(crate) use refresher::{RefresherHandle, RefresherSettings, compile};
pub(crate) use store::{StoreHandle, StoreSettings, Stored};
pub(crate) use thread::{run_apart, start_apart};
pub(crate) use tracker::{TrackerHandle, TrackerSettings, Verdict};
#[cfg(feature = "async")]
pub(crate) use wait::{Limit, TimerHandle};
