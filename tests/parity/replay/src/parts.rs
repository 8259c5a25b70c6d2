//! The expected answers: JavaScript's, or the recommended ones if there are any.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::error::FieldFlaw;
use crate::findings::Findings;
use crate::json::{Object, is_throw};
use crate::line::RequestLine;
use crate::rulings::{mark_by_id, record_once, send_report_segments};
use crate::served::Served;

/// The expected parts that have not been compared yet.
pub(crate) struct Parts {
    left: Object,
}

impl Parts {
    /// Overlays the recommended answers on JavaScript's: whole parts, or only some of their keys. Then applies the
    /// rulings that the vectors do not cover.
    pub(crate) fn new(line: &RequestLine<'_>, served: &Served, findings: &mut Findings) -> Self {
        let mut left = line.expected.clone();
        for (part, recommended) in &line.recommended {
            match (left.get_mut(part), recommended) {
                (Some(Value::Object(whole)), Value::Object(keys)) if !whole.contains_key("throws") => {
                    whole.extend(keys.clone());
                }
                // What an oracle left unanswered is not compared.
                (None, _) => {}
                (Some(whole), _) => *whole = recommended.clone(),
            }
        }
        if contradicts_itself(line) {
            for part in OF_ALL {
                if left.remove(part).is_some() {
                    findings
                        .leave_out("the recommended list has another answer than JavaScript gives for one");
                }
            }
        }
        let matched = left.get_mut("custom_segments").and_then(|part| part.get_mut("matched"));
        let (mut twice, mut recorded) = (HashSet::new(), None);
        if let Some(matched) = matched {
            twice = record_once(matched);
            // What JavaScript sent after throwing lacks what is recorded here.
            let thrown = line.expected.get("custom_segments").is_some_and(is_throw);
            recorded = (thrown && !line.recommended.contains_key("payload")).then(|| matched.clone());
        }
        for visitor in left.get_mut("payload").and_then(Value::as_array_mut).into_iter().flatten() {
            let is_object = visitor["segments"]["customSegments"].is_object();
            if let Some(recorded) = recorded.as_ref().filter(|ids| **ids != json!([]) && !is_object) {
                visitor["segments"]["customSegments"] = recorded.clone();
            }
            send_report_segments(visitor, &twice);
        }
        mark_goals(line, served, &mut left);
        Self { left }
    }

    /// Whether any of these is to be compared.
    pub(crate) fn has_any(&self, parts: &[&str]) -> bool {
        parts.iter().any(|part| self.left.contains_key(*part))
    }

    /// A part to compare. If JavaScript throws and nothing is recommended, there is no answer to compare with, but the
    /// SDK must not panic.
    pub(crate) fn take(&mut self, part: &str) -> Option<Value> {
        self.left.remove(part).filter(|expected| !is_throw(expected))
    }

    /// Like [`take`](Self::take), for a part that is an object.
    pub(crate) fn take_object(&mut self, part: &str) -> Result<Option<Object>, FieldFlaw> {
        match self.take(part) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(FieldFlaw::new(format!("expected.{part}"), "is not an object")),
        }
    }

    /// Ensures that nothing was left uncompared.
    pub(crate) fn finish(self) -> Result<(), FieldFlaw> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(part) => {
                Err(FieldFlaw::new(format!("expected.{part}"), "is not a part that this request can have"))
            }
        }
    }
}

/// The parts that follow from the decisions on all experiences.
const OF_ALL: [&str; 4] = ["run_experiences", "run_experiences_again", "features", "run_features"];

/// Whether JavaScript throws for all experiences together, and the list recommended instead contradicts JavaScript's
/// own answer for one of them.
fn contradicts_itself(line: &RequestLine<'_>) -> bool {
    let thrown = line.expected.get("run_experiences").is_some_and(is_throw);
    let Some(all) = line.recommended.get("run_experiences").and_then(Value::as_array) else { return false };
    let recommended = line.recommended.get("decisions").and_then(Value::as_object);
    let decisions = line.expected.get("decisions").and_then(Value::as_object);
    thrown
        && decisions.into_iter().flatten().any(|(key, decision)| {
            let listed = all.iter().find(|pair| pair[0] == key.as_str()).map(|pair| &pair[1]);
            let is_answer = !is_throw(decision) && !recommended.is_some_and(|all| all.contains_key(key));
            is_answer && decision.get("variation_id") != listed
        })
}

/// Converts the conversions and what was sent for them to marks by id.
fn mark_goals(line: &RequestLine<'_>, served: &Served, left: &mut Object) {
    let Some(Value::Array(mut answers)) = left.get("conversions").cloned() else { return };
    let calls: Vec<_> = line.request.conversions.iter().collect();
    let mut accepted: Vec<bool> = answers.iter().map(|answer| answer["accepted"] == true).collect();
    if accepted.len() != calls.len() {
        return;
    }
    let visitors = left.get_mut("payload").and_then(Value::as_array_mut);
    let counts = mark_by_id(served, &line.request.state.goals, &calls, &mut accepted, visitors);
    for ((answer, accepted), events) in answers.iter_mut().zip(accepted).zip(counts) {
        if let Some(events) = events {
            *answer = json!({"accepted": accepted, "events": events});
        }
    }
    left.insert("conversions".to_owned(), Value::Array(answers));
}

/// Whether an answer says that the visitor id is empty.
pub(crate) fn is_no_visitor(expected: &Value) -> bool {
    *expected == json!({"none": "no_visitor"})
}

/// An expected list, which is empty if there is no visitor.
pub(crate) fn list(part: &str, expected: Value) -> Result<Vec<Value>, FieldFlaw> {
    match expected {
        Value::Array(entries) => Ok(entries),
        expected if is_no_visitor(&expected) => Ok(Vec::new()),
        _ => Err(FieldFlaw::new(format!("expected.{part}"), "is not a list")),
    }
}
