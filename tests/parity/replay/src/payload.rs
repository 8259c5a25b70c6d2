//! What was sent, compared with what JavaScript sends.
//!
//! Events compare exactly and in order, except for rule C4: JavaScript sends a bucketing event for each new decision;
//! this SDK sends one for each experience that a call returns, once per visitor, even for a stored decision. So there
//! are two comparisons, and a missing, extra or repeated event fails at least one:
//!
//! 1. `payload.exposures`: all bucketing events of the SDK, in order, against one per experience
//!    that its two run calls returned.
//! 2. `payload.events`: all events of the SDK except the bucketing events of decisions that it returned
//!    as stored, in order, against all events of JavaScript.
//!
//! Ids are text (D16): where JavaScript passes a numeric id of the config through as a number, its text is expected.

use convert_sdk::{DecisionSource, ExperienceResult, SmolStr};
use serde_json::{Value, json};

use crate::findings::Findings;
use crate::json::text;
use crate::line::ConversionCall;

/// The exposure that a returned experience must cause.
pub(crate) struct Exposure {
    pub(crate) experience_id: String,
    pub(crate) variation_id: String,
    /// Whether the decision was found in the store, which JavaScript does not reveal.
    pub(crate) stored: bool,
}

impl Exposure {
    /// The exposure caused by a result.
    pub(crate) fn of(result: &ExperienceResult<'_>) -> Self {
        Self {
            experience_id: result.experience_id().to_owned(),
            variation_id: result.variation_id().to_owned(),
            stored: result.source() == DecisionSource::Stored,
        }
    }

    fn event(&self) -> Value {
        let data = json!({"experienceId": self.experience_id, "variationId": self.variation_id});
        json!({"eventType": "bucketing", "data": data})
    }
}

/// Compares the `visitors` of a sequence.
pub(crate) fn compare(
    visitor: &str,
    expected: Vec<Value>,
    actual: Vec<Value>,
    exposures: &[Exposure],
    findings: &mut Findings,
) {
    let wanted: Vec<Value> = exposures.iter().map(Exposure::event).collect();
    let sent = events(&actual, visitor).filter(|event| is_bucketing(event)).cloned().collect();
    findings.check("payload.exposures", &Value::Array(wanted), &Value::Array(sent));

    let stored: Vec<Value> =
        exposures.iter().filter(|exposure| exposure.stored).map(Exposure::event).collect();
    compare_visitors(expected, &without(actual, &stored), findings);
}

/// Compares all remaining fields of the visitors.
pub(crate) fn compare_visitors(mut expected: Vec<Value>, actual: &[Value], findings: &mut Findings) {
    expected.iter_mut().for_each(write_ids);
    let ids = |visitors: &[Value]| visitors.iter().map(|it| it["visitorId"].clone()).collect::<Value>();
    findings.check("payload.visitors", &ids(&expected), &ids(actual));
    for (expected, actual) in expected.iter().zip(actual) {
        if expected["visitorId"] == actual["visitorId"] {
            findings.check("payload.segments", &expected["segments"], &actual["segments"]);
            findings.check("payload.events", &expected["events"], &actual["events"]);
            check_the_rest(expected, actual, findings);
        }
    }
}

/// The number of events per conversion, taken from the visitor's conversion events in order: a bare one of its goal if
/// there is one, then one with data if the call gave data. Each accepted call comes with the id of its goal.
pub(crate) fn conversion_events(
    visitors: &[Value],
    visitor: &str,
    calls: &[(&ConversionCall, Option<SmolStr>)],
) -> Vec<u64> {
    let mut left = events(visitors, visitor).filter(|event| !is_bucketing(event)).peekable();
    let mut counts = Vec::with_capacity(calls.len());
    for (call, goal_id) in calls {
        let mut count = 0;
        for with_data in [false, true] {
            let next = left.next_if(|event| {
                let data = &event["data"];
                data["goalId"].as_str() == goal_id.as_deref()
                    && data.get("goalData").is_some() == with_data
                    && (!with_data || call.goal_data.is_some())
            });
            count += u64::from(next.is_some());
        }
        counts.push(count);
    }
    counts
}

fn events<'a>(visitors: &'a [Value], visitor: &str) -> impl Iterator<Item = &'a Value> {
    let entry = visitors.iter().find(|entry| entry["visitorId"] == visitor);
    entry.and_then(|entry| entry["events"].as_array()).into_iter().flatten()
}

