//! What the SDK decides for a visitor entered by hand, step by step.

use convert_evaluation::config::{CompileOptions, ConfigSnapshot, SnapshotExt, compile};
use convert_evaluation::decide::{
    Explanation, Facts, Stored, StoredDecisions, explain_experience_with_values,
};
use convert_evaluation::{AttributeValue, Attributes};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::config::ConfigFilter;
use crate::state::State;

/// A visitor for whom nothing is stored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Visitor {
    sdk_key: String,
    visitor: String,
    #[serde(default)]
    attributes: Map<String, Value>,
    #[serde(default)]
    location: Map<String, Value>,
    #[serde(default)]
    environment: Option<String>,
    /// The ids of the custom segments that the visitor is in.
    #[serde(default)]
    custom_segments: Vec<String>,
}

/// The visitor's decisions so far, for experiences that exclude another one.
struct Decided(Vec<Option<usize>>);

impl StoredDecisions for Decided {
    fn stored(&self, experience: usize) -> Stored {
        match self.0.get(experience) {
            Some(Some(variation)) => Stored::Variation(*variation),
            _ => Stored::None,
        }
    }
}

pub(crate) fn answer(state: &State, body: &[u8]) -> Answer {
    let visitor = match serde_json::from_slice::<Visitor>(body) {
        Ok(visitor) => visitor,
        Err(error) => return Answer::error(StatusCode::BAD_REQUEST, format!("not a visitor: {error}")),
    };
    let config = match state.projects().find(&visitor.sdk_key) {
        Some(project) => project.config.clone(),
        None => return Answer::error(StatusCode::NOT_FOUND, "no project is served under this SDK key"),
    };
    // As served to a client: without drafts and experiences of other environments.
    let filter = ConfigFilter { environment: visitor.environment.as_deref(), experience: None };
    let compiled = match config.render(filter) {
        Ok(text) => compile(text, &CompileOptions::default()),
        Err(error) => return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    };
    match compiled {
        Ok(compiled) => {
            Answer::json(StatusCode::OK, &json!({ "experiences": explanations(&compiled.snapshot, visitor) }))
        }
        Err(error) => Answer::error(StatusCode::BAD_REQUEST, format!("the SDK refuses this config: {error}")),
    }
}

/// Decides the experiences in order, like a call that runs all of them.
fn explanations(snapshot: &ConfigSnapshot, visitor: Visitor) -> Vec<Explanation> {
    let attributes = Attributes::from(visitor.attributes);
    let (location, nothing) = (Attributes::from(visitor.location), Attributes::new());
    let segments: Vec<AttributeValue> = visitor.custom_segments.into_iter().map(Into::into).collect();
    let mut decided = Decided(vec![None; snapshot.experiences().len()]);
    let explained = snapshot.keyed_experiences().map(|position| {
        let facts = Facts {
            visitor_id: &visitor.visitor,
            attributes: &attributes,
            segments: &nothing,
            answers: None,
            location: &location,
            environment: visitor.environment.as_deref(),
            custom_segments: &segments,
            decisions: &decided,
            forced_variation: None,
        };
        let (outcome, explanation) = explain_experience_with_values(snapshot, position, &facts);
        let home = snapshot.experiences()[position].home as usize;
        if let (Ok(decision), Some(slot)) = (outcome, decided.0.get_mut(home)) {
            *slot = Some(decision.variation);
        }
        explanation
    });
    explained.collect()
}
