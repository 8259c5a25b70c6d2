//! Delivery: when attempts begin, how large they are, and what becomes of what a failed one has carried. It
//! knows no claims and no flushes, so that whatever else delivers can stand on it.

mod dispatch;
mod in_flight;
mod isolation;
mod pacer;
mod remedy;

pub(super) use dispatch::{Dispatch, Failure};
pub(super) use in_flight::InFlight;
pub(super) use pacer::Pacer;

use super::{ByClass, Moment};

/// What a delivery carries.
pub(crate) trait Parcel {
    /// Its place in the order of acceptance.
    fn sequence(&self) -> u64;
    fn accepted_at(&self) -> Moment;
    fn wire_events(&self) -> usize;
    fn count_in(&self, counts: &mut ByClass);
    /// An attempt that carried it has failed.
    fn count_try(&mut self);
    /// It may be why the endpoint has failed; returns how often that was so.
    fn count_suspicion(&mut self) -> u32;
}

/// How much one delivery may carry.
#[derive(Clone, Copy)]
pub(crate) struct CutLimit {
    /// Events on the wire, save for a single parcel that is more.
    pub(crate) events: usize,
    /// Bytes, save for a single larger parcel.
    pub(crate) bytes: usize,
}
