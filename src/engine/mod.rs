//! The state machines between callers and the outside: a message and a moment go in, effects come out. They
//! use no thread, channel, clock or socket; their drivers do.

mod backlog;
mod delivery;
mod event;
mod flush;
mod jitter;
mod keys;
mod ledger;
mod lifecycle;
mod marks;
mod moment;
mod payload;
mod previews;
mod question;
mod refresher;
mod saved;
#[cfg(test)]
pub(crate) mod served;
mod store;
mod tracker;

pub use delivery::{CutLimit, Dispatch, Failure, Parcel};
pub use event::{GoalDataKey, GoalValue, ReleaseReason, UnknownGoalDataKey};
pub use flush::FlushReport;
pub use jitter::Jitter;
pub use ledger::{BreakerState, ByClass, ConfigOrigin, DeliveryError, Dropped, PendingPlaces, Stats};
pub use lifecycle::{LifecycleEvent, LifecycleEventKind, VisitorId};
pub use moment::Moment;
pub use refresher::RefreshOutcome;

pub(crate) use backlog::{Backlog, Claim, Queued};
pub(crate) use delivery::BatchId;
pub(crate) use event::{Class, Conversion, Exposure, NumberedDecisions, Pairs, TrackedEvent};
pub(crate) use flush::FlushRequest;
pub(crate) use keys::{bucketing_key, goal_key, state_key};
pub(crate) use ledger::{Ledger, Refused};
pub(crate) use marks::{Mark, MarkKind, Marks};
pub(crate) use payload::{BodyWriter, Envelope, REPORT_KEYS, is_report_key, may_be_report_key};
pub(crate) use previews::{Previewed, Previews};
pub(crate) use question::{Pending, Reply, Unanswered, question, wake};
pub(crate) use refresher::{
    CachedConfig, FetchedConfig, InPlace, RefreshEffect, RefreshEvent, RefreshKind, RefreshSettings,
    Refreshed, Refresher, Role, Seen, Standby,
};
pub(crate) use store::{
    Call, ClaimAnswer, ClaimRequest, Claimed, Done, StoreCommand, StoreEffect, StoreMachine, Stored,
};
pub(crate) use tracker::{
    Delivery, Effect, Effects, Found, Left, Note, OutboxRequests, Outcome, Record, Recovered, Saved, Tracker,
    TrackerSettings, Verdict,
};
#[cfg(test)]
pub(crate) use tracker::{mark_key, tests};
