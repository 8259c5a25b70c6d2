//! A visitor's state, and the envelope it is stored in.

use std::collections::HashSet;

use serde_json::{Map, Value};
use smol_str::SmolStr;

use super::bucketing::Bucketing;
use crate::attributes::{
    AttributeValue, Attributes, AttributesExt, CUSTOM_SEGMENTS, LONGEST_LIST, LONGEST_SEGMENT, Measured,
    shorten, tell_of,
};

/// What outlives a context: persistent attributes, segments, and stored decisions.
#[derive(Clone, Default)]
pub(crate) struct VisitorState {
    pub(crate) attributes: Measured,
    pub(crate) segments: Measured,
    /// Experience id to variation id.
    pub(crate) bucketing: Bucketing,
}

impl VisitorState {
    /// Its approximate size on the heap, as if it shared nothing; takes the same time for every state.
    pub(crate) fn bytes(&self) -> usize {
        self.attributes.bytes() + self.segments.bytes() + self.bucketing.bytes()
    }

    /// Remembers a decision; a later one for the same experience replaces it.
    #[cfg(test)]
    pub(crate) fn decide(&mut self, experience_id: &SmolStr, variation_id: &SmolStr) {
        let numbers = &crate::config::Numbers::default();
        let decided = super::bucketing::Decided { numbers, number: None, experience_id, variation_id };
        self.bucketing.decide(decided, None);
    }

    /// Remembers a decision made without an answer from the store: a stored one takes precedence.
    #[cold]
    pub(crate) fn guess(&mut self, experience_id: &SmolStr, variation_id: &SmolStr) {
        self.bucketing.guess(experience_id, variation_id);
    }

    /// Sets attributes, replacing those with the same names.
    pub(crate) fn set_attributes(&mut self, attributes: Attributes) {
        self.attributes.change(|before| before.extend(attributes));
    }

    /// Merges segments; lists are unioned.
    pub(crate) fn add_segments(&mut self, segments: &Attributes) {
        self.segments.change(|before| before.merge_up_to(LONGEST_SEGMENT, segments));
    }

    /// Like [`add_segments`](Self::add_segments), if the caller has already merged them with what it knew.
    pub(crate) fn share_segments(&mut self, added: &Attributes, before: &Measured, after: &Measured) {
        if self.segments.is(before) {
            self.segments = after.clone();
        } else if !self.segments.is(after) {
            self.add_segments(added);
        }
    }

    /// Applies later changes on top of this state, as the official JavaScript SDK does with every write,
    /// except that a guess does not replace a decision.
    pub(crate) fn merge(&mut self, later: &Self) {
        self.set_attributes(Attributes::clone(&later.attributes));
        self.unite_segments(&later.segments);
        self.bucketing.merge(&later.bucketing);
    }

    /// Applies later segments on top of these. Equal lists and objects among the custom segments, which a
    /// merge never treats as equal, are kept once: they were stored from here.
    pub(crate) fn unite_segments(&mut self, later: &Attributes) {
        self.segments.change(|segments| {
            let lists = (segments.get(CUSTOM_SEGMENTS), later.get(CUSTOM_SEGMENTS));
            if let (Some(AttributeValue::Array(mine)), Some(AttributeValue::Array(theirs))) = lists {
                // Comparing their serialized forms avoids comparing every pair.
                let again: HashSet<String> = theirs.iter().filter_map(nested).collect();
                let is_new =
                    |value: &&AttributeValue| nested(value).is_none_or(|text| !again.contains(&text));
                let mine: Vec<_> = mine.iter().filter(is_new).cloned().collect();
                segments.insert(CUSTOM_SEGMENTS, AttributeValue::Array(mine));
            }
            segments.merge_up_to(LONGEST_SEGMENT, later);
        });
    }

    /// The Python SDK's envelope: `{"attributes": …, "segments": …, "bucketing": …}`.
    pub(crate) fn to_envelope(&self) -> Value {
        let bucketing: Map<String, Value> = self
            .bucketing
            .pairs()
            .iter()
            .map(|(experience, variation)| (experience.to_string(), Value::from(variation.as_str())))
            .collect();
        let mut envelope = Map::with_capacity(3);
        envelope.insert("attributes".to_owned(), (&*self.attributes).into());
        envelope.insert("segments".to_owned(), (&*self.segments).into());
        envelope.insert("bucketing".to_owned(), Value::Object(bucketing));
        Value::Object(envelope)
    }

