//! Everything that a config decides for one visitor.

use std::collections::{BTreeMap, HashSet};

use convert_sdk::{Context, DecisionSource, FeatureResult, diagnosis::Explanation};
use serde::Serialize;
use serde_json::Value;

/// The answer for one visitor.
#[derive(Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) visitor: &'a str,
    pub(crate) experiences: Vec<Decision<'a>>,
    pub(crate) features: Vec<Feature<'a>>,
}

/// One experience: a variation, or the reason why there is none.
#[derive(Serialize)]
pub(crate) struct Decision<'a> {
    pub(crate) key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) variation: Option<Variation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) explanation: Option<Explanation>,
}

/// The variation of a decision.
#[derive(Serialize)]
pub(crate) struct Variation<'a> {
    pub(crate) key: &'a str,
    pub(crate) id: &'a str,
    pub(crate) source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bucket: Option<u32>,
}

/// A feature that a variation carries.
#[derive(Serialize)]
pub(crate) struct Feature<'a> {
    pub(crate) key: &'a str,
    pub(crate) experience: &'a str,
    pub(crate) variation: &'a str,
    pub(crate) variables: BTreeMap<&'a str, &'a Value>,
}

impl<'a> Answer<'a> {
    /// Decides one experience after the other in config order, so that later ones see earlier
    /// decisions, as in a call for all of them.
    pub(crate) fn of(context: &'a Context, explain: bool) -> Self {
        let mut seen = HashSet::new();
        let keys = context.config().experience_keys().filter(|key| seen.insert(*key));
        let experiences = keys.map(|key| decide(context, key, explain)).collect();
        let features = context.run_features().into_iter().map(feature).collect();
        Self { visitor: context.visitor_id(), experiences, features }
    }
}

fn decide<'a>(context: &'a Context, key: &'a str, explain: bool) -> Decision<'a> {
    // The explanation comes first: afterwards the decision is a stored one.
    let explained = || context.diagnose_experience(key).explanation;
    let explanation = if explain { explained() } else { None };
    let Ok(result) = context.run_experience(key) else {
        let outcome = explanation.as_ref().map(|explanation| explanation.outcome);
        let outcome = outcome.or_else(|| explained().map(|explanation| explanation.outcome));
        return Decision { key, variation: None, reason: outcome.or(Some("not_found")), explanation };
    };
    let source = match result.source() {
        DecisionSource::Hashed { .. } => "hashed",
        DecisionSource::Stored => "stored",
        _ => "forced",
    };
    let variation = Variation {
        key: result.variation_key(),
        id: result.variation_id(),
        source,
        bucket: result.bucket_value(),
    };
    Decision { key, variation: Some(variation), reason: None, explanation }
}

fn feature(result: FeatureResult<'_>) -> Feature<'_> {
    Feature {
        key: result.feature_key(),
        experience: result.experience_key(),
        variation: result.variation_key(),
        variables: result.variables().collect(),
    }
}
