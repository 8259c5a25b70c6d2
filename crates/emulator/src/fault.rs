//! Faults: what goes wrong on purpose, on which route, and how often.

use std::collections::VecDeque;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::received::{ReceivedEvent, RouteKind};

/// Something that goes wrong on one route: until cleared, for the next few requests, or at random.
///
/// A request meets the first applicable fault in order of injection; a [delay](FaultKind::Delay) is followed by the
/// next applicable one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    route: FaultRoute,
    fault: FaultKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sdk_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chance: Option<Chance>,
}

/// The routes that a fault applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FaultRoute {
    Config,
    Track,
    Both,
}

/// What goes wrong.
///
/// Kinds that show the client a 2xx status act on the normal response, so a tracking request's events count as accepted
/// and are recorded. No other kind but [`DropAfterRecording`](Self::DropAfterRecording) records them. Kinds that act on
/// the config's body also ignore `If-None-Match`, since a 304 has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum FaultKind {
    /// This status with a short JSON body, before the request is looked at.
    Status {
        /// 200 to 599. Any other number becomes 500, and is refused by the admin API.
        #[serde(deserialize_with = "valid_status")]
        status: u16,
        /// The `Retry-After` header.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<RetryAfter>,
    },
    /// Waits before continuing.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// Reads the request and never responds, until the emulator or the connection is shut down.
    Hang,
    /// Resets the connection (TCP RST) instead of responding.
    Reset,
    /// Sends the head of the response, then resets the connection.
    ResetBeforeBody,
    /// Sends the head and half of the body, then resets the connection.
    ResetMidBody,
    /// Announces the whole body, sends half of it, and closes the connection cleanly.
    TruncatedBody,
    /// 200 with a body that is not JSON.
    GarbageBody,
    /// 200 with an empty body.
    EmptyBody,
    /// 200 with this many spaces and no `Content-Length`, so that only a client that counts can notice.
    HugeBody {
        /// Bytes of the body.
        bytes: u64,
    },
    /// The normal body, a few bytes at a time.
    SlowDrip {
        /// Bytes at a time; 0 means 1.
        bytes: usize,
        /// Milliseconds before each piece.
        interval_ms: u64,
    },
    /// 307 to another location.
    Redirect {
        /// The `Location` header.
        to: String,
    },
    /// Records the events, then resets the connection without a response: the client cannot know whether they arrived.
    DropAfterRecording,
    /// Rejects a whole payload for one poisoned record in it, and lets every other payload pass to the next fault or
    /// the normal response. Either criterion makes a record poisoned; without both, none is.
    Poison {
        /// The visitor id starts with this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        visitor_prefix: Option<String>,
        /// The visitor has a list in this segment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        list_segment: Option<String>,
        /// 400 by default, or for instance 422; an invalid status is taken as that of [`Status`](Self::Status).
        #[serde(default = "bad_request", deserialize_with = "valid_status")]
        status: u16,
    },
    /// 200 with a gzip body that decompresses to this many spaces, hundreds of times what is sent. A client that counts
    /// what arrives rather than what it decompresses does not notice.
    GzipBomb {
        /// Decompressed bytes of the body.
        bytes: u64,
    },
}

const fn bad_request() -> u16 {
    400
}

fn valid_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    let status = u64::deserialize(deserializer)?;
    let valid = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
    valid.ok_or_else(|| D::Error::custom(format!("`status` must be from 200 to 599, not {status}")))
}

fn valid_probability<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let probability = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&probability) {
        return Ok(probability);
    }
    Err(D::Error::custom(format!("`probability` must be from 0 to 1, not {probability}")))
}

/// The two forms of `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RetryAfter {
    /// Seconds from now.
    Seconds(u64),
    /// Verbatim text: an HTTP date such as `Wed, 21 Oct 2026 07:28:00 GMT`, or nonsense.
    Date(String),
}

/// A reproducible probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chance {
    #[serde(deserialize_with = "valid_probability")]
    probability: f64,
    seed: u64,
}

impl Fault {
    /// A fault of the config route, until cleared.
    #[must_use]
    pub fn config(kind: FaultKind) -> Self {
        Self { route: FaultRoute::Config, fault: kind, sdk_key: None, times: None, chance: None }
    }

    /// A fault of the tracking route, until cleared.
    #[must_use]
    pub fn track(kind: FaultKind) -> Self {
        Self { route: FaultRoute::Track, fault: kind, sdk_key: None, times: None, chance: None }
    }

    /// A fault of both routes, until cleared.
    #[must_use]
    pub fn both(kind: FaultKind) -> Self {
        Self { route: FaultRoute::Both, fault: kind, sdk_key: None, times: None, chance: None }
    }

    /// Only for requests with this SDK key, exactly as the client writes it.
    #[must_use]
    pub fn for_key(mut self, sdk_key: impl Into<String>) -> Self {
        self.sdk_key = Some(sdk_key.into());
        self
    }

