//! A visitor's experiences and features: decided, remembered, and reported as exposures.

use smol_str::SmolStr;

use super::decisions::{Decisions, Exposed};
use super::missing::{absent, undeclared};
use super::visitor::{NONE, overlaid};
use super::{Context, RunOptions};
use crate::attributes::Attributes;
use crate::config::{CarriedFeature, ConfigSnapshot, Experience, SnapshotExt};
use crate::decide::{Decision, DecisionSource, Facts, Undecided, carried_features, decide_experience};
use crate::engine::{Exposure, TrackedEvent};
use crate::handles::{ExperienceHandle, FeatureHandle, KeyOr};
use crate::results::{ExperienceResult, FeatureOff, FeatureResult};
use crate::runtime::Runtime;
use crate::visitors::Decided;

/// A call's own attributes, merged with the context's.
pub(super) struct Merged {
    attributes: Option<Attributes>,
    location: Option<Attributes>,
}

/// The options of a call without any.
pub(super) static PLAIN: RunOptions = RunOptions::new();

impl Context {
    /// The variation of one experience for this visitor, or why there is none; the experience is given by its key or
    /// by a [handle](ExperienceHandle), which saves the lookup. A new decision is remembered, and the visitor's first
    /// exposure to the experience is recorded without waiting.
    ///
    /// ```
    /// use convert_sdk::{DecisionSource, Undecided, attributes};
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let visitor = core.create_context("visitor-4", attributes! { "age" => 30 })?;
    /// let result = visitor.run_experience("checkout")?;
    /// assert_eq!((result.variation_key(), result.bucket_value()), ("one-page", Some(9229)));
    /// // The decision is remembered.
    /// assert_eq!(visitor.run_experience("checkout")?.source(), DecisionSource::Stored);
    ///
    /// let checkout = core.experience("checkout")?;
    /// let child = core.create_context("visitor-5", attributes! { "age" => 12 })?;
    /// assert_eq!(child.run_experience(&checkout).unwrap_err(), Undecided::Audience);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The visitor gets no variation, or the context's config has no such experience;
    /// [`diagnose_experience`](Self::diagnose_experience) gives the details.
    #[inline]
    pub fn run_experience(
        &self,
        experience: &(impl KeyOr<ExperienceHandle> + ?Sized),
    ) -> Result<ExperienceResult<'_>, Undecided> {
        self.decide(experience.key(), experience.position(&self.snapshot))
    }

    /// Like [`run_experience`](Self::run_experience), with options for this call.
    ///
    /// ```
    /// use convert_sdk::{RunOptions, attributes};
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let visitor = core.create_context("visitor-4", ())?;
    /// let as_adult = RunOptions::new().attributes(attributes! { "age" => 30 }).enable_tracking(false);
    /// assert!(visitor.run_experience_with("checkout", &as_adult).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Like [`run_experience`](Self::run_experience).
    #[inline]
    pub fn run_experience_with(
        &self,
        experience: &(impl KeyOr<ExperienceHandle> + ?Sized),
        options: &RunOptions,
    ) -> Result<ExperienceResult<'_>, Undecided> {
        self.decide_with(experience.key(), experience.position(&self.snapshot), options)
    }

    /// Every experience that has a variation for this visitor, in config order. They are decided one by one, so later
    /// ones see earlier decisions.
    ///
    /// ```
    /// use convert_sdk::attributes;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let visitor = core.create_context("visitor-4", attributes! { "age" => 30 })?;
    /// for result in visitor.run_experiences() {
    ///     println!("{}: {}", result.experience_key(), result.variation_key());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_experiences(&self) -> Vec<ExperienceResult<'_>> {
        self.run_experiences_with(&PLAIN)
    }

    /// Like [`run_experiences`](Self::run_experiences), with options for this call.
    pub fn run_experiences_with(&self, options: &RunOptions) -> Vec<ExperienceResult<'_>> {
        let merged = self.merged(options);
        let facts = &self.facts(options, merged.as_ref());
        // A previewed experience is listed once, even if the config repeats its key.
        let mut is_shown = false;
        let decided = |position: usize| {
            let key = self.snapshot.experiences()[position].key.as_str();
            match self.previewed(key) {
                Some(forced) => (!std::mem::replace(&mut is_shown, true)).then_some(forced),
                None => self.resolve(position, facts, options).ok(),
            }
        };
        let mut results: Vec<_> = self.snapshot.keyed_experiences().filter_map(decided).collect();
        results.extend(self.previewed_elsewhere());
        results
    }

    /// A feature, with the variables of the first of the visitor's experiences that carries it, or why it is off; the
    /// feature is given by its key or by a [handle](FeatureHandle), which saves the lookup.
    ///
    /// Decides, remembers and reports every experience it looks at, as the official JavaScript SDK does;
    /// [`RunOptions`] can turn that off or limit it.
    ///
    /// ```
    /// use convert_sdk::{FeatureOff, attributes};
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let visitor = core.create_context("visitor-4", attributes! { "age" => 30 })?;
    /// let form = visitor.run_feature("checkout-form")?;
    /// assert_eq!((form.integer("steps"), form.boolean("sticky")), (Some(1), Some(true)));
    /// assert_eq!(form.string("no-such-variable"), None);
    ///
    /// let child = core.create_context("visitor-5", attributes! { "age" => 12 })?;
    /// assert_eq!(child.run_feature("checkout-form").unwrap_err(), FeatureOff::NotCarried);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// None of the visitor's variations carries the feature, or the context's config has no such feature.
    #[inline]
    pub fn run_feature(
        &self,
        feature: &(impl KeyOr<FeatureHandle> + ?Sized),
    ) -> Result<FeatureResult<'_>, FeatureOff> {
        self.run_feature_with(feature, &PLAIN)
    }

    /// Like [`run_feature`](Self::run_feature), with options for this call.
    ///
    /// # Errors
    /// Like [`run_feature`](Self::run_feature).
    #[inline]
    pub fn run_feature_with(
        &self,
        feature: &(impl KeyOr<FeatureHandle> + ?Sized),
        options: &RunOptions,
    ) -> Result<FeatureResult<'_>, FeatureOff> {
        let position = feature.position(&self.snapshot);
        let position = position.ok_or_else(|| undeclared(&self.snapshot, feature.key()))?;
        self.feature_at(position, options).ok_or(FeatureOff::NotCarried)
    }

    /// Every feature that one of the visitor's experiences carries, in the order in which the config declares them. A
    /// feature that several experiences carry appears once, with the first one's variables;
    /// [`RunOptions::experience_keys`] can select another.
    ///
    /// ```
    /// use convert_sdk::attributes;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let visitor = core.create_context("visitor-4", attributes! { "age" => 30 })?;
    /// let on: Vec<_> = visitor.run_features().iter().map(|feature| feature.feature_key()).collect();
    /// assert_eq!(on, ["checkout-form"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_features(&self) -> Vec<FeatureResult<'_>> {
        self.run_features_with(&PLAIN)
    }

    /// Like [`run_features`](Self::run_features), with options for this call.
    pub fn run_features_with(&self, options: &RunOptions) -> Vec<FeatureResult<'_>> {
        let mut results: Vec<(u32, FeatureResult<'_>)> = Vec::new();
        self.each_carried(self.snapshot.keyed_experiences(), options, |result, carried| {
            results.push((carried.feature, result));
        });
        // The first occurrence of each feature.
        results.sort_by_key(|(position, _)| *position);
        results.dedup_by_key(|(position, _)| *position);
        results.into_iter().map(|(_, result)| result).collect()
    }

    fn feature_at(&self, feature: usize, options: &RunOptions) -> Option<FeatureResult<'_>> {
        let mut first = None;
        let keep_first = |result, carried: &CarriedFeature| {
            if carried.group as usize == feature && first.is_none() {
                first = Some(result);
            }
        };
        if self.leaves_traces(options) {
            self.each_carried(self.snapshot.keyed_experiences(), options, keep_first);
        } else {
            // Experiences that cannot carry the feature need no decision.
            self.each_carried(self.snapshot.carriers(feature), options, keep_first);
        }
        first
    }

    /// Decides those of these experiences that the call looks at, then visits what their variations carry.
    fn each_carried<'a>(
        &'a self,
        experiences: impl Iterator<Item = usize>,
        options: &RunOptions,
        mut visit: impl FnMut(FeatureResult<'a>, &CarriedFeature),
    ) {
        let asked = options.asked();
        let mut next = 0;
        let wanted = |position: &usize| {
            // A repeated key is the same experience again, which carries nothing new.
            if *position < next {
                return false;
            }
            next = *position + 1;
            asked.includes(&self.snapshot.experiences()[*position])
        };
        let merged = self.merged(options);
        let facts = &self.facts(options, merged.as_ref());
        for position in experiences.filter(wanted) {
            let subject = &self.snapshot.experiences()[position];
            let Ok(decision) = self.decision((position, subject), facts, options) else {
                continue;
            };
            for carried in carried_features(&self.snapshot, position, decision.variation) {
                let casting = options.type_casting;
                visit(FeatureResult::new(&self.snapshot, subject, decision, carried, casting), carried);
            }
        }
    }

    /// What all decisions of one call share.
    #[inline(always)]
    pub(super) fn facts<'a>(
        &'a self,
        options: &'a RunOptions,
        merged: Option<&'a Merged>,
    ) -> Facts<'a, Decisions> {
        let own = merged.and_then(|merged| merged.attributes.as_ref());
        let (attributes, segments) = own.map_or_else(|| self.rule_data(), |own| (own, &NONE));
        let configured = self.shared.base.config.tuning.environment.as_deref();
        Facts {
            visitor_id: &self.visitor_id,
            attributes,
            segments,
            answers: own.is_none().then_some(&self.answers),
            location: merged.and_then(|merged| merged.location.as_ref()).unwrap_or(&self.location),
            environment: options.environment.as_deref().or(configured),
            custom_segments: if self.snapshot.has_segments() { self.custom_segments() } else { &[] },
            decisions: &self.decisions,
            forced_variation: options.force_variation_id.as_deref(),
        }
    }

    /// A call's own attributes, if it has any.
    #[inline]
    pub(super) fn merged(&self, options: &RunOptions) -> Option<Merged> {
        let (attributes, location) = (&options.attributes, &options.location);
        (!(attributes.is_empty() && location.is_empty())).then(|| Merged {
            attributes: (!attributes.is_empty()).then(|| self.rule_data_with(attributes)),
            location: (!location.is_empty()).then(|| overlaid(&self.location, location.clone())),
        })
    }

    /// One experience: its key, and its position in the config. Compiled apart from calls with options, as it has
    /// none to check.
    #[inline(never)]
    fn decide(&self, key: &str, position: Option<usize>) -> Result<ExperienceResult<'_>, Undecided> {
        self.find_and_decide(key, position, &PLAIN, None)
    }

    #[inline(never)]
    fn decide_with(
        &self,
        key: &str,
        position: Option<usize>,
        options: &RunOptions,
    ) -> Result<ExperienceResult<'_>, Undecided> {
        let merged = self.merged(options);
        self.find_and_decide(key, position, options, merged.as_ref())
    }

    #[inline(always)]
    fn find_and_decide(
        &self,
        key: &str,
        position: Option<usize>,
        options: &RunOptions,
        merged: Option<&Merged>,
    ) -> Result<ExperienceResult<'_>, Undecided> {
        if let Some(forced) = self.previewed(key) {
            return Ok(forced);
        }
        let position = position.ok_or_else(|| absent(&self.snapshot, key))?;
        self.resolve(position, &self.facts(options, merged), options)
    }

    #[inline(always)]
    fn resolve(
        &self,
        experience: usize,
        facts: &Facts<'_, Decisions>,
        options: &RunOptions,
    ) -> Result<ExperienceResult<'_>, Undecided> {
        let snapshot = &*self.snapshot;
        let subject = snapshot.experiences().get(experience).ok_or(Undecided::NotInConfig)?;
        let decision = self.decision((experience, subject), facts, options)?;
        Ok(ExperienceResult::new(snapshot, subject, decision))
    }

    /// Decides, remembers and reports.
    #[inline(always)]
    fn decision(
        &self,
        (experience, subject): (usize, &Experience),
        facts: &Facts<'_, Decisions>,
        options: &RunOptions,
    ) -> Result<Decision, Undecided> {
        let decided = decide_experience(&self.snapshot, experience, facts);
        if self.is_watched {
            return self.decided_apart((experience, subject), decided, options);
        }
        let decision = decided?;
        self.follow(subject, decision, options);
        Ok(decision)
    }

    /// A preview is on, which leaves no traces, or hooks are to be told.
    #[cold]
    #[inline(never)]
    fn decided_apart(
        &self,
        (experience, subject): (usize, &Experience),
        decided: Result<Decision, Undecided>,
        options: &RunOptions,
    ) -> Result<Decision, Undecided> {
        if self.is_preview() {
            return decided;
        }
        let is_first = decided.is_ok_and(|decision| {
            // Where each context hands its exposures over again, only a new decision is a first one.
            let may_be_first = self.shared.remembers_records() || decision.source != DecisionSource::Stored;
            self.follow(subject, decision, options) && may_be_first
        });
        if let Some(hooks) = &self.shared.hooks {
            let outcome = decided.map(|decision| (decision, is_first));
            hooks.call(&self.shared.base.guard, &self.snapshot, (&self.visitor_id, experience), outcome);
        }
        decided
    }

    /// Remembers and reports a decision; returns whether it is the visitor's first.
    #[inline(always)]
    fn follow(&self, subject: &Experience, decision: Decision, options: &RunOptions) -> bool {
        let Decision { variation, source } = decision;
        // Ids are what is remembered and reported; a repeated id belongs to its first experience.
        let home = subject.home as usize;
        let stores = source != DecisionSource::Stored && options.enable_storage;
        let tracks = options.enable_tracking && self.shared.base.config.tuning.tracking;
        let reports = tracks && !self.is_exposed(home);
        if !(stores || reports) {
            return false;
        }
        let is_exposed =
            self.leave_traces((home, variation), source == DecisionSource::Stored, stores, reports);
        // With tracking off, nothing is exposed; then the decision counts.
        is_exposed || stores && !self.shared.base.config.tuning.tracking
    }

    /// Whether decisions of a call may be remembered or reported.
    fn leaves_traces(&self, options: &RunOptions) -> bool {
        let reports = options.enable_tracking && self.shared.base.config.tuning.tracking;
        !self.is_preview() && (options.enable_storage || reports)
    }

    /// Whether the exposure is on its way: handed over earlier, and not lost since.
    #[inline(always)]
    fn is_exposed(&self, experience: usize) -> bool {
        match self.decisions.exposed(experience) {
            Exposed::No => false,
            Exposed::Before(epoch) => epoch == self.shared.number(Runtime::epoch),
            Exposed::Here(unsent) => unsent == self.shared.number(Runtime::exposures_unsent),
        }
    }

    /// Remembers and reports; returns whether it has handed over the exposure.
    #[inline(never)]
    fn leave_traces(
        &self,
        (experience, variation): (usize, usize),
        is_stored: bool,
        stores: bool,
        reports: bool,
    ) -> bool {
        let current = self.shared.runtime();
        let runtime = &*current;
        let ids = ids(&self.snapshot, experience, variation);
        // A decision that is stored also remembers that its exposure was handed over.
        let lasts = is_stored || stores;
        let decided = stores.then_some(variation);
        let (is_exposed, exposed) =
            if reports { self.expose(runtime, experience, ids, decided, lasts) } else { (false, None) };
        if stores && !reports {
            self.decisions.set(&self.snapshot, experience, variation);
        }
        if stores {
            self.store(runtime, (experience, variation), ids, exposed);
        } else if let Some(epoch) = exposed {
            self.remember_in(runtime, |state, numbers| state.bucketing.expose(numbers, ids.0, epoch));
        }
        is_exposed
    }

    #[inline(always)]
    fn store(
        &self,
        runtime: &Runtime,
        (experience, variation): (usize, usize),
        (experience_id, variation_id): (&SmolStr, &SmolStr),
        exposed: Option<u64>,
    ) {
        // If memory has the visitor already, usually nothing else changes with a decision. If it has not, or something
        // else changes, `amend` says so, and the full update follows.
        let is_known = self.decisions.are_several() || !self.segments.is_empty();
        let is_done = is_known
            && self.shared.remembers_records()
            && runtime.visitors.amend(&self.visitor_id, self.visitor_place, |state, kept| {
                let numbers = self.numbers(kept);
                let number = numbers.number(&self.snapshot, experience, variation);
                let decided = Decided { numbers, number, experience_id, variation_id };
                state.bucketing.decide_in_place(decided, exposed)
            });
        if is_done {
            return;
        }
        if self.guessing {
            return self.remember_in(runtime, |state, _| state.guess(experience_id, variation_id));
        }
        self.remember_in(runtime, |state, numbers| {
            // What waits for a store is kept by ids.
            let by_number = !self.shared.has_store();
            let number = by_number.then(|| numbers.number(&self.snapshot, experience, variation)).flatten();
            state.bucketing.decide(Decided { numbers, number, experience_id, variation_id }, exposed);
        });
    }

    /// Hands the exposure to the tracker, once per context and experience unless it is refused or lost; the tracker
    /// deduplicates by visitor and experience. Returns whether it was handed over and the epoch of that, if the
    /// visitor's later contexts can remember it.
    #[inline(always)]
    fn expose(
        &self,
        runtime: &Runtime,
        experience: usize,
        (experience_id, variation_id): (&SmolStr, &SmolStr),
        decided: Option<usize>,
        lasts: bool,
    ) -> (bool, Option<u64>) {
        // Both are read before sending, and change if the record is lost.
        let epoch = (lasts && self.shared.remembers_records()).then(|| runtime.epoch());
        if !self.decisions.expose(&self.snapshot, experience, decided, runtime.exposures_unsent()) {
            return (false, None);
        }
        let event = TrackedEvent::Exposure(Exposure {
            visitor_id: self.visitor_id.clone(),
            experience_id: experience_id.clone(),
            variation_id: variation_id.clone(),
            segments: self.segments.clone(),
        });
        // A refused record is counted in the ledger.
        if runtime.record(&self.shared.base, &self.snapshot, event).is_err() {
            self.decisions.unexpose(&self.snapshot, experience);
            return (false, None);
        }
        (true, epoch)
    }
}

fn ids(snapshot: &ConfigSnapshot, experience: usize, variation: usize) -> (&SmolStr, &SmolStr) {
    let experience = &snapshot.experiences()[experience];
    (&experience.id, &experience.variations[variation].id)
}
