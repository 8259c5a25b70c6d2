//! Strict validation of a tracking payload: every field, and no unknown ones.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value};

use crate::at::{At, WrongField};
use crate::config::KnownIds;
use crate::received::{EventData, ReceivedEvent};
use crate::strict_json::parse_strictly;

const SEGMENT_KEYS: [&str; 7] =
    ["country", "browser", "devices", "source", "campaign", "visitorType", "customSegments"];
const GOAL_DATA_KEYS: [&str; 8] = [
    "amount",
    "productsCount",
    "transactionId",
    "customDimension1",
    "customDimension2",
    "customDimension3",
    "customDimension4",
    "customDimension5",
];

/// The project that the payload must be for, and what its events may refer to.
pub(crate) struct Expected<'a> {
    pub(crate) account_id: &'a str,
    pub(crate) project_id: &'a str,
    pub(crate) known: &'a KnownIds,
}

/// Validates a whole payload and returns its events in order, or the first invalid field.
pub(crate) fn check_envelope(body: &[u8], expected: &Expected<'_>) -> Result<Vec<ReceivedEvent>, WrongField> {
    let at = At::ROOT;
    let envelope = parse_strictly(body)?;
    let envelope = at.object(&envelope, &["accountId", "projectId", "enrichData", "source", "visitors"])?;
    for (key, own) in [("accountId", expected.account_id), ("projectId", expected.project_id)] {
        if at.text_field(envelope, key)? != own {
            return Err(at.key(key).wrong(format!("must be {own:?} for this SDK key")));
        }
    }
    if !at.field(envelope, "enrichData")?.is_boolean() {
        return Err(at.key("enrichData").wrong("must be true or false"));
    }
    at.text_field(envelope, "source")?;
    let visitors_at = at.key("visitors");
    let mut seen = HashSet::new();
    let mut events = Vec::new();
    for (index, visitor) in visitors_at.full_list(at.field(envelope, "visitors")?)?.iter().enumerate() {
        let at = visitors_at.index(index);
        let visitor_id = check_visitor(&at, visitor, expected, &mut events)?;
        if !seen.insert(visitor_id) {
            return Err(at.key("visitorId").wrong("this visitor is already in the payload"));
        }
    }
    Ok(events)
}

fn check_visitor<'v>(
    at: &At<'_>,
    visitor: &'v Value,
    expected: &Expected<'_>,
    events: &mut Vec<ReceivedEvent>,
) -> Result<&'v str, WrongField> {
    let visitor = at.object(visitor, &["visitorId", "segments", "events"])?;
    let visitor_id = at.text_field(visitor, "visitorId")?;
    if visitor_id.is_empty() {
        return Err(at.key("visitorId").wrong("must not be empty"));
    }
    let segments =
        visitor.get("segments").map(|segments| check_segments(&at.key("segments"), segments)).transpose()?;
    let events_at = at.key("events");
    for (index, event) in events_at.full_list(at.field(visitor, "events")?)?.iter().enumerate() {
        events.push(ReceivedEvent {
            request: 0,
            account_id: expected.account_id.to_owned(),
            project_id: expected.project_id.to_owned(),
            visitor_id: visitor_id.to_owned(),
            segments: segments.cloned(),
            event: check_event(&events_at.index(index), event, expected.known)?,
        });
    }
    Ok(visitor_id)
}

fn check_segments<'v>(at: &At<'_>, segments: &'v Value) -> Result<&'v Map<String, Value>, WrongField> {
    let segments = at.object(segments, &SEGMENT_KEYS)?;
    for (key, value) in segments {
        let at = at.key(key);
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    at.index(index).text(item)?;
                }
            }
            _ if key == "customSegments" => return Err(at.wrong("must be a list of strings")),
            Value::String(_) | Value::Number(_) | Value::Bool(_) => {}
            Value::Null | Value::Object(_) => {
                return Err(at.wrong("must be a string, a number, true, false or a list of strings"));
            }
        }
    }
    Ok(segments)
}

fn check_event(at: &At<'_>, event: &Value, known: &KnownIds) -> Result<EventData, WrongField> {
    let event = at.object(event, &["eventType", "data"])?;
    let kind = at.text_field(event, "eventType")?;
    let data = at.field(event, "data")?;
    match kind {
        "bucketing" => check_bucketing(&at.key("data"), data, known),
        "conversion" => check_conversion(&at.key("data"), data, known),
        _ => Err(at.key("eventType").wrong("must be \"bucketing\" or \"conversion\"")),
    }
}

fn check_bucketing(at: &At<'_>, data: &Value, known: &KnownIds) -> Result<EventData, WrongField> {
    let data = at.object(data, &["experienceId", "variationId"])?;
    let experience_id = at.text_field(data, "experienceId")?;
    let variation_id = at.text_field(data, "variationId")?;
    check_known(known, (&at.key("experienceId"), experience_id), (&at.key("variationId"), variation_id))?;
    Ok(EventData::Bucketing {
        experience_id: experience_id.to_owned(),
        variation_id: variation_id.to_owned(),
    })
}

fn check_conversion(at: &At<'_>, data: &Value, known: &KnownIds) -> Result<EventData, WrongField> {
    let data = at.object(data, &["goalId", "goalData", "bucketingData"])?;
    let goal_id = at.text_field(data, "goalId")?;
    if !known.goals.contains(goal_id) {
        return Err(at.key("goalId").wrong("no such goal in the config"));
    }
    let goal_data =
        data.get("goalData").map(|value| check_goal_data(&at.key("goalData"), value)).transpose()?;
    let bucketing_data =
        data.get("bucketingData").map(|value| check_decisions(&at.key("bucketingData"), value, known));
    let bucketing_data = bucketing_data.transpose()?;
    Ok(EventData::Conversion { goal_id: goal_id.to_owned(), goal_data, bucketing_data })
}

fn check_goal_data(at: &At<'_>, data: &Value) -> Result<Vec<(String, Value)>, WrongField> {
    let mut pairs = Vec::new();
    for (index, datum) in at.list(data)?.iter().enumerate() {
        let at = at.index(index);
        let datum = at.object(datum, &["key", "value"])?;
        let key = at.text_field(datum, "key")?;
        if !GOAL_DATA_KEYS.contains(&key) {
            return Err(at.key("key").wrong(format!("must be one of {}", GOAL_DATA_KEYS.join(", "))));
        }
        let value = at.field(datum, "value")?;
        if !(value.is_number() || value.is_string()) {
            return Err(at.key("value").wrong("must be a number or a string"));
        }
        pairs.push((key.to_owned(), value.clone()));
    }
    Ok(pairs)
}

/// Variation ids by experience id.
fn check_decisions(
    at: &At<'_>,
    value: &Value,
    known: &KnownIds,
) -> Result<BTreeMap<String, String>, WrongField> {
    at.any_object(value)?
        .iter()
        .map(|(experience, variation)| {
            let at = at.key(experience);
            let variation = at.text(variation)?;
            check_known(known, (&at, experience), (&at, variation))?;
            Ok((experience.clone(), variation.to_owned()))
        })
        .collect()
}

/// Whether a config served so far has this experience with this variation; each with its position.
fn check_known(
    known: &KnownIds,
    (at_experience, experience): (&At<'_>, &str),
    (at_variation, variation): (&At<'_>, &str),
) -> Result<(), WrongField> {
    let variations = known.experiences.get(experience);
    let variations = variations.ok_or_else(|| at_experience.wrong("no such experience in the config"))?;
    if variations.contains(variation) {
        Ok(())
    } else {
        Err(at_variation.wrong("no such variation in this experience"))
    }
}
