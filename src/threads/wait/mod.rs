//! How callers wait, threads and tasks alike: for answers, ends of threads and deadlines, without a runtime.

mod caller;
#[cfg(feature = "async")]
mod timer;
mod wakers;

pub(crate) use caller::{Caller, Limit, blocking};
#[cfg(feature = "async")]
pub(crate) use timer::TimerHandle;
#[cfg(feature = "async")]
pub(crate) use wakers::Waiter;
pub(crate) use wakers::Wakers;
