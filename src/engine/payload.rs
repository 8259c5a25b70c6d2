//! Records in the tracking endpoint's format: one JSON envelope, grouped by visitor.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use smol_str::SmolStr;

use super::backlog::Queued;
use super::event::{Conversion, Exposure, GoalDataKey, GoalValue, TrackedEvent};
use crate::attributes::{AttributeValue, Attributes, CUSTOM_SEGMENTS};

/// The segment keys that reports use; no other data about a visitor leaves the process.
pub(crate) const REPORT_KEYS: [&str; 7] =
    ["country", "browser", "devices", "source", "campaign", "visitorType", CUSTOM_SEGMENTS];

/// Whether reports use this attribute.
#[inline(always)]
pub(crate) fn is_report_key(name: &str) -> bool {
    // Written out because comparing with a string of known length takes only a few instructions.
    matches!(
        name,
        "country" | "browser" | "devices" | "source" | "campaign" | "visitorType" | CUSTOM_SEGMENTS
    )
}

/// Whether a name of this length may be a report key, which spares most names the comparison.
#[inline]
pub(crate) fn may_be_report_key(length: usize) -> bool {
    (6..=14).contains(&length)
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

/// A request body in the making, which may be written a few records at a time. First the records are grouped by
/// visitor, in order of appearance; then they are written.
pub(crate) struct BodyWriter {
    text: Vec<u8>,
    left_out: u64,
    /// Visitors by id.
    places: HashMap<SmolStr, usize>,
    visitors: Vec<Visitor>,
    /// For each grouped record the next one of its visitor, if there is one.
    next: Vec<Option<usize>>,
    /// The visitor being written, and its next record.
    at: (usize, Option<usize>),
}

/// A visitor's first and last records.
struct Visitor {
    first: usize,
    last: usize,
}

/// A visitor's segments, report keys only.
struct SegmentsWire(Vec<(&'static str, Value)>);

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
        let mut writer = self.writer(records.len());
        while !writer.write(records, usize::MAX) {}
        writer.finish()
    }

    /// Begins the request body of a batch of this many records.
    pub(crate) fn writer(&self, records: usize) -> BodyWriter {
        let mut text = Vec::new();
        text.extend_from_slice(b"{\"accountId\":");
        put(&mut text, &self.account_id);
        text.extend_from_slice(b",\"projectId\":");
        put(&mut text, &self.project_id);
        text.extend_from_slice(b",\"enrichData\":");
        put(&mut text, &self.enrich_data);
        text.extend_from_slice(b",\"source\":");
        put(&mut text, SOURCE);
        text.extend_from_slice(b",\"visitors\":[");
        BodyWriter {
            text,
            left_out: 0,
            places: HashMap::with_capacity(records),
            visitors: Vec::new(),
            next: Vec::with_capacity(records),
            at: (0, None),
        }
    }
}

/// Strings, finite numbers and string keys, into memory: serialization cannot fail.
fn put(text: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let _ = serde_json::to_writer(text, value);
}

impl BodyWriter {
    /// Handles at most this many records, which are the same in every call; returns whether all are written.
    pub(crate) fn write(&mut self, records: &[Queued], most: usize) -> bool {
        for _ in 0..most {
            if let Some(Queued { event, .. }) = records.get(self.next.len()) {
                self.group(event);
            } else if !self.write_next(records) {
                return true;
            }
        }
        false
    }

    /// The body, and how many segment values were left out of it.
    pub(crate) fn finish(mut self) -> (Vec<u8>, u64) {
        self.text.extend_from_slice(b"]}");
        (self.text, self.left_out)
    }

    fn group(&mut self, event: &TrackedEvent) {
        let record = self.next.len();
        self.next.push(None);
        match self.places.entry(event.visitor_id().clone()) {
            Entry::Occupied(place) => {
                let visitor = &mut self.visitors[*place.get()];
                self.next[visitor.last] = Some(record);
                visitor.last = record;
            }
            Entry::Vacant(place) => {
                place.insert(self.visitors.len());
                self.visitors.push(Visitor { first: record, last: record });
            }
        }
    }

    /// Writes one record; returns whether there was one.
    fn write_next(&mut self, records: &[Queued]) -> bool {
        let (place, record) = self.at;
        let Some(visitor) = self.visitors.get(place) else { return false };
        let (first, record) = (record.is_none(), record.unwrap_or(visitor.first));
        let event = &records[record].event;
        if first {
            let (segments, refused) = sendable_segments(event.segments());
            self.left_out += refused;
            self.text.extend_from_slice(if place > 0 { b",{\"visitorId\":" } else { b"{\"visitorId\":" });
            put(&mut self.text, event.visitor_id());
            if let Some(segments) = &segments {
                self.text.extend_from_slice(b",\"segments\":");
                put(&mut self.text, segments);
            }
            self.text.extend_from_slice(b",\"events\":[");
        }
        self.write_events(event);
        self.at = match self.next[record] {
            Some(next) => (place, Some(next)),
            None => {
                self.text.extend_from_slice(b"]}");
                (place + 1, None)
            }
        };
        true
    }

    /// Writes a record: an exposure, or a bare conversion if it is the visitor's first of the goal, and one with the goal
    /// data, if there are any.
    fn write_events(&mut self, event: &TrackedEvent) {
        match event {
            TrackedEvent::Exposure(Exposure { experience_id, variation_id, .. }) => {
                self.begin_event(b"{\"eventType\":\"bucketing\",\"data\":{\"experienceId\":", experience_id);
                self.text.extend_from_slice(b",\"variationId\":");
                put(&mut self.text, variation_id);
                self.text.extend_from_slice(b"}}");
            }
            TrackedEvent::Conversion(conversion) => {
                if conversion.first {
                    self.write_conversion(conversion, None);
                }
                if let Some(data) = &conversion.goal_data {
                    self.write_conversion(conversion, Some(data));
                }
            }
        }
    }

    fn write_conversion(&mut self, conversion: &Conversion, data: Option<&[(GoalDataKey, GoalValue)]>) {
        self.begin_event(b"{\"eventType\":\"conversion\",\"data\":{\"goalId\":", &conversion.goal_id);
        let text = &mut self.text;
        if let Some(data) = data {
            text.extend_from_slice(b",\"goalData\":");
            let data = data
                .iter()
                .map(|(key, value)| GoalDatumWire { key: key.as_str(), value: GoalValueWire(value) });
            put(text, &data.collect::<Vec<_>>());
        }
        if !conversion.bucketing.is_empty() {
            text.extend_from_slice(b",\"bucketingData\":");
            put(text, &PairsWire(&conversion.bucketing));
        }
        text.extend_from_slice(b"}}");
    }

    /// The text of an event up to and including its first id.
    fn begin_event(&mut self, text: &[u8], id: &str) {
        if self.text.last() != Some(&b'[') {
            self.text.push(b',');
        }
        self.text.extend_from_slice(text);
        put(&mut self.text, id);
    }
}

/// The segments as the endpoint accepts them, if any are left, and how many values it would refuse the
/// request for: null, objects, list items that are not strings, and custom segments that are not a list.
fn sendable_segments(segments: &Attributes) -> (Option<SegmentsWire>, u64) {
    if segments.is_empty() {
        return (None, 0);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_report_key_has_a_length_that_one_may_have() {
        for key in REPORT_KEYS {
            assert!(is_report_key(key) && may_be_report_key(key.len()), "{key}");
        }
    }
}
