//! Experiences and features of the visitor: decided, remembered, and reported as exposures.

use std::borrow::Cow;

use super::visitor::overlay;
use super::{Context, RunOptions};
use crate::attributes::Attributes;
use crate::config::ConfigSnapshot;
use crate::decide::{Facts, Outcome, Source, carried_features, decide_experience};
use crate::results::{ExperienceResult, FeatureResult};
use crate::tracking::{Exposure, TrackedEvent};

use super::decisions::Decisions;

/// What every decision of one call has in common.
pub(super) struct Call<'a> {
    attributes: Cow<'a, Attributes>,
    location: Cow<'a, Attributes>,
    environment: Option<&'a str>,
    options: &'a RunOptions,
}

/// The options of a call that gives none.
pub(super) static PLAIN: RunOptions = RunOptions::new();

impl Context {
    /// The variation of one experience for this visitor; `None` where there is none, for which
    /// [`diagnose_experience`](Self::diagnose_experience) has the reason. A new decision is
    /// remembered, and the visitor's first exposure to the experience is recorded without waiting.
    ///
    /// ```
    /// # use convert_sdk::*;
    /// # let config = SdkConfig::builder().data_json(include_str!("../../examples/shop.json")).build()?;
    /// # let core = Core::new(config);
    /// # core.initialize()?;
    /// let visitor = core.create_context("visitor-4", attributes! { "age" => 30 })?;
    /// let result = visitor.run_experience("checkout").ok_or("no variation")?;
    /// assert_eq!((result.variation_key(), result.bucket_value()), ("one-page", Some(9229)));
    /// // The decision is remembered.
    /// let again = visitor.run_experience("checkout").ok_or("no variation")?;
    /// assert_eq!(again.source(), DecisionSource::Stored);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_experience(&self, experience_key: &str) -> Option<ExperienceResult<'_>> {
        self.run_experience_with(experience_key, &PLAIN)
    }

    /// As [`run_experience`](Self::run_experience), with options for this call.
    ///
    /// ```
    /// # use convert_sdk::*;
    /// # let config = SdkConfig::builder().data_json(include_str!("../../examples/shop.json")).build()?;
    /// # let core = Core::new(config);
    /// # core.initialize()?;
    /// let visitor = core.create_context("visitor-4", ())?;
    /// let as_adult = RunOptions::new().attributes(attributes! { "age" => 30 }).enable_tracking(false);
    /// assert!(visitor.run_experience_with("checkout", &as_adult).is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_experience_with(
        &self,
        experience_key: &str,
        options: &RunOptions,
    ) -> Option<ExperienceResult<'_>> {
        if let Some(forced) = self.previewed(experience_key) {
            return Some(forced);
        }
        let experience = self.snapshot.experience_index(experience_key)?;
        self.decide(experience, &self.call(options))
    }

    /// Every experience that has a variation for this visitor, in config order, decided one after
    /// the other so that later ones see the decisions before them.
    ///
    /// ```
    /// # use convert_sdk::*;
    /// # let config = SdkConfig::builder().data_json(include_str!("../../examples/shop.json")).build()?;
    /// # let core = Core::new(config);
    /// # core.initialize()?;
    /// let visitor = core.create_context("visitor-4", attributes! { "age" => 30 })?;
    /// for result in visitor.run_experiences() {
    ///     println!("{}: {}", result.experience_key(), result.variation_key());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_experiences(&self) -> Vec<ExperienceResult<'_>> {
        self.run_experiences_with(&PLAIN)
    }

    /// As [`run_experiences`](Self::run_experiences), with options for this call.
    pub fn run_experiences_with(&self, options: &RunOptions) -> Vec<ExperienceResult<'_>> {
        let call = self.call(options);
        let mut results: Vec<_> = self
            .experience_positions()
            .filter_map(|position| {
                let key = self.snapshot.experiences()[position].key.as_str();
                self.previewed(key).or_else(|| self.decide(position, &call))
            })
            .collect();
        results.extend(self.previewed_elsewhere());
        results
    }

    /// A feature as the visitor's first experience that carries it has it; `None` where none does,
    /// or no such feature is declared.
    ///
    /// Decides, remembers and reports every experience on the way, as the official JavaScript SDK
    /// does; [`RunOptions`] can switch that off or narrow it down.
    ///
    /// ```
    /// # use convert_sdk::*;
    /// # let config = SdkConfig::builder().data_json(include_str!("../../examples/shop.json")).build()?;
    /// # let core = Core::new(config);
    /// # core.initialize()?;
    /// let visitor = core.create_context("visitor-4", attributes! { "age" => 30 })?;
    /// let form = visitor.run_feature("checkout-form").ok_or("the feature is off")?;
    /// assert_eq!((form.integer("steps"), form.boolean("sticky")), (Some(1), Some(true)));
    /// assert_eq!(form.string("no-such-variable"), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_feature(&self, feature_key: &str) -> Option<FeatureResult<'_>> {
        self.run_feature_with(feature_key, &PLAIN)
    }

    /// As [`run_feature`](Self::run_feature), with options for this call.
    pub fn run_feature_with(&self, feature_key: &str, options: &RunOptions) -> Option<FeatureResult<'_>> {
        let feature = self.snapshot.feature_index(feature_key)?;
        let mut first = None;
        self.each_carried(options, |result, position| {
            if position == feature && first.is_none() {
                first = Some(result);
            }
        });
        first
    }

    /// Every feature that an experience of the visitor carries, in the order in which the config
    /// declares them. A feature that several experiences carry is there once, as the first of them
    /// has it; [`RunOptions::experience_keys`] can ask for another.
    ///
    /// ```
    /// # use convert_sdk::*;
    /// # let config = SdkConfig::builder().data_json(include_str!("../../examples/shop.json")).build()?;
    /// # let core = Core::new(config);
    /// # core.initialize()?;
    /// let visitor = core.create_context("visitor-4", attributes! { "age" => 30 })?;
    /// let on: Vec<_> = visitor.run_features().iter().map(|feature| feature.feature_key()).collect();
    /// assert_eq!(on, ["checkout-form"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn run_features(&self) -> Vec<FeatureResult<'_>> {
        self.run_features_with(&PLAIN)
    }

    /// As [`run_features`](Self::run_features), with options for this call.
    pub fn run_features_with(&self, options: &RunOptions) -> Vec<FeatureResult<'_>> {
        let mut results: Vec<(usize, FeatureResult<'_>)> = Vec::new();
        self.each_carried(options, |result, position| {
            if let Err(at) = results.binary_search_by_key(&position, |(known, _)| *known) {
                results.insert(at, (position, result));
            }
        });
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Decides every experience that the call looks at, then visits what the variations carry.
    fn each_carried<'a>(&'a self, options: &RunOptions, mut visit: impl FnMut(FeatureResult<'a>, usize)) {
        let call = self.call(options);
        let wanted = |position: &usize| {
            let key = self.snapshot.experiences()[*position].key.as_str();
            options.experience_keys.is_empty() || options.experience_keys.iter().any(|it| **it == *key)
        };
        for position in self.experience_positions().filter(wanted) {
            let Some((variation, _)) = self.resolve(position, &call) else { continue };
            for carried in carried_features(&self.snapshot, position, variation) {
                let result =
                    FeatureResult::new(&self.snapshot, position, variation, carried, options.type_casting);
                visit(result, carried.feature as usize);
            }
        }
    }

    /// The experiences of the config by key, in config order: a key that stands twice means the
    /// first both times, as in the official SDK.
    fn experience_positions(&self) -> impl Iterator<Item = usize> {
        self.snapshot.experience_keys().filter_map(|key| self.snapshot.experience_index(key))
    }

    pub(super) fn call<'a>(&'a self, options: &'a RunOptions) -> Call<'a> {
        let attributes = if options.attributes.is_empty() {
            Cow::Borrowed(self.rule_data())
        } else {
            Cow::Owned(self.rule_data_with(&options.attributes))
        };
        let location = if options.location.is_empty() {
            Cow::Borrowed(&self.location)
        } else {
            let mut location = self.location.clone();
            overlay(&mut location, options.location.clone());
            Cow::Owned(location)
        };
        let configured = self.shared.config.tuning.environment.as_deref();
        let environment = options.environment.as_deref().or(configured);
        Call { attributes, location, environment, options }
    }

    pub(super) fn facts<'a>(&'a self, call: &'a Call<'_>) -> Facts<'a, Decisions> {
        Facts {
            visitor_id: &self.visitor_id,
            attributes: &call.attributes,
            location: &call.location,
            environment: call.environment,
            custom_segments: self.custom_segments(),
            decisions: &self.decisions,
            forced_variation: call.options.force_variation_id.as_deref(),
        }
    }

    fn decide(&self, experience: usize, call: &Call<'_>) -> Option<ExperienceResult<'_>> {
        let (variation, source) = self.resolve(experience, call)?;
        Some(ExperienceResult::new(&self.snapshot, experience, variation, source))
    }

    /// Decides, remembers and reports.
    fn resolve(&self, experience: usize, call: &Call<'_>) -> Option<(usize, Source)> {
        let outcome = decide_experience(&self.snapshot, experience, &self.facts(call));
        let Outcome::Decided { variation, source } = outcome else { return None };
        if self.preview.is_none() {
            if source != Source::Stored && call.options.enable_storage {
                self.store(experience, variation);
            }
            if call.options.enable_tracking && self.shared.config.tuning.tracking {
                self.expose(experience, variation);
            }
        }
        Some((variation, source))
    }

    fn store(&self, experience: usize, variation: usize) {
        self.decisions.set(&self.snapshot, experience, variation);
        let (experience_id, variation_id) = ids(&self.snapshot, experience, variation);
        self.remember(|state| state.decide(experience_id, variation_id));
    }

    /// Hands the exposure to the tracker, once for each context and experience; the tracker sees to
    /// it that there is one for each visitor and experience.
    fn expose(&self, experience: usize, variation: usize) {
        if !self.decisions.expose(&self.snapshot, experience) {
            return;
        }
        let (experience_id, variation_id) = ids(&self.snapshot, experience, variation);
        // What is refused is counted in the ledger.
        let _ = self.shared.record(
            &self.snapshot,
            TrackedEvent::Exposure(Exposure {
                visitor_id: self.visitor_id.clone(),
                experience_id: experience_id.clone(),
                variation_id: variation_id.clone(),
                segments: self.segments.clone(),
            }),
        );
    }
}

fn ids(
    snapshot: &ConfigSnapshot,
    experience: usize,
    variation: usize,
) -> (&smol_str::SmolStr, &smol_str::SmolStr) {
    let experience = &snapshot.experiences()[experience];
    (&experience.id, &experience.variations[variation].id)
}
