//! Where events go.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::TransportError;

/// Takes batches of events. The built-in one, `HttpsClient`, uses HTTPS; for another client, a message bus or tests,
/// install your own with [`CoreBuilder::event_sink`](crate::CoreBuilder::event_sink).
///
/// Calls come from the SDK's own threads, at most [one per configured
/// lane](crate::delivery::DeliveryConfigBuilder::lanes) at a time, and should return within the batch's timeout: a
/// call that hangs delays later deliveries, never a caller. A panic is caught and treated as
/// [`DeliveryFailure::Unknown`] with [`TransportError::Panicked`]. The trait is also implemented for [`Arc`], so the
/// application can keep a handle.
pub trait EventSink: Send + Sync + 'static {
    /// Delivers one batch. `Ok` means that the sink has accepted it, and the SDK forgets it.
    ///
    /// # Errors
    /// The batch was not accepted, or may not have been; the failure decides what happens to the events.
    fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure>;

    /// Like [`ConfigSource::interrupt`](crate::ports::ConfigSource::interrupt), for deliveries in progress.
    fn interrupt(&self) {}

    /// Like [`ConfigSource::after_fork`](crate::ports::ConfigSource::after_fork).
    fn after_fork(&self) {}
}

/// One batch to deliver. Its `Debug` output contains no secrets and no visitor data.
#[non_exhaustive]
#[derive(Clone, Copy)]
pub struct EventBatch<'a> {
    /// What follows `/track/`: the SDK key, or `{account}/{project}` without one.
    pub route_key: &'a str,
    /// The project's id, for the host name.
    pub project_id: &'a str,
    /// The number of events in the body; a conversion with goal data counts as two.
    pub events: usize,
    /// The JSON envelope.
    pub body: &'a [u8],
    /// The time limit for the whole delivery.
    pub timeout: Duration,
    /// With [`batch_ids`](crate::config::TransportConfigBuilder::batch_ids): an idempotency key, up to 128 ASCII
    /// characters without spaces. A batch whose outcome is unknown is delivered again with the same id and body; another
    /// batch never has the same id. It says nothing about visitors.
    pub id: Option<&'a str>,
}

/// The sink accepted a batch.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The HTTP status, from a sink that uses HTTP.
    pub status: Option<u16>,
}

/// Why a batch was not accepted, or may not have been.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeliveryFailure {
    /// The sink answered, and did not accept the events.
    #[error("{0}")]
    Refused(Refusal),
    /// The sink may have the events: something was sent, but no answer came. They are sent again, and the
    /// request is counted in [`Stats::fate_unknown`](crate::Stats::fate_unknown).
    #[error("{0}")]
    Unknown(TransportError),
    /// The sink does not have the events: nothing reached it. They are sent again, except after
    /// [`TransportError::InvalidRequest`], which drops them.
    #[error("{0}")]
    NotSent(TransportError),
}

/// A sink's answer to a batch that it refuses.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Refusal {
    /// What the sink objects to.
    pub reason: RefusalReason,
    /// How long the sink asks the SDK to wait, capped at the [backoff
    /// ceiling](crate::delivery::DeliveryConfigBuilder::backoff_ceiling). The wait is never shorter than the backoff.
    /// Not waited for with [`Events`](RefusalReason::Events) and [`TooLarge`](RefusalReason::TooLarge), unless such
    /// refusals repeat: the next request is a different, smaller one.
    pub retry_after: Option<Duration>,
    /// The HTTP status, from a sink that uses HTTP.
    pub status: Option<u16>,
}

/// What a sink objects to, which decides what happens to the events.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum RefusalReason {
    /// One or more of the events. The batch is halved until the offending events are found, and those are dropped. In
    /// HTTP: 400 and 422.
    Events,
    /// The batch is too large. It is split in two and sent again; a single record is dropped. In HTTP: 413.
    TooLarge,
    /// The key, the account or the route, regardless of the events. They are kept until they expire, and the sink is
    /// probed. In HTTP: any other 4xx.
    Sender,
    /// Nothing about the batch: the sink asks for time. It is sent again after a backoff. In HTTP: 408, 425 and 429.
    Busy,
    /// The sink failed, perhaps because of these events. They are sent again after a backoff; if that keeps failing,
    /// others go first. In HTTP: any other status.
    Failing,
}

impl<'a> EventBatch<'a> {
    /// A batch, for testing a sink.
    #[must_use]
    pub const fn new(
        route_key: &'a str,
        project_id: &'a str,
        events: usize,
        body: &'a [u8],
        timeout: Duration,
    ) -> Self {
        Self { route_key, project_id, events, body, timeout, id: None }
    }

    /// Gives the batch an id.
    #[must_use]
    pub const fn with_id(mut self, id: &'a str) -> Self {
        self.id = Some(id);
        self
    }
}

impl Receipt {
    /// For a sink that uses HTTP. A status other than 2xx counts as the [`Refusal`] that
    /// [`delivery_answer`](crate::http::delivery_answer) makes of it.
    #[must_use]
    pub const fn with_status(status: u16) -> Self {
        Self { status: Some(status) }
    }
}

impl DeliveryFailure {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason.code(),
            Self::Unknown(error) | Self::NotSent(error) => error.code(),
        }
    }

    /// The HTTP status, where one was received.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => refusal.status,
            Self::Unknown(_) | Self::NotSent(_) => None,
        }
    }
}

impl Refusal {
    /// A refusal for this reason that asks for no wait.
    #[must_use]
    pub const fn new(reason: RefusalReason) -> Self {
        Self { reason, retry_after: None, status: None }
    }

    /// Asks the SDK to wait this long.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl RefusalReason {
    /// A stable name for logs and dashboards.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Events => "events_refused",
            Self::TooLarge => "too_large",
            Self::Sender => "sender_refused",
            Self::Busy => "busy",
            Self::Failing => "failing",
        }
    }
}

impl From<Refusal> for DeliveryFailure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, self.reason) {
            (Some(status), _) => write!(f, "the server answered with status {status}"),
            (None, RefusalReason::Events) => f.write_str("the events were refused"),
            (None, RefusalReason::TooLarge) => f.write_str("the batch is too large"),
            (None, RefusalReason::Sender) => f.write_str("the sender was refused"),
            (None, RefusalReason::Busy) => f.write_str("the sink is busy"),
            (None, RefusalReason::Failing) => f.write_str("the sink failed"),
        }
    }
}

impl<S: EventSink + ?Sized> EventSink for Arc<S> {
    fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure> {
        (**self).deliver(batch)
    }

    fn interrupt(&self) {
        (**self).interrupt();
    }

    fn after_fork(&self) {
        (**self).after_fork();
    }
}

impl fmt::Debug for EventBatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBatch")
            .field("project_id", &self.project_id)
            .field("events", &self.events)
            .field("bytes", &self.body.len())
            .field("timeout", &self.timeout)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
