//! What is known of the visitor, and how that changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use smol_str::SmolStr;

use super::Context;
use super::decisions::Decisions;
use crate::attributes::{
    AttributeValue, Attributes, AttributesExt, CUSTOM_SEGMENTS, LONGEST_LIST, LONGEST_SEGMENT, Measured,
    is_longer_than, shorten,
};
use crate::config::ConfigSnapshot;
use crate::decide::match_custom_segments;
use crate::engine::{REPORT_KEYS, is_report_key};
use crate::results::CustomSegmentsResult;
use crate::shared::Shared;
use crate::threads::{Caller, blocking};
use crate::visitors::VisitorState;

/// What is remembered of a visitor.
#[derive(Default)]
pub(crate) struct Remembered {
    pub(super) decisions: Decisions,
    pub(super) attributes: Attributes,
    pub(super) segments: Attributes,
    /// The data store did not answer.
    guessing: bool,
}

impl Remembered {
    pub(super) fn of(snapshot: &ConfigSnapshot, state: &VisitorState) -> Self {
        Self {
            decisions: Decisions::hydrate(snapshot, &state.bucketing),
            attributes: Attributes::clone(&state.attributes),
            segments: Attributes::clone(&state.segments),
            guessing: false,
        }
    }
}

impl Context {
    pub(crate) fn new(
        shared: Arc<Shared>,
        snapshot: Arc<ConfigSnapshot>,
        visitor_id: &str,
        given: Attributes,
    ) -> Self {
        let remembered = recall_blocking(&shared, &snapshot, visitor_id);
        Self::with(remembered, shared, snapshot, visitor_id, given)
    }

    /// As [`new`](Self::new), of a visitor of whom this is known.
    pub(crate) fn with(
        remembered: Remembered,
        shared: Arc<Shared>,
        snapshot: Arc<ConfigSnapshot>,
        visitor_id: &str,
        given: Attributes,
    ) -> Self {
        let Remembered { decisions, attributes: stored, segments: segments_before, guessing } = remembered;
        let visitor_id = SmolStr::new(visitor_id);
        let (given, segments) = split(given);
        let attributes = overlaid(&stored, given);
        let segments_before = (!segments_before.is_empty()).then(|| Arc::new(Measured::new(segments_before)));
        let mut context = Self {
            decisions,
            guessing,
            persistent_segments: segments_before.clone(),
            segments: segments_before,
            merged: None,
            persistent: stored,
            shared,
            snapshot,
            visitor_id,
            attributes,
            location: Attributes::new(),
            preview: None,
        };
        if segments.is_empty() {
            context.merge();
        } else {
            context.add_segments(&segments);
        }
        context
    }

    /// A task that waits for this context's core.
    #[cfg(feature = "async")]
    pub(crate) fn task(&self) -> Caller {
        self.shared.task()
    }

    /// The visitor's id.
    #[must_use]
    pub fn visitor_id(&self) -> &str {
        &self.visitor_id
    }

    /// The visitor's attributes, without the report keys, which are [`segments`](Self::segments).
    #[must_use]
    pub const fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The visitor's segments: the report keys `country`, `browser`, `devices`, `source`,
    /// `campaign`, `visitorType` and `customSegments`.
    #[must_use]
    pub fn segments(&self) -> &Attributes {
        static NONE: Attributes = Attributes::new();
        self.segments.as_deref().map_or(&NONE, |segments| segments)
    }

    /// The context's location attributes.
    #[must_use]
    pub const fn location(&self) -> &Attributes {
        &self.location
    }

    /// The config that this context decides by.
    #[must_use]
    pub const fn config(&self) -> &Arc<ConfigSnapshot> {
        &self.snapshot
    }

    /// This context with other location attributes, which location rules see.
    #[must_use]
    pub fn with_location(mut self, location: impl Into<Attributes>) -> Self {
        self.location = location.into();
        self
    }

    /// Sets the location attributes, which location rules see.
    pub fn set_location(&mut self, location: impl Into<Attributes>) {
        self.location = location.into();
    }

