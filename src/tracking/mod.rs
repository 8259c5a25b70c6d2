//! What is recorded, how it is counted, and how it looks on the wire.

mod backlog;
mod event;
mod ledger;
mod payload;

pub use event::{GoalDataKey, GoalValue, ReleaseReason, UnknownGoalDataKey};
pub use ledger::{DeliveryError, Dropped, Stats};

pub(crate) use backlog::{Backlog, Queued};
pub(crate) use event::{Conversion, Exposure, TrackedEvent};
pub(crate) use ledger::{Ledger, Refused};
pub(crate) use payload::{Envelope, REPORT_KEYS};
