//! The threads: each owns its state alone and is reached through one inbox.

mod flusher;
mod jitter;
mod notifier;
mod refresher;
mod thread;
mod tracker;

pub(crate) use flusher::Flusher;
pub(crate) use jitter::Jitter;
pub(crate) use notifier::Notifier;
pub use notifier::Subscription;
pub use refresher::RefreshOutcome;
pub(crate) use refresher::{RefresherHandle, RefresherSettings, compile};
pub(crate) use thread::run_apart;
pub(crate) use tracker::{TrackerHandle, TrackerSettings, Verdict};
