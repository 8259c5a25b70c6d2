//! What the parts of a request start from: the prepared visitor, and contexts in its state.

use convert_sdk::{Attributes, Context, RunOptions};
use serde_json::{Value, json};

use crate::error::Trouble;
use crate::json::Object;
use crate::line::Request;
use crate::rulings::merged;
use crate::subject::{Ready, segments};
use crate::surface::{Sdk, Visitor};

/// The visitor, with everything done that precedes the first evaluation.
pub(crate) struct Prepared {
    pub(crate) context: Visitor,
    pub(crate) options: RunOptions,
    pub(crate) matched: Vec<String>,
    /// Whether the preparation has changed what is stored.
    changed: bool,
}

impl Prepared {
    pub(crate) fn new(ready: &mut Ready, request: &Request<'_>) -> Result<Self, Trouble> {
        ready.seed(&request.visitor_id, &request.state)?;
        let stored: Attributes = segments(&request.state).as_object().cloned().unwrap_or_default().into();
        let attributes = merged(request.attributes.as_ref());
        let mut context = create(ready, &request.visitor_id, attributes)?;
        if let Some(segments) = &request.default_segments {
            context.set_segments(segments.clone());
        }
        let mut matched = Vec::new();
        if let Some(call) = &request.custom_segments {
            let keys: Vec<&str> = call.keys.iter().map(String::as_str).collect();
            let result = context.run_custom_segments_with(&keys, merged(call.rule_data.as_ref()));
            matched.extend(result.matched_segment_ids().map(str::to_owned));
        }
        let changed = *context.segments() != stored;
        if changed {
            ready.unsettle(&request.visitor_id);
        }
        let options = RunOptions::new()
            .attributes(merged(request.call_attributes.as_ref()))
            .location(self::attributes(request.location.as_ref()));
        Ok(Self { context, options, matched, changed })
    }
}

/// Creates contexts that start from the prepared state.
pub(crate) struct Fresh<'a> {
    core: Sdk,
    visitor: &'a str,
    attributes: Attributes,
    pub(crate) options: RunOptions,
}

impl<'a> Fresh<'a> {
    pub(crate) fn new(
        ready: &mut Ready,
        request: &'a Request<'_>,
        prepared: &Prepared,
    ) -> Result<Self, Trouble> {
        if prepared.changed {
            ready.settle()?;
        }
        Ok(Self {
            core: ready.core.clone(),
            visitor: &request.visitor_id,
            attributes: prepared.context.attributes().clone(),
            options: prepared.options.clone(),
        })
    }

    /// One more context. All must be created before the first of them stores anything.
    pub(crate) fn context(&self) -> Result<Visitor, Trouble> {
        let made = self.core.create_context(self.visitor, self.attributes.clone());
        made.map_err(|error| Trouble::Sdk(error.to_string()))
    }
}

fn create(ready: &Ready, visitor: &str, attributes: Attributes) -> Result<Visitor, Trouble> {
    ready.core.create_context(visitor, attributes).map_err(|error| Trouble::Sdk(error.to_string()))
}

/// A field's attributes; `null` or a missing field is an empty map.
pub(super) fn attributes(object: Option<&Object>) -> Attributes {
    object.cloned().map(Attributes::from).unwrap_or_default()
}

/// One decision as written in the vectors.
pub(crate) fn decision(context: &Context, key: &str, options: &RunOptions) -> Value {
    let Ok(result) = context.run_experience_with(key, options) else {
        return json!({"none": why_none(context, key, options)});
    };
    match result.bucket_value() {
        Some(bucket) => json!({"variation_id": result.variation_id(), "bucket": bucket}),
        None => json!({"variation_id": result.variation_id()}),
    }
}

/// The vectors distinguish three reasons.
fn why_none(context: &Context, key: &str, options: &RunOptions) -> &'static str {
    if context.visitor_id().is_empty() {
        return "no_visitor";
    }
    let diagnostic = context.diagnose_experience_with(key, options);
    match diagnostic.explanation.map(|explanation| explanation.outcome) {
        Some("variation_not_decided") => "not_decided",
        Some("no_visitor") => "no_visitor",
        _ => "no_match",
    }
}
