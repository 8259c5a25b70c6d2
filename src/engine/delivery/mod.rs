//! Delivery: when attempts begin, how large they are, and what becomes of the parcels of a failed one. It
//! knows nothing of claims and flushes, so that other kinds of delivery can be built on it.

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
    /// Counts a failed attempt that carried it.
    fn count_try(&mut self);
    /// Counts a failure of the endpoint that it may have caused; returns how many there were.
    fn count_suspicion(&mut self) -> u32;
}

/// How much one delivery may carry.
#[derive(Clone, Copy)]
pub(crate) struct CutLimit {
    /// Wire events; exceeded only by a single parcel with more.
    pub(crate) events: usize,
    /// Bytes; exceeded only by a single larger parcel.
    pub(crate) bytes: usize,
}
