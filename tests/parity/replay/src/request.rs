//! One whole request: prepares the visitor, then compares part after part.

use convert_sdk::{Attributes, Context, RunOptions};
use serde_json::{Value, json};

use crate::error::Trouble;
use crate::findings::{Findings, JAVASCRIPT_THROWS};
use crate::json::{Object, is_throw};
use crate::line::{Request, RequestLine};
use crate::parts::{Parts, is_no_visitor};
use crate::rulings::merged;
use crate::subject::{Ready, Subject, segments};
use crate::surface::{Sdk, Visitor};
use crate::{features, preview, sequence};

/// Runs a line and compares the results with the expected ones.
///
/// Every part starts from the prepared state without undoing another: single decisions are not stored; the prepared
/// state is stored before the other parts' contexts are created, all of them before the first evaluates; the sequence
/// comes last.
pub(crate) fn replay(
    subject: &mut Subject,
    line: &RequestLine<'_>,
    findings: &mut Findings,
) -> Result<(), Trouble> {
    let Some(ready) = subject.ready(findings) else { return Ok(()) };
    let request = &line.request;
    let mut parts = Parts::new(line, &ready.served, findings);
    let prepared = Prepared::new(ready, request)?;
    if let Some(expected) = parts.take("custom_segments") {
        let nothing = request.visitor_id.is_empty() && is_no_visitor(&expected);
        let expected = if nothing { json!({"matched": []}) } else { expected };
        findings.check("custom_segments", &expected, &json!({"matched": prepared.matched}));
    }
    if let Some(expected) = parts.take_object("decisions")? {
        let quiet = prepared.options.clone().enable_storage(false).enable_tracking(false);
        for (key, expected) in &expected {
            let actual = decision(&prepared.context, key, &quiet);
            if is_throw(expected) {
                findings.leave_out(JAVASCRIPT_THROWS);
            } else {
                findings.check_decision("decisions", key, expected, &actual);
            }
        }
    }
    if parts.has_any(&["preview", "features", "run_features"]) {
        let fresh = Fresh::new(ready, request, &prepared)?;
        if let (Some(expected), Some(call)) = (parts.take_object("preview")?, &request.preview) {
            preview::compare(ready, &fresh, call, line, expected, findings)?;
        }
        features::compare(ready, &fresh, line, &mut parts, findings)?;
    }
    if parts.has_any(&sequence::PARTS) {
        sequence::compare(ready, &prepared, request, &mut parts, findings)?;
    }
    Ok(parts.finish()?)
}

/// The visitor, with everything done that precedes the first evaluation.
pub(crate) struct Prepared {
    pub(crate) context: Visitor,
    pub(crate) options: RunOptions,
    matched: Vec<String>,
    /// Whether the preparation has changed what is stored.
    changed: bool,
}

impl Prepared {
    fn new(ready: &mut Ready, request: &Request<'_>) -> Result<Self, Trouble> {
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
    fn new(ready: &mut Ready, request: &'a Request<'_>, prepared: &Prepared) -> Result<Self, Trouble> {
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