    /// Sets attributes of the visitor, for this context **and the visitor's later ones** (unlike those given
    /// to [`create_context`](crate::Core::create_context)); the same name replaces. Report keys become
    /// [`segments`](Self::segments), as at creation. Of a list the first 10,000 values are kept. What is set
    /// during a preview lasts only as long as this context.
    ///
    /// ```
    /// # use convert_sdk::*;
    /// # let core = include!("../../tests/doc/shop.rs");
    /// let mut visitor = core.create_context("visitor-4", ())?;
    /// visitor.set_attributes(attributes! { "age" => 30 });
    /// assert!(visitor.run_experience("checkout").is_ok());
    /// // A later context of the visitor starts with them.
    /// assert_eq!(core.create_context("visitor-4", ())?.attributes().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_attributes(&mut self, attributes: impl Into<Attributes>) {
        let (attributes, segments) = split(attributes.into());
        if self.preview.is_none() {
            overlay(&mut self.persistent, attributes.clone());
        }
        overlay(&mut self.attributes, attributes.clone());
        if !segments.is_empty() {
            self.add_segments(&segments);
        } else {
            self.merge();
        }
        self.remember(|state| state.set_attributes(attributes));
    }

    /// Sets segments of the visitor, for this context and the visitor's later ones. Only report keys
    /// are kept, as in the official JavaScript SDK; lists are united with those set before, the new
    /// values first. Of a list 1,000 values are kept; that there were more is logged once. What is set
    /// during a preview lasts only as long as this context.
    ///
    /// ```
    /// # use convert_sdk::*;
    /// # let core = include!("../../tests/doc/shop.rs");
    /// let mut visitor = core.create_context("visitor-4", ())?;
    /// visitor.set_segments(attributes! { "country" => "GR", "not_a_report_key" => 1 });
    /// assert_eq!(visitor.segments().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_segments(&mut self, segments: impl Into<Attributes>) {
        let (_, segments) = split(segments.into());
        if !segments.is_empty() {
            self.add_segments(&segments);
        }
    }

    /// Records the custom segments with these keys that the visitor belongs to, for audiences and
    /// reports.
    ///
    /// Segments are looked at in config order. As in the official JavaScript SDK, once one matches
    /// the ones after it are recorded without a look at their rules. Unknown keys are skipped.
    ///
    /// ```
    /// # use convert_sdk::*;
    /// # let core = include!("../../tests/doc/shop.rs");
    /// let mut visitor = core.create_context("visitor-4", attributes! { "member" => true })?;
    /// assert!(visitor.run_experience("welcome-back").is_err());
    /// assert!(visitor.run_custom_segments(&["members"]).matched());
    /// assert!(visitor.run_experience("welcome-back").is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_custom_segments(&mut self, keys: &[&str]) -> CustomSegmentsResult {
        self.run_custom_segments_with(keys, Attributes::new())
    }

    /// As [`run_custom_segments`](Self::run_custom_segments), with attributes for this call only,
    /// merged over the visitor's.
    pub fn run_custom_segments_with(
        &mut self,
        keys: &[&str],
        rule_data: impl Into<Attributes>,
    ) -> CustomSegmentsResult {
        if self.visitor_id.is_empty() {
            return CustomSegmentsResult::default();
        }
        let rule_data = rule_data.into();
        let merged;
        let facts = if rule_data.is_empty() {
            self.rule_data()
        } else {
            merged = self.rule_data_with(&rule_data);
            &merged
        };
        let matched = match_custom_segments(&self.snapshot, keys, facts, self.custom_segments());
        if !matched.is_empty() {
            self.record_segments(&matched);
        }
        CustomSegmentsResult::new(matched)
    }

    /// The ids of the custom segments recorded so far.
    pub(super) fn custom_segments(&self) -> &[AttributeValue] {
        custom_segments(self.segments())
    }

    /// What audience rules see.
    pub(super) fn rule_data(&self) -> &Attributes {
        self.merged.as_ref().unwrap_or(&self.attributes)
    }

    /// What audience rules see in a call with attributes of its own.
    pub(super) fn rule_data_with(&self, call: &Attributes) -> Attributes {
        rule_data(self.segments(), self.attributes.clone(), call)
    }

    /// Changes what outlives the context. Does nothing during a preview or without a visitor.
    pub(super) fn remember(&self, change: impl FnOnce(&mut VisitorState)) {
        if self.visitor_id.is_empty() || self.preview.is_some() {
            return;
        }
        let known = || VisitorState {
            attributes: if self.persistent.is_empty() {
                Measured::default()
            } else {
                Measured::new(self.persistent.clone())
            },
            segments: self.persistent_segments.as_deref().cloned().unwrap_or_default(),
            bucketing: self.decisions.pairs(&self.snapshot),
        };
        self.shared.runtime().visitors.update(&self.visitor_id, known, change);
        self.shared.persist();
    }

    fn add_segments(&mut self, added: &Attributes) {
        let unite = |before: &Option<Arc<Measured>>| {
            let mut segments = before.as_deref().map_or_else(Attributes::new, |it| Attributes::clone(it));
            tell_of(segments.merge_up_to(LONGEST_SEGMENT, added));
            Some(Arc::new(Measured::new(segments)))
        };
        if self.preview.is_none() {
            self.persistent_segments = unite(&self.persistent_segments);
        }
        self.segments = unite(&self.segments);
        self.merge();
        self.remember(|state| state.add_segments(added));
    }

    /// Adds ids to the custom segments recorded so far.
    fn record_segments(&mut self, ids: &[SmolStr]) {
        let with_ids = |before: &Option<Arc<Measured>>| {
            let mut segments = before.as_deref().map_or_else(Attributes::new, |it| Attributes::clone(it));
            tell_of(record(&mut segments, ids));
            Some(Arc::new(Measured::new(segments)))
        };
        if self.preview.is_none() {
            self.persistent_segments = with_ids(&self.persistent_segments);
        }
        self.segments = with_ids(&self.segments);
        self.merge();
        let recorded = match self.persistent_segments.as_ref().and_then(|it| it.get(CUSTOM_SEGMENTS)) {
            Some(list @ AttributeValue::Array(_)) => list.clone(),
            _ => ids.to_vec().into(),
        };
        self.remember(|state| state.unite_segments(&Attributes::new().with(CUSTOM_SEGMENTS, recorded)));
    }

    fn merge(&mut self) {
        self.merged = self.segments.is_some().then(|| self.rule_data_with(&Attributes::new()));
    }
}

