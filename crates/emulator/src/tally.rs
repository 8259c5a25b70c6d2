//! How often each variation and each goal was seen, counted as events arrive.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::received::{EventData, ReceivedEvent};

/// The counts of every project, by `{account_id}/{project_id}`.
///
/// Its size is bounded by the configs: an event with an id that none of them has is never recorded.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Tally(BTreeMap<String, ProjectTally>);

#[derive(Debug, Default, Serialize)]
struct ProjectTally {
    /// Bucketing events by experience id and variation id.
    experiences: BTreeMap<String, BTreeMap<String, u64>>,
    /// Conversion events by goal id.
    goals: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, events: &[ReceivedEvent]) {
        for event in events {
            let project = format!("{}/{}", event.account_id, event.project_id);
            let project = self.0.entry(project).or_default();
            *match &event.event {
                EventData::Bucketing { experience_id, variation_id } => {
                    let experience = project.experiences.entry(experience_id.clone()).or_default();
                    experience.entry(variation_id.clone()).or_default()
                }
                EventData::Conversion { goal_id, .. } => project.goals.entry(goal_id.clone()).or_default(),
            } += 1;
        }
    }
}
