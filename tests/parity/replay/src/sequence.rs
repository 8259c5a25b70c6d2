//! The sequence of one context: all experiences, all again, conversions, and everything sent.

use std::str::FromStr as _;

use convert_sdk::{
    Attributes, Context, ConversionOptions, ConversionResult, ExperienceResult, GoalDataKey, RunOptions,
};
use serde_json::{Value, json};

use crate::error::{FieldFlaw, Trouble};
use crate::findings::{Findings, JAVASCRIPT_THROWS};
use crate::json::is_throw;
use crate::line::{ConversionCall, GoalDatum, Request};
use crate::parts::{Parts, list};
use crate::payload::{self, Exposure, conversion_events};
use crate::prepared::Prepared;
use crate::subject::Ready;
use crate::surface::Visitor;

/// The parts of the sequence.
pub(crate) const PARTS: [&str; 4] = ["run_experiences", "run_experiences_again", "conversions", "payload"];

/// Runs the whole sequence and compares its expected parts.
pub(crate) fn compare(
    ready: &mut Ready,
    prepared: &Prepared,
    request: &Request<'_>,
    parts: &mut Parts,
    findings: &mut Findings,
) -> Result<(), Trouble> {
    let context = &prepared.context;
    let mut exposures: Vec<Exposure> = Vec::new();
    for part in ["run_experiences", "run_experiences_again"] {
        let (actual, returned) = run(context, &prepared.options);
        for exposure in returned {
            if !exposures.iter().any(|known| known.experience_id == exposure.experience_id) {
                exposures.push(exposure);
            }
        }
        if let Some(expected) = parts.take(part) {
            findings.decisions += context.config().counts().experiences as u64;
            findings.check(part, &Value::Array(list(part, expected)?), &Value::Array(actual));
        }
    }
    let mut calls = Vec::with_capacity(request.conversions.len());
    for call in &request.conversions {
        let result = convert(context, call)?;
        calls.push((call, result.goal_id.clone().filter(|_| result.tracked())));
    }
    ready.settle()?;
    let visitors = ready.wire.take_visitors().map_err(Trouble::Sdk)?;
    if let Some(expected) = parts.take("conversions") {
        let events = conversion_events(&visitors, &request.visitor_id, &calls);
        let actual = calls
            .iter()
            .zip(events)
            .map(|((_, accepted), events)| json!({"accepted": accepted.is_some(), "events": events}));
        check_conversions(&list("conversions", expected)?, actual.collect(), findings);
    }
    if let Some(expected) = parts.take("payload") {
        let expected = list("payload", expected)?;
        payload::compare(&request.visitor_id, expected, visitors, &exposures, findings);
    }
    Ok(())
}

/// All experiences as written in the vectors, and as the exposures that they must cause.
pub(crate) fn run(context: &Context, options: &RunOptions) -> (Vec<Value>, Vec<Exposure>) {
    let results = context.run_experiences_with(options);
    let pair = |result: &ExperienceResult<'_>| json!([result.experience_key(), result.variation_id()]);
    (results.iter().map(pair).collect(), results.iter().map(Exposure::of).collect())
}

/// Records one conversion and waits for the verdict on it.
pub(crate) fn convert(context: &Visitor, call: &ConversionCall) -> Result<ConversionResult, Trouble> {
    let mut options = ConversionOptions::new().force_multiple(call.force_multiple);
    if let Some(data) = &call.rule_data {
        options = options.rule_data(Attributes::from(data.clone()));
    }
    if call.goal_data.is_some() {
        options = options.goal_data([]);
    }
    for datum in call.goal_data.iter().flatten() {
        options = with_datum(options, datum).map_err(|flaw| flaw.within("request.conversions"))?;
    }
    Ok(context.track_conversion_confirmed(&call.goal_key, &options))
}

fn with_datum(options: ConversionOptions, datum: &GoalDatum) -> Result<ConversionOptions, FieldFlaw> {
    let flaw = |reason: &str| FieldFlaw::new(format!("goal_data.{}", datum.key), reason);
    let key = GoalDataKey::from_str(&datum.key).map_err(|error| flaw(&error.to_string()))?;
    match &datum.value {
        Value::Number(number) => {
            let number = number.as_f64().ok_or_else(|| flaw("is not a double"))?;
            Ok(options.data(key, number))
        }
        Value::String(text) => Ok(options.data(key, text.as_str())),
        _ => Err(flaw("is neither a number nor text, the only types the SDK accepts")),
    }
}

/// Compares the fields that each expectation has.
fn check_conversions(expected: &[Value], actual: Vec<Value>, findings: &mut Findings) {
    if expected.len() != actual.len() {
        findings.differ("conversions", Value::Array(expected.to_vec()), Value::Array(actual));
        return;
    }
    for (at, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
        if is_throw(expected) {
            findings.leave_out(JAVASCRIPT_THROWS);
            continue;
        }
        for (field, expected) in expected.as_object().into_iter().flatten() {
            findings.check(&format!("conversions.{at}.{field}"), expected, &actual[field]);
        }
    }
}
