//! Records in the tracking endpoint's format: one JSON envelope, grouped by visitor.

use std::collections::HashMap;

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;
use smol_str::SmolStr;

use super::backlog::Queued;
use super::event::{Conversion, Exposure, GoalDataKey, GoalValue, TrackedEvent};
use crate::attributes::{AttributeValue, Attributes, CUSTOM_SEGMENTS};

/// The segment keys that reports use; no other data about a visitor leaves the process.
const REPORT_KEYS: [&str; 7] =
    ["country", "browser", "devices", "source", "campaign", "visitorType", CUSTOM_SEGMENTS];

/// Whether reports use this attribute.
#[inline]
pub(crate) fn is_report_key(name: &str) -> bool {
    // Written out because comparing with a string of known length takes only a few instructions.
    matches!(
        name,
        "country" | "browser" | "devices" | "source" | "campaign" | "visitorType" | CUSTOM_SEGMENTS
    )
}

/// How the sender identifies itself: the name that the official Python SDK also uses, because the endpoint's
/// list of known names is not public.
const SOURCE: &str = "js-sdk";

/// The part of the envelope that is the same in all of a core's batches.
#[derive(Clone)]
pub(crate) struct Envelope {
    pub(crate) account_id: SmolStr,
    pub(crate) project_id: SmolStr,
    /// Whether the endpoint should fill in what no data store remembers.
    pub(crate) enrich_data: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeWire<'a> {
    account_id: &'a str,
    project_id: &'a str,
    enrich_data: bool,
    source: &'static str,
    visitors: Vec<VisitorWire<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VisitorWire<'a> {
    visitor_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<SegmentsWire>,
    events: EventsWire<'a>,
}

/// A visitor's segments, report keys only.
struct SegmentsWire(Vec<(&'static str, Value)>);

/// A visitor's records, each as one or two events.
struct EventsWire<'a>(Vec<&'a TrackedEvent>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventWire<D> {
    event_type: &'static str,
    data: D,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BucketingWire<'a> {
    experience_id: &'a str,
    variation_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConversionWire<'a> {
    goal_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    goal_data: Option<Vec<GoalDatumWire<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucketing_data: Option<PairsWire<'a>>,
}

#[derive(Serialize)]
struct GoalDatumWire<'a> {
    key: &'static str,
    value: GoalValueWire<'a>,
}

struct GoalValueWire<'a>(&'a GoalValue);
struct PairsWire<'a>(&'a [(SmolStr, SmolStr)]);

impl Envelope {
    /// The request body of a batch, and how many segment values were left out of it. A visitor's segments are
    /// those of its first record.
    pub(crate) fn body(&self, records: &[Queued]) -> (Vec<u8>, u64) {
        let mut left_out = 0;
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(records.len());
        let mut visitors: Vec<VisitorWire<'_>> = Vec::new();
        for Queued { event, .. } in records {
            let visitor_id = event.visitor_id().as_str();
            let place = *places.entry(visitor_id).or_insert_with(|| {
                let (segments, refused) = sendable_segments(event.segments());
                left_out += refused;
                visitors.push(VisitorWire { visitor_id, segments, events: EventsWire(Vec::new()) });
                visitors.len() - 1
            });
            visitors[place].events.0.push(event);
        }
        let envelope = EnvelopeWire {
            account_id: &self.account_id,
            project_id: &self.project_id,
            enrich_data: self.enrich_data,
            source: SOURCE,
            visitors,
        };
        // Strings, finite numbers and string keys: serialization cannot fail.
        (serde_json::to_vec(&envelope).unwrap_or_default(), left_out)
    }
}

/// The segments as the endpoint accepts them, if any are left, and how many values it would refuse the
/// request for: null, objects, list items that are not strings, and custom segments that are not a list.
fn sendable_segments(segments: &Attributes) -> (Option<SegmentsWire>, u64) {
    let (mut entries, mut left_out) = (Vec::new(), 0);
    for key in REPORT_KEYS {
        let mut value = match segments.get(key) {
            None => continue,
            Some(value) => Value::from(value),
        };
        if let Value::Array(items) = &mut value {
            let given = items.len();
            items.retain(Value::is_string);
            left_out += (given - items.len()) as u64;
            if items.is_empty() && given > 0 {
                continue;
            }
        } else if key == CUSTOM_SEGMENTS || value.is_null() || value.is_object() {
            left_out += 1;
            continue;
        }
        entries.push((key, value));
    }
    ((!entries.is_empty()).then_some(SegmentsWire(entries)), left_out)
}

impl Serialize for SegmentsWire {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl Serialize for EventsWire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut events = serializer.serialize_seq(None)?;
        for event in &self.0 {
            match event {
                TrackedEvent::Exposure(Exposure { experience_id, variation_id, .. }) => {
                    let data = BucketingWire { experience_id, variation_id };
                    events.serialize_element(&EventWire { event_type: "bucketing", data })?;
                }
                TrackedEvent::Conversion(conversion) => {
                    for data in conversion_events(conversion) {
                        events.serialize_element(&EventWire { event_type: "conversion", data })?;
                    }
                }
            }
        }
        events.end()
    }
}

/// A bare event for the visitor's first conversion of the goal, and one with the goal data, if any.
fn conversion_events<'a>(conversion: &'a Conversion) -> impl Iterator<Item = ConversionWire<'a>> {
    let event = |goal_data| ConversionWire {
        goal_id: &conversion.goal_id,
        goal_data,
        bucketing_data: (!conversion.bucketing.is_empty()).then(|| PairsWire(&conversion.bucketing)),
    };
    let data = conversion.goal_data.as_ref().map(|entries| {
        let wire = |(key, value): &'a (GoalDataKey, GoalValue)| GoalDatumWire {
            key: key.as_str(),
            value: GoalValueWire(value),
        };
        entries.iter().map(wire).collect()
    });
    let bare = conversion.first.then(|| event(None));
    bare.into_iter().chain(data.map(|data| event(Some(data))))
}

impl Serialize for GoalValueWire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            GoalValue::Number(number) => Value::from(&AttributeValue::Number(*number)).serialize(serializer),
            GoalValue::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl Serialize for PairsWire<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (experience_id, variation_id) in self.0 {
            map.serialize_entry(experience_id.as_str(), variation_id.as_str())?;
        }
        map.end()
    }
}
