//! The waiting calls of a context, as tasks make them.

use std::sync::Arc;
use std::time::Duration;

use super::convert::{ConversionOptions, confirmed};
use super::many::decide_remembered;
use super::preview::fetched_preview;
use super::visitor::Remembered;
use super::{Context, RunOptions};
use crate::attributes::Attributes;
use crate::config::{ConfigSnapshot, SnapshotExt};
use crate::deadline::deadline_after;
use crate::error::{ConfirmError, PreviewError};
use crate::results::{ConversionResult, ExperienceResult, Undecided};
use crate::shared::Shared;
use crate::state::VisitorState;
use crate::tracking::TrackedEvent;

/// As [`decide_unseen`](super::decide_unseen).
pub(crate) async fn decide_unseen_in_task<'c>(
    shared: &Shared,
    snapshot: &'c ConfigSnapshot,
    experience: usize,
    visitor: (&str, &Attributes),
    options: &RunOptions,
) -> Result<ExperienceResult<'c>, Undecided> {
    let remembered = recall_in_task(shared, snapshot, visitor.0).await;
    decide_remembered(shared, snapshot, experience, visitor, remembered, options)
}

/// As [`recall`](super::visitor::recall).
async fn recall_in_task(shared: &Shared, snapshot: &ConfigSnapshot, visitor_id: &str) -> Remembered {
    if visitor_id.is_empty() {
        return Remembered::default();
    }
    let read = |state: &VisitorState| Remembered::of(snapshot, state);
    shared.recall_in_task(visitor_id, read).await.unwrap_or_default()
}

impl Context {
    /// As [`new`](Self::new).
    pub(crate) async fn new_in_task(
        shared: Arc<Shared>,
        snapshot: Arc<ConfigSnapshot>,
        visitor_id: &str,
        given: Attributes,
    ) -> Self {
        let remembered = recall_in_task(&shared, &snapshot, visitor_id).await;
        Self::with_remembered(shared, snapshot, visitor_id, given, remembered)
    }

    /// As [`set_preview`](Self::set_preview).
    pub(crate) async fn set_preview_in_task(
        &mut self,
        experience_id: &str,
        variation_id: &str,
    ) -> Result<(), PreviewError> {
        self.preview = None;
        let found = match self.find_preview(experience_id, variation_id) {
            Some(found) => found,
            None => {
                let deadline = deadline_after(Self::PREVIEW_TIMEOUT);
                let fetched = self.shared.fetch_experience_in_task(experience_id, deadline).await;
                fetched_preview(experience_id, variation_id, fetched)
            }
        };
        self.switch_preview(found)
    }

    /// As [`track_conversion_confirmed`](Self::track_conversion_confirmed).
    pub(crate) async fn track_conversion_confirmed_in_task(
        &self,
        goal_key: &str,
        options: &ConversionOptions,
        timeout: Duration,
    ) -> Result<ConversionResult, ConfirmError> {
        let conversion = match self.conversion(options, || self.snapshot.goal_index(goal_key)) {
            Ok(conversion) => conversion,
            Err(answer) => return Ok(answer),
        };
        let goal_id = Some(conversion.goal_id.clone());
        let event = TrackedEvent::Conversion(conversion);
        let deadline = deadline_after(timeout);
        confirmed(goal_id, self.shared.confirm_in_task(&self.snapshot, event, deadline).await)
    }
}
