//! Scripts: sequences of calls on one context, and everything sent for them.
//!
//! Events compare as described in `payload`, except for what a feature call decides internally: the replay does not see
//! that, so such an exposure must also be sent by JavaScript, or be the stored decision that the visitor came with.

use std::collections::HashSet;

use convert_sdk::RunOptions;
use serde_json::{Value, json};

use crate::error::Trouble;
use crate::findings::{Findings, JAVASCRIPT_THROWS};
use crate::json::{is_throw, text};
use crate::line::{ConversionCall, Operation, RunCall, Script, ScriptLine};
use crate::payload::{self, Exposure};
use crate::prepared::attributes;
use crate::rulings::{mark_by_id, merged, record_once, send_report_segments};
use crate::sequence::{convert, run};
use crate::served::Served;
use crate::subject::{Ready, Subject};
use crate::surface::Visitor;

/// Runs a line and compares the results with the expected ones.
pub(crate) fn replay(
    subject: &mut Subject,
    line: &ScriptLine<'_>,
    findings: &mut Findings,
) -> Result<(), Trouble> {
    let Some(ready) = subject.ready(findings) else { return Ok(()) };
    let script = &line.script;
    ready.seed(&script.visitor_id, &script.state)?;
    ready.unsettle(&script.visitor_id);
    let made = ready.core.create_context(&script.visitor_id, merged(script.attributes.as_ref()));
    let context = made.map_err(|error| Trouble::Sdk(error.to_string()))?;
    let mut asked = Asked { context, exposures: Vec::new(), unseen: false };
    if let Some(segments) = &script.default_segments {
        asked.context.set_segments(segments.clone());
    }
    let mut expected = Expected::new(ready, line);
    for (at, call) in script.ops.iter().enumerate() {
        let mut actual = asked.answer(call)?;
        // JavaScript's answers end where it throws.
        match expected.answers.get_mut(at) {
            None => {}
            Some(thrown) if is_throw(thrown) => findings.leave_out(JAVASCRIPT_THROWS),
            Some(expected) => {
                findings.decisions += u64::from(matches!(call, Operation::Run(_) | Operation::RunAll(_)));
                if leave_out_untold(&ready.served, call, expected, &mut actual) {
                    findings.leave_out("JavaScript does not return a variation whose id is not text");
                }
                findings.check(&format!("answers.{at}.{}", call.name()), expected, &actual);
            }
        }
    }
    ready.settle()?;
    let sent = ready.wire.take_visitors().map_err(Trouble::Sdk)?;
    if let Some(visitors) = expected.visitors.take() {
        compare_events(script, visitors, sent, asked, findings);
    }
    Ok(())
}

/// JavaScript's answers, converted by the rulings.
struct Expected {
    answers: Vec<Value>,
    visitors: Option<Vec<Value>>,
}

impl Expected {
    fn new(ready: &Ready, line: &ScriptLine<'_>) -> Self {
        let (mut answers, mut visitors) = (line.expected.answers.clone(), line.expected.visitors.clone());
        let mut twice = HashSet::new();
        let mut conversions: Vec<(usize, &ConversionCall)> = Vec::new();
        for (at, (call, answer)) in line.script.ops.iter().zip(&mut answers).enumerate() {
            match call {
                Operation::Custom(_) => twice.extend(record_once(answer)),
                Operation::Convert(call) => conversions.push((at, call)),
                _ => {}
            }
        }
        let calls: Vec<&ConversionCall> = conversions.iter().map(|(_, call)| *call).collect();
        let mut accepted: Vec<bool> = conversions.iter().map(|(at, _)| answers[*at] == true).collect();
        let goals = &line.script.state.goals;
        mark_by_id(&ready.served, goals, &calls, &mut accepted, visitors.as_mut());
        for ((at, _), accepted) in conversions.iter().zip(accepted) {
            answers[*at] = json!(accepted);
        }
        visitors.iter_mut().flatten().for_each(|visitor| send_report_segments(visitor, &twice));
        Self { answers, visitors }
    }
}

/// Removes from two differing answers what JavaScript may have decided without returning it.
fn leave_out_untold(served: &Served, call: &Operation, expected: &mut Value, actual: &mut Value) -> bool {
    let is_untold = match call {
        _ if expected == actual => return false,
        Operation::Run(call) => served.is_untold(&json!(call.key)),
        Operation::Feature(_) => served.is_untold(&actual[0]),
        Operation::RunAll(_) | Operation::Features(_) => {
            let at = usize::from(matches!(call, Operation::Features(_)));
            let mut left_out = 0;
            for pairs in [expected, actual].into_iter().filter_map(Value::as_array_mut) {
                left_out += pairs.extract_if(.., |pair| served.is_untold(&pair[at])).count();
            }
            return left_out > 0;
        }
        Operation::Custom(_) | Operation::Segments { .. } | Operation::Convert(_) => false,
    };
    let left_out = is_untold && expected.is_null();
    if left_out {
        *actual = Value::Null;
    }
    left_out
}

/// A script's context, and the results of its calls.
struct Asked {
    context: Visitor,
    /// For each returned experience, in order.
    exposures: Vec<Exposure>,
    /// Whether a call may have caused exposures that are not among these.
    unseen: bool,
}

