//! What is known about the visitor, and how it changes.

use std::sync::Arc;

use smol_str::SmolStr;

use super::Context;
use super::decisions::Decisions;
use crate::attributes::{
    AttributeValue, Attributes, AttributesExt, CUSTOM_SEGMENTS, LONGEST_LIST, LONGEST_SEGMENT, Measured,
    copied, shorten, tell_of,
};
use crate::config::{Answers, ConfigSnapshot, Numbers};
use crate::decide::match_custom_segments;
use crate::engine::{is_report_key, may_be_report_key};
use crate::error::ContextError;
use crate::results::CustomSegmentsResult;
use crate::runtime::Runtime;
use crate::shared::Shared;
use crate::stripes::{Handle, Striped};
use crate::threads::{Caller, blocking};
use crate::visitors::{Place, VisitorState};

/// What is remembered about a visitor.
#[derive(Default)]
pub(crate) struct Remembered {
    pub(super) decisions: Decisions,
    pub(super) attributes: Measured,
    pub(super) segments: Measured,
    /// The data store did not answer.
    guessing: bool,
}

impl Remembered {
    /// Shares instead of copying, as a shard's lock may be held. Exposures accepted in another epoch count as never
    /// made.
    fn of(snapshot: &ConfigSnapshot, numbers: &Numbers, state: &VisitorState, epoch: Option<u64>) -> Self {
        let mut decisions = Decisions::default();
        decisions.hydrate(snapshot, numbers, &state.bucketing, epoch);
        Self {
            decisions,
            attributes: state.attributes.clone(),
            segments: state.segments.clone(),
            guessing: false,
        }
    }
}

impl Context {
    pub(crate) fn new(
        shared: &Striped<Shared>,
        visitor_id: &str,
        given: Attributes,
    ) -> Result<Self, ContextError> {
        if shared.has_store() {
            let snapshot = shared.context_config()?;
            let remembered = recall_blocking(shared, &snapshot, visitor_id);
            return Ok(Self::with(remembered, shared, snapshot, visitor_id, given));
        }
        Self::recalled(shared, &shared.runtime(), visitor_id, given)
    }

    /// With what a data store has of the visitor.
    pub(crate) fn with(
        remembered: Remembered,
        shared: &Striped<Shared>,
        snapshot: Handle<ConfigSnapshot>,
        visitor_id: &str,
        given: Attributes,
    ) -> Self {
        let Remembered { decisions, attributes, segments, guessing } = remembered;
        let known = (copied(visitor_id), attributes, segments);
        let mut context = Self { decisions, guessing, ..Self::of(shared, snapshot, None, known, given) };
        context.begin();
        context
    }

    /// With what memory knows about the visitor.
    fn recalled(
        shared: &Striped<Shared>,
        runtime: &Runtime,
        visitor_id: &str,
        mut given: Attributes,
    ) -> Result<Self, ContextError> {
        if runtime.is_closed() {
            return Err(ContextError::Closed);
        }
        let cell = &shared.base.cell;
        let hash = runtime.visitors.hash(visitor_id).filter(|_| !visitor_id.is_empty());
        let epoch = shared.remembers_records().then(|| runtime.epoch());
        let mut memory = hash.map(|hash| runtime.visitors.open(hash));
        let snapshot = match &mut memory {
            Some(memory) => cell.current(memory.numbers()),
            None => cell.handle(),
        };
        let snapshot = snapshot.ok_or(ContextError::NotReady)?;
        let place = memory.as_mut().map(|memory| memory.place(visitor_id, &mut given));
        let known = memory.as_ref().zip(place).and_then(|(memory, place)| memory.at(place));
        // Shares instead of copying, as the shard is locked.
        let shares = |(id, state, _): &(&SmolStr, &VisitorState, _)| {
            (SmolStr::clone(id), state.attributes.clone(), state.segments.clone())
        };
        let is_known = known.is_some();
        let mut context =
            Self::of(shared, snapshot, place, known.as_ref().map(shares).unwrap_or_default(), given);
        if let Some((_, state, numbers)) = known {
            context.decisions.hydrate(&context.snapshot, numbers, &state.bucketing, epoch);
        } else {
            context.decisions.begin(epoch);
        }
        drop(memory);
        if !is_known {
            context.visitor_id = copied(visitor_id);
        }
        context.begin();
        Ok(context)
    }

    #[inline(always)]
    fn of(
        shared: &Striped<Shared>,
        snapshot: Handle<ConfigSnapshot>,
        visitor_place: Option<Place>,
        (visitor_id, persistent, segments): (SmolStr, Measured, Measured),
        attributes: Attributes,
    ) -> Self {
        Self {
            is_watched: shared.hooks.is_some(),
            shared: shared.handle(),
            answers: Answers::new(&snapshot),
            snapshot,
            visitor_id,
            visitor_place,
            attributes,
            persistent,
            segments,
            location: Attributes::new(),
            decisions: Decisions::default(),
            rare: None,
            guessing: false,
        }
    }

