//! A binary search for the parcel that makes an endpoint refuse a whole request.

use super::{BatchId, Parcel};
use crate::engine::Moment;

/// Groups of parcels, each with at least one that the endpoint refuses. Half of a group is sent: if it is
/// accepted, the culprit is in the other half; if not, it is in the half that was sent, and the other is
/// presumed good. A group of one is sent too, because the endpoint may have refused a request only for the moment.
/// So a culprit costs at most log2 of its request's parcels in additional requests, plus one.
pub(super) struct Isolation<P> {
    groups: Vec<Group<P>>,
    /// The other halves of groups whose first halves are in flight, by attempt.
    rests: Vec<(u64, Vec<P>)>,
}

struct Group<P> {
    parcels: Vec<P>,
    /// The request's id, if its half has been sent and has to be sent again unchanged.
    sent: Option<BatchId>,
}

impl<P: Parcel> Isolation<P> {
    pub(super) const fn new() -> Self {
        Self { groups: Vec::new(), rests: Vec::new() }
    }

    /// These parcels contain a culprit. Half of them may have been `sent` under this id.
    pub(super) fn suspect(&mut self, parcels: Vec<P>, sent: Option<BatchId>) {
        if !parcels.is_empty() {
            self.groups.push(Group { parcels, sent });
        }
    }

    /// How many groups wait.
    pub(super) const fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Takes the larger half of a group, to be sent by this attempt, and the id under which it was sent before.
    pub(super) fn next_half(&mut self, attempt: u64) -> Option<(Option<BatchId>, Vec<P>)> {
        let Group { parcels: mut half, sent } = self.groups.pop()?;
        let rest = half.split_off(half.len().div_ceil(2));
        self.rests.push((attempt, rest));
        Some((sent, half))
    }

    /// Takes the other half of the group that this attempt carried half of.
    pub(super) fn take_rest(&mut self, attempt: u64) -> Option<Vec<P>> {
        let place = self.rests.iter().position(|(known, _)| *known == attempt)?;
        Some(self.rests.swap_remove(place).1)
    }

    /// A waiting parcel, by its number.
    pub(super) fn find(&mut self, sequence: u64) -> Option<&mut P> {
        let rests = self.rests.iter_mut().map(|(_, rest)| rest);
        let groups = self.groups.iter_mut().map(|group| &mut group.parcels);
        groups.chain(rests).flatten().find(|parcel| parcel.sequence() == sequence)
    }

    pub(super) fn len(&self) -> usize {
        let rests = self.rests.iter().map(|(_, rest)| rest);
        self.groups.iter().map(|group| &group.parcels).chain(rests).map(Vec::len).sum()
    }

    /// When the oldest parcel of the waiting groups was accepted.
    pub(super) fn oldest_at(&self) -> Option<Moment> {
        self.groups.iter().flat_map(|group| &group.parcels).map(Parcel::accepted_at).min()
    }

    /// When a waiting group is first to be taken for its age.
    pub(super) fn first_to_age(&self) -> Option<Moment> {
        self.groups.iter().filter_map(Group::ages_from).min()
    }

    /// Takes the groups with a parcel accepted by `limit`: without it, nothing is known about the rest.
    pub(super) fn take_older(&mut self, limit: Moment) -> impl Iterator<Item = P> {
        let is_old = move |group: &mut Group<P>| group.ages_from().is_some_and(|from| from <= limit);
        self.groups.extract_if(.., is_old).flat_map(|group| group.parcels)
    }

    /// Takes everything.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = P> + use<P> {
        let Self { groups, rests } = std::mem::replace(self, Self::new());
        groups.into_iter().map(|group| group.parcels).chain(rests.into_iter().map(|(_, rest)| rest)).flatten()
    }
}

impl<P: Parcel> Group<P> {
    /// Its age begins with its oldest parcel; with the newest if half of it has to be sent again unchanged.
    fn ages_from(&self) -> Option<Moment> {
        let accepted = self.parcels.iter().map(Parcel::accepted_at);
        if self.sent.is_some() { accepted.max() } else { accepted.min() }
    }
}
