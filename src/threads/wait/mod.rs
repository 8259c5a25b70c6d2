//! How callers, both threads and tasks, wait for answers, thread exits and deadlines without a runtime.

mod alarms;
mod caller;
#[cfg(feature = "async")]
mod timer;
mod wakers;

pub(crate) use alarms::Alarms;
pub(crate) use caller::{Caller, Limit, blocking};
#[cfg(feature = "async")]
pub(crate) use timer::TimerHandle;
#[cfg(feature = "async")]
pub(crate) use wakers::Waiter;
pub(crate) use wakers::Wakers;