    /// Joins the given attributes with what is remembered, and remembers the segments among them.
    #[inline(always)]
    fn begin(&mut self) {
        #[cfg(feature = "testing")]
        self.decisions.force(self.shared.forced.of(&self.visitor_id, &self.snapshot));
        let added = split(&mut self.attributes, &self.segments);
        if !self.persistent.is_empty() {
            self.attributes = overlaid(&self.persistent, std::mem::take(&mut self.attributes));
        }
        if let Some(added) = added {
            self.add_given(added);
        }
        if !self.persistent.is_empty() {
            self.merge();
        }
    }

    #[inline(never)]
    fn add_given(&mut self, added: Attributes) {
        let added = match self.visitor_place {
            Some(place) if self.segments.is_empty() => self.shared.runtime().visitors.share(place, added),
            _ => Measured::new(added),
        };
        self.add_segments(added);
    }

    /// A waiting task, as the caller of this context's core.
    #[cfg(feature = "async")]
    pub(crate) fn task(&self) -> Caller {
        self.shared.task()
    }

    /// The visitor's id.
    #[must_use]
    pub fn visitor_id(&self) -> &str {
        &self.visitor_id
    }

    /// The visitor's attributes, without report keys, which are [`segments`](Self::segments).
    #[must_use]
    pub const fn attributes(&self) -> &Attributes {
        &self.attributes
    }

    /// The visitor's segments: the report keys `country`, `browser`, `devices`, `source`,
    /// `campaign`, `visitorType` and `customSegments`.
    #[must_use]
    pub fn segments(&self) -> &Attributes {
        &self.segments
    }

    /// The context's location attributes.
    #[must_use]
    pub const fn location(&self) -> &Attributes {
        &self.location
    }

    /// The config that this context decides with.
    #[must_use]
    pub fn config(&self) -> &Arc<ConfigSnapshot> {
        self.snapshot.whole()
    }

    /// Replaces the location attributes, against which location rules are evaluated.
    #[must_use]
    pub fn with_location(mut self, location: impl Into<Attributes>) -> Self {
        self.location = location.into();
        self
    }

    /// Sets the location attributes, against which location rules are evaluated.
    pub fn set_location(&mut self, location: impl Into<Attributes>) {
        self.location = location.into();
    }