    /// Reads an envelope, or one of its two older forms: one without `bucketing`, and bare attributes without
    /// any of the three. Lists are shortened to their bounds. `None` if nothing is stored.
    pub(crate) fn from_envelope(value: Value) -> Option<Self> {
        let Value::Object(mut envelope) = value else { return None };
        if envelope.is_empty() {
            return None;
        }
        if !envelope.contains_key("attributes") && !envelope.contains_key("segments") {
            return Some(Self { attributes: bounded(envelope, LONGEST_LIST), ..Self::default() });
        }
        let mut map = |name: &str| match envelope.remove(name) {
            Some(Value::Object(map)) => map,
            _ => Map::new(),
        };
        let text = |value: &Value| match value {
            Value::String(text) => text.as_str().into(),
            other => SmolStr::from(other.to_string()),
        };
        let attributes = bounded(map("attributes"), LONGEST_LIST);
        let segments = bounded(map("segments"), LONGEST_SEGMENT);
        let bucketing = map("bucketing");
        let pairs =
            bucketing.iter().map(|(experience, variation)| (experience.as_str().into(), text(variation)));
        Some(Self { attributes, segments, bucketing: pairs.collect() })
    }
}

/// What a store holds, with no list longer than this: other writers have other bounds.
fn bounded(stored: Map<String, Value>, longest: usize) -> Measured {
    let mut stored = Attributes::from(stored);
    tell_of(shorten(&mut stored, longest));
    Measured::new(stored)
}

/// A list or an object as text.
fn nested(value: &AttributeValue) -> Option<String> {
    matches!(value, AttributeValue::Array(_) | AttributeValue::Object(_))
        .then(|| Value::from(value).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_envelope_round_trips() {
        let mut state = VisitorState::default();
        state.set_attributes(Attributes::new().with("plan", "pro"));
        state.add_segments(&Attributes::new().with("country", "GR"));
        state.decide(&"10".into(), &"20".into());
        state.decide(&"10".into(), &"21".into());
        let envelope = state.to_envelope();
        assert_eq!(
            envelope,
            json!({"attributes": {"plan": "pro"}, "segments": {"country": "GR"}, "bucketing": {"10": "21"}})
        );
        let read = VisitorState::from_envelope(envelope.clone()).unwrap();
        assert_eq!(read.to_envelope(), envelope);
    }

    #[test]
    fn non_string_custom_segments_are_stored_once() {
        let ids = json!([["x"], {}, "1", "1"]);
        let read = |custom: &Value| {
            let envelope = json!({"attributes": {}, "segments": {"customSegments": custom}});
            VisitorState::from_envelope(envelope).unwrap()
        };
        let mut stored = read(&ids);
        stored.merge(&read(&json!([["x"], {}, "1", "2"])));
        assert_eq!(stored.to_envelope()["segments"]["customSegments"], json!([["x"], {}, "1", "2"]));
    }

    #[test]
    fn stored_lists_are_shortened_to_their_bounds() {
        let list: Vec<usize> = (0..LONGEST_LIST + 1).collect();
        let length = |map: &Attributes| match map.get("customSegments") {
            Some(AttributeValue::Array(values)) => values.len(),
            other => panic!("{other:?}"),
        };
        let lists = json!({"customSegments": list});
        let read = |envelope| VisitorState::from_envelope(envelope).unwrap();
        let state = read(json!({"attributes": lists, "segments": lists}));
        assert_eq!((length(&state.attributes), length(&state.segments)), (LONGEST_LIST, LONGEST_SEGMENT));
        assert_eq!(length(&read(lists).attributes), LONGEST_LIST, "the older form");
    }

    #[test]
    fn the_older_forms_are_read() {
        let two_keys = json!({"attributes": {"a": 1}, "segments": {}});
        assert_eq!(VisitorState::from_envelope(two_keys).unwrap().attributes.len(), 1);
        let bare = VisitorState::from_envelope(json!({"a": 1, "b": 2})).unwrap();
        assert_eq!((bare.attributes.len(), bare.bucketing.pairs().len()), (2, 0));
        for nothing in [json!(null), json!({}), json!([1]), json!("text")] {
            assert!(VisitorState::from_envelope(nothing).is_none());
        }
    }
}
