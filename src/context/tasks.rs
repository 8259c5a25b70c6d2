//! The waiting calls of a context, as tasks make them.

use std::time::Duration;

use super::Context;
use super::convert::{ConversionOptions, confirmed};
use super::preview::fetched_preview;
use crate::deadline::deadline_after;
use crate::error::{ConfirmError, PreviewError};
use crate::results::ConversionResult;
use crate::tracking::TrackedEvent;

impl Context {
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
        let conversion = match self.conversion(goal_key, options) {
            Ok(conversion) => conversion,
            Err(answer) => return Ok(answer),
        };
        let goal_id = Some(conversion.goal_id.clone());
        let event = TrackedEvent::Conversion(conversion);
        let deadline = deadline_after(timeout);
        confirmed(goal_id, self.shared.confirm_in_task(&self.snapshot, event, deadline).await)
    }
}
