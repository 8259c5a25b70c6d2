//! Features: what a decided variation carries.

use crate::config::{CarriedFeature, ConfigSnapshot, SnapshotExt};

/// The declared features that a variation of an experience carries, one entry per change, in the
/// order of the changes.
pub fn carried_features(snapshot: &ConfigSnapshot, experience: usize, variation: usize) -> &[CarriedFeature] {
    let experience = snapshot.experiences().get(experience);
    experience.and_then(|experience| experience.variations.get(variation)).map_or(&[], |one| &one.features)
}
