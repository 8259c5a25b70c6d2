//! The machines between callers and the outside: a message and a moment go in, effects come out. No thread,
//! channel, clock or socket is named here; what drives them is.

mod backlog;
mod compile;
mod event;
mod jitter;
mod ledger;
mod lifecycle;
mod marks;
mod payload;
mod question;
mod refresher;
#[cfg(test)]
mod served;
mod store;
mod tracker;

pub use event::{GoalDataKey, GoalValue, ReleaseReason, UnknownGoalDataKey};
pub use ledger::{BreakerState, ByClass, ConfigSource, DeliveryError, Dropped, PendingPlaces, Stats};
pub use lifecycle::{LifecycleEvent, LifecycleEventKind, VisitorId};
pub use refresher::RefreshOutcome;

pub(crate) use backlog::{Backlog, Claim, CutLimit, Queued};
pub(crate) use compile::compile;
pub(crate) use event::{Class, Conversion, Exposure, TrackedEvent};
pub(crate) use jitter::Jitter;
pub(crate) use ledger::{Ledger, Refused};
pub(crate) use marks::{Mark, MarkKind, Marks};
pub(crate) use payload::{Envelope, REPORT_KEYS, is_report_key};
pub(crate) use question::{Pending, Reply, Unanswered, question, wake};
pub(crate) use refresher::{RefreshEffect, RefreshEvent, Refreshed, Refresher, Wish};
#[cfg(test)]
pub(crate) use served::served;
pub(crate) use store::{
    Call, ClaimAnswer, ClaimRequest, Claimed, Done, StoreCommand, StoreEffect, StoreMachine, Stored,
};
pub(crate) use tracker::{
    Delivery, Effect, Effects, FlushRequest, Outcome, Record, Tracker, TrackerSettings, Verdict,
};
#[cfg(test)]
pub(crate) use tracker::{mark_key, tests};
