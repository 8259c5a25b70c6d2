//! Requests that the endpoint may have taken without saying so: they are sent again unchanged.

use std::collections::VecDeque;

use super::{BatchId, Parcel};
use crate::engine::Moment;

/// A request is known by an id. Once the endpoint may have taken it, it keeps its parcels and its id until the endpoint
/// has accepted it or has refused what is in it: if it were cut anew, an endpoint that remembers ids could not tell that
/// it has some of the parcels.
pub(super) struct Held<P> {
    /// How the ids of requests that are cut here begin. Without it, every request may be cut anew after a failure.
    origin: Option<u128>,
    /// Those that wait to be sent again; a failure moves one to the end.
    waiting: VecDeque<Waiting<P>>,
    /// Those in flight: the attempt, and the request's id.
    sent: Vec<(u64, BatchId)>,
    /// One has just failed again, and may be why: others go first.
    passes: bool,
}

struct Waiting<P> {
    id: BatchId,
    parcels: Vec<P>,
    /// When the oldest and the newest of them were accepted.
    oldest: Moment,
    newest: Moment,
}

impl<P: Parcel> Held<P> {
    pub(super) const fn new(origin: Option<u128>) -> Self {
        Self { origin, waiting: VecDeque::new(), sent: Vec::new(), passes: false }
    }

    /// The next request: one that waits, with its id, or what `cut` takes.
    pub(super) fn next(&mut self, cut: impl FnOnce() -> Vec<P>) -> (Option<BatchId>, Vec<P>) {
        if !self.passes
            && let Some(again) = self.pop()
        {
            return again;
        }
        let new = cut();
        if !new.is_empty() {
            return (None, new);
        }
        self.pop().unwrap_or((None, new))
    }

    fn pop(&mut self) -> Option<(Option<BatchId>, Vec<P>)> {
        self.waiting.pop_front().map(|it| (Some(it.id), it.parcels))
    }

    /// An attempt sends a request `again`, or else a new one.
    pub(super) fn began(&mut self, attempt: u64, again: Option<BatchId>) {
        self.sent.extend(again.or(self.new_id(attempt)).map(|id| (attempt, id)));
    }

    /// The id of a request that this attempt is the first of.
    fn new_id(&self, attempt: u64) -> Option<BatchId> {
        self.origin.map(|origin| BatchId { origin, number: attempt })
    }

    /// The id of the request that this attempt makes.
    pub(super) fn id(&self, attempt: u64) -> Option<BatchId> {
        self.sent.iter().find(|(sent, _)| *sent == attempt).map(|(_, id)| *id)
    }

    pub(super) fn succeeded(&mut self, attempt: u64) {
        self.sent.retain(|(sent, _)| *sent != attempt);
        self.passes = false;
    }

    /// An attempt has failed; returns the id under which its request has to be sent again, if that may be in the
    /// endpoint already.
    pub(super) fn failed(&mut self, attempt: u64, may_have_arrived: bool) -> Option<BatchId> {
        let place = self.sent.iter().position(|(sent, _)| *sent == attempt)?;
        let (_, id) = self.sent.swap_remove(place);
        self.passes = Some(id) != self.new_id(attempt);
        (may_have_arrived || self.passes).then_some(id)
    }

    /// Keeps a request until it goes again.
    pub(super) fn hold(&mut self, id: BatchId, parcels: Vec<P>) {
        let accepted = || parcels.iter().map(Parcel::accepted_at);
        if let (Some(oldest), Some(newest)) = (accepted().min(), accepted().max()) {
            self.waiting.push_back(Waiting { id, parcels, oldest, newest });
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
