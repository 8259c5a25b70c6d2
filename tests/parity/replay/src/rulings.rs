//! Converts JavaScript's answers where this SDK deliberately differs and the vectors do not cover it. `docs/parity.md`
//! has the reasons.

use std::collections::HashSet;

use convert_sdk::Attributes;
use serde_json::{Map, Value, json};

use crate::json::{Object, text};
use crate::line::ConversionCall;
use crate::served::Served;

/// The segments that are sent.
const REPORT_KEYS: [&str; 7] =
    ["country", "browser", "devices", "source", "campaign", "visitorType", "customSegments"];

/// A map that JavaScript merges before a rule sees it, which loses a name `__proto__`.
pub(crate) fn merged(map: Option<&Object>) -> Attributes {
    let mut map = map.cloned().unwrap_or_default();
    map.remove("__proto__");
    map.into()
}

/// A segment id is recorded once; returns those that JavaScript recorded twice.
pub(crate) fn record_once(ids: &mut Value) -> HashSet<String> {
    let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
    if let Some(ids) = ids.as_array_mut() {
        ids.retain(|id| {
            let is_new = seen.insert(text(Some(id)));
            if !is_new {
                twice.insert(text(Some(id)));
            }
            is_new
        });
    }
    twice
}

/// Only report keys are sent of the segments, and nothing for which the endpoint rejects a whole request: neither
/// `null` nor an object, only the text items of lists, and custom segments only as a list. Ids recorded `twice` are
/// sent once.
pub(crate) fn send_report_segments(visitor: &mut Value, twice: &HashSet<String>) {
    let Some(visitor) = visitor.as_object_mut() else { return };
    let Some(Value::Object(segments)) = visitor.get_mut("segments") else { return };
    let sent = |(name, mut value): (String, Value)| {
        let sent = match &mut value {
            Value::Array(items) => {
                let given = items.len();
                items.retain(Value::is_string);
                given == 0 || !items.is_empty()
            }
            Value::Null | Value::Object(_) => false,
            _ => name != "customSegments",
        };
        (sent && REPORT_KEYS.contains(&name.as_str())).then_some((name, value))
    };
    let mut sent: Map<_, _> = std::mem::take(segments).into_iter().filter_map(sent).collect();
    if let Some(Value::Array(ids)) = sent.get_mut("customSegments") {
        let mut seen = HashSet::new();
        ids.retain(|id| id.as_str().is_none_or(|id| !twice.contains(id) || seen.insert(id.to_owned())));
    }
    if sent.is_empty() {
        visitor.remove("segments");
    } else {
        *segments = sent;
    }
}

/// The fate of one conversion call that JavaScript accepts.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sent {
    bare: bool,
    data: bool,
}

/// Goals are marked by id, in JavaScript by key, so a goal with another key and the same id repeats an earlier
/// conversion. Changes what JavaScript `accepted` and the events that it sent for it; returns each call's resulting
/// number of events, or `None` for unchanged ones.
pub(crate) fn mark_by_id(
    served: &Served,
    converted: &[String],
    calls: &[&ConversionCall],
    accepted: &mut [bool],
    mut visitors: Option<&mut Vec<Value>>,
) -> Vec<Option<u64>> {
    let mut keys: HashSet<&str> = converted.iter().map(String::as_str).collect();
    let mut ids: HashSet<&str> = keys.iter().filter_map(|key| served.goal_id(key)).collect();
    let (mut counts, mut at) = (Vec::with_capacity(calls.len()), 0);
    for (call, accepted) in calls.iter().zip(accepted) {
        let Some(id) = served.goal_id(&call.goal_key).filter(|_| *accepted) else {
            counts.push(None);
            continue;
        };
        let (new_key, new_id) = (keys.insert(&call.goal_key), ids.insert(id));
        let sent =
            |new: bool| Sent { bare: new, data: call.goal_data.is_some() && (new || call.force_multiple) };
        let (theirs, ours) = (sent(new_key), sent(new_id));
        if let Some(visitors) = visitors.as_deref_mut() {
            at = leave_out(visitors, at, id, theirs, ours);
        }
        *accepted = new_id || call.force_multiple;
        counts.push((theirs != ours).then(|| u64::from(ours.bare) + u64::from(ours.data)));
    }
    counts
}

/// Removes the events of one call that this SDK does not send; returns where those of the next call start.
fn leave_out(visitors: &mut Vec<Value>, mut at: usize, goal: &str, theirs: Sent, ours: Sent) -> usize {
    for (theirs, ours, with_data) in [(theirs.bare, ours.bare, false), (theirs.data, ours.data, true)] {
        let Some(events) = visitors.first_mut().and_then(|it| it["events"].as_array_mut()) else { break };
        let is_it = |event: &Value| {
            event["eventType"] == "conversion"
                && text(event["data"].get("goalId")) == goal
                && event["data"].get("goalData").is_some() == with_data
        };
        let found = events.iter().skip(at).position(is_it).filter(|_| theirs);
        match found.map(|position| at + position) {
            Some(position) if ours => at = position + 1,
            Some(position) => drop(events.remove(position)),
            None => {}
        }
    }
    visitors.retain(|visitor| visitor["events"] != json!([]));
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_with_a_converted_goals_id_repeats_it() {
        let served = Served::new(&json!({"goals": [
            {"id": "1", "key": "a"}, {"id": "1", "key": "b"}, {"id": 0, "key": "c"},
        ]}));
        let call = |key: &str, force_multiple, data: bool| ConversionCall {
            goal_key: key.to_owned(),
            rule_data: None,
            goal_data: data.then(Vec::new),
            force_multiple,
        };
        let calls =
            [call("a", false, false), call("b", false, true), call("b", true, true), call("c", true, true)];
        let calls: Vec<_> = calls.iter().collect();
        let bare = json!({"eventType": "conversion", "data": {"goalId": "1"}});
        let data = json!({"eventType": "conversion", "data": {"goalId": "1", "goalData": []}});
        let mut visitors = vec![json!({"visitorId": "v", "events": [bare, bare, data, data]})];
        let mut accepted = [true, true, true, false];
        let counts = mark_by_id(&served, &[], &calls, &mut accepted, Some(&mut visitors));
        assert_eq!(accepted, [true, false, true, false]);
        assert_eq!(counts, [None, Some(0), None, None]);
        assert_eq!(visitors, [json!({"visitorId": "v", "events": [bare, data]})]);
        // Earlier conversions count, too.
        let mut accepted = [true, true, true, false];
        let counts = mark_by_id(&served, &["a".to_owned()], &calls[1..3], &mut accepted[1..3], None);
        assert_eq!((accepted, counts), ([true, false, true, false], vec![Some(0), None]));
    }

    #[test]
    fn only_report_segments_are_sent() {
        let mut visitor = json!({"segments": {"plan": "x", "country": null, "browser": {"a": 1}, "source": ["a", "a"],
            "customSegments": ["1", "2", "1", "2"]}});
        let twice = record_once(&mut json!(["1", "1", "2"]));
        send_report_segments(&mut visitor, &twice);
        assert_eq!(visitor, json!({"segments": {"source": ["a", "a"], "customSegments": ["1", "2", "2"]}}));
        let mut visitor = json!({"segments": {"country": null}});
        send_report_segments(&mut visitor, &HashSet::new());
        assert_eq!(visitor, json!({}));
    }
}
