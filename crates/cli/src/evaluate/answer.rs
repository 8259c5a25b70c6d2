//! Everything that a config decides for one visitor.

use std::collections::{BTreeMap, HashSet};

use convert_sdk::{Context, DecisionSource, FeatureResult, RunOptions, Undecided, diagnosis::Explanation};
use serde::Serialize;
use serde_json::Value;

/// The answer for one visitor.
#[derive(Serialize)]
pub(crate) struct Answer<'a> {
    pub(crate) visitor: &'a str,
    pub(crate) experiences: Vec<Decision<'a>>,
    pub(crate) features: Vec<Feature<'a>>,
}

/// One experience: a variation, or the reason for none.
#[derive(Serialize)]
pub(crate) struct Decision<'a> {
    pub(crate) key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) variation: Option<Variation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "code")]
    pub(crate) reason: Option<Undecided>,
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

/// What is asked about a visitor.
pub(crate) struct Asked {
    /// The keys of experiences; none asks for all.
    pub(crate) experiences: Vec<String>,
    pub(crate) explain: bool,
    /// Whether explanations show the visitor's values.
    pub(crate) values: bool,
}

impl<'a> Answer<'a> {
    /// Decides the experiences one after the other in config order, so that later ones see earlier decisions, as when
    /// all are run at once.
    pub(crate) fn of(context: &'a Context, asked: &Asked) -> Self {
        let mut seen = HashSet::new();
        let is_asked =
            |key: &str| asked.experiences.is_empty() || asked.experiences.iter().any(|it| it == key);
        let keys = context.config().experience_keys().filter(|key| is_asked(key) && seen.insert(*key));
        let experiences = keys.map(|key| decide(context, key, asked)).collect();
        let options = RunOptions::new().experience_keys(asked.experiences.iter().map(String::as_str));
        let features = context.run_features_with(&options).into_iter().map(feature).collect();
        Self { visitor: context.visitor_id(), experiences, features }
    }
}

fn decide<'a>(context: &'a Context, key: &'a str, asked: &Asked) -> Decision<'a> {
    // The explanation comes first: after the decision it would explain a stored one.
    let options = RunOptions::new().explain_values(asked.values);
    let explained = || context.diagnose_experience_with(key, &options).explanation;
    let explanation = asked.explain.then(explained).flatten();
    let result = match context.run_experience(key) {
        Ok(result) => result,
        Err(why) => return Decision { key, variation: None, reason: Some(why), explanation },
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

#[expect(clippy::ref_option, reason = "serde passes references")]
fn code<S: serde::Serializer>(reason: &Option<Undecided>, serializer: S) -> Result<S::Ok, S::Error> {
    reason.map(Undecided::code).serialize(serializer)
}

fn feature(result: FeatureResult<'_>) -> Feature<'_> {
    Feature {
        key: result.feature_key(),
        experience: result.experience_key(),
        variation: result.variation_key(),
        variables: result.variables().collect(),
    }
}