    /// Only for the route's next `times` requests.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Only with this probability, from 0 to 1; the same seed gives the same sequence.
    #[must_use]
    pub fn with_probability(mut self, probability: f64, seed: u64) -> Self {
        self.chance = Some(Chance { probability, seed });
        self
    }

    /// What goes wrong.
    #[must_use]
    pub fn kind(&self) -> &FaultKind {
        &self.fault
    }

    fn is_for(&self, met: &Met<'_>) -> bool {
        let route = match self.route {
            FaultRoute::Config => met.route == RouteKind::Config,
            FaultRoute::Track => met.route == RouteKind::Track,
            FaultRoute::Both => met.route != RouteKind::Unknown,
        };
        route && self.sdk_key.as_ref().is_none_or(|key| key == met.sdk_key) && self.fault.strikes(met.events)
    }
}

impl FaultKind {
    /// A response with this status and nothing else special.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status { status, retry_after: None }
    }

    /// 429 with `Retry-After` in seconds.
    #[must_use]
    pub fn too_many_requests(retry_after_seconds: u64) -> Self {
        Self::Status { status: 429, retry_after: Some(RetryAfter::Seconds(retry_after_seconds)) }
    }

    /// 400 for every payload with a visitor whose id starts with this.
    #[must_use]
    pub fn poisoned_visitor(prefix: impl Into<String>) -> Self {
        Self::Poison { visitor_prefix: Some(prefix.into()), list_segment: None, status: bad_request() }
    }

    /// 400 for every payload with a visitor who has a list in this segment.
    #[must_use]
    pub fn poisoned_segment(name: impl Into<String>) -> Self {
        Self::Poison { visitor_prefix: None, list_segment: Some(name.into()), status: bad_request() }
    }

    /// Whether it applies to these events; most kinds ignore them.
    fn strikes(&self, events: &[ReceivedEvent]) -> bool {
        let Self::Poison { visitor_prefix, list_segment, .. } = self else { return true };
        events.iter().any(|event| {
            let list = |name: &String| event.segments.as_ref()?.get(name)?.as_array();
            visitor_prefix.as_ref().is_some_and(|prefix| event.visitor_id.starts_with(prefix))
                || list_segment.as_ref().and_then(list).is_some()
        })
    }

    /// The name in the admin API and in the record.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Delay { .. } => "delay",
            Self::Hang => "hang",
            Self::Reset => "reset",
            Self::ResetBeforeBody => "reset_before_body",
            Self::ResetMidBody => "reset_mid_body",
            Self::TruncatedBody => "truncated_body",
            Self::GarbageBody => "garbage_body",
            Self::EmptyBody => "empty_body",
            Self::HugeBody { .. } => "huge_body",
            Self::SlowDrip { .. } => "slow_drip",
            Self::Redirect { .. } => "redirect",
            Self::DropAfterRecording => "drop_after_recording",
            Self::Poison { .. } => "poison",
            Self::GzipBomb { .. } => "gzip_bomb",
        }
    }
}

/// The parts of a request that faults look at.
pub(crate) struct Met<'a> {
    pub(crate) route: RouteKind,
    pub(crate) sdk_key: &'a str,
    /// The events of a valid payload.
    pub(crate) events: &'a [ReceivedEvent],
}

/// The faults waiting for their requests.
#[derive(Debug, Default)]
pub(crate) struct PendingFaults {
    faults: VecDeque<Pending>,
}

#[derive(Debug)]
struct Pending {
    fault: Fault,
    dice: u64,
}

impl PendingFaults {
    pub(crate) fn add(&mut self, fault: Fault) {
        let dice = fault.chance.as_ref().map_or(0, |chance| chance.seed);
        self.faults.push_back(Pending { fault, dice });
    }

    pub(crate) fn clear(&mut self) {
        self.faults.clear();
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        self.faults.iter().map(|pending| pending.fault.clone()).collect()
    }

    /// What happens to this request: any number of delays, then at most one other kind.
    pub(crate) fn take(&mut self, met: &Met<'_>) -> Vec<FaultKind> {
        let mut taken = Vec::new();
        for pending in &mut self.faults {
            if pending.fault.is_for(met) && pending.is_due() {
                taken.push(pending.fault.fault.clone());
                if !matches!(pending.fault.fault, FaultKind::Delay { .. }) {
                    break;
                }
            }
        }
        self.faults.retain(|pending| pending.fault.times != Some(0));
        taken
    }
}

impl Pending {
    fn is_due(&mut self) -> bool {
        if self.fault.times == Some(0) {
            return false;
        }
        if let Some(chance) = &self.fault.chance
            && next_share(&mut self.dice) >= chance.probability
        {
            return false;
        }
        if let Some(times) = &mut self.fault.times {
            *times -= 1;
        }
        true
    }
}

/// The next number of the SplitMix64 sequence, as a share from 0 up to but not including 1.
fn next_share(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    // A double holds 53 bits exactly.
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}
