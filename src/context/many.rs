//! One experience for many visitors, without a context for each.

use std::borrow::Cow;

use super::RunOptions;
use super::visitor::{NONE, Remembered, custom_segments, overlaid, rule_data, split};
use crate::attributes::{Attributes, AttributesExt, LONGEST_SEGMENT, is_longer_than};
use crate::config::{ConfigSnapshot, SnapshotExt};
use crate::decide::{Facts, Undecided, decide_experience};
use crate::results::ExperienceResult;
use crate::shared::Shared;

/// What [`Context::run_experience_with`](super::Context::run_experience_with) would return for a new context of this
/// visitor, without tracking and storage.
#[inline]
pub(crate) fn decide_unseen<'c>(
    shared: &Shared,
    snapshot: &'c ConfigSnapshot,
    experience: usize,
    (visitor_id, given): (&str, &Attributes),
    remembered: Remembered,
    options: &RunOptions,
) -> Result<ExperienceResult<'c>, Undecided> {
    let Remembered { decisions, attributes: stored, segments, .. } = remembered;
    #[cfg(feature = "testing")]
    let decisions = {
        let mut decisions = decisions;
        decisions.force(shared.forced.of(visitor_id, snapshot));
        decisions
    };
    // With nothing to merge or to shorten, the rules see the attributes as given, including report keys.
    let plain = stored.is_empty()
        && segments.is_empty()
        && options.attributes.is_empty()
        && !given.iter().any(|(_, value)| is_longer_than(LONGEST_SEGMENT, value));
    let (attributes, segments) = if plain {
        (Cow::Borrowed(given), Cow::Borrowed(given))
    } else {
        let mut given = given.clone();
        let given_segments = split(&mut given, &NONE).unwrap_or_default();
        let attributes = overlaid(&stored, given);
        let mut segments = Attributes::clone(&segments);
        segments.merge_up_to(LONGEST_SEGMENT, &given_segments);
        (Cow::Owned(rule_data(&segments, attributes, &options.attributes)), Cow::Owned(segments))
    };
    let configured = shared.base.config.tuning.environment.as_deref();
    let facts = Facts {
        visitor_id,
        attributes: &attributes,
        segments: &NONE,
        answers: None,
        location: &options.location,
        environment: options.environment.as_deref().or(configured),
        custom_segments: custom_segments(&segments),
        decisions: &decisions,
        forced_variation: options.force_variation_id.as_deref(),
    };
    decide_experience(snapshot, experience, &facts)
        .map(|decision| ExperienceResult::new(snapshot, &snapshot.experiences()[experience], decision))
}
