//! Attempts that have begun and not yet ended.

use super::Parcel;
use crate::engine::{ByClass, Moment};

/// What is known about the parcels in flight.
#[derive(Default)]
pub(crate) struct InFlight {
    attempts: Vec<Attempt>,
}

struct Attempt {
    number: u64,
    first_sequence: u64,
    oldest_at: Moment,
    by_class: ByClass,
    wire_events: u64,
}

impl InFlight {
    /// Begins an attempt with these parcels.
    pub(super) fn begin(&mut self, number: u64, parcels: &[impl Parcel]) {
        let Some(first) = parcels.first() else { return };
        let mut by_class = ByClass::default();
        let mut wire_events = 0;
        for parcel in parcels {
            parcel.count_in(&mut by_class);
            wire_events += parcel.wire_events() as u64;
        }
        let (first_sequence, oldest_at) = (first.sequence(), first.accepted_at());
        self.attempts.push(Attempt { number, first_sequence, oldest_at, by_class, wire_events });
    }

    /// An attempt has ended; returns how many events it carried.
    pub(super) fn end(&mut self, number: u64) -> u64 {
        let ended = self.attempts.extract_if(.., |attempt| attempt.number == number);
        ended.map(|attempt| attempt.wire_events).sum()
    }

    /// Stops waiting for attempts to end; returns what was in flight.
    pub(crate) fn abandon(&mut self) -> ByClass {
        let mut left = ByClass::default();
        self.attempts.drain(..).for_each(|attempt| left.add_all(attempt.by_class));
        left
    }

    pub(crate) const fn attempts(&self) -> usize {
        self.attempts.len()
    }

    pub(crate) fn parcels(&self) -> u64 {
        self.attempts.iter().map(|attempt| attempt.by_class.total()).sum()
    }

    /// Whether any parcel before `end` is in flight.
    pub(crate) fn has_before(&self, end: u64) -> bool {
        self.attempts.iter().any(|attempt| attempt.first_sequence < end)
    }

    pub(crate) fn oldest_at(&self) -> Option<Moment> {
        self.attempts.iter().map(|attempt| attempt.oldest_at).min()
    }
}
