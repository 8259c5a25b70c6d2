//! Requests that the endpoint may have taken without saying so: they are sent again unchanged.

use std::collections::VecDeque;

use super::Parcel;
use crate::engine::Moment;

/// A request is known by the number of its first attempt. Once the endpoint may have taken it, it keeps its parcels and
/// its number until the endpoint has accepted it or has refused what is in it: if it were cut anew, an endpoint that
/// remembers numbers could not tell that it has some of the parcels.
pub(super) struct Held<P> {
    is_used: bool,
    /// Those that wait to be sent again; a failure moves one to the end.
    waiting: VecDeque<Waiting<P>>,
    /// Those in flight: the attempt, and the request's number.
    sent: Vec<(u64, u64)>,
    /// One has just failed again, and may be why: others go first.
    passes: bool,
}

struct Waiting<P> {
    number: u64,
    parcels: Vec<P>,
    /// When the oldest and the newest of them were accepted.
    oldest: Moment,
    newest: Moment,
}

impl<P: Parcel> Held<P> {
    /// If not `is_used`, every request may be cut anew after a failure.
    pub(super) const fn new(is_used: bool) -> Self {
        Self { is_used, waiting: VecDeque::new(), sent: Vec::new(), passes: false }
    }

    /// The next request of this attempt, and its number: one that waits, or what `cut` takes.
    pub(super) fn next(&mut self, attempt: u64, cut: impl FnOnce() -> Vec<P>) -> (u64, Vec<P>) {
        if !self.passes
            && let Some(again) = self.pop()
        {
            return again;
        }
        let new = cut();
        if !new.is_empty() {
            return (attempt, new);
        }
        self.pop().unwrap_or((attempt, new))
    }

    fn pop(&mut self) -> Option<(u64, Vec<P>)> {
        self.waiting.pop_front().map(|it| (it.number, it.parcels))
    }

    pub(super) fn began(&mut self, attempt: u64, number: u64) {
        if self.is_used {
            self.sent.push((attempt, number));
        }
    }

    /// The number of the request that this attempt makes.
    pub(super) fn number(&self, attempt: u64) -> Option<u64> {
        self.sent.iter().find(|(sent, _)| *sent == attempt).map(|(_, number)| *number)
    }

    pub(super) fn succeeded(&mut self, attempt: u64) {
        self.sent.retain(|(sent, _)| *sent != attempt);
        self.passes = false;
    }

    /// An attempt has failed; returns the number under which its request has to be sent again, if that may be in the
    /// endpoint already.
    pub(super) fn failed(&mut self, attempt: u64, may_have_arrived: bool) -> Option<u64> {
        let place = self.sent.iter().position(|(sent, _)| *sent == attempt)?;
        let (_, number) = self.sent.swap_remove(place);
        self.passes = number != attempt;
        (may_have_arrived || self.passes).then_some(number)
    }

    /// Keeps a request until it goes again.
    pub(super) fn hold(&mut self, number: u64, parcels: Vec<P>) {
        let accepted = || parcels.iter().map(Parcel::accepted_at);
        if let (Some(oldest), Some(newest)) = (accepted().min(), accepted().max()) {
            self.waiting.push_back(Waiting { number, parcels, oldest, newest });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.iter().map(|it| it.parcels.len()).sum()
    }

    pub(super) fn parcels(&self) -> impl Iterator<Item = &P> {
        self.waiting.iter().flat_map(|it| &it.parcels)
    }

    /// A waiting parcel, by its number.
    pub(super) fn find(&mut self, sequence: u64) -> Option<&mut P> {
        let mut parcels = self.waiting.iter_mut().flat_map(|it| &mut it.parcels);
        parcels.find(|parcel| parcel.sequence() == sequence)
    }

    /// When the oldest waiting parcel was accepted.
    pub(super) fn oldest_at(&self) -> Option<Moment> {
        self.waiting.iter().map(|it| it.oldest).min()
    }

    /// When the newest parcel of a waiting request was accepted, for the request for which that is longest ago.
    pub(super) fn first_to_age(&self) -> Option<Moment> {
        self.waiting.iter().map(|it| it.newest).min()
    }

    /// Takes the requests whose parcels were all accepted by `limit`.
    pub(super) fn take_older(&mut self, limit: Moment) -> impl Iterator<Item = P> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (old, young): (VecDeque<_>, _) = waiting.partition(|it| it.newest <= limit);
        self.waiting = young;
        old.into_iter().flat_map(|it| it.parcels)
    }

    /// Takes everything that waits.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = P> + use<P> {
        std::mem::take(&mut self.waiting).into_iter().flat_map(|it| it.parcels)
    }
}
