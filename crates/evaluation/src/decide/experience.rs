//! The checks of one experience, in the order of the JavaScript SDK.

use super::bucketing::{bucket, select};
use super::rules::{RuleData, matches};
use super::trace::Trace;
use super::{Decision, DecisionSource, Facts, Stored, StoredDecisions, Undecided};
use crate::attributes::{AttributeValue, Attributes};
use crate::config::{ConfigSnapshot, Environment, Exclusion, Experience, Place, SnapshotExt, Standing};
use crate::js::regex::Steps;

#[inline(always)]
pub(super) fn decide<D, T>(
    snapshot: &ConfigSnapshot,
    experience: usize,
    facts: &Facts<'_, D>,
    trace: &mut T,
) -> Result<Decision, Undecided>
where
    D: StoredDecisions + ?Sized,
    T: Trace,
{
    // A position outside the snapshot cannot be decided, and must not panic.
    let Some(subject) = snapshot.experiences().get(experience) else {
        return Err(Undecided::NotInConfig);
    };
    if facts.visitor_id.is_empty() {
        return Err(Undecided::NoVisitor);
    }
    if let Some(variation) = facts.decisions.forced(experience)
        && let Some(shown) = subject.variations.get(variation)
    {
        trace.forced(&shown.id, true);
        return Ok(Decision { variation, source: DecisionSource::Forced });
    }
    trace.archived(subject.standing == Standing::Archived);
    match subject.standing {
        Standing::Running => {}
        Standing::Archived => return Err(Undecided::Archived),
        Standing::NoId => return Err(Undecided::NoId),
    }
    let in_environment = match (&subject.environment, facts.environment) {
        (Environment::Any, _) | (Environment::Named(_), None) => true,
        (Environment::Named(required), Some(given)) => required == given,
        (Environment::Nowhere(_), _) => false,
    };
    trace.environment(subject, facts.environment, in_environment);
    if !in_environment {
        return Err(Undecided::Environment);
    }
    let (stored, stale) = match facts.decisions.stored(subject.home as usize) {
        Stored::Variation(variation) if variation < subject.variations.len() => (Some(variation), false),
        Stored::None => (None, false),
        Stored::Variation(_) | Stored::Stale | Stored::Empty => (None, true),
    };
    trace.stored(subject, stored, stale);
    let mut steps = Steps::of_a_decision();
    let located = at_location(snapshot, subject, facts.location, &mut steps, trace);
    trace.location(subject, located);
    if !located {
        return Err(Undecided::Location);
    }
    let answers = facts.answers.filter(|answers| !T::EVERY_ITEM && answers.is_of(snapshot));
    let data = &RuleData { attributes: facts.attributes, segments: facts.segments, answers };
    let in_audience =
        in_audiences(snapshot, subject, data, facts.decisions, stored.is_some(), &mut steps, trace);
    trace.audiences(subject, in_audience);
    if !in_audience {
        return Err(Undecided::Audience);
    }
    let in_segment = subject.segments.is_empty() || in_segments(snapshot, subject, facts.custom_segments);
    trace.segments(&subject.segments, in_segment);
    if !in_segment {
        return Err(Undecided::Segments);
    }
    if subject.variations.is_empty() {
        return Err(Undecided::NoVariations);
    }
    if let Some(asked) = facts.forced_variation {
        let found = subject.variation_index(asked);
        trace.forced(asked, found.is_some());
        match found {
            Some(variation) if stored != Some(variation) => {
                return Ok(Decision { variation, source: DecisionSource::Forced });
            }
            _ => {}
        }
    }
    if let Some(variation) = stored {
        return Ok(Decision { variation, source: DecisionSource::Stored });
    }
    let hash = subject.hash.update(facts.visitor_id.as_bytes()).finish();
    let bucket = bucket(hash, snapshot.max_traffic());
    let variation = select(&subject.layout, bucket).map(|edge| edge.variation as usize);
    trace.bucketed(subject, hash, bucket, variation);
    match variation {
        Some(variation) if variation < subject.variations.len() => {
            Ok(Decision { variation, source: DecisionSource::Hashed { bucket } })
        }
        Some(_) => Err(Undecided::OtherVariations { bucket }),
        None => Err(Undecided::NotBucketed { bucket }),
    }
}

#[inline(always)]
fn at_location<T: Trace>(
    snapshot: &ConfigSnapshot,
    experience: &Experience,
    location: &Attributes,
    steps: &mut Steps,
    trace: &mut T,
) -> bool {
    match &experience.place {
        Place::Anywhere => true,
        Place::Locations(locations) => locations.iter().any(|first| {
            snapshot.locations_alike(*first).any(|entity| {
                let Some(rules) = &entity.rules else { return false };
                trace.enter_location(Some(entity));
                let matched = matches(rules, &RuleData::of(location), steps, trace);
                trace.leave_location(matched);
                matched
            })
        }),
        Place::SiteArea(rules) => {
            trace.enter_location(None);
            let matched = matches(rules, &RuleData::of(location), steps, trace);
            trace.leave_location(matched);
            matched
        }
    }
}

/// Whether the visitor is in the audiences of the experience. Audiences that are not checked
/// (unknown ones, and permanent ones once there is a decision) exclude nobody.
#[inline(always)]
fn in_audiences<D, T>(
    snapshot: &ConfigSnapshot,
    experience: &Experience,
    data: &RuleData<'_>,
    decisions: &D,
    decided_before: bool,
    steps: &mut Steps,
    trace: &mut T,
) -> bool
where
    D: StoredDecisions + ?Sized,
    T: Trace,
{
    let check = &experience.audiences;
    let mut asked = false;
    for first in &check.audiences {
        for audience in snapshot.audiences_alike(*first) {
            if decided_before && audience.permanent {
                trace.skip_audience(audience);
                continue;
            }
            asked = true;
            trace.enter_audience(audience);
            let matched = match &audience.exclusion {
                None => {
                    let matched = matches(&audience.rules, data, steps, trace);
                    trace.leave_audience(matched, None);
                    matched
                }
                Some(exclusion) => is_admitted(exclusion, decisions, trace),
            };
            if matched != check.all {
                return matched;
            }
        }
    }
    !asked || check.all
}

#[inline(never)]
fn is_admitted<D, T>(exclusion: &Exclusion, decisions: &D, trace: &mut T) -> bool
where
    D: StoredDecisions + ?Sized,
    T: Trace,
{
    let bucketed = exclusion.experience.map(|experience| match decisions.stored(experience as usize) {
        Stored::None | Stored::Empty => false,
        Stored::Variation(_) | Stored::Stale => true,
    });
    // Nobody is bucketed into an experience that does not exist.
    let matched = bucketed.unwrap_or(false) != exclusion.negated;
    trace.leave_audience(matched, bucketed);
    matched
}

#[inline(never)]
fn in_segments(snapshot: &ConfigSnapshot, experience: &Experience, recorded: &[AttributeValue]) -> bool {
    let is_recorded = |first: &u32| {
        let with_id = snapshot.segments_alike(*first).find(|segment| segment.has_id);
        with_id.is_some_and(|segment| super::segments::is_recorded(&segment.id, recorded))
    };
    experience.segments.iter().any(is_recorded)
}
