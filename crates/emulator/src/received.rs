//! The structure of the record, as tests and the admin API read it.

use std::collections::{BTreeMap, VecDeque};

use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Map, Value};

/// Everything received since the start or the last `clear`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Received {
    /// Counts, which also cover requests that are no longer kept.
    pub totals: Totals,
    /// The latest requests in order of arrival, up to `request_history`.
    pub requests: VecDeque<ReceivedRequest>,
    /// Every recorded event in order of arrival.
    pub events: Vec<ReceivedEvent>,
}

/// Counts over everything received since the start or the last `clear`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Requests on any route except the admin API's.
    pub requests: u64,
    /// Requests on the config route.
    pub config_requests: u64,
    /// Requests on the tracking route.
    pub track_requests: u64,
    /// Requests that got a response, whatever its status, or ended without one.
    pub answered: u64,
    /// Recorded events: `bucketing` plus `conversion`.
    pub events: u64,
    /// Recorded bucketing events.
    pub bucketing: u64,
    /// Recorded conversion events.
    pub conversion: u64,
    /// Tracking requests with an invalid field or header, which got 400.
    pub refused: u64,
    /// Requests with a [`flaw`](ReceivedRequest::flaw), whatever the response.
    pub flawed: u64,
    /// Events of requests without the SDKs' `User-Agent`, which the real endpoint silently drops.
    pub dropped_as_bot: u64,
    /// TLS handshakes that failed on either side.
    pub failed_handshakes: u64,
}

/// Which of the two public routes a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteKind {
    /// `/api/v1/config/{sdkKey}`.
    Config,
    /// `…/track/{sdkKey}`.
    Track,
    /// Anything else; gets 404.
    Unknown,
}

/// One request as it arrived, with the response it got.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReceivedRequest {
    /// Counts from 1; never reused, not even after `clear`.
    pub number: u64,
    /// The number of its connection, to see whether a client reuses connections.
    pub connection: u64,
    /// Whether it came over HTTPS.
    pub https: bool,
    /// The route.
    pub route: RouteKind,
    /// `GET`, `POST` and so on.
    pub method: String,
    /// The path, not decoded.
    pub path: String,
    /// The query after `?`, not decoded.
    pub query: Option<String>,
    /// Lower-case names and values, in order of arrival; the admin API masks `authorization`.
    #[serde(serialize_with = "mask_authorization")]
    pub headers: Vec<(String, String)>,
    /// Bytes of the body.
    pub body_size: u64,
    /// The body as text, up to the body limit.
    pub body: String,
    /// What is wrong with the request itself: a body that ended early, ambiguous framing, or a payload's first invalid
    /// field. Set even if a fault responded instead.
    pub flaw: Option<String>,
    /// Events in the body that were recorded.
    pub events: u64,
    /// The response's status; `None` until there is one, and for good if the connection was reset instead.
    pub status: Option<u16>,
    /// The names of the applied faults in order, as in the admin API.
    pub faults: Vec<String>,
}

/// One event of a visitor, as validated and recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReceivedEvent {
    /// The number of the request that carried it.
    pub request: u64,
    /// The payload's account.
    pub account_id: String,
    /// The payload's project.
    pub project_id: String,
    /// The visitor's id.
    pub visitor_id: String,
    /// The visitor's report segments in the payload.
    pub segments: Option<Map<String, Value>>,
    /// What happened.
    #[serde(flatten)]
    pub event: EventData,
}

/// The data of one event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event_type", rename_all = "snake_case")]
pub enum EventData {
    /// The visitor was shown a variation.
    Bucketing {
        /// The experience's id.
        experience_id: String,
        /// The variation's id.
        variation_id: String,
    },
    /// The visitor reached a goal.
    Conversion {
        /// The goal's id.
        goal_id: String,
        /// Each key and value in order; `None` if the field was not sent.
        goal_data: Option<Vec<(String, Value)>>,
        /// Variation id by experience id; `None` if the field was not sent.
        bucketing_data: Option<BTreeMap<String, String>>,
    },
}

impl Received {
    /// One visitor's events in order of arrival.
    pub fn events_of<'a>(&'a self, visitor_id: &'a str) -> impl Iterator<Item = &'a ReceivedEvent> {
        self.events.iter().filter(move |event| event.visitor_id == visitor_id)
    }

    /// Every visitor's events, each list in order of arrival.
    #[must_use]
    pub fn by_visitor(&self) -> BTreeMap<&str, Vec<&ReceivedEvent>> {
        let mut visitors: BTreeMap<&str, Vec<&ReceivedEvent>> = BTreeMap::new();
        for event in &self.events {
            visitors.entry(&event.visitor_id).or_default().push(event);
        }
        visitors
    }

    /// The kept requests of one route, in order of arrival.
    pub fn requests_on(&self, route: RouteKind) -> impl Iterator<Item = &ReceivedRequest> {
        self.requests.iter().filter(move |request| request.route == route)
    }
}

impl ReceivedRequest {
    /// The value of the first header with this name, ignoring case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The decoded value of the first query parameter with this name.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        query_value(self.query.as_deref(), name)
    }
}

/// The decoded value of the first parameter called `name`.
pub(crate) fn query_value(query: Option<&str>, name: &str) -> Option<String> {
    query?
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| decode(key) == name)
        .map(|(_, value)| decode(value))
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn mask_authorization<S: serde::Serializer>(
    headers: &[(String, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(
        headers
            .iter()
            .map(|(name, value)| (name, if name == "authorization" { "(masked)" } else { value.as_str() })),
    )
}