    /// Sets visitor attributes for this context **and the visitor's later ones** (unlike those given to
    /// [`create_context`](crate::Core::create_context)), replacing equal names. Report keys become
    /// [`segments`](Self::segments), as at creation. Lists are truncated to 10,000 values. Attributes set during a
    /// preview last only as long as this context.
    ///
    /// ```
    /// use convert_sdk::attributes;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let mut visitor = core.create_context("visitor-4", ())?;
    /// visitor.set_attributes(attributes! { "age" => 30 });
    /// assert!(visitor.run_experience("checkout").is_ok());
    /// // A later context of the visitor starts with them.
    /// assert_eq!(core.create_context("visitor-4", ())?.attributes().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_attributes(&mut self, attributes: impl Into<Attributes>) {
        let mut attributes = attributes.into();
        let segments = split(&mut attributes, &NONE).unwrap_or_default();
        if !self.is_preview() {
            self.persistent.change(|before| overlay(before, attributes.clone()));
        }
        overlay(&mut self.attributes, attributes.clone());
        self.add_segments(Measured::new(segments));
        self.merge();
        self.remember(|state, _| state.set_attributes(attributes));
    }

    /// Sets visitor segments for this context and the visitor's later ones. Only report keys are kept, as in the
    /// official JavaScript SDK; lists are merged with earlier ones, new values first. Lists are truncated to 1,000
    /// values, which is logged once. Segments set during a preview last only as long as this context.
    ///
    /// ```
    /// use convert_sdk::attributes;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let mut visitor = core.create_context("visitor-4", ())?;
    /// visitor.set_segments(attributes! { "country" => "GR", "not_a_report_key" => 1 });
    /// assert_eq!(visitor.segments().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_segments(&mut self, segments: impl Into<Attributes>) {
        let segments = split(&mut segments.into(), &NONE).unwrap_or_default();
        self.add_segments(Measured::new(segments));
        self.merge();
    }

    /// Records the custom segments with these keys that the visitor belongs to, for audiences and
    /// reports.
    ///
    /// Segments are evaluated in config order. As in the official JavaScript SDK, once one matches, those after it
    /// are recorded without evaluating their rules. Unknown keys are skipped.
    ///
    /// ```
    /// use convert_sdk::attributes;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let mut visitor = core.create_context("visitor-4", attributes! { "member" => true })?;
    /// assert!(visitor.run_experience("welcome-back").is_err());
    /// assert!(visitor.run_custom_segments(&["members"]).matched());
    /// assert!(visitor.run_experience("welcome-back").is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_custom_segments(&mut self, keys: &[&str]) -> CustomSegmentsResult {
        self.run_custom_segments_with(keys, Attributes::new())
    }

    /// Like [`run_custom_segments`](Self::run_custom_segments), with attributes for this call only,
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
        let facts = if rule_data.is_empty() && self.segments.is_empty() {
            &self.attributes
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
        custom_segments(&self.segments)
    }

    /// What audience rules see: the first, falling back to the second for missing names.
    #[inline]
    pub(super) fn rule_data(&self) -> (&Attributes, &Attributes) {
        match self.rare.as_ref().and_then(|rare| rare.merged.as_ref()) {
            Some(merged) => (merged, &NONE),
            None => (&self.attributes, &self.segments),
        }
    }

    /// What audience rules see in a call with its own attributes.
    pub(super) fn rule_data_with(&self, call: &Attributes) -> Attributes {
        rule_data(self.segments(), self.attributes.clone(), call)
    }

    /// Changes what outlives the context. Does nothing during a preview or without a visitor.
    pub(super) fn remember(&self, change: impl FnOnce(&mut VisitorState, &Numbers)) {
        self.remember_in(&self.shared.runtime(), change);
    }

    /// [`remember`](Self::remember), if the caller has the runtime already.
    #[inline(always)]
    pub(super) fn remember_in(&self, runtime: &Runtime, change: impl FnOnce(&mut VisitorState, &Numbers)) {
        if self.visitor_id.is_empty() || self.is_preview() {
            return;
        }
        let known = |kept: &mut _| VisitorState {
            attributes: self.persistent.clone(),
            segments: self.persistent_segments().clone(),
            bucketing: self.decisions.remembered(&self.snapshot, self.numbers(kept)),
        };
        let change = |state: &mut _, kept: &mut _| change(state, self.numbers(kept));
        runtime.visitors.update(&self.visitor_id, self.visitor_place, known, change);
        if self.shared.has_store() {
            self.shared.persist();
        }
    }

    #[inline]
    pub(super) fn numbers<'k>(&self, kept: &'k mut Arc<Numbers>) -> &'k Numbers {
        self.shared.base.cell.numbers(&self.snapshot, kept)
    }

    /// Merges segments into the known ones, and remembers any change.
    fn add_segments(&mut self, added: Measured) {
        if added.is_empty() {
            return;
        }
        let unite = |before: &Measured| {
            let mut united = before.clone();
            if united.is_empty() {
                return added.clone();
            }
            tell_of(united.change(|segments| segments.merge_up_to(LONGEST_SEGMENT, &added)));
            united
        };
        let before = self.hold_apart();
        self.segments = unite(&self.segments);
        if let Some(apart) = self.persistent_apart() {
            *apart = unite(apart);
        }
        self.remember(|state, _| state.share_segments(&added, &before, self.persistent_segments()));
    }

    /// The part of the segments that outlives the context.
    fn persistent_segments(&self) -> &Measured {
        self.rare.as_ref().and_then(|rare| rare.held_apart.as_ref()).unwrap_or(&self.segments)
    }

    /// The same where it is held apart and no preview keeps it from changing.
    fn persistent_apart(&mut self) -> Option<&mut Measured> {
        let rare = self.rare.as_mut().filter(|rare| rare.preview.is_none());
        rare.and_then(|rare| rare.held_apart.as_mut())
    }

    /// Called before the segments change; a preview must not leave anything behind. Returns the part that outlives
    /// the context.
    fn hold_apart(&mut self) -> Measured {
        let before = self.persistent_segments().clone();
        if let Some(rare) = self.rare.as_mut().filter(|rare| rare.preview.is_some()) {
            rare.held_apart = Some(before.clone());
        }
        before
    }

    /// Adds ids to the custom segments recorded so far.
    fn record_segments(&mut self, ids: &[SmolStr]) {
        let with_ids = |segments: &mut Measured| tell_of(segments.change(|segments| record(segments, ids)));
        self.hold_apart();
        with_ids(&mut self.segments);
        if let Some(apart) = self.persistent_apart() {
            with_ids(apart);
        }
        self.merge();
        let recorded = match self.persistent_segments().get(CUSTOM_SEGMENTS) {
            Some(list @ AttributeValue::Array(_)) => list.clone(),
            _ => ids.to_vec().into(),
        };
        self.remember(|state, _| state.unite_segments(&Attributes::new().with(CUSTOM_SEGMENTS, recorded)));
    }

    /// Called after attributes or segments have changed. Report keys are not attributes, so there is nothing to merge
    /// them with unless a data store returned some.
    #[inline(never)]
    fn merge(&mut self) {
        self.answers.clear();
        let overlap = !self.segments.is_empty() && self.persistent.any(|name, _| is_report_key(name));
        if overlap || self.rare.is_some() {
            let merged = overlap.then(|| self.rule_data_with(&Attributes::new()));
            self.rare.get_or_insert_default().merged = merged;
        }
    }
}

