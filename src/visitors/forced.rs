//! What a test forces, by keys: for every visitor, or for one.

use std::collections::HashMap;

use arc_swap::ArcSwap;
use smol_str::SmolStr;

use crate::config::{ConfigSnapshot, SnapshotExt};

/// The variations that visitors get whatever the checks of an experience say. Seen by contexts created later.
#[derive(Default)]
pub(crate) struct Forced(ArcSwap<Table>);

/// Experience to variation, by keys.
type Choices = HashMap<SmolStr, SmolStr>;

#[derive(Clone, Default)]
struct Table {
    for_all: Choices,
    for_one: HashMap<SmolStr, Choices>,
}

impl Forced {
    /// Forces a variation for a visitor, or for every one.
    pub(crate) fn set(&self, visitor_id: Option<&str>, experience_key: &str, variation_key: &str) {
        self.0.rcu(|now| {
            let mut table = Table::clone(now);
            let choices = match visitor_id {
                Some(visitor_id) => table.for_one.entry(visitor_id.into()).or_default(),
                None => &mut table.for_all,
            };
            choices.insert(experience_key.into(), variation_key.into());
            table
        });
    }

    /// Forgets everything that was forced.
    pub(crate) fn clear(&self) {
        self.0.store(Table::default().into());
    }

    /// What is forced for a visitor, by position: experience and variation. Their own comes first.
    pub(crate) fn of(&self, visitor_id: &str, snapshot: &ConfigSnapshot) -> Vec<(usize, usize)> {
        let table = self.0.load();
        let own = table.for_one.get(visitor_id).into_iter().flatten();
        own.chain(&table.for_all)
            .filter_map(|(experience, variation)| positions(snapshot, experience, variation))
            .collect()
    }
}

/// Where a config has this experience and this variation of it.
pub(crate) fn positions(
    snapshot: &ConfigSnapshot,
    experience_key: &str,
    variation_key: &str,
) -> Option<(usize, usize)> {
    let experience = snapshot.experience_index(experience_key)?;
    let variations = &snapshot.experiences()[experience].variations;
    Some((experience, variations.iter().position(|variation| variation.key == variation_key)?))
}
