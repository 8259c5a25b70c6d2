//! A binary search for the parcel that makes an endpoint refuse a whole request.

use super::Parcel;
use crate::engine::Moment;

/// Groups of parcels, each with at least one that the endpoint refuses. Half of a group is sent: if it is
/// accepted, the culprit is in the other half; if not, it is in the half that was sent, and the other is
/// presumed good. So a culprit costs at most log2 of its request's parcels in additional requests.
pub(super) struct Isolation<P> {
    groups: Vec<Vec<P>>,
    /// The other halves of groups whose first halves are in flight, by attempt.
    rests: Vec<(u64, Vec<P>)>,
}

impl<P: Parcel> Isolation<P> {
    pub(super) const fn new() -> Self {
        Self { groups: Vec::new(), rests: Vec::new() }
    }

    /// These parcels contain a culprit. A culprit on its own is handed back.
    pub(super) fn suspect(&mut self, mut group: Vec<P>) -> Option<P> {
        if group.len() < 2 {
            return group.pop();
        }
        self.groups.push(group);
        None
    }

    pub(super) const fn has_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Takes half of a group, to be sent by this attempt.
    pub(super) fn next_half(&mut self, attempt: u64) -> Option<Vec<P>> {
        let mut half = self.groups.pop()?;
        let rest = half.split_off(half.len().div_ceil(2));
        self.rests.push((attempt, rest));
        Some(half)
    }

    /// Takes the other half of the group that this attempt carried half of.
    pub(super) fn take_rest(&mut self, attempt: u64) -> Option<Vec<P>> {
        let place = self.rests.iter().position(|(known, _)| *known == attempt)?;
        Some(self.rests.swap_remove(place).1)
    }

    /// A waiting parcel, by its number.
    pub(super) fn find(&mut self, sequence: u64) -> Option<&mut P> {
        let rests = self.rests.iter_mut().map(|(_, rest)| rest);
        self.groups.iter_mut().chain(rests).flatten().find(|parcel| parcel.sequence() == sequence)
    }

    pub(super) fn len(&self) -> usize {
        self.groups.iter().chain(self.rests.iter().map(|(_, rest)| rest)).map(Vec::len).sum()
    }

    /// When the oldest parcel of the waiting groups was accepted.
    pub(super) fn oldest_at(&self) -> Option<Moment> {
        self.groups.iter().flatten().map(Parcel::accepted_at).min()
    }

    /// Takes the groups with a parcel accepted by `limit`: without it, nothing is known about the rest.
    pub(super) fn take_older(&mut self, limit: Moment) -> Vec<P> {
        let is_old = |group: &mut Vec<P>| group.iter().any(|parcel| parcel.accepted_at() <= limit);
        self.groups.extract_if(.., is_old).flatten().collect()
    }

    /// Takes everything.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = P> + use<P> {
        let Self { groups, rests } = std::mem::replace(self, Self::new());
        groups.into_iter().chain(rests.into_iter().map(|(_, rest)| rest)).flatten()
    }
}