/// Asks memory, and the data store where there is one, for which this **waits**.
pub(crate) async fn recall(
    shared: &Shared,
    snapshot: &ConfigSnapshot,
    visitor_id: &str,
    caller: &Caller,
) -> Remembered {
    if visitor_id.is_empty() || !shared.has_store() {
        return recall_at_once(shared, snapshot, visitor_id);
    }
    let read = |state: &VisitorState| Remembered::of(snapshot, state);
    let (remembered, answered) = shared.recall_stored(visitor_id, read, caller).await;
    Remembered { guessing: !answered, ..remembered.unwrap_or_default() }
}

/// As [`recall`], for a thread.
#[inline]
pub(crate) fn recall_blocking(shared: &Shared, snapshot: &ConfigSnapshot, visitor_id: &str) -> Remembered {
    #[cold]
    #[inline(never)]
    fn wait(shared: &Shared, snapshot: &ConfigSnapshot, visitor_id: &str) -> Remembered {
        blocking(async |caller| recall(shared, snapshot, visitor_id, caller).await)
    }
    if shared.has_store() {
        return wait(shared, snapshot, visitor_id);
    }
    recall_at_once(shared, snapshot, visitor_id)
}

/// Asks memory.
#[inline]
fn recall_at_once(shared: &Shared, snapshot: &ConfigSnapshot, visitor_id: &str) -> Remembered {
    if visitor_id.is_empty() {
        return Remembered::default();
    }
    shared.recall(visitor_id, |state| Remembered::of(snapshot, state)).unwrap_or_default()
}

/// What audience rules see of segments, attributes, and those of a call.
pub(super) fn rule_data(segments: &Attributes, mut attributes: Attributes, call: &Attributes) -> Attributes {
    attributes.merge(call);
    let mut data = segments.clone();
    data.merge(&attributes);
    data
}

/// Adds ids to the custom segments, and returns how many values are left out. As in the JavaScript SDK, by
/// that no list among the segments holds anything twice any more, but for lists and objects.
fn record(segments: &mut Attributes, ids: &[SmolStr]) -> usize {
    match segments.get(CUSTOM_SEGMENTS) {
        Some(AttributeValue::Array(known)) => {
            let all = known.iter().cloned().chain(ids.iter().cloned().map(AttributeValue::String));
            segments.insert(CUSTOM_SEGMENTS, AttributeValue::Array(all.collect()));
        }
        _ => segments.merge(&Attributes::new().with(CUSTOM_SEGMENTS, ids.to_vec())),
    }
    let is_list = |(_, value): &(&str, &AttributeValue)| matches!(value, AttributeValue::Array(_));
    let nothing = || AttributeValue::Array(Vec::new());
    let lists: Attributes =
        segments.iter().filter(is_list).map(|(name, _)| (SmolStr::new(name), nothing())).collect();
    segments.merge_up_to(LONGEST_SEGMENT, &lists)
}

/// The ids of the custom segments among segments.
pub(super) fn custom_segments(segments: &Attributes) -> &[AttributeValue] {
    match segments.get(CUSTOM_SEGMENTS) {
        Some(AttributeValue::Array(ids)) => ids,
        _ => &[],
    }
}

/// Takes the report keys out of attributes, and leaves out what is beyond the bounds of lists.
pub(super) fn split(mut attributes: Attributes) -> (Attributes, Attributes) {
    let mut segments = Attributes::new();
    // One look for both: most attributes are neither.
    if attributes.any(|name, value| is_report_key(name) || is_longer_than(LONGEST_SEGMENT, value)) {
        for key in REPORT_KEYS {
            if let Some(value) = attributes.remove(key) {
                segments.insert(key, value);
            }
        }
        tell_of(shorten(&mut segments, LONGEST_SEGMENT) + shorten(&mut attributes, LONGEST_LIST));
    }
    (attributes, segments)
}

/// Says once that values of a list were left out.
fn tell_of(left_out: usize) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if left_out > 0 && !TOLD.swap(true, Ordering::Relaxed) {
        logged!(
            warn,
            "a visitor has a segment of more than {LONGEST_SEGMENT} values or a list of more than \
             {LONGEST_LIST} among the attributes: further values are left out, here and from now on"
        );
    }
}

/// Attributes with others over them; same names replace.
pub(super) fn overlaid(below: &Attributes, above: Attributes) -> Attributes {
    if below.is_empty() {
        return above;
    }
    let mut attributes = below.clone();
    attributes.extend(above);
    attributes
}

/// Lays attributes over others; same names replace.
pub(super) fn overlay(below: &mut Attributes, above: Attributes) {
    if below.is_empty() {
        *below = above;
    } else {
        below.extend(above);
    }
}
