//! Conversions, each a single channel send.

use std::time::Duration;

use super::Context;
use super::missing::no_goal;
use crate::attributes::Attributes;
use crate::config::SnapshotExt;
use crate::decide::goal_matches;
use crate::engine::{Conversion, GoalDataKey, GoalValue, Refused, TrackedEvent, Verdict};
use crate::handles::{GoalHandle, KeyOr};
use crate::results::{ConversionResult, ConversionStatus};
use crate::runtime::Runtime;
use crate::threads::{Caller, blocking};

/// What a conversion carries in addition to its goal. The default is nothing.
///
/// ```
/// use convert_sdk::{ConversionOptions, GoalDataKey};
///
/// let order = ConversionOptions::new()
///     .revenue(49.9)
///     .data(GoalDataKey::ProductsCount, 2)
///     .data(GoalDataKey::TransactionId, "tx-1");
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ConversionOptions {
    goal_data: Option<Vec<(GoalDataKey, GoalValue)>>,
    force_multiple: bool,
    rule_data: Option<Attributes>,
}

impl ConversionOptions {
    /// No revenue, goal data or other options.
    pub const fn new() -> Self {
        Self { goal_data: None, force_multiple: false, rule_data: None }
    }

    /// The revenue, in the project's currency; sent as `amount`. Must be finite.
    ///
    /// Sent with the visitor's **first** conversion of the goal. Where a visitor can order again, also set
    /// [`force_multiple`](Self::force_multiple): without it, later orders are not sent.
    pub fn revenue(self, amount: f64) -> Self {
        self.data(GoalDataKey::Amount, amount)
    }

    /// Adds a goal data entry, replacing one with the same key. A number must be finite.
    pub fn data(mut self, key: GoalDataKey, value: impl Into<GoalValue>) -> Self {
        let value = value.into();
        let entries = self.goal_data.get_or_insert_default();
        match entries.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => entries.push((key, value)),
        }
        self
    }

    /// Adds several goal data entries. Even an empty list counts as goal data and is sent as such, as in the official
    /// JavaScript SDK.
    pub fn goal_data(mut self, entries: impl IntoIterator<Item = (GoalDataKey, GoalValue)>) -> Self {
        self.goal_data.get_or_insert_default();
        entries.into_iter().fold(self, |options, (key, value)| options.data(key, value))
    }

    /// Sends the goal data of every call, even if the visitor has already converted the goal; the conversion itself
    /// still counts once. **Without this, later orders are not sent**, whatever their revenue and transaction id. The
    /// SDK does not tell orders apart, so with it the application must not record an order twice. Has no effect
    /// without goal data. Default false.
    pub const fn force_multiple(mut self, on: bool) -> Self {
        self.force_multiple = on;
        self
    }

    /// Converts only if the goal's rules match this data; with rule data, a goal without rules never converts.
    /// Default none: rules are not evaluated, as in the official Python SDK.
    pub fn rule_data(mut self, data: impl Into<Attributes>) -> Self {
        self.rule_data = Some(data.into());
        self
    }

    fn is_valid(&self) -> bool {
        self.goal_data.iter().flatten().all(|(_, value)| match value {
            GoalValue::Number(number) => number.is_finite(),
            GoalValue::Text(_) => true,
        })
    }
}

impl Default for ConversionOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// The options of a call without any.
static PLAIN: ConversionOptions = ConversionOptions::new();

