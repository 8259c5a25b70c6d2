//! Where events go.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::TransportError;

/// Takes batches of events. The built-in one, `HttpsClient`, uses HTTPS; put your own in with
/// [`CoreBuilder::event_sink`](crate::CoreBuilder::event_sink), for another client, a message bus or a test.
///
/// Calls come from the SDK's own threads, [as many lanes as
/// configured](crate::delivery::DeliveryConfigBuilder::lanes) at a time, and should return within the batch's timeout: a
/// call that hangs delays later deliveries, never a caller. A panic is caught and counts as
/// [`DeliveryFailure::Unknown`] with [`TransportError::Panicked`]. The methods work through an [`Arc`] too, so
/// that the application can keep a handle.
pub trait EventSink: Send + Sync + 'static {
    /// Delivers one batch. `Ok` means that the sink has it, and the SDK forgets it.
    ///
    /// # Errors
    /// It was not taken, or may not have been; the failure decides what becomes of the events.
    fn deliver(&self, batch: &EventBatch<'_>) -> Result<Receipt, DeliveryFailure>;

    /// As [`ConfigSource::interrupt`](crate::ports::ConfigSource::interrupt), for deliveries in progress.
    fn interrupt(&self) {}

    /// As [`ConfigSource::after_fork`](crate::ports::ConfigSource::after_fork).
    fn after_fork(&self) {}
}

/// One batch to deliver. Its `Debug` shows no secret and no visitor.
#[non_exhaustive]
#[derive(Clone, Copy)]
pub struct EventBatch<'a> {
    /// What follows `/track/`: the SDK key, or `{account}/{project}` without one.
    pub route_key: &'a str,
    /// The project's id, for the host name.
    pub project_id: &'a str,
    /// How many events the body holds; a conversion with goal data is two.
    pub events: usize,
    /// The JSON envelope.
    pub body: &'a [u8],
    /// How long the delivery may take in all.
    pub timeout: Duration,
}

/// The sink has taken a batch.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Receipt {
    /// The HTTP status, from a sink that uses HTTP.
    pub status: Option<u16>,
}

/// Why a batch was not taken, or may not have been.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DeliveryFailure {
    /// The sink answered and does not have the events.
    #[error("{0}")]
    Refused(Refusal),
    /// The sink may have the events: something was sent, and no answer came. They are sent again and counted
    /// in [`Stats::fate_unknown`](crate::Stats::fate_unknown).
    #[error("{0}")]
    Unknown(TransportError),
    /// The sink does not have the events, because nothing reached it. They are sent again, except after
    /// [`TransportError::InvalidRequest`], which drops them.
    #[error("{0}")]
    NotSent(TransportError),
}

/// A sink's answer to a batch that it does not take.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// What the sink objects to.
    pub reason: RefusalReason,
    /// How long the sink asks to be left alone, at most the
    /// [backoff ceiling](crate::delivery::DeliveryConfigBuilder::backoff_ceiling). The backoff is waited for in any case.
    pub retry_after: Option<Duration>,
    /// The HTTP status, from a sink that uses HTTP.
    pub status: Option<u16>,
}

/// What a sink objects to, which decides what becomes of the events.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// One of the events, or several. Halves of the batch are sent until the culprits are found, and those
    /// are dropped. By HTTP: 400 and 422.
    Events,
    /// The batch is too large. It is sent again as two; a single record is dropped. By HTTP: 413.
    TooLarge,
    /// The key, the account or the route, whatever the events. They are kept until they are too old, and the
    /// sink is probed. By HTTP: any other 4xx.
    Sender,
    /// Nothing about the batch: the sink asks for time. It is sent again after a backoff. By HTTP: 408, 425
    /// and 429.
    Busy,
    /// The sink failed, perhaps because of these events. They are sent again after a backoff, and others
    /// first if that keeps failing. By HTTP: any other status.
    Failing,
}

impl<'a> EventBatch<'a> {
    /// A batch, for tests of a sink.
    #[must_use]
    pub const fn new(
        route_key: &'a str,
        project_id: &'a str,
        events: usize,
        body: &'a [u8],
        timeout: Duration,
    ) -> Self {
        Self { route_key, project_id, events, body, timeout }
    }
}

impl Receipt {
    /// From a sink that uses HTTP. A status that is no 2xx counts as the [`Refusal`] that
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
    /// A refusal for this reason, without a wait.
    #[must_use]
    pub const fn new(reason: RefusalReason) -> Self {
        Self { reason, retry_after: None, status: None }
    }

    /// Asks to be left alone for this long.
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
            .finish_non_exhaustive()
    }
}
