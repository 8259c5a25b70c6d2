//! Diagnosis: what a call would decide, and why, without deciding it.

use smol_str::SmolStr;

use super::evaluate::PLAIN;
use super::missing::{absent, undeclared};
use super::{Context, RunOptions};
use crate::config::{EntityKind, SnapshotExt};
use crate::decide::{
    Decision, DecisionSource, Explanation, Facts, Undecided, carried_features, explain_experience,
    explain_experience_with_values,
};
use crate::diagnostics::{
    DiagnosticReason, EntityDiagnostic, ExperienceDiagnostic, FeatureDiagnostic, GoalDiagnostic, visitor_ref,
};
use crate::engine::LifecycleEvent;
use crate::handles::{ExperienceHandle, FeatureHandle, GoalHandle, KeyOr};
use crate::results::FeatureOff;

/// Diagnosis changes nothing, ignores previews, and emits a lifecycle event for whatever does not resolve.
impl Context {
    /// Why an experience does or does not resolve for this visitor. The explanation shows the values in the config, and
    /// of the visitor's values the types; [`RunOptions::explain_values`] shows the values too. A visitor who was shown
    /// something keeps it, which is then the whole explanation: [`RunOptions::explain_afresh`] shows what led to it.
    ///
    /// ```
    /// use convert_sdk::attributes;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/small.rs"));
    /// let visitor = core.create_context("visitor-1", attributes! { "plan" => "free" })?;
    /// let diagnostic = visitor.diagnose_experience("checkout");
    /// assert_eq!(diagnostic.reason.to_string(), "the visitor is not in the audience");
    /// println!("{:#?}", diagnostic.explanation);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn diagnose_experience(
        &self,
        experience: &(impl KeyOr<ExperienceHandle> + ?Sized),
    ) -> ExperienceDiagnostic {
        self.diagnose_experience_with(experience, &PLAIN)
    }

    /// Like [`diagnose_experience`](Self::diagnose_experience), with options for this call.
    #[must_use]
    pub fn diagnose_experience_with(
        &self,
        experience: &(impl KeyOr<ExperienceHandle> + ?Sized),
        options: &RunOptions,
    ) -> ExperienceDiagnostic {
        self.diagnosed_experience(experience.key(), experience.position(&self.snapshot), options)
    }

    fn diagnosed_experience(
        &self,
        experience_key: &str,
        position: Option<usize>,
        options: &RunOptions,
    ) -> ExperienceDiagnostic {
        let configured = self.shared.base.config.tuning.environment.as_deref();
        let environment = options.environment.as_deref().or(configured).map(SmolStr::new);
        let mut diagnostic = ExperienceDiagnostic {
            reason: DiagnosticReason::Resolved,
            experience_key: experience_key.into(),
            environment,
            visitor_ref: visitor_ref(&self.visitor_id),
            bucket_value: None,
            variation_key: None,
            explanation: None,
        };
        if let Some(position) = position {
            let (decision, explanation) = self.explain(position, options);
            diagnostic.reason = match decision {
                Ok(Decision { variation, source }) => {
                    let experience = &self.snapshot.experiences()[position];
                    diagnostic.variation_key = Some(experience.variations[variation].key.clone());
                    if let DecisionSource::Hashed { bucket } = source {
                        diagnostic.bucket_value = Some(bucket);
                    }
                    DiagnosticReason::Resolved
                }
                Err(why) => DiagnosticReason::Undecided(why),
            };
            diagnostic.explanation = Some(explanation);
        } else {
            diagnostic.reason = DiagnosticReason::Undecided(absent(&self.snapshot, experience_key));
        }
        self.announce(diagnostic.reason, experience_key);
        diagnostic
    }

    /// Why a feature does or does not resolve for this visitor.
    ///
    /// ```
    /// use convert_sdk::attributes;
    ///
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let visitor = core.create_context("visitor-4", attributes! { "age" => 12 })?;
    /// let diagnostic = visitor.diagnose_feature("checkout-form");
    /// assert_eq!(diagnostic.reason.to_string(), "no variation of the visitor carries the feature");
    /// assert_eq!(diagnostic.explanations[0].why, "the visitor is not in the audience");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn diagnose_feature(&self, feature: &(impl KeyOr<FeatureHandle> + ?Sized)) -> FeatureDiagnostic {
        self.diagnose_feature_with(feature, &PLAIN)
    }

    /// Like [`diagnose_feature`](Self::diagnose_feature), with options for this call.
    #[must_use]
    pub fn diagnose_feature_with(
        &self,
        feature: &(impl KeyOr<FeatureHandle> + ?Sized),
        options: &RunOptions,
    ) -> FeatureDiagnostic {
        self.diagnosed_feature(feature.key(), feature.position(&self.snapshot), options)
    }

    fn diagnosed_feature(
        &self,
        feature_key: &str,
        feature: Option<usize>,
        options: &RunOptions,
    ) -> FeatureDiagnostic {
        let mut diagnostic = FeatureDiagnostic {
            reason: DiagnosticReason::FeatureOff(FeatureOff::NotCarried),
            feature_key: feature_key.into(),
            visitor_ref: visitor_ref(&self.visitor_id),
            experience_key: None,
            explanations: Vec::new(),
        };
        if let Some(feature) = feature {
            let asked = options.asked();
            for (position, experience) in self.snapshot.experiences().iter().enumerate() {
                let carries = |variation: usize| {
                    let carried = carried_features(&self.snapshot, position, variation);
                    carried.iter().any(|carried| carried.group as usize == feature)
                };
                if !asked.includes(experience) || !(0..experience.variations.len()).any(carries) {
                    continue;
                }
                let (decision, explanation) = self.explain(position, options);
                diagnostic.explanations.push(explanation);
                let resolved = decision.is_ok_and(|it| carries(it.variation));
                if resolved && diagnostic.experience_key.is_none() {
                    diagnostic.reason = DiagnosticReason::Resolved;
                    diagnostic.experience_key = Some(experience.key.clone());
                }
            }
        } else {
            diagnostic.reason = DiagnosticReason::FeatureOff(undeclared(&self.snapshot, feature_key));
        }
        self.announce(diagnostic.reason, feature_key);
        diagnostic
    }

    /// Whether a goal resolves.
    ///
    /// ```
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// let visitor = core.create_context("visitor-4", ())?;
    /// assert!(visitor.diagnose_goal("purchase").resolved());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn diagnose_goal(&self, goal: &(impl KeyOr<GoalHandle> + ?Sized)) -> GoalDiagnostic {
        let goal_key = goal.key();
        let goal = goal.position(&self.snapshot).map(|position| &self.snapshot.goals()[position]);
        let reason = if goal.is_some() { DiagnosticReason::Resolved } else { DiagnosticReason::GoalNotFound };
        self.announce(reason, goal_key);
        GoalDiagnostic { reason, goal_key: goal_key.into(), goal_id: goal.map(|goal| goal.id.clone()) }
    }

    /// Whether an entity resolves.
    ///
    /// ```
    /// # let core = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/doc/shop.rs"));
    /// use convert_sdk::config::EntityKind;
    ///
    /// let visitor = core.create_context("visitor-4", ())?;
    /// let diagnostic = visitor.diagnose_entity(EntityKind::Audience, "no-such-audience");
    /// assert_eq!(diagnostic.reason.as_str(), "entity_not_found");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn diagnose_entity(&self, kind: EntityKind, key: &str) -> EntityDiagnostic {
        let found = self.snapshot.entity(kind, key).is_some();
        let reason = if found { DiagnosticReason::Resolved } else { DiagnosticReason::EntityNotFound };
        self.announce(reason, key);
        EntityDiagnostic { reason, entity_type: kind.as_str(), entity_key: key.into() }
    }

    fn explain(&self, experience: usize, options: &RunOptions) -> (Result<Decision, Undecided>, Explanation) {
        let afresh = options.explain_afresh.then(|| self.decisions.afresh());
        let merged = self.merged(options);
        let facts = self.facts(options, merged.as_ref());
        let facts = &Facts { decisions: afresh.as_ref().unwrap_or(facts.decisions), ..facts };
        match options.explain_values {
            true => explain_experience_with_values(&self.snapshot, experience, facts),
            false => explain_experience(&self.snapshot, experience, facts),
        }
    }

    fn announce(&self, reason: DiagnosticReason, entity_key: &str) {
        if reason != DiagnosticReason::Resolved {
            let entity_key = entity_key.into();
            self.shared.runtime().notifier.notify(LifecycleEvent::Diagnostic { reason, entity_key });
        }
    }
}
