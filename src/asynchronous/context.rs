//! The asynchronous context of one visitor.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::attributes::Attributes;
use crate::context::{Context, ConversionOptions};
use crate::error::PreviewError;
use crate::handles::{GoalHandle, KeyOr};
use crate::results::ConversionResult;

/// A [`Context`] whose two waiting methods are futures. Needs the feature `async`.
///
/// Everything else is a plain method of [`Context`], reached through [`Deref`]: an evaluation is microseconds of
/// computation on the config in memory, and recording is one channel send. There is nothing to wait for, and no
/// second copy of the decision logic. The one exception is opt-in: with
/// [`OverflowPolicy::Wait`](crate::delivery::OverflowPolicy::Wait) recording into a full queue **blocks** the thread,
/// and with it the executor, for up to the time given there.
///
/// ```
/// use convert_sdk::attributes;
///
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/tasks.rs")).run(async |core| {
/// let mut visitor = core.create_context("visitor-4", ()).await?;
/// visitor.set_attributes(attributes! { "age" => 30 });
/// assert!(visitor.run_experience("checkout").is_ok());
/// assert!(visitor.track_conversion("purchase").tracked());
/// # Ok(()) });
/// ```
#[derive(Debug, Clone)]
pub struct AsyncContext {
    context: Context,
}

impl AsyncContext {
    /// The longest that [`set_preview`](Self::set_preview) waits for an experience that is not in the config.
    pub const PREVIEW_TIMEOUT: Duration = Context::PREVIEW_TIMEOUT;

    /// Replaces the location attributes, against which location rules are evaluated.
    #[must_use]
    pub fn with_location(self, location: impl Into<Attributes>) -> Self {
        self.context.with_location(location).into()
    }

    /// The same context for synchronous callers; its waiting methods block. `AsyncContext::from` converts back.
    ///
    /// ```
    /// use convert_sdk::AsyncContext;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let visitor = AsyncContext::from(core.create_context("visitor-4", ())?);
    /// assert_eq!(visitor.into_sync().visitor_id(), "visitor-4");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn into_sync(self) -> Context {
        self.context
    }

    /// Like [`Context::set_preview`]: forces one variation of one experience, by their ids, in this context. An
    /// experience that is not in the config is fetched, waiting up to [`PREVIEW_TIMEOUT`](Self::PREVIEW_TIMEOUT).
    /// Dropping the future meanwhile leaves the preview off.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/tasks.rs")).run(async |core| {
    /// let mut visitor = core.create_context("visitor-1", ()).await?;
    /// visitor.set_preview("100218245", "100299457").await?;
    /// let shown = visitor.run_experience("checkout")?;
    /// assert_eq!(shown.variation_key(), "one-page");
    /// # Ok(()) });
    /// ```
    ///
    /// # Errors
    /// Like [`Context::set_preview`].
    pub async fn set_preview(&mut self, experience_id: &str, variation_id: &str) -> Result<(), PreviewError> {
        let task = self.context.task();
        self.context.preview(experience_id, variation_id, &task).await
    }

    /// Like [`Context::track_conversion_confirmed`]: records a conversion and waits up to `timeout` for the tracker to
    /// say whether it is a repetition. The conversion is handed over when the future is first polled; dropping the
    /// future after that loses only the answer.
    ///
    /// ```
    /// use convert_sdk::{ConversionOptions, ConversionStatus};
    ///
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/tasks.rs")).run(async |core| {
    /// let visitor = core.create_context("visitor-4", ()).await?;
    /// let (plain, patience) = (ConversionOptions::new(), std::time::Duration::from_secs(5));
    /// let first = visitor.track_conversion_confirmed("purchase", &plain, patience).await;
    /// let second = visitor.track_conversion_confirmed("purchase", &plain, patience).await;
    /// assert_eq!(first.status, ConversionStatus::Queued);
    /// assert_eq!(second.status, ConversionStatus::Deduplicated);
    /// # Ok(()) });
    /// ```
    pub async fn track_conversion_confirmed(
        &self,
        goal: &(impl KeyOr<GoalHandle> + ?Sized),
        options: &ConversionOptions,
        timeout: Duration,
    ) -> ConversionResult {
        let goal = self.context.goal_position(goal);
        self.context.confirm(goal, options, timeout, &self.context.task()).await
    }
}

impl From<Context> for AsyncContext {
    fn from(context: Context) -> Self {
        Self { context }
    }
}

impl Deref for AsyncContext {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl DerefMut for AsyncContext {
    fn deref_mut(&mut self) -> &mut Context {
        &mut self.context
    }
}