impl Context {
    /// Records that the visitor reached a goal, given by its key or by a [handle](GoalHandle), which saves the
    /// lookup: one channel send, which does not wait unless
    /// [`OverflowPolicy::Wait`](crate::delivery::OverflowPolicy::Wait) was chosen. The visitor's decisions so far are
    /// sent with it.
    ///
    /// A conversion counts **once per visitor and goal**. Later ones are deduplicated and not sent at all, whatever
    /// their revenue or transaction id, unless [`force_multiple`](ConversionOptions::force_multiple) is set. The
    /// deduplication mark lasts as long as this process or, with a [data store](crate::SdkConfigBuilder::data_store),
    /// as long as the store keeps it; [`visitor_ttl`](crate::SdkConfigBuilder::visitor_ttl) shortens both, and
    /// [`max_visitors`](crate::SdkConfigBuilder::max_visitors) limits the marks kept in memory.
    ///
    /// `Queued` means that the record, or an earlier one, was handed to the tracker, not that it is the first. Whether
    /// it is shows in the conversion's lifecycle event, in [`Stats::deduplicated`](crate::Stats::deduplicated) and in
    /// the result of [`track_conversion_confirmed`](Self::track_conversion_confirmed).
    ///
    /// ```
    /// use convert_sdk::ConversionStatus;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let visitor = core.create_context("visitor-4", ())?;
    /// assert_eq!(visitor.track_conversion("purchase").status, ConversionStatus::Queued);
    /// assert_eq!(visitor.track_conversion("no-such-goal").status, ConversionStatus::GoalNotFound);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn track_conversion(&self, goal: &(impl KeyOr<GoalHandle> + ?Sized)) -> ConversionResult {
        self.track_conversion_with(goal, &PLAIN)
    }

    /// Like [`track_conversion`](Self::track_conversion), with revenue and other options. It, too, counts once per
    /// visitor and goal: where a visitor can order again, set [`force_multiple`](ConversionOptions::force_multiple);
    /// without it, later orders are not sent.
    ///
    /// ```
    /// use convert_sdk::{ConversionOptions, GoalDataKey};
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let visitor = core.create_context("visitor-4", ())?;
    /// for (id, amount) in [("tx-1", 49.9), ("tx-2", 12.5)] {
    ///     let order = ConversionOptions::new().revenue(amount).force_multiple(true);
    ///     let order = order.data(GoalDataKey::TransactionId, id);
    ///     assert!(visitor.track_conversion_with("purchase", &order).tracked());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn track_conversion_with(
        &self,
        goal: &(impl KeyOr<GoalHandle> + ?Sized),
        options: &ConversionOptions,
    ) -> ConversionResult {
        self.send(self.goal_position(goal), options)
    }

    /// A goal's position in the config; that there is none is logged.
    #[inline]
    pub(crate) fn goal_position(&self, goal: &(impl KeyOr<GoalHandle> + ?Sized)) -> Option<usize> {
        let position = goal.position(&self.snapshot);
        if position.is_none() {
            no_goal(&self.snapshot, goal.key());
        }
        position
    }

    fn send(&self, goal: Option<usize>, options: &ConversionOptions) -> ConversionResult {
        let position = match self.converting(goal, options) {
            Ok(position) => position,
            Err(answer) => return answer,
        };
        let goal_id = Some(self.snapshot.goals()[position].id.clone());
        // Goal data may have to be sent again.
        if options.goal_data.is_none() && self.repeats(position) {
            return ConversionResult::new(ConversionStatus::Queued, goal_id);
        }
        let (runtime, conversion) = (self.shared.runtime(), self.conversion(position, options));
        // Read before sending: it changes if the record is lost.
        let epoch = self.shared.remembers_records().then(|| runtime.epoch());
        let sent = runtime.record(&self.shared.base, &self.snapshot, TrackedEvent::Conversion(conversion));
        if let (Ok(()), Some(epoch)) = (sent, epoch) {
            self.decisions.convert(position, epoch);
            runtime.visitors.amend(&self.visitor_id, self.visitor_place, |state, kept| {
                state.bucketing.convert(self.numbers(kept).goal(&self.snapshot, position), epoch);
                true
            });
        }
        ConversionResult::new(
            sent.map_or_else(ConversionStatus::from, |()| ConversionStatus::Queued),
            goal_id,
        )
    }

    /// Counts the conversion of a goal as a repetition, if this context or an earlier one of the visitor has handed one
    /// over that is not lost, and nobody is to hear of this one.
    #[inline]
    fn repeats(&self, goal: usize) -> bool {
        self.decisions.is_converted(goal, || self.shared.number(Runtime::epoch))
            && self.shared.runtime().repeat()
    }

    /// Like [`track_conversion_with`](Self::track_conversion_with), but **waits** up to `timeout` for the tracker to
    /// say whether it is a repetition.
    ///
    /// ```
    /// use convert_sdk::{ConversionOptions, ConversionStatus};
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let visitor = core.create_context("visitor-4", ())?;
    /// let (plain, patience) = (ConversionOptions::new(), std::time::Duration::from_secs(5));
    /// let first = visitor.track_conversion_confirmed("purchase", &plain, patience);
    /// let second = visitor.track_conversion_confirmed("purchase", &plain, patience);
    /// assert_eq!(first.status, ConversionStatus::Queued);
    /// assert_eq!(second.status, ConversionStatus::Deduplicated);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// If the timeout passes first, the status is [`Unconfirmed`](ConversionStatus::Unconfirmed).
    pub fn track_conversion_confirmed(
        &self,
        goal: &(impl KeyOr<GoalHandle> + ?Sized),
        options: &ConversionOptions,
        timeout: Duration,
    ) -> ConversionResult {
        let goal = self.goal_position(goal);
        blocking(async |caller| self.confirm(goal, options, timeout, caller).await)
    }

    /// [`track_conversion_confirmed`](Self::track_conversion_confirmed) as a future, for both surfaces.
    pub(crate) async fn confirm(
        &self,
        goal: Option<usize>,
        options: &ConversionOptions,
        timeout: Duration,
        caller: &Caller,
    ) -> ConversionResult {
        let conversion = match self.converting(goal, options) {
            Ok(position) => self.conversion(position, options),
            Err(answer) => return answer,
        };
        let goal_id = Some(conversion.goal_id.clone());
        let deadline = self.shared.base.clock.deadline_after(timeout);
        let event = TrackedEvent::Conversion(conversion);
        let status = match self.shared.confirm(&self.snapshot, event, deadline, caller).await {
            Ok(Some(Verdict::Accepted)) => ConversionStatus::Queued,
            Ok(Some(Verdict::Repeated)) => ConversionStatus::Deduplicated,
            Ok(Some(Verdict::BacklogFull)) => ConversionStatus::QueueFull,
            Ok(None) => ConversionStatus::Unconfirmed,
            Err(refused) => refused.into(),
        };
        ConversionResult::new(status, goal_id)
    }

    /// The goal's position, or the result if there is nothing to send.
    #[inline(always)]
    fn converting(
        &self,
        goal: Option<usize>,
        options: &ConversionOptions,
    ) -> Result<usize, ConversionResult> {
        let answer = |status| Err(self.unsent(goal, status));
        if self.visitor_id.is_empty() {
            return answer(ConversionStatus::NoVisitor);
        }
        if !options.is_valid() {
            return answer(ConversionStatus::InvalidData);
        }
        let Some(position) = goal else {
            return answer(ConversionStatus::GoalNotFound);
        };
        if self.is_preview() {
            return answer(ConversionStatus::Deduplicated);
        }
        if options.rule_data.as_ref().is_some_and(|data| !goal_matches(&self.snapshot, position, data)) {
            return answer(ConversionStatus::GoalNotMatched);
        }
        if !self.shared.base.config.tuning.tracking {
            return answer(ConversionStatus::TrackingDisabled);
        }
        Ok(position)
    }

    /// The record.
    #[inline(always)]
    fn conversion(&self, goal: usize, options: &ConversionOptions) -> Conversion {
        let goal = &self.snapshot.goals()[goal];
        Conversion {
            visitor_id: self.visitor_id.clone(),
            goal_id: goal.id.clone(),
            goal_key: goal.key.clone(),
            goal_data: options.goal_data.as_deref().map(Into::into),
            bucketing: self.decisions.recorded(&self.snapshot, &self.shared.base.cell.latest_numbers()),
            segments: self.segments.clone(),
            force_multiple: options.force_multiple,
            first: true,
        }
    }

    #[cold]
    fn unsent(&self, goal: Option<usize>, status: ConversionStatus) -> ConversionResult {
        ConversionResult::new(status, goal.map(|position| self.snapshot.goals()[position].id.clone()))
    }
}

impl From<Refused> for ConversionStatus {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::QueueFull,
            Refused::Closed => Self::Closed,
        }
    }
}
