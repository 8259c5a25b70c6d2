//! The search for the record that makes an endpoint refuse a whole request.

use crate::engine::{Moment, Queued};

/// Groups of records, each with at least one that the endpoint refuses. Half of a group is sent: if it is
/// taken, the culprit is in the rest; if not, it is in that half and the rest is good until shown
/// otherwise. So a culprit costs at most log2 of its request's records in further requests.
#[derive(Default)]
pub(super) struct Isolation {
    groups: Vec<Vec<Queued>>,
    /// The rests of groups whose halves are on their way, by attempt.
    rests: Vec<(u64, Vec<Queued>)>,
}

impl Isolation {
    /// These records contain a culprit. A culprit that is alone is handed back.
    pub(super) fn suspect(&mut self, mut group: Vec<Queued>) -> Option<Queued> {
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
    pub(super) fn next_half(&mut self, attempt: u64) -> Option<Vec<Queued>> {
        let mut half = self.groups.pop()?;
        let rest = half.split_off(half.len().div_ceil(2));
        self.rests.push((attempt, rest));
        Some(half)
    }

    /// The rest of the group whose half this attempt has carried.
    pub(super) fn take_rest(&mut self, attempt: u64) -> Option<Vec<Queued>> {
        let place = self.rests.iter().position(|(known, _)| *known == attempt)?;
        Some(self.rests.swap_remove(place).1)
    }

    /// A record that waits, by its number.
    pub(super) fn find(&mut self, sequence: u64) -> Option<&mut Queued> {
        let rests = self.rests.iter_mut().map(|(_, rest)| rest);
        self.groups.iter_mut().chain(rests).flatten().find(|queued| queued.sequence == sequence)
    }

    pub(super) fn len(&self) -> usize {
        self.all().count()
    }

    /// When the oldest record of the groups that wait was accepted.
    pub(super) fn oldest_at(&self) -> Option<Moment> {
        self.groups.iter().flatten().map(|queued| queued.accepted_at).min()
    }

    /// Takes the groups with a record from `limit` or before: without it nothing is known of the rest.
    pub(super) fn take_older(&mut self, limit: Moment) -> Vec<Queued> {
        let is_old = |group: &mut Vec<Queued>| group.iter().any(|queued| queued.accepted_at <= limit);
        self.groups.extract_if(.., is_old).flatten().collect()
    }

    /// Takes everything.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Queued> + use<> {
        let Self { groups, rests } = std::mem::take(self);
        groups.into_iter().chain(rests.into_iter().map(|(_, rest)| rest)).flatten()
    }

    fn all(&self) -> impl Iterator<Item = &Queued> {
        self.groups.iter().chain(self.rests.iter().map(|(_, rest)| rest)).flatten()
    }
}
