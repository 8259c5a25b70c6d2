//! The simulated endpoint: answers or fails as told, and reports what it has accepted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::http::delivery_answer;
use crate::ports::{DeliveryFailure, EventBatch, EventSink, Receipt, TransportError};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The status, and the seconds of a `Retry-After`. Accepted if it is a success.
    Status(u16, Option<u64>),
    /// The key is unknown, for this request and some more.
    Gone,
    /// No connection.
    Refused,
    /// No answer; the request is lost.
    LostUnheard,
    /// No answer; the request is accepted.
    TakenUnheard,
    /// The request is accepted, but the answer says that the endpoint has failed.
    TakenFailing,
}

impl Answer {
    pub(super) const OK: Self = Self::Status(200, None);

    pub(super) const fn is_success(self) -> bool {
        matches!(self, Self::Status(200..=299, _))
    }

    /// Whether the endpoint accepts the request.
    pub(super) const fn takes(self) -> bool {
        self.is_success() || matches!(self, Self::TakenUnheard | Self::TakenFailing)
    }

    /// Whether the endpoint refuses what is in the request.
    pub(super) const fn refuses(self) -> bool {
        matches!(self, Self::Status(400 | 413, _))
    }

    /// What happens instead if the endpoint has taken or refused the request before: it does not change its mind.
    pub(super) fn after(self, before: Option<Self>) -> Self {
        match before {
            Some(before) if before.takes() && self.refuses() => Self::OK,
            Some(before) if before.refuses() && self.takes() => match self.for_a_culprit() {
                Self::Status(400, _) => before,
                unheard => unheard,
            },
            _ => self,
        }
    }

    /// What happens instead if the request has a record that the endpoint refuses.
    pub(super) const fn for_a_culprit(self) -> Self {
        match self {
            Self::Status(200..=299, _) => Self::Status(400, None),
            Self::TakenUnheard => Self::LostUnheard,
            Self::TakenFailing => Self::Status(503, None),
            other => other,
        }
    }
}

/// Answers each request as instructed.
#[derive(Default)]
pub(super) struct Server {
    next: Mutex<Option<Answer>>,
    seen: Mutex<Option<Seen>>,
}

/// A request.
pub(super) struct Seen {
    pub(super) id: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Server {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Sets what happens to the next request.
    pub(super) fn will(&self, answer: Answer) {
        *self.next.lock().unwrap() = Some(answer);
    }

    /// The last request.
    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().take().expect("a request")
    }
}

/// The calls in a body, each with its number of events.
pub(super) fn calls(body: &[u8]) -> HashMap<usize, usize> {
    let body: Value = serde_json::from_slice(body).expect("a JSON body");
    let visitors = body["visitors"].as_array().expect("visitors");
    let mut calls = HashMap::new();
    for event in visitors.iter().flat_map(|visitor| visitor["events"].as_array().expect("events")) {
        let data = &event["data"];
        let call = data["variationId"].as_str().or(data["bucketingData"]["1"].as_str());
        *calls.entry(call.expect("a call's number").parse().expect("a number")).or_default() += 1;
    }
    calls
}

impl EventSink for Server {
    fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        let answer = self.next.lock().unwrap().take().expect("an answer for each request");
        let seen = Seen { id: batch.id.map(str::to_owned), body: batch.body.to_vec() };
        *self.seen.lock().unwrap() = Some(seen);
        match answer {
            Answer::Status(status, wait) => delivery_answer(status, wait.map(Duration::from_secs)),
            Answer::TakenFailing => delivery_answer(503, None),
            Answer::Gone => delivery_answer(401, None),
            Answer::Refused => Err(DeliveryFailure::NotSent(TransportError::Connect)),
            Answer::LostUnheard | Answer::TakenUnheard => {
                Err(DeliveryFailure::Unknown(TransportError::Timeout("waiting for the answer")))
            }
        }
    }
}