fn is_bucketing(event: &Value) -> bool {
    event["eventType"] == "bucketing"
}

/// The visitors without these events, and without visitors who then have none.
fn without(mut visitors: Vec<Value>, unwanted: &[Value]) -> Vec<Value> {
    for events in visitors.iter_mut().filter_map(|visitor| visitor["events"].as_array_mut()) {
        events.retain(|event| !unwanted.contains(event));
    }
    visitors.retain(|visitor| visitor["events"].as_array().is_none_or(|events| !events.is_empty()));
    visitors
}

/// Converts the ids in a visitor's events to text.
fn write_ids(visitor: &mut Value) {
    let as_text = |id: &mut Value| {
        if id.is_number() {
            *id = Value::String(text(Some(id)));
        }
    };
    for event in visitor["events"].as_array_mut().into_iter().flatten() {
        let data = event.get_mut("data").and_then(Value::as_object_mut);
        for (name, value) in data.into_iter().flatten() {
            match name.as_str() {
                "experienceId" | "variationId" | "goalId" => as_text(value),
                "bucketingData" => value.as_object_mut().into_iter().for_each(|all| {
                    all.values_mut().for_each(as_text);
                }),
                _ => {}
            }
        }
    }
}

/// A visitor's entry must not have a field that the other lacks.
fn check_the_rest(expected: &Value, actual: &Value, findings: &mut Findings) {
    let names = |entry: &Value| {
        let fields = entry.as_object().into_iter().flat_map(|entry| entry.keys());
        fields.filter(|name| *name != "segments").cloned().collect::<Value>()
    };
    findings.check("payload.fields", &names(expected), &names(actual));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposure(id: &str, stored: bool) -> Exposure {
        Exposure { experience_id: id.to_owned(), variation_id: format!("{id}-1"), stored }
    }

    fn visitor(events: &[Value]) -> Vec<Value> {
        vec![json!({"visitorId": "v", "events": events})]
    }

    fn parts(expected: &[Value], actual: &[Value], exposures: &[Exposure]) -> Vec<String> {
        let mut findings = Findings::default();
        compare("v", visitor(expected), visitor(actual), exposures, &mut findings);
        findings.mismatches.into_iter().map(|mismatch| mismatch.part).collect()
    }

    #[test]
    fn stored_decisions_are_exposures_javascript_does_not_send() {
        let exposures = [exposure("1", true), exposure("2", false)];
        let [stored, new] = [exposures[0].event(), exposures[1].event()];
        let (javascript, both) = ([new.clone()], [stored.clone(), new.clone()]);
        assert!(parts(&javascript, &both, &exposures).is_empty());
        // Missing, extra, repeated, in the wrong order, and sent by JavaScript but not here.
        assert_eq!(parts(&javascript, &javascript, &exposures), ["payload.exposures"]);
        let extra = [stored.clone(), new.clone(), exposure("3", false).event()];
        assert_eq!(parts(&javascript, &extra, &exposures), ["payload.exposures", "payload.events"]);
        let repeated = [stored.clone(), new.clone(), stored.clone()];
        assert_eq!(parts(&javascript, &repeated, &exposures), ["payload.exposures"]);
        let swapped = [new, stored];
        assert_eq!(parts(&javascript, &swapped, &exposures), ["payload.exposures"]);
        assert_eq!(parts(&both, &both, &exposures), ["payload.events"]);
    }

    #[test]
    fn events_belong_to_the_conversion_that_caused_them() {
        let call = |goal: &str, data: bool| ConversionCall {
            goal_key: goal.to_owned(),
            rule_data: None,
            goal_data: data.then(Vec::new),
            force_multiple: false,
        };
        let event = |goal: &str, data: bool| {
            let mut event = json!({"eventType": "conversion", "data": {"goalId": goal}});
            if data {
                event["data"]["goalData"] = json!([]);
            }
            event
        };
        let calls = [("a", false), ("a", true), ("b", true), ("c", false), ("d", false)];
        let calls = calls.map(|(goal, data)| call(goal, data));
        let goals = [Some("1"), Some("1"), Some("2"), None, Some("4")].map(|id| id.map(SmolStr::new));
        let calls: Vec<_> = calls.iter().zip(goals).collect();
        let sent = visitor(&[event("1", false), event("1", true), event("2", false), event("2", true)]);
        assert_eq!(conversion_events(&sent, "v", &calls), [1, 1, 2, 0, 0]);
    }
}