pub(super) static NONE: Attributes = Attributes::new();

/// Asks memory and, if there is one, **waits** for the data store.
pub(crate) async fn recall(
    shared: &Shared,
    snapshot: &ConfigSnapshot,
    visitor_id: &str,
    caller: &Caller,
) -> Remembered {
    if visitor_id.is_empty() || !shared.has_store() {
        return recall_at_once(shared, snapshot, visitor_id);
    }
    // A store keeps ids.
    let read = |state: &mut VisitorState| Remembered::of(snapshot, &Numbers::default(), state, None);
    let (remembered, answered) = shared.recall_stored(visitor_id, read, caller).await;
    Remembered { guessing: !answered, ..remembered.unwrap_or_default() }
}

/// [`recall`], blocking a thread.
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
    let runtime = shared.runtime();
    let Some(hash) = runtime.visitors.hash(visitor_id) else { return Remembered::default() };
    let epoch = shared.remembers_records().then(|| runtime.epoch());
    let mut memory = runtime.visitors.open(hash);
    // So that the shard has the numbers of this snapshot.
    shared.base.cell.numbers(snapshot, memory.numbers());
    let known = memory.known(visitor_id);
    known.map_or_else(Remembered::default, |(_, state, numbers)| {
        Remembered::of(snapshot, numbers, state, epoch)
    })
}

/// What audience rules see of segments, attributes, and a call's attributes.
pub(super) fn rule_data(segments: &Attributes, mut attributes: Attributes, call: &Attributes) -> Attributes {
    attributes.merge(call);
    let mut data = segments.clone();
    data.merge(&attributes);
    data
}

/// Adds ids to the custom segments, and returns how many values were left out. As in the JavaScript SDK, this removes
/// duplicates from every list among the segments, except lists and objects in them.
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

/// Moves report keys out of the attributes, and truncates lists to their limits. Returns only the segments that add
/// something to the known ones, if there are any.
pub(super) fn split(attributes: &mut Attributes, known: &Attributes) -> Option<Attributes> {
    let mut moved = Moved { segments: None, known, next: 0 };
    let mut has_list = false;
    attributes.retain(|name, value| {
        // One check for everything: most values are no lists.
        has_list |= matches!(value, AttributeValue::Array(_));
        !may_be_report_key(name.len()) || !moved.take(name, value)
    });
    let mut segments = moved.segments;
    if has_list {
        let long = segments.as_mut().map_or(0, |segments| shorten(segments, LONGEST_SEGMENT));
        tell_of(long + shorten(attributes, LONGEST_LIST));
    }
    segments
}

/// Report keys on their way from the attributes to the segments.
struct Moved<'k> {
    segments: Option<Attributes>,
    known: &'k Attributes,
    /// Both are sorted by name, and a visitor mostly comes with the same report keys: then each is the next one here.
    next: usize,
}

impl Moved<'_> {
    /// Takes the value if the name is a report key, which it returns.
    #[inline(always)]
    fn take(&mut self, name: &SmolStr, value: &mut AttributeValue) -> bool {
        let key = name.as_str();
        if !is_report_key(key) {
            return false;
        }
        let place = self.next;
        self.next += 1;
        let is_known =
            matches!(value, AttributeValue::String(text) if self.known.has_text_at(place, key, text));
        if !is_known {
            self.add(name, value);
        }
        true
    }

    /// Adds the value, unless the segments already have it.
    #[inline(never)]
    fn add(&mut self, name: &SmolStr, value: &mut AttributeValue) {
        // Merging a list or an object may always change the segment.
        let may_change = matches!(value, AttributeValue::Array(_) | AttributeValue::Object(_));
        if may_change || self.known.get(name) != Some(value) {
            let segments = self.segments.get_or_insert_default();
            segments.insert(name.clone(), std::mem::replace(value, AttributeValue::Null));
        }
    }
}

/// Attributes merged with others, which replace equal names.
pub(super) fn overlaid(below: &Attributes, above: Attributes) -> Attributes {
    if below.is_empty() {
        return above;
    }
    let mut attributes = below.clone();
    attributes.extend(above);
    attributes
}

/// Merges attributes into others, replacing equal names.
pub(super) fn overlay(below: &mut Attributes, above: Attributes) {
    if below.is_empty() {
        *below = above;
    } else {
        below.extend(above);
    }
}
