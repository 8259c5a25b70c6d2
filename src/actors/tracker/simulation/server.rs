//! The simulated endpoint: answers or fails as chosen, and remembers what it has taken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::transport::{
    ConfigRequest, ConfigResponse, TrackingRequest, TrackingResponse, Transport, TransportError,
};

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The status, and the seconds of a `Retry-After`. Taken if it is a success.
    Status(u16, Option<u64>),
    /// No connection.
    Refused,
    /// No answer, with the request lost.
    LostUnheard,
    /// No answer, with the request taken.
    TakenUnheard,
}

impl Answer {
    pub(super) const OK: Self = Self::Status(200, None);

    pub(super) const fn takes(self) -> bool {
        matches!(self, Self::Status(200..=299, _) | Self::TakenUnheard)
    }

    pub(super) const fn is_unknown(self) -> bool {
        matches!(self, Self::LostUnheard | Self::TakenUnheard)
    }
}

/// Answers each request as it was told to, and counts how often it has taken each visitor.
#[derive(Default)]
pub(super) struct Server {
    taken: Mutex<HashMap<String, usize>>,
    next: Mutex<Option<Answer>>,
}

impl Server {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What happens to the next request.
    pub(super) fn will(&self, answer: Answer) {
        *self.next.lock().unwrap() = Some(answer);
    }

    /// How often a visitor's event was taken.
    pub(super) fn taken(&self, visitor: &str) -> usize {
        self.taken.lock().unwrap().get(visitor).copied().unwrap_or_default()
    }
}

impl Transport for Server {
    fn fetch_config(&self, _: &ConfigRequest<'_>) -> Result<ConfigResponse, TransportError> {
        Err(TransportError::Unsupported)
    }

    fn send_tracking(&self, request: &TrackingRequest<'_>) -> Result<TrackingResponse, TransportError> {
        let answer = self.next.lock().unwrap().take().expect("an answer for each request");
        if answer.takes() {
            let body: Value = serde_json::from_slice(request.body).expect("a JSON body");
            let mut taken = self.taken.lock().unwrap();
            for visitor in body["visitors"].as_array().expect("visitors") {
                assert_eq!(visitor["events"][0]["data"].as_object().map(|it| !it.is_empty()), Some(true));
                *taken.entry(visitor["visitorId"].as_str().expect("an id").to_owned()).or_default() += 1;
            }
        }
        match answer {
            Answer::Status(status, wait) => {
                Ok(TrackingResponse { status, retry_after: wait.map(Duration::from_secs) })
            }
            Answer::Refused => Err(TransportError::Connect),
            Answer::LostUnheard | Answer::TakenUnheard => {
                Err(TransportError::Timeout("waiting for the answer"))
            }
        }
    }
}
