//! Previews: one variation forced in this context, without recording anything.

use std::sync::Arc;
use std::time::Duration;

use super::Context;
use crate::config::{ConfigSnapshot, SnapshotExt};
use crate::decide::{Decision, DecisionSource};
use crate::engine::Previewed;
use crate::error::PreviewError;
use crate::results::ExperienceResult;
use crate::threads::{Caller, blocking};

/// The variation that a context previews, and the config in which it was found.
#[derive(Clone)]
pub(super) struct Preview {
    snapshot: Arc<ConfigSnapshot>,
    experience: usize,
    variation: usize,
}

impl Context {
    /// The longest that [`set_preview`](Self::set_preview) waits for an experience that is not in the config.
    pub const PREVIEW_TIMEOUT: Duration = Duration::from_secs(10);

    /// Forces one variation of one experience, by their ids, in this context, whatever the audience, status or
    /// traffic. Other experiences are decided as usual; while a preview is on, nothing is stored or recorded and no
    /// events are emitted. Features follow the visitor's own decisions.
    ///
    /// An experience that is not in the config is fetched, and this **waits** for it up to
    /// [`PREVIEW_TIMEOUT`](Self::PREVIEW_TIMEOUT). The thread `convert-preview` fetches one experience at a time. A
    /// fetched one is cached for 60 s, and a response without the experience for 5 s; a failed fetch is retried by
    /// the next call. With direct data nothing can be fetched. With a [`Pump`](crate::pump::Pump) this never waits: it
    /// returns [`WouldBlock`](PreviewError::WouldBlock), and a call after the request was answered succeeds. Calls within
    /// 5 s of a failed fetch return its error, and the next one asks again.
    ///
    /// ```
    /// use convert_sdk::parse_preview_param;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/small.rs"));
    /// let mut visitor = core.create_context("visitor-1", ())?;
    /// if let Some(param) = parse_preview_param("1001.2002") {
    ///     visitor.set_preview(&param.experience_id, &param.variation_id)?;
    /// }
    /// let shown = visitor.run_experience("checkout")?;
    /// assert_eq!(shown.variation_key(), "one-page");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The variation cannot be previewed. Any earlier preview is then off.
    pub fn set_preview(&mut self, experience_id: &str, variation_id: &str) -> Result<(), PreviewError> {
        blocking(async |caller| self.preview(experience_id, variation_id, caller).await)
    }

    /// [`set_preview`](Self::set_preview) as a future, for both surfaces.
    pub(crate) async fn preview(
        &mut self,
        experience_id: &str,
        variation_id: &str,
        caller: &Caller,
    ) -> Result<(), PreviewError> {
        self.clear_preview();
        let found = match self.find_preview(experience_id, variation_id) {
            Some(found) => found,
            None => {
                let mut limit = caller.until(self.shared.base.clock.deadline_after(Self::PREVIEW_TIMEOUT));
                let fetched = self.shared.fetch_experience(experience_id, &mut limit).await;
                if fetched.is_none() && self.shared.would_block(caller) {
                    return Err(PreviewError::WouldBlock);
                }
                fetched_preview(experience_id, variation_id, fetched)
            }
        };
        let found = found.inspect_err(|error| logged!(warn, limited, "preview is off: {error}"))?;
        self.rare.get_or_insert_default().preview = Some(found);
        self.is_watched = true;
        Ok(())
    }

    /// Turns the preview off.
    pub fn clear_preview(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.preview = None;
        }
        self.is_watched = self.shared.hooks.is_some();
    }

    /// Whether a preview is on.
    #[must_use]
    #[inline]
    pub const fn is_preview(&self) -> bool {
        match &self.rare {
            None => false,
            Some(rare) => rare.preview.is_some(),
        }
    }

    /// The forced result for an experience key, if there is one.
    #[inline]
    pub(super) fn previewed(&self, experience_key: &str) -> Option<ExperienceResult<'_>> {
        self.rare.as_ref().and_then(|_| self.previewed_here(experience_key))
    }

    #[cold]
    fn previewed_here(&self, experience_key: &str) -> Option<ExperienceResult<'_>> {
        let preview = self.preview_of_somebody()?;
        let experience = &preview.snapshot.experiences()[preview.experience];
        (experience.key == experience_key).then(|| preview.result())
    }

    /// The forced result, if the experience is not in the context's config.
    pub(super) fn previewed_elsewhere(&self) -> Option<ExperienceResult<'_>> {
        let preview = self.preview_of_somebody()?;
        let key = &preview.snapshot.experiences()[preview.experience].key;
        self.snapshot.experience_index(key).is_none().then(|| preview.result())
    }

    /// Without a visitor nothing is decided, not even a preview.
    fn preview_of_somebody(&self) -> Option<&Preview> {
        let preview = self.rare.as_ref().and_then(|rare| rare.preview.as_ref());
        preview.filter(|_| !self.visitor_id.is_empty())
    }

    /// What to preview; `None` if the experience must be fetched first.
    fn find_preview(&self, experience_id: &str, variation_id: &str) -> Option<Result<Preview, PreviewError>> {
        if experience_id.is_empty() || variation_id.is_empty() {
            return Some(Err(PreviewError::EmptyId));
        }
        if let Some(experience) = self.snapshot.experience_index_by_id(experience_id) {
            return Some(Preview::new(self.snapshot.whole(), experience, variation_id));
        }
        let nowhere = self.shared.base.config.is_direct_config() || self.shared.is_closed();
        nowhere.then_some(Err(PreviewError::ExperienceNotFound))
    }
}

/// What to preview of a fetched experience; `None` if the fetch timed out.
fn fetched_preview(
    experience_id: &str,
    variation_id: &str,
    fetched: Option<Previewed>,
) -> Result<Preview, PreviewError> {
    let found = fetched.ok_or(PreviewError::Timeout)?.map_err(PreviewError::Fetch)?;
    let snapshot = found.ok_or(PreviewError::ExperienceNotFound)?;
    let experience =
        snapshot.experience_index_by_id(experience_id).ok_or(PreviewError::ExperienceNotFound)?;
    Preview::new(&snapshot, experience, variation_id)
}

impl Preview {
    fn new(
        snapshot: &Arc<ConfigSnapshot>,
        experience: usize,
        variation_id: &str,
    ) -> Result<Self, PreviewError> {
        let variation = snapshot.experiences()[experience]
            .variation_index(variation_id)
            .ok_or(PreviewError::VariationNotFound)?;
        Ok(Self { snapshot: Arc::clone(snapshot), experience, variation })
    }

    fn result(&self) -> ExperienceResult<'_> {
        let forced = Decision { variation: self.variation, source: DecisionSource::Forced };
        ExperienceResult::new(&self.snapshot, &self.snapshot.experiences()[self.experience], forced)
    }
}
