//! The transport of a replay: accepts every tracking request and keeps its body.

use std::sync::{Mutex, MutexGuard, PoisonError};

use convert_sdk::ports::{DeliveryFailure, EventBatch, EventSink, Receipt};
use serde_json::Value;

/// What was sent.
#[derive(Default)]
pub(crate) struct Wire {
    bodies: Mutex<Vec<Vec<u8>>>,
}

impl Wire {
    /// Takes the `visitors` of every request so far, merged by visitor. An entry keeps the segments of the visitor's
    /// first request.
    pub(crate) fn take_visitors(&self) -> Result<Vec<Value>, String> {
        let mut visitors: Vec<Value> = Vec::new();
        for body in std::mem::take(&mut *self.bodies()) {
            let mut body: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            let Value::Array(sent) = body["visitors"].take() else {
                return Err("a tracking body has no list of visitors".to_owned());
            };
            for visitor in sent {
                merge(&mut visitors, visitor);
            }
        }
        Ok(visitors)
    }

    /// Whether anything was sent since the last call.
    pub(crate) fn is_empty(&self) -> bool {
        self.bodies().is_empty()
    }

    fn bodies(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn merge(visitors: &mut Vec<Value>, mut visitor: Value) {
    let known = visitors.iter_mut().find(|known| known["visitorId"] == visitor["visitorId"]);
    let Some(known) = known else {
        visitors.push(visitor);
        return;
    };
    if let (Some(all), Value::Array(more)) = (known["events"].as_array_mut(), visitor["events"].take()) {
        all.extend(more);
    }
}

impl EventSink for Wire {
    fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        self.bodies().push(batch.body.to_vec());
        Ok(Receipt::default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_merged_by_visitor() {
        let wire = Wire::default();
        for body in [
            json!({"visitors": [{"visitorId": "a", "segments": {"country": "GR"}, "events": [1]}]}),
            json!({"visitors": [{"visitorId": "b", "events": [2]}, {"visitorId": "a", "events": [3]}]}),
        ] {
            wire.bodies().push(body.to_string().into_bytes());
        }
        let merged = vec![
            json!({"visitorId": "a", "segments": {"country": "GR"}, "events": [1, 3]}),
            json!({"visitorId": "b", "events": [2]}),
        ];
        assert_eq!(wire.take_visitors(), Ok(merged));
        assert!(wire.is_empty());
    }
}
