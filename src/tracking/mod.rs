//! What is recorded, how it is counted, and how it looks on the wire.

mod backlog;
mod event;
mod ledger;
mod payload;

pub use event::{GoalDataKey, GoalValue, ReleaseReason, UnknownGoalDataKey};
pub use ledger::{BreakerState, ByClass, ConfigSource, DeliveryError, Dropped, PendingPlaces, Stats};

pub(crate) use backlog::{Backlog, Claim, CutLimit, Queued};
pub(crate) use event::{Class, Conversion, Exposure, TrackedEvent};
pub(crate) use ledger::{Ledger, Refused};
pub(crate) use payload::{Envelope, is_report_key};
