//! A record as an outbox keeps it: one JSON object, which later versions have to read too.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use smol_str::SmolStr;

use super::event::{Class, Conversion, Exposure, GoalDataKey, GoalValue, TrackedEvent};
use crate::attributes::{AttributeValue, Measured};
use crate::ports::RecordKind;

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Saved {
    Exposure {
        visitor_id: SmolStr,
        experience_id: SmolStr,
        variation_id: SmolStr,
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        segments: Map<String, Value>,
    },
    Conversion {
        visitor_id: SmolStr,
        goal_id: SmolStr,
        goal_key: SmolStr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        goal_data: Option<Vec<(SmolStr, Value)>>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bucketing: Vec<(SmolStr, SmolStr)>,
        #[serde(default, skip_serializing_if = "Map::is_empty")]
        segments: Map<String, Value>,
        force_multiple: bool,
        first: bool,
    },
}

impl TrackedEvent {
    /// Its text for an outbox.
    pub(crate) fn to_saved(&self) -> Vec<u8> {
        let map = |segments: &Measured| match Value::from(&**segments) {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        let saved = match self.clone() {
            Self::Exposure(Exposure { visitor_id, experience_id, variation_id, segments }) => {
                Saved::Exposure { visitor_id, experience_id, variation_id, segments: map(&segments) }
            }
            Self::Conversion(it) => {
                let value = |value: &GoalValue| match value {
                    GoalValue::Number(number) => Value::from(&AttributeValue::Number(*number)),
                    GoalValue::Text(text) => Value::from(text.as_str()),
                };
                let datum = |(key, data): &(GoalDataKey, _)| (key.as_str().into(), value(data));
                Saved::Conversion {
                    visitor_id: it.visitor_id,
                    goal_id: it.goal_id,
                    goal_key: it.goal_key,
                    goal_data: it.goal_data.map(|data| data.iter().map(datum).collect()),
                    bucketing: it.bucketing.to_vec(),
                    segments: map(&it.segments),
                    force_multiple: it.force_multiple,
                    first: it.first,
                }
            }
        };
        // Strings, finite numbers and string keys: serialization cannot fail.
        serde_json::to_vec(&saved).unwrap_or_default()
    }

    /// The record of such a text; `None` if it is none.
    pub(crate) fn from_saved(text: &[u8]) -> Option<Self> {
        Some(match serde_json::from_slice(text).ok()? {
            Saved::Exposure { visitor_id, experience_id, variation_id, segments } => {
                let segments = Measured::new(segments.into());
                Self::Exposure(Exposure { visitor_id, experience_id, variation_id, segments })
            }
            Saved::Conversion {
                visitor_id,
                goal_id,
                goal_key,
                goal_data,
                bucketing,
                segments,
                force_multiple,
                first,
            } => {
                let datum = |(key, value): (SmolStr, Value)| {
                    let value = match value {
                        Value::String(text) => GoalValue::Text(text.into()),
                        other => GoalValue::Number(other.as_f64()?),
                    };
                    Some((key.parse().ok()?, value))
                };
                let goal_data = match goal_data {
                    Some(data) => Some(data.into_iter().map(datum).collect::<Option<_>>()?),
                    None => None,
                };
                Self::Conversion(Conversion {
                    visitor_id,
                    goal_id,
                    goal_key,
                    goal_data,
                    bucketing: bucketing.into(),
                    segments: Measured::new(segments.into()),
                    force_multiple,
                    first,
                })
            }
        })
    }
}

impl From<Class> for RecordKind {
    fn from(class: Class) -> Self {
        match class {
            Class::Exposure => Self::Exposure,
            Class::Conversion => Self::Conversion,
            Class::Revenue => Self::Revenue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Attributes;

    #[test]
    fn a_record_comes_back_as_it_was_saved() {
        let segments = || Measured::new(Attributes::from([("country", "GR"), ("customSegments", "ü\n")]));
        let exposure = TrackedEvent::Exposure(Exposure {
            visitor_id: "visitor \"1\"".into(),
            experience_id: "10".into(),
            variation_id: "20".into(),
            segments: segments(),
        });
        let conversion = |goal_data: Option<Box<[_]>>, first: bool| {
            TrackedEvent::Conversion(Conversion {
                visitor_id: "v".into(),
                goal_id: "30".into(),
                goal_key: "buy".into(),
                goal_data,
                bucketing: [("10".into(), "20".into())].into(),
                segments: segments(),
                force_multiple: !first,
                first,
            })
        };
        let data = [
            (GoalDataKey::Amount, GoalValue::Number(0.1)),
            (GoalDataKey::TransactionId, GoalValue::Text("1".into())),
        ];
        for event in [exposure, conversion(None, true), conversion(Some(Box::new(data)), false)] {
            let text = event.to_saved();
            let read = TrackedEvent::from_saved(&text).unwrap();
            assert_eq!(read.to_saved(), text);
            assert_eq!((read.visitor_id(), read.class()), (event.visitor_id(), event.class()));
            assert_eq!((**read.segments()).clone(), (**event.segments()).clone());
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        for text in ["", "{}", "[]", r#"{"kind":"exposure"}"#, r#"{"kind":"other","visitorId":"v"}"#] {
            assert!(TrackedEvent::from_saved(text.as_bytes()).is_none(), "{text}");
        }
    }
}