impl Asked {
    fn answer(&mut self, call: &Operation) -> Result<Value, Trouble> {
        Ok(match call {
            Operation::Run(call) => {
                let result = self.context.run_experience_with(&call.key, &options(call)).ok();
                let id = result.map(|result| result.variation_id().to_owned());
                let exposure = result.as_ref().map(Exposure::of);
                self.exposures.extend(exposure);
                json!(id)
            }
            Operation::RunAll(call) => {
                let (pairs, exposures) = run(&self.context, &options(call));
                self.exposures.extend(exposures);
                Value::Array(pairs)
            }
            Operation::Feature(call) => {
                self.unseen = true;
                let options = options(call).experience_keys(call.experience_keys.iter().map(String::as_str));
                let result = self.context.run_feature_with(&call.key, &options).ok();
                json!(result.map(|result| [result.experience_key(), result.feature_id()]))
            }
            Operation::Features(call) => {
                self.unseen = true;
                let results = self.context.run_features_with(&options(call));
                let mut pairs: Vec<_> =
                    results.iter().map(|result| [result.feature_key(), result.experience_key()]).collect();
                pairs.sort_unstable();
                json!(pairs)
            }
            Operation::Custom(call) => {
                let keys: Vec<&str> = call.keys.iter().map(String::as_str).collect();
                let data = merged(call.rule_data.as_ref());
                let result = self.context.run_custom_segments_with(&keys, data);
                json!(result.matched_segment_ids().collect::<Vec<_>>())
            }
            Operation::Segments { segments } => {
                self.context.set_segments(segments.clone());
                Value::Null
            }
            Operation::Convert(call) => json!(convert(&self.context, call)?.tracked()),
        })
    }
}

fn options(call: &RunCall) -> RunOptions {
    let options = RunOptions::new()
        .attributes(merged(call.call_attributes.as_ref()))
        .location(attributes(call.location.as_ref()));
    match &call.force {
        Some(variation) => options.force_variation_id(variation.as_str()),
        None => options,
    }
}

/// Compares what was sent with what JavaScript sent and with what the calls returned.
fn compare_events(
    script: &Script<'_>,
    mut expected: Vec<Value>,
    mut sent: Vec<Value>,
    asked: Asked,
    findings: &mut Findings,
) {
    let Asked { exposures, unseen, .. } = asked;
    let pairs = |visitors: &[Value]| -> Vec<(String, String)> {
        let events = visitors.iter().filter_map(|it| it["events"].as_array()).flatten();
        let bucketing = events.filter(|event| event["eventType"] == "bucketing");
        let id = |event: &Value, name: &str| text(event["data"].get(name));
        bucketing.map(|event| (id(event, "experienceId"), id(event, "variationId"))).collect()
    };
    let came_with =
        |pair: &(String, String)| script.state.bucketing.get(&pair.0).is_some_and(|stored| *stored == pair.1);
    // One exposure per experience: JavaScript's first one, unless the stored decision came earlier.
    let ours = pairs(&sent);
    let told: HashSet<&str> = ours.iter().filter(|pair| came_with(pair)).map(|(id, _)| id.as_str()).collect();
    let mut seen: HashSet<String> = told.iter().map(|id| (*id).to_owned()).collect();
    for visitor in &mut expected {
        keep_bucketing(visitor, |experience, _| seen.insert(experience.to_owned()));
    }
    expected.retain(|visitor| visitor["events"] != json!([]));
    let theirs: HashSet<(String, String)> = pairs(&expected).into_iter().collect();

    let mut returned = HashSet::new();
    let first: Vec<_> =
        exposures.into_iter().filter(|it| returned.insert(it.experience_id.clone())).collect();
    if unseen {
        // Every returned experience was sent, and JavaScript sends everything else that was.
        let known: HashSet<&str> = ours.iter().map(|(id, _)| id.as_str()).collect();
        findings.check("payload.repeated", &json!(known.len()), &json!(ours.len()));
        let missing: Vec<_> = returned.iter().filter(|id| !known.contains(id.as_str())).collect();
        findings.check("payload.missing", &json!([]), &json!(missing));
        let beside = |pair: &&(String, String)| {
            !returned.contains(&pair.0) && !came_with(pair) && !theirs.contains(pair)
        };
        findings.check("payload.extra", &json!([]), &json!(ours.iter().filter(beside).collect::<Vec<_>>()));
    } else {
        let wanted: Vec<_> = first.iter().map(|it| (&it.experience_id, &it.variation_id)).collect();
        findings.check("payload.exposures", &json!(wanted), &json!(ours));
    }
    // The segments are those of the first event, which JavaScript may have sent later.
    let first_is_stored = sent.first().is_some_and(|visitor| {
        let first = &visitor["events"][0];
        let id = |name: &str| text(first["data"].get(name));
        first["eventType"] == "bucketing" && came_with(&(id("experienceId"), id("variationId")))
    });
    for visitor in &mut sent {
        keep_bucketing(visitor, |experience, variation| {
            !came_with(&(experience.to_owned(), variation.to_owned()))
        });
    }
    sent.retain(|visitor| visitor["events"] != json!([]));
    if first_is_stored {
        for visitor in expected.iter_mut().chain(&mut sent).filter_map(Value::as_object_mut) {
            visitor.remove("segments");
        }
    }
    payload::compare_visitors(expected, &sent, findings);
}

/// Keeps all of a visitor's events except unwanted bucketing ones.
fn keep_bucketing(visitor: &mut Value, mut wanted: impl FnMut(&str, &str) -> bool) {
    if let Some(events) = visitor["events"].as_array_mut() {
        events.retain(|event| {
            let id = |name: &str| text(event["data"].get(name));
            event["eventType"] != "bucketing" || wanted(&id("experienceId"), &id("variationId"))
        });
    }
}

impl Operation {
    const fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "run",
            Self::RunAll(_) => "run_all",
            Self::Feature(_) => "feature",
            Self::Features(_) => "features",
            Self::Custom(_) => "custom",
            Self::Segments { .. } => "segments",
            Self::Convert(_) => "convert",
        }
    }
}
