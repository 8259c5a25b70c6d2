//! Delivery: when attempts begin, how large they are, and what becomes of the parcels of a failed one. It
//! knows nothing of claims and flushes, so that other kinds of delivery can be built on it.

mod dispatch;
mod held;
mod in_flight;
mod isolation;
mod pacer;
mod remedy;

pub use dispatch::{Dispatch, Failure};
pub(super) use in_flight::InFlight;
pub(super) use pacer::Pacer;

use std::fmt;

use super::{ByClass, Moment};

/// What a delivery carries.
pub trait Parcel {
    /// Its place in the order of acceptance.
    fn sequence(&self) -> u64;
    /// When it was accepted.
    fn accepted_at(&self) -> Moment;
    /// How many events it is in a request.
    fn wire_events(&self) -> usize;
    /// Adds it to the counts.
    fn count_in(&self, counts: &mut ByClass);
    /// Counts a failed attempt that carried it.
    fn count_try(&mut self);
    /// Counts a failure of the endpoint that it may have caused; returns how many there were.
    fn count_suspicion(&mut self) -> u32;
}

/// What a request is called, each time that it goes again as it was. No other request ever has the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchId {
    /// Random, of the process that has cut it.
    pub(crate) origin: u128,
    pub(crate) number: u64,
}

impl BatchId {
    /// The id with this text.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (origin, number) = text.split_once('-')?;
        let id = Self { origin: u128::from_str_radix(origin, 16).ok()?, number: number.parse().ok()? };
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{}", self.origin, self.number)
    }
}

/// How much one delivery may carry.
#[derive(Clone, Copy)]
pub struct CutLimit {
    /// Wire events; exceeded only by a single parcel with more.
    pub events: usize,
    /// Bytes; exceeded only by a single larger parcel.
    pub bytes: usize,
    /// Others than the oldest are wanted, if they can be told apart: those are refused one after the other.
    pub elsewhere: bool,
}
